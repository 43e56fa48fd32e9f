"""What compression cost: size, speed, closeness, ranking quality, robustness."""

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch

from hardrank.bundle import Bundle
from hardrank.context import RunContext, derive
from hardrank.data import Holdout
from hardrank.encoders import OnnxEncoder, TextEncoder
from hardrank.experiment.attack_bundle import attack_bundle, replay_matches
from hardrank.experiment.spec import Trial
from hardrank.metrics.intervals import bootstrap_difference, bootstrap_reduction
from hardrank.metrics.ranking import ndcg
from hardrank.models.common import target_ranks
from hardrank.recommender import Recommender

__all__ = ["AttackPair", "Between", "Closeness", "Quality", "closeness", "quality", "robustness",
           "sizes", "speeds"]  # fmt: skip

_TITLES, _ROUNDS = 300, 3


@dataclass(frozen=True)
class Between:
    """One number of the original and of the compressed."""

    before: float
    after: float

    @property
    def ratio(self) -> float:
        return self.after / self.before if self.before else float("nan")


@dataclass(frozen=True)
class Closeness:
    """Cosine of old and new vectors over the texts of the catalogue."""

    mean: float
    least: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Quality:
    """NDCG@10 of both on the same queries; `loss` = 1 - after / before, bootstrap by query."""

    before: float
    after: float
    loss: float | None
    low: float | None
    high: float | None
    n: int
    queries: str
    """Where they come from."""


@dataclass(frozen=True, kw_only=True)
class AttackPair:
    """Success rate of one attack, over targets that could be won on both."""

    attack: str
    before: float | None
    """Crafted on the original."""
    after: float | None
    """Crafted on the compressed one."""
    replayed: float | None
    """The patches of the original on the compressed one."""
    low: float | None
    high: float | None
    """Of after - before, paired by target."""
    n: int
    """Targets, over all seeds."""
    error: str | None = None
    """Why it could not be mounted, where that happened."""

    @property
    def rise(self) -> float | None:
        """The worse of both ways, against the original."""
        if self.before is None or self.after is None or self.replayed is None:
            return None
        return max(self.after, self.replayed) - self.before


def sizes(before: TextEncoder, after: OnnxEncoder) -> Between:
    """Bytes of the weights as fp32, and of the graph."""
    weights = sum(4 * p.numel() for p in before.module.parameters())
    return Between(float(weights), float(after.stored()["encoder.onnx"].nbytes))


def speeds(before: TextEncoder, after: OnnxEncoder, texts: Sequence[str], seed: int) -> Between:
    """Texts a second on one thread with an empty cache: the median of rounds in turn."""
    distinct = sorted(set(texts))
    rows = np.random.default_rng(derive(seed, "titles")).permutation(len(distinct))[:_TITLES]
    some = [distinct[row] for row in rows]
    rates: tuple[list[float], list[float]] = ([], [])
    with _one_thread():
        for turn in range(_ROUNDS + 1):
            for kept, fresh in zip(rates, (before.tuned({}), _fresh(after)), strict=True):
                begun = time.perf_counter()
                fresh.encode(some)
                if turn:  # the first round chooses kernels
                    kept.append(len(some) / (time.perf_counter() - begun))
    return Between(*(statistics.median(kept) for kept in rates))


def _fresh(encoder: OnnxEncoder) -> OnnxEncoder:
    return OnnxEncoder(encoder.stored(), RunContext(), threads=1, keep=False)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def closeness(before: TextEncoder, after: TextEncoder, texts: Sequence[str]) -> Closeness:
    distinct = sorted(set(texts))
    cosines = (before.encode(distinct) * after.encode(distinct)).sum(axis=1)
    return Closeness(float(cosines.mean()), float(cosines.min()), len(distinct))


def quality(
    before: Recommender, after: Recommender, holdout: Holdout, queries: str, seed: int
) -> Quality:
    old, new = (ndcg(target_ranks(model, holdout), 10) for model in (before, after))
    rng = np.random.default_rng(derive(seed, "bootstrap"))
    loss = bootstrap_reduction(new, old, rng)
    return Quality(
        before=float(old.mean()), after=float(new.mean()), loss=_number(loss.value),
        low=_number(loss.low), high=_number(loss.high), n=len(holdout), queries=queries,
    )  # fmt: skip


def robustness(
    before: Bundle,
    after: Bundle,
    trial: Trial,
    run: RunContext,
    *,
    panel: int,
    seeds: Sequence[int],
) -> list[AttackPair]:
    """Every attack mounted on each of the two, and the original's patches on the compressed.

    Both see the same targets and the same panel for a seed, and draw the same randomness.
    """
    crafted, again, replayed, errors = [], [], [], dict[str, str]()
    for seed in seeds:
        own = replace(run, seed=seed, folder=None)
        first = attack_bundle(before, trial, own, panel=panel)
        second = attack_bundle(after, trial, own, panel=panel)
        crafted.append(first.samples)
        again.append(second.samples)
        replayed.append(replay_matches(after, first.matches, own).samples)
        for match in (*first.matches, *second.matches):
            if match.error is not None:
                errors.setdefault(match.attack, match.error)
    tables = [_success(pl.concat(parts)) for parts in (crafted, again, replayed)]
    return [_pair(label, tables, errors.get(label), run.seed) for label in trial.labels()]


def _success(samples: pl.DataFrame) -> pl.DataFrame:
    return samples.select(
        pl.col("trial").str.replace(" (transfer)", "", literal=True), "sample", "seed", "success"
    ).drop_nulls("success")


def _pair(label: str, tables: Sequence[pl.DataFrame], error: str | None, seed: int) -> AttackPair:
    first, second, third = (t.filter(pl.col("trial") == label).drop("trial") for t in tables)
    keys = ["sample", "seed"]
    both = first.join(second, on=keys, suffix="_after").join(third, on=keys, suffix="_replayed")
    if not both.height:
        return AttackPair(attack=label, before=None, after=None, replayed=None, low=None,
                          high=None, n=0, error=error)  # fmt: skip
    names = ("success", "success_after", "success_replayed")
    old, new, moved = (both[name].cast(pl.Float64).to_numpy() for name in names)
    rng = np.random.default_rng(derive(seed, "bootstrap", label))
    change = bootstrap_difference(new, old, rng)
    return AttackPair(
        attack=label, before=float(old.mean()), after=float(new.mean()),
        replayed=float(moved.mean()), low=_number(change.low), high=_number(change.high),
        n=both.height, error=error,
    )  # fmt: skip


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
