"""Threat models, what an attacker may see, and the referee who counts. No torch here."""

from hardrank.threats.cost import Cost, count_edit
from hardrank.threats.match import Match, MatchKey, MatchLog
from hardrank.threats.model import (
    Budget,
    Degrade,
    Demote,
    Flip,
    Goal,
    Promote,
    ThreatModel,
    targets,
)
from hardrank.threats.panel import sample_panel
from hardrank.threats.referee import Attack, check, label, mount, mount_all
from hardrank.threats.victim import digest_victim
from hardrank.threats.views import GivesTextGradient, GradientView, Judge, RankView, ScoreView

__all__ = [
    "Attack",
    "Budget",
    "Cost",
    "Degrade",
    "Demote",
    "Flip",
    "GivesTextGradient",
    "Goal",
    "GradientView",
    "Judge",
    "Match",
    "MatchKey",
    "MatchLog",
    "Promote",
    "RankView",
    "ScoreView",
    "ThreatModel",
    "check",
    "count_edit",
    "digest_victim",
    "label",
    "mount",
    "mount_all",
    "sample_panel",
    "targets",
]
