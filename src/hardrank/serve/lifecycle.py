"""Whether a newly trained model may take the place of the one that serves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from hardrank.types import NonNegative, Share, spec

__all__ = ["Decision", "Figures", "Floors", "challenge"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What an audit measured of one model. Both models must have been measured on the same
    queries, the same targets and by the same attacks, or comparing them says nothing."""

    ndcg: float
    """NDCG@10 on clean held-out events, in [0, 1]."""
    attacks: Mapping[str, float]
    """Share of attacks that succeed, in [0, 1], by name of the attack."""
    queries: int = 0
    """Held-out events behind `ndcg`; 0 where nobody counted."""
    exposure: Mapping[str, float] = field(default_factory=dict)
    """Share of lists, in [0, 1], of items under watch, by item id."""


@spec
class Floors:
    """How much worse a challenger may be than the champion, and how bad at most."""

    quality_loss: Share = 0.01
    """Of the champion's NDCG@10, relatively."""
    quality: Share = 0.0
    """NDCG@10 that every model must reach."""
    robustness_loss: Share = 0.02
    """Rise of the success rate of any one attack, in absolute points of share."""
    success: Share = 1.0
    """Success rate that no attack may exceed."""
    exposure_factor: NonNegative = 5.0
    """Growth of a watched item's share of lists from champion to challenger; 0 to not look.
    What an item earns in a day is small; what is bought for it is not."""
    exposure: Share = 0.01
    """Share of lists below which growth does not matter."""
    queries: NonNegative = 0
    """Held-out events that the challenger's quality must rest on."""


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
    if challenger.ndcg < least - 1e-12:
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


def _surges(champion: Figures, challenger: Figures, floors: Floors) -> list[str]:
    if not floors.exposure_factor:
        return []
    return [
        f"item '{item}' would be in {after:.1%} of lists, before in "
        f"{champion.exposure.get(item, 0.0):.1%}"
        for item, after in sorted(challenger.exposure.items())
        if after > floors.exposure
        and after > floors.exposure_factor * champion.exposure.get(item, 0.0)
    ]
