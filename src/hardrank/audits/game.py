"""Attacks against defences as a zero-sum game: which mixture of defences loses least.

The attacker picks an attack, the defender an arm, neither knows the other's pick; the payoff
is the exposure that the attack gains on that arm. Von Neumann's theorem gives both a best
mixture and one value; each mixture is a linear program (Dantzig 1951).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from hardrank.audits.measure import measure
from hardrank.audits.samples import load
from hardrank.errors import DataError

__all__ = ["Game", "game", "game_of", "game_of_samples"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Game:
    """A solved game."""

    attacks: tuple[str, ...]
    defences: tuple[str, ...]
    payoff: Doubles
    """(A, D): what attack a gains on defence d."""
    attack_mix: Doubles
    """(A,) probability of each attack in the attacker's best mixture."""
    defence_mix: Doubles
    """(D,) probability of each defence in the defender's best mixture."""
    value: float
    """What the attacker gains when both play their mixtures."""
    left_out: tuple[str, ...] = ()
    """Attacks that were not measured on every defence."""

    @property
    def most(self) -> float:
        """The defender's guarantee: no attack gains more on the mixture of defences."""
        return float((self.payoff @ self.defence_mix).max())

    @property
    def least(self) -> float:
        """The attacker's guarantee: on no defence does the mixture of attacks gain less."""
        return float((self.attack_mix @ self.payoff).min())

    @property
    def pure(self) -> str:
        """The one defence whose strongest attack gains least; of equals the first."""
        return self.defences[int(self.payoff.max(axis=0).argmin())]

    @property
    def pure_worst(self) -> float:
        """What the strongest attack gains on it: never below `most`."""
        return float(self.payoff.max(axis=0).min())

    def lines(self) -> list[str]:
        """The outcome in sentences."""
        mixed = self.pure_worst - self.most > 1e-9
        said = [
            f"value of the game: {self.value:.4f} exposure gain",
            f"best single defence: {self.pure}, worst case {self.pure_worst:.4f}",
            f"best mixture of defences: {_mix(self.defences, self.defence_mix)}, worst case "
            f"{self.most:.4f}" + ("" if mixed else " (no better than the single one)"),
            f"attacker's mixture: {_mix(self.attacks, self.attack_mix)}",
        ]
        if self.left_out:
            said.append(f"left out, not measured on every defence: {', '.join(self.left_out)}")
        return said


def game(matrix: ArrayLike, attacks: Sequence[str], defences: Sequence[str]) -> Game:
    """Best mixtures of both sides. matrix: (A, D), what the attacker gains; any sign.

    The value, the defender's guarantee and the attacker's agree to 1e-6 of the spread of the
    matrix. Raises `ValueError` for an empty matrix, other shapes than the names, or a number
    that is not finite.
    """
    payoff = np.array(matrix, dtype=np.float64)
    if payoff.ndim != 2 or not payoff.size or payoff.shape != (len(attacks), len(defences)):
        raise ValueError(
            f"payoffs are (attacks, defences), at least one each; got {payoff.shape} for "
            f"{len(attacks)} attacks and {len(defences)} defences"
        )
    if not np.isfinite(payoff).all():
        raise ValueError("every attack needs a finite payoff on every defence")
    lowest, spread = float(payoff.min()), float(np.ptp(payoff))
    scaled = (payoff - lowest) / spread if spread > 0 else np.zeros_like(payoff)
    defence_mix = _at_least_pure(-scaled.T, _mixture(-scaled.T))
    attack_mix = _at_least_pure(scaled, _mixture(scaled))
    return Game(
        attacks=tuple(attacks), defences=tuple(defences), payoff=payoff, attack_mix=attack_mix,
        defence_mix=defence_mix, value=float(attack_mix @ payoff @ defence_mix),
    )  # fmt: skip


def game_of(run: Path) -> Game:
    """The game of a finished run: exposure gain of each promoting attack on each arm that was
    attacked, over all targets and seeds.

    Every payoff is of an attack made against that arm: an attacker who must choose before he
    knows which arm serves has less to go by. Raises `DataError` for a folder without
    samples, or without attacks on two arms.
    """
    path = run / "samples.parquet"
    if not path.is_file():
        raise DataError("no such file", path=path, remedy="give the folder of a finished run")
    made = game_of_samples(load(path))
    if made is None:
        raise DataError(
            "no promoting attack was measured on two arms or more", path=path,
            remedy="run an experiment with [[trials]] and a hardened arm",
        )  # fmt: skip
    return made


def game_of_samples(samples: pl.DataFrame) -> Game | None:
    """The same from a samples table; None where there is nothing to choose between."""
    rows = samples.filter((pl.col("audit") == "promotion") & (pl.col("goal") == "promote"))
    subjects = rows["subject"].unique(maintain_order=True).to_list()
    trials = rows["trial"].unique(maintain_order=True).to_list()
    gains = [[_gain(samples, subject, trial) for subject in subjects] for trial in trials]
    full = [n for n, row in enumerate(gains) if all(value is not None for value in row)]
    if len(subjects) < 2 or not full:
        return None
    solved = game([gains[n] for n in full], [trials[n] for n in full], subjects)  # type: ignore[arg-type]
    missing = tuple(t for n, t in enumerate(trials) if n not in full)
    return Game(**{**vars(solved), "left_out": missing})


def _gain(samples: pl.DataFrame, subject: str, trial: str) -> float | None:
    return measure(samples, subject=subject, audit="promotion", metric="er_gain", trial=trial).value


def _mixture(gains: Doubles) -> Doubles:
    """(R,) the mixture x of the rows whose least gain over the columns is largest:

    max v  subject to  (x G)_c >= v for each column c, sum x = 1, x >= 0
    """
    from scipy.optimize import linprog

    rows, columns = gains.shape
    found: Any = linprog(
        np.append(np.zeros(rows), -1.0),
        A_ub=np.hstack([-gains.T, np.ones((columns, 1))]), b_ub=np.zeros(columns),
        A_eq=np.append(np.ones(rows), 0.0)[None, :], b_eq=[1.0],
        bounds=[(0, None)] * rows + [(None, None)], method="highs-ds",
    )  # fmt: skip
    assert found.status == 0, found.message  # feasible and bounded for every finite matrix
    mix: Doubles = np.clip(found.x[:rows], 0.0, None)
    mix /= mix.sum()
    return mix


def _at_least_pure(gains: Doubles, mix: Doubles) -> Doubles:
    """The mixture, or one row alone where rounding made the mixture worse than that row."""
    alone = gains.min(axis=1)
    best = int(alone.argmax())
    if alone[best] < (mix @ gains).min():
        return mix
    sure: Doubles = np.eye(len(gains))[best]
    return sure


def _mix(names: Sequence[str], mix: Doubles) -> str:
    order = np.argsort(-mix, kind="stable")
    return ", ".join(f"{names[n]} {100 * mix[n]:.1f} %" for n in order if mix[n] > 5e-4)
