"""Whether a newly trained model may take the place of the one that serves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, sqrt
from statistics import NormalDist

import numpy as np

from hardrank.types import NonNegative, Share, spec

__all__ = ["Decision", "Figures", "Floors", "challenge"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What an audit measured of one model. Both models must have been measured on the same
    queries, the same targets and by the same attacks, or comparing them says nothing."""

    ndcg: float
    """NDCG@10 on the held-out events that decide, in [0, 1]."""
    attacks: Mapping[str, float]
    """Share of attacks that succeed, in [0, 1], by name of the attack."""
    queries: int = 0
    """Held-out events behind `ndcg`; 0 where nobody counted."""
    exposure: Mapping[str, float] = field(default_factory=dict)
    """Share of lists, in [0, 1], of items under watch, by item id."""
    gains: tuple[float, ...] = ()
    """NDCG@10 of each held-out event, in one order for both models; empty where nobody kept
    them."""
    without: Mapping[str, float] | None = None
    """`exposure` had the model learned nothing from accounts that are new; None where nobody
    trained it so: then the champion's exposure stands in its place."""
    chance: Mapping[str, float] = field(default_factory=dict)
    """How likely it is that so many of an item's events come from new accounts where nobody
    pushes it, in [0, 1], by item id."""


@spec
class Floors:
    """How much worse a challenger may be than the champion, and how bad at most."""

    quality_loss: Share = 0.01
    """Of the champion's NDCG@10, relatively."""
    chance: Share = 0.05
    """How often a challenger that lost exactly `quality_loss` is refused, where the gains of both
    models on the same events are given: a smaller loss on few events says nothing. 0.5 compares
    the means."""
    quality_worst: Share = 0.1
    """Of the champion's NDCG@10, relatively: a loss that no chance excuses."""
    quality: Share = 0.0
    """NDCG@10 that every model must reach."""
    robustness_loss: Share = 0.02
    """Rise of the success rate of any one attack, in absolute points of share."""
    success: Share = 1.0
    """Success rate that no attack may exceed."""
    exposure_factor: NonNegative = 5.0
    """Growth of an item's share of lists through new accounts (see `Figures.without`); 0 to not
    look. What newcomers earn for an item in a day is small; what is bought for it is not."""
    false_alarms: Share = 0.01
    """An item that grew so is named when its events come from new accounts more than chance
    explains (see `Figures.chance`): on a day when nobody pushes anything, one is named this
    often at most."""
    exposure_noise: NonNegative = 8.0
    """It is named whoever its events come from when it would be in more than `sudden` of the
    lists and grew so many times as far as items usually move between two trainings."""
    sudden: Share = 0.05
    """See `exposure_noise`: where most events are of new accounts, chance explains all."""
    exposure: Share = 0.01
    """Share of lists below which growth does not matter."""
    queries: NonNegative = 30
    """Held-out events that the challenger's quality must rest on. A retraining counts those of
    users known from before alone where there are so many."""


@dataclass(frozen=True)
class Decision:
    """Promote, or every reason not to."""

    promote: bool
    reasons: tuple[str, ...]


def challenge(
    champion: Figures | None, challenger: Figures, floors: Floors | None = None
) -> Decision:
    """Champion against challenger by quality and robustness, attack by attack.

    A mean over attacks would let one new hole be paid for by old ones that were mended. An
    attack that the challenger was not measured by counts against it, as does a figure that is
    not a number. champion: None where nothing serves yet; then only absolute floors hold.
    """
    floors = floors or Floors()
    wrong = _invalid(challenger)
    reasons = wrong or [*_floors(challenger, floors), *_against(champion, challenger, floors)]
    if reasons:
        return Decision(False, tuple(reasons))
    return Decision(True, ("as good and as robust as asked",))


def _invalid(figures: Figures) -> list[str]:
    named = {
        "NDCG@10": figures.ndcg,
        **{f"success of '{n}'": v for n, v in sorted(figures.attacks.items())},
        **{f"exposure of '{n}'": v for n, v in sorted(figures.exposure.items())},
    }
    return [
        f"{name} is {value}, which is no share"
        for name, value in named.items()
        if not isfinite(value) or not 0 <= value <= 1
    ]


