"""Is the game still being played? Symptoms of a round, and alarms when they stay."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hardrank.metrics.distributions import kolmogorov_smirnov
from hardrank.types import Floats, Share

__all__ = ["Alarm", "Monitor", "looks", "overlap", "stale", "unique_share"]

AlarmKind = Literal[
    "collapse", "frozen", "detached", "dead-critic", "unbalanced", "posterior", "stale"
]
Game = Literal["gan", "vae"]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Something that training longer does not mend."""

    kind: AlarmKind
    says: str
    fatal: bool = True
    """Whether training stops; otherwise the alarm is noted."""


def _collapsed(row: Mapping[str, float]) -> str | None:
    if row["spread"] < 1e-5:
        return "the generator gives all users and all noise the same distribution"
    if row["overlap"] > (1 + row["overlap_real"]) / 2:
        return (
            f"two draws share {row['overlap']:.0%} of the shorter one's items, two real "
            f"profiles {row['overlap_real']:.0%}"
        )
    return None


def _frozen(row: Mapping[str, float]) -> str | None:
    if row["gradient_generator"] == 0:
        return "no gradient reaches the generator"
    return "the generator's weights do not change" if row["change_generator"] == 0 else None


def _detached(row: Mapping[str, float]) -> str | None:
    # the row has no such entry while the discriminator's verdict has no weight
    if row.get("through", 1.0) >= 1e-12:
        return None
    return "no gradient passes through the discriminator to the generator"


def _dead(row: Mapping[str, float]) -> str | None:
    if row["change_critic"] == 0:
        return "the discriminator's weights do not change"
    return "the discriminator gives all profiles the same" if row["verdicts"] < 1e-7 else None


def _unbalanced(row: Mapping[str, float]) -> str | None:
    if min(row["accuracy_real"], row["accuracy_fake"]) < 0.99:
        return None
    return "the discriminator tells all fakes: its gradient says little to the generator"


def _posterior(row: Mapping[str, float]) -> str | None:
    if row["loss_kl"] >= _LEAST_KL:
        return None
    return f"the encoder says nothing of the user: KL of {row['loss_kl']:.1g} nats a profile"


_LEAST_KL = 0.01
"""Nats that an encoder says of a profile, at least: below, all users have the prior's z."""
_CHECKS: dict[AlarmKind, tuple[Callable[[Mapping[str, float]], str | None], bool]] = {
    "frozen": (_frozen, True),
    "detached": (_detached, True),
    "dead-critic": (_dead, True),
    "collapse": (_collapsed, True),
    "unbalanced": (_unbalanced, False),
    "posterior": (_posterior, True),
}
_PLAYED: dict[Game, tuple[AlarmKind, ...]] = {
    "gan": ("frozen", "detached", "dead-critic", "collapse", "unbalanced"),
    "vae": ("frozen", "collapse", "posterior"),
}
"""What can go wrong with each kind of generator."""
_REMEDIES: dict[AlarmKind, str] = {
    "frozen": "check that the draws are not detached and learning_rate is above 0",
    "detached": "check that the discriminator does not detach its input; lower its learning rate",
    "dead-critic": "raise critic_learning_rate, or lower penalty",
    "collapse": "raise diversity or likelihood, or lower beta",
    "unbalanced": "lower critic_learning_rate, or raise penalty",
    "posterior": "lower kl, or raise anneal",
    "stale": "draws do not keep: draw anew from the newest weights, and fit the generator again, "
    "from its weights on, once what it deceives has learned on",
}


@dataclass
class Monitor:
    """Counts how many rounds running each symptom was there."""

    rounds: int = 3
    """Running, until the alarm."""
    seen: dict[str, int] = field(default_factory=dict)
    game: Game = "gan"

    def check(self, row: Mapping[str, float]) -> list[Alarm]:
        """The alarms that this round raises. row: see `hardrank.generators.loop`
        and `hardrank.generators.interest_vae_training`."""
        alarms = []
        for kind in _PLAYED[self.game]:
            look, fatal = _CHECKS[kind]
            found = look(row)
            self.seen[kind] = self.seen.get(kind, 0) + 1 if found else 0
            if found and self.seen[kind] == self.rounds:
                says = f"{kind}: {found} ({self.rounds} rounds running); {_REMEDIES[kind]}"
                alarms.append(Alarm(kind=kind, says=says, fatal=fatal))
        return alarms

    @property
    def well(self) -> bool:
        """Whether the last round had no symptom that would stop training if it stayed."""
        return not any(self.seen.get(k, 0) for k, (_, fatal) in _CHECKS.items() if fatal)


def looks(drawn: Flags, real: Flags, known: Floats) -> dict[str, float]:
    """How draws look beside real profiles. drawn, real: (N, I); known: (I,) log-popularity."""
    return {
        "overlap": overlap(drawn), "overlap_real": overlap(real),
        "unique": unique_share([np.flatnonzero(d) for d in drawn]),
        "popularity_ks": kolmogorov_smirnov(known[drawn.nonzero()[1]], known[real.nonzero()[1]]),
    }  # fmt: skip


def overlap(sets: Flags) -> float:
    """Mean over pairs of |a and b| / min(|a|, |b|); 0 for fewer than two sets. sets: (N, I)."""
    if len(sets) < 2:
        return 0.0
    counts = sets.sum(1)
    both = sets.astype(np.float32) @ sets.astype(np.float32).T
    least = np.maximum(np.minimum(counts[:, None], counts[None]), 1)
    above = np.triu_indices(len(sets), 1)
    return float((both / least)[above].mean())


def unique_share(sets: Sequence[NDArray[np.int64]]) -> float:
    """Different sets of items, by all; 1 where no two draws agree."""
    return len({np.sort(s).tobytes() for s in sets}) / max(len(sets), 1)


def stale(before: float, now: float, *, rounds: tuple[int, int], most: Share = 0.2) -> Alarm | None:
    """An alarm where a rate of success fell by more than `most` of what it was.

    rounds: when the draws were made, and when they were judged again.
    """
    if before <= 0 or now >= (1 - most) * before:
        return None
    drawn, judged = rounds
    says = (
        f"stale: round {judged}: the discriminator takes a draw of round {drawn} for more real "
        f"than a real profile with chance {now:.2f}, in round {drawn} it was {before:.2f}; "
        f"{_REMEDIES['stale']}"
    )
    return Alarm(kind="stale", says=says, fatal=False)
