"""Certificates: what no rewrite of a few words can do to a smoothed model, whoever tries.

An attack that fails says little of the next one. A certificate holds for every text within
r word edits (insertions, deletions, substitutions, as the referee counts words). For user q
and item i, with v the item's expected vote and `door` what it takes to be listed:

    upper(v) + 1 - (1 - keep)^r < door   =>   i is not in q's top k after any r word edits

in the mean over masks, the other items as they stand. By the theorem in `models.masks`; v
comes from `draws` fresh masks, which nobody could have searched, and `upper` is its
Chernoff-Hoeffding bound, at 1 - alpha for all users and items of a call together.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from hardrank.audits.catalogue import tiles
from hardrank.audits.measure import measure
from hardrank.audits.samples import gather, only, samples
from hardrank.context import derive
from hardrank.data import Queries, Slate
from hardrank.findings import Finding
from hardrank.metrics.exposure import exposure
from hardrank.models.masks import Copies, bits, copies, reach
from hardrank.models.smoothed import Smoothed
from hardrank.recommender import Recommender
from hardrank.types import Ints, Scores
from hardrank.wording import split

__all__ = ["Smoothing", "certificate_findings", "certify", "upper_bound"]

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
_ROUNDING = 1e-5
"""Votes are sums of float32; a certificate keeps this far from its limit."""


class Smoothing(Recommender, Protocol):
    """A recommender whose scores are mean votes over masked texts."""

    spec: Smoothed

    def votes(self, queries: Queries, slate: Slate) -> Scores:
        """(Q, I) in [0, 1]: votes on texts that have been masked already."""
        ...


class _Listing:
    """An item's text under fresh masks: other ones than those that it is served with."""

    def __init__(self, recommender: Smoothing, row: int, draws: int, seed: int) -> None:
        spec, items = recommender.spec, recommender.items
        self.text = str(items[spec.field][row] or "")
        rng = np.random.default_rng(derive(seed, "certificate", items["item_id"][row]))
        fresh = bits(len(split(self.text)), spec.keep, draws, rng)
        self._made: Copies = copies(self.text, fresh)
        self._recommender = recommender
        rows = np.full(len(self._made.texts), row, dtype=np.int64)
        # One slate for all users, so that the base may remember what it read.
        self._slate = Slate(items=rows, texts=self._made.texts, field=spec.field)

    def votes(self, queries: Queries) -> Doubles:
        """(Q,) mean vote over the draws."""
        found = self._recommender.votes(queries, self._slate)
        return np.asarray(found.astype(np.float64) @ self._made.shares.astype(np.float64))


def certify(
    recommender: Smoothing,
    queries: Queries,
    items: Ints,
    *,
    subject: str,
    seed: int,
    words: Sequence[int] = (1, 2, 3),
    draws: int = 1000,
    alpha: float = 0.001,
    tries: int = 0,
    k: int = 10,
    success_exposure: float = 0.01,
    groups: Sequence[str] = (),
) -> pl.DataFrame:
    """One sample an item and a number of words. `value`: share of the eligible users (who have
    not seen the item) for whom it is certified out of the top k; `hits_before`: users who list
    it now; `hits_after`: how many could list it at most, so that the formula `er_after` is a
    bound on its exposure. `success`: that bound is below `success_exposure`, no attack of so
    many words can succeed; null for items that are there already (`excluded`).

    items: (N,) rows. words: edits certified against. draws: fresh masks of each item. alpha:
    chance that any bound on a vote is wrong. tries: 0 certifies the mean over masks. Served
    are `spec.masks` of them: with N > 0 a user counts only where, by the same bound, N texts
    made without knowledge of their masks get past the door with probability alpha at most.
    """
    rows = np.asarray(items, dtype=np.int64)
    listings = [_Listing(recommender, int(row), draws, seed) for row in rows]
    limits = [reach(recommender.spec.keep, r) for r in words]
    every = len(queries) * len(rows)
    counts = np.zeros((2, len(rows)), dtype=np.int64)
    certified = np.zeros((len(words), len(rows)), dtype=np.int64)
    for _, chunk, scores in tiles(recommender, queries):
        own = scores[:, rows].astype(np.float64)
        free, doors = ~np.isneginf(own), _doors(scores, rows, k)
        votes = np.stack([listing.votes(chunk) for listing in listings], axis=1)
        highest = upper_bound(votes, draws, alpha / max(every, 1))
        counts += [free.sum(axis=0), (free & (own > doors)).sum(axis=0)]
        for n, limit in enumerate(limits):
            kept_out = _kept_out(highest + limit, doors, recommender.spec.masks, tries, alpha)
            certified[n] += (free & kept_out).sum(axis=0)
    eligible, listed = counts
    excluded = exposure(listed, eligible) >= success_exposure
    known = (eligible > 0) & ~excluded
    ids = recommender.items["item_id"].gather(rows).to_list()
    return gather(
        samples(
            {
                "subject": subject,
                "seed": seed,
                "audit": "certificate",
                "trial": "clean",
                "sample": ids,
                "group": [groups[row] for row in rows] if len(groups) else None,
                "goal": "promote",
                "site": "item-text",
                "k": k,
                "words": int(r),
                "eligible": eligible,
                "hits_before": listed,
                "hits_after": eligible - held,
                "success": only(known, exposure(eligible - held, eligible) < success_exposure),
                "excluded": excluded,
                "text_before": [listing.text for listing in listings],
                "value": exposure(held, eligible),
            }
        )
        for r, held in zip(words, certified, strict=True)
    )


