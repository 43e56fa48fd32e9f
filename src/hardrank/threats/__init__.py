"""Threat models, what an attacker may see, and the referee who counts. No torch here."""

from hardrank.threats.cost import Cost, count_edit
from hardrank.threats.court import LEVELS, Attack, Court, label, level, played_label
from hardrank.threats.desk import Desk, GivesTextGradient, GivesWords, Judge, Meter
from hardrank.threats.listing import ListingCourt, check
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
from hardrank.threats.referee import mount, mount_all, play_all
from hardrank.threats.victim import digest_victim
from hardrank.threats.views import VIEWS, GradientView, RankView, ScoreView

__all__ = [
    "LEVELS",
    "VIEWS",
    "Attack",
    "Budget",
    "Cost",
    "Court",
    "Degrade",
    "Demote",
    "Desk",
    "Flip",
    "GivesTextGradient",
    "GivesWords",
    "Goal",
    "GradientView",
    "Judge",
    "ListingCourt",
    "Match",
    "MatchKey",
    "MatchLog",
    "Meter",
    "Promote",
    "RankView",
    "ScoreView",
    "ThreatModel",
    "check",
    "count_edit",
    "digest_victim",
    "label",
    "level",
    "mount",
    "mount_all",
    "play_all",
    "played_label",
    "sample_panel",
    "targets",
]
