"""What both models answered, side by side: the figures that a decision rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank.experiment.retrain_measure import Outcome
from hardrank.serve.lifecycle import Figures

__all__ = ["Compared", "compared", "told"]

Mask = NDArray[np.bool_]
_WHO = {"known": "users known from before", "all": "all users"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Compared:
    champion: Figures
    challenger: Figures
    quality: dict[str, Any]
    """NDCG@10 of both on the events of users known from before (`known`) and on all of them
    (`all`), and which of the two `decides`."""


def compared(champion: Outcome, challenger: Outcome, known: Mask, least: float) -> Compared:
    """Quality on the events of users known from before where there are `least` of them: whoever
    pushes an item with new accounts teaches the challenger alone what these do next. On all
    events where there are fewer.

    Attacks are compared on the targets that count for both. Where there is none, the figure is
    missing for the challenger, as it is where the attack could not run on it, and counts against
    it; what ran on the challenger alone stands in its figures for the absolute floors.
    """
    groups: dict[str, Mask] = {"known": known, "all": np.ones_like(known)}
    decides = "known" if known.sum() >= max(1.0, least) else "all"
    quality = {
        name: {
            "queries": int(some.sum()), "champion": _mean(champion, some),
            "challenger": _mean(challenger, some),
        }
        for name, some in groups.items()
    }  # fmt: skip
    attacks = _attacks(champion.attacks, challenger.attacks)
    one, other = (
        _figures(outcome, groups[decides], found)
        for outcome, found in zip((champion, challenger), attacks, strict=True)
    )
    return Compared(champion=one, challenger=other, quality={"decides": decides, **quality})


def told(quality: Mapping[str, Any]) -> list[str]:
    """Of `Compared.quality`, in words: what decides first."""
    decides = quality["decides"]
    out = []
    for name in sorted(_WHO, key=lambda name: name != decides):
        found = quality[name]
        if found["queries"]:
            out.append(
                f"NDCG@10 of {found['queries']} new events of {_WHO[name]}: "
                f"{found['challenger']:.4f}, champion {found['champion']:.4f}"
            )
    out[0] += " (this one decides)"
    if decides == "all":
        few = quality["known"]["queries"]
        out.append(f"only {few} new events are of {_WHO['known']}: quality is that of all users")
    return out


def _figures(outcome: Outcome, some: Mask, attacks: Mapping[str, float]) -> Figures:
    gains = outcome.gains[some]
    return Figures(
        ndcg=float(gains.mean()), attacks=attacks, queries=len(gains),
        exposure=outcome.exposure, gains=tuple(gains.tolist()),
    )  # fmt: skip


def _mean(outcome: Outcome, some: Mask) -> float | None:
    return float(outcome.gains[some].mean()) if some.any() else None


def _attacks(
    champion: Mapping[str, Mapping[str, bool]], challenger: Mapping[str, Mapping[str, bool]]
) -> tuple[dict[str, float], dict[str, float]]:
    one, other = dict[str, float](), dict[str, float]()
    for name in dict.fromkeys([*champion, *challenger]):
        a, b = champion.get(name, {}), challenger.get(name, {})
        both = [target for target in a if target in b]
        if both or a:
            one[name] = float(np.mean([a[target] for target in both or a]))
        if both or not a:
            other[name] = float(np.mean([b[target] for target in both or b]))
    return one, other
