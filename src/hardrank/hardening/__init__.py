"""Hardening: objectives that make a model withstand what an attacker may do to its input."""

from hardrank.hardening.adversarial import Adversarial
from hardrank.hardening.schedule import Constant, Ramp, Schedule
from hardrank.hardening.stopping import QualityFloor, StopAtRobustError

__all__ = ["Adversarial", "Constant", "QualityFloor", "Ramp", "Schedule", "StopAtRobustError"]
