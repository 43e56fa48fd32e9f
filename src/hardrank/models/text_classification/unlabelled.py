"""Training among unlabelled texts: whose terms have a meaning there."""

from hardrank.errors import Unsupported
from hardrank.training import Objective

__all__ = ["check_unlabelled"]

_SMOOTH = ("kl-consistency", "logit-pairing", "r-drop", "smart", "trades", "vat")
"""Kinds that compare predictions with each other, which needs no label."""
_SUPERVISED = ("adversarial", "apr", "awp", "free", "freelb", "mixture", "plain")
"""Kinds that ask for the network's loss alone, in which an unlabelled text counts nothing."""


def check_unlabelled(objective: Objective | None) -> None:
    """Raises `Unsupported` for an objective that reads the label of each row by itself."""
    kind = "plain" if objective is None else objective.kind
    if kind not in (*_SMOOTH, *_SUPERVISED):
        raise Unsupported(
            f"'{kind}' reads the label of each text, and some training texts have none; "
            f"use {', '.join(_SMOOTH)}, or leave the unlabelled texts out"
        )
