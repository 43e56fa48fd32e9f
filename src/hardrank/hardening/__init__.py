"""Hardening: objectives that make a model withstand what an attacker may do to its input."""

from hardrank.hardening.adversarial import Adversarial
from hardrank.hardening.apr import APR
from hardrank.hardening.awp import AWP
from hardrank.hardening.denoising import ReweightedCrossEntropy, TruncatedCrossEntropy
from hardrank.hardening.discrete import Discrete, TextAugmentation
from hardrank.hardening.forged import Forged
from hardrank.hardening.free import Free
from hardrank.hardening.freelb import FreeLB
from hardrank.hardening.generalised_cross_entropy import GeneralisedCrossEntropy
from hardrank.hardening.gradient_penalty import GradientPenalty
from hardrank.hardening.kl_consistency import KLConsistency
from hardrank.hardening.logit_pairing import LogitPairing
from hardrank.hardening.mart import MART
from hardrank.hardening.mixture import Mixture, Part
from hardrank.hardening.pamacf import PamaCF
from hardrank.hardening.r_drop import RDrop
from hardrank.hardening.recognition import Recognition
from hardrank.hardening.reweighting import Reweighted
from hardrank.hardening.sample_masking import SampleMasking
from hardrank.hardening.schedule import Constant, Phase, Phases, Ramp, Schedule
from hardrank.hardening.smart import SMART
from hardrank.hardening.stopping import (
    CatastrophicOverfitting,
    QualityFloor,
    StopAtRobustError,
)
from hardrank.hardening.trades import TRADES
from hardrank.hardening.user_adaptive import UserAdaptive
from hardrank.hardening.vat import VAT

__all__ = [
    "APR",
    "AWP",
    "MART",
    "SMART",
    "TRADES",
    "VAT",
    "Adversarial",
    "CatastrophicOverfitting",
    "Constant",
    "Discrete",
    "Forged",
    "Free",
    "FreeLB",
    "GeneralisedCrossEntropy",
    "GradientPenalty",
    "KLConsistency",
    "LogitPairing",
    "Mixture",
    "PamaCF",
    "Part",
    "Phase",
    "Phases",
    "QualityFloor",
    "RDrop",
    "Ramp",
    "Recognition",
    "Reweighted",
    "ReweightedCrossEntropy",
    "SampleMasking",
    "Schedule",
    "StopAtRobustError",
    "TextAugmentation",
    "TruncatedCrossEntropy",
    "UserAdaptive",
]