def _floors(figures: Figures, floors: Floors) -> list[str]:
    reasons = []
    if figures.ndcg < floors.quality:
        reasons.append(f"NDCG@10 {figures.ndcg:.4f} is under the floor {floors.quality:.4f}")
    if figures.queries < floors.queries:
        reasons.append(f"measured on {figures.queries} events, {floors.queries:g} are asked for")
    reasons += [
        f"'{name}' succeeds at {value:.1%}, more than {floors.success:.1%}"
        for name, value in sorted(figures.attacks.items())
        if value > floors.success
    ]
    return reasons


def _against(champion: Figures | None, challenger: Figures, floors: Floors) -> list[str]:
    if champion is None:
        return []
    reasons = []
    least = champion.ndcg * (1 - floors.quality_loss)
    if _worse(champion, challenger, floors):
        reasons.append(
            f"NDCG@10 {challenger.ndcg:.4f} is under {least:.4f}, the champion's less "
            f"{floors.quality_loss:.1%}"
        )
    for name, before in sorted(champion.attacks.items()):
        after = challenger.attacks.get(name)
        if after is None:
            reasons.append(f"not measured against '{name}'")
        elif after > before + floors.robustness_loss + 1e-12:
            reasons.append(f"'{name}' succeeds at {after:.1%}, before at {before:.1%}")
    return reasons + _surges(champion, challenger, floors)


def _worse(champion: Figures, challenger: Figures, floors: Floors) -> bool:
    """Whether more quality is lost than may be, and more than chance would explain: d is the
    challenger's gain less the champion's at the floor, event by event."""
    least = champion.ndcg * (1 - floors.quality_loss) - 1e-12
    if challenger.ndcg >= least:
        return False
    n = len(challenger.gains)
    if n < 2 or n != len(champion.gains) or floors.chance >= 0.5:
        return True
    if challenger.ndcg < champion.ndcg * (1 - max(floors.quality_worst, floors.quality_loss)):
        return True
    d = np.asarray(challenger.gains) - (1 - floors.quality_loss) * np.asarray(champion.gains)
    sure = -NormalDist().inv_cdf(floors.chance) if floors.chance else np.inf
    return bool(d.mean() + sure * d.std(ddof=1) / sqrt(n) < 0)


def _surges(champion: Figures, challenger: Figures, floors: Floors) -> list[str]:
    if not floors.exposure_factor:
        return []
    own = challenger.without is not None
    usual = champion.exposure if challenger.without is None else challenger.without
    far = floors.exposure_noise * _noise(usual, challenger.exposure)
    level = floors.false_alarms / max(1, len(challenger.chance))
    told = "without new accounts in" if own else "before in"
    reasons = []
    for item, after in sorted(challenger.exposure.items()):
        before = usual.get(item, 0.0)
        if after <= max(floors.exposure, floors.exposure_factor * before):
            continue
        sudden = after > floors.sudden and _angle(after) - _angle(before) > far
        if sudden or challenger.chance.get(item, 1.0) < level or not own:
            reasons.append(f"item '{item}' would be in {after:.1%} of lists, {told} {before:.1%}")
    return reasons


def _angle(share: float) -> float:
    """arcsin of the root: there a share moves by chance as much wherever it stands."""
    return float(np.arcsin(np.sqrt(share)))


def _noise(usual: Mapping[str, float], now: Mapping[str, float]) -> float:
    """Robust standard deviation of how far the items move that are in any list; 0 for fewer
    than ten, which say nothing of what is common."""
    shown = [item for item, share in now.items() if share or usual.get(item)]
    if len(shown) < 10:
        return 0.0
    moves = np.asarray([_angle(now[item]) - _angle(usual.get(item, 0.0)) for item in shown])
    return float(1.4826 * np.median(np.abs(moves - np.median(moves))))