def certificate_findings(
    table: pl.DataFrame, *, subject: str, words: Sequence[int] = (1, 2, 3), protocol: str = ""
) -> list[Finding]:
    """For each number of words: `certified@R`, mean share of users for whom an item is
    certified; `er_bound@R`, mean of what its exposure can become at most; `items_certified@R`,
    share of the items whose exposure no attack of R words brings to success."""
    metrics = {"certified": "value", "er_bound": "er_after", "items_certified": "passed"}
    return [
        measure(
            table, subject=subject, audit="certificate", metric=f"{name}@{r}", formula=formula,
            where={"words": int(r)}, protocol=protocol,
        )
        for r in words
        for name, formula in metrics.items()
    ]  # fmt: skip


def upper_bound(means: ArrayLike, draws: int, alpha: float) -> Doubles:
    """What the expectation of a variable in [0, 1] does not exceed, at confidence 1 - alpha,
    when `draws` independent draws have these means.

    Hoeffding, JASA 58, 1963, theorem 1: P(mean <= m) <= exp(-draws kl(m, p)) for expectation p,
    so the bound is the largest p with kl(m, p) <= ln(1 / alpha) / draws. For votes of 0 and 1
    it is as tight as Clopper and Pearson's at m = 0, where it matters most, and hardly wider
    elsewhere; unlike theirs it holds for votes in between.
    """
    m = np.asarray(means, dtype=np.float64)
    limit = np.log(1 / alpha) / draws
    low, high = m.copy(), np.ones_like(m)
    for _ in range(50):
        middle = (low + high) / 2
        inside = _divergence(m, middle) <= limit
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return high


def _divergence(m: Doubles, p: Doubles) -> Doubles:
    """kl(m, p) of coins, 0 where p <= m."""
    with np.errstate(divide="ignore", invalid="ignore"):
        heads = np.where(m > 0, m * np.log(m / p), 0.0)
        tails = np.where(m < 1, (1 - m) * np.log((1 - m) / (1 - p)), 0.0)
    return np.where(p > m, heads + tails, 0.0)


def _kept_out(highest: Doubles, doors: Doubles, masks: int, tries: int, alpha: float) -> Flags:
    """(Q, N) whether an expected vote up to `highest` stays outside, in the mean and, where
    `tries` says so, as served."""
    inside: Flags = highest + _ROUNDING < doors
    if tries == 0:
        return inside
    # From below, as Hoeffding's theorem has it from above: of coins turned over.
    far = _divergence(1 - doors, 1 - np.minimum(highest, 1.0))
    served: Flags = masks * far >= np.log(tries / alpha)
    return inside & served


def _doors(scores: Scores, rows: Ints, k: int) -> Doubles:
    """(Q, N) the k-th best score among the other unseen items; -inf where they are fewer.
    scores: (Q, I), -inf where seen."""
    first = scores.shape[1] - min(k + 1, scores.shape[1])
    best = -np.sort(-np.partition(scores, first, axis=1)[:, first:], axis=1)
    padded = np.full((len(scores), k + 1), -np.inf)
    padded[:, : best.shape[1]] = best
    own = scores[:, rows]
    return np.where(own >= padded[:, k - 1 : k], padded[:, k : k + 1], padded[:, k - 1 : k])
