"""What a retraining found, as it stands in the challenger's bundle and beside it."""

from dataclasses import dataclass, field
from math import asin, sqrt
from pathlib import Path
from typing import Any

import polars as pl

from hardrank.errors import BundleError
from hardrank.serve.lifecycle import Decision, Figures

__all__ = ["SURGING", "Verdict", "decided", "exposures", "surging"]

SURGING = 20
"""Items whose exposure moved most that are listed."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The decision on a bundle and against whom it was made."""

    decision: Decision
    champion: str
    """Digest of the bundle that it was compared with."""
    facts: dict[str, Any] = field(default_factory=dict)
    """All that stands beside it in `spec.json`, which the digest of the bundle covers."""

    def described(self) -> dict[str, Any]:
        return {
            "promote": self.decision.promote,
            "reasons": list(self.decision.reasons),
            "champion": self.champion,
            **self.facts,
        }


def decided(about: Any, folder: Path | str) -> Verdict | None:
    """The decision in a bundle's `about`; None for a bundle that no retraining made.

    Raises `BundleError` for one that cannot be read.
    """
    found = about.get("retraining")
    if found is None:
        return None
    try:
        if not isinstance(found["promote"], bool):  # "false" is no yes
            raise TypeError(f"promote is {found['promote']!r}")
        decision = Decision(found["promote"], tuple(map(str, found["reasons"])))
        return Verdict(decision=decision, champion=str(found["champion"]))
    except (KeyError, TypeError) as error:
        raise BundleError(f"{folder}: its decision cannot be read ({error!r})") from error


def surging(champion: Figures, challenger: Figures, most: int = SURGING) -> list[dict[str, Any]]:
    """The items whose share of lists newcomers raise most, largest growth first: by the arcsin
    of its root, so that from 0 to 5 % is more than from 45 to 50 %."""
    without = challenger.without or {}
    grown = [
        (asin(sqrt(without.get(item, 0.0))) - asin(sqrt(after)), item, after)
        for item, after in challenger.exposure.items()
        if after > without.get(item, 0.0)
    ]
    return [
        {
            "item_id": item, "champion": champion.exposure.get(item, 0.0),
            "without": without.get(item, 0.0), "challenger": after,
        }
        for _, item, after in sorted(grown)[:most]
    ]  # fmt: skip


def exposures(champion: Figures, challenger: Figures) -> pl.DataFrame:
    """`item_id`, `champion`, `without` (new accounts), `challenger`: the share of lists of every
    item that is live, largest growth through new accounts first."""
    items, without = list(challenger.exposure), challenger.without or {}
    table = pl.DataFrame(
        {
            "item_id": items,
            "champion": [champion.exposure.get(i, 0.0) for i in items],
            "without": [without.get(i, 0.0) for i in items],
            "challenger": [challenger.exposure[i] for i in items],
        }
    )
    growth = pl.col("challenger").sqrt().arcsin() - pl.col("without").sqrt().arcsin()
    return table.sort(growth, descending=True, maintain_order=True)
