"""Plausible histories and how a recommender answers them: one row a draw."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.audits.catalogue import full_ranks, tiles
from hardrank.audits.regions import FIND, MEASURE
from hardrank.context import derive
from hardrank.data import Dataset, Holdout, Queries
from hardrank.errors import DataError, SchemaError
from hardrank.experiment.probing_spec import ProbeExperiment
from hardrank.generators.augment import Proposer, edited
from hardrank.generators.bags import Bags
from hardrank.generators.patterns import SegmentModel
from hardrank.metrics.ranking import ranks_of_targets
from hardrank.metrics.stability import rbo_rows
from hardrank.recommender import Recommender, best, mask_seen
from hardrank.types import Floats, Ints, Ranks

__all__ = ["Drawn", "Space", "asked", "categories", "category_shares", "drawn", "fields_of"]

_CATEGORIES = 12
"""Commonest categories that are fields."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Drawn:
    """N draws."""

    histories: Queries
    """As they were edited."""
    before: Ranks
    """(N, K) list for the real history, without what either history holds."""
    after: Ranks
    """(N, K) list for the edited one, among the same items."""
    samples: pl.DataFrame
    """See `drawn`."""


def asked(recommender: Recommender, test: Holdout, about: ProbeExperiment) -> Holdout:
    """The test users who are edited: with a history, and for `leaves` those with their
    held-out item in the list (all, where fewer than two have it, so that the report can say
    so); at most `about.users` of them. Raises `DataError` for fewer than two users."""
    rows = np.flatnonzero(test.queries.lengths > 0)
    if about.failure == "leaves":
        fit = rows[full_ranks(recommender, test)[rows] <= about.k]
        rows = fit if len(fit) > 1 else rows
    if len(rows) < 2:
        raise DataError(f"{len(rows)} test users with a history; two are needed")
    rng = np.random.default_rng(derive(about.seed, "probe", "users"))
    return test.take(np.sort(rng.permutation(rows)[: about.users]))


def drawn(
    recommender: Recommender, test: Holdout, proposer: Proposer, train: Dataset,
    about: ProbeExperiment, *, trial: str = "draws",
) -> Drawn:  # fmt: skip
    """Edit each history `about.draws` times and ask. Columns of the samples: `user` (row of
    `test`), `user_id`, `draw`, `half`, `target`, `rank_before`, `rank_after`, `rbo`, `changed`
    (items that are gone), `eligible`, `failed`, `field:...`.

    Both rankings are of the same items, those that neither history holds.
    """
    n = len(test)
    rng = np.random.default_rng(derive(about.seed, "probe", trial))
    half = np.random.default_rng(derive(about.seed, "probe", "halves")).permutation(n) % 2
    rows = np.repeat(np.arange(n), about.draws)
    many = test.take(rows)
    made = edited(many.queries, proposer, rng, keep=about.keep, barred=many.targets)
    ranks_before, before = _answers(recommender, many.queries, made, many.targets, about.k)
    ranks_after, after = _answers(recommender, made, many.queries, many.targets, about.k)
    alike, changed = _overlap(before, after), _gone(many.queries, made)
    eligible, failed = _judged(about, ranks_before, ranks_after, alike)
    ids, users = train.items["item_id"], test.queries.users
    names = [train.users["user_id"][int(u)] if u >= 0 else f"#{q}" for q, u in enumerate(users)]
    samples = pl.DataFrame(
        {
            "user": rows, "user_id": [names[r] for r in rows.tolist()],
            "draw": np.tile(np.arange(about.draws), n),
            "half": [(FIND, MEASURE)[int(half[r])] for r in rows.tolist()],
            "target": ids.gather(many.targets), "rank_before": ranks_before,
            "rank_after": ranks_after, "rbo": alike, "changed": changed, "eligible": eligible,
            "failed": failed, **fields_of(train, made, many.targets, about),
        }
    )  # fmt: skip
    return Drawn(histories=made, before=before, after=after, samples=samples)


@dataclass(frozen=True, eq=False, kw_only=True)
class Space:
    """Latent vector and fields of a draw as one point, each block with mean 0 and total
    variance 1 over the finding half of the draws it was made of, so that either weighs the
    same. Later draws are placed in the same space."""

    latent: SegmentModel
    centres: tuple[NDArray[np.float64], NDArray[np.float64]]
    scales: tuple[NDArray[np.float64], NDArray[np.float64]]

    @classmethod
    def of(cls, drawn_: Drawn, latent: SegmentModel) -> "Space":
        find = (drawn_.samples["half"] == FIND).to_numpy()
        blocks = _blocks(drawn_.histories, drawn_.samples, latent)
        vectors, fields = (block[find] for block in blocks)
        spread = fields.std(0)
        varied = max(int((spread > 1e-9).sum()), 1)
        flat = np.where(spread > 1e-9, spread * np.sqrt(varied), np.inf)
        total = np.full(vectors.shape[1], np.sqrt(max(float(vectors.var(0).sum()), 1e-12)))
        return cls(latent=latent, centres=(vectors.mean(0), fields.mean(0)), scales=(total, flat))

    def points(self, histories: Queries, table: pl.DataFrame) -> Floats:
        """(N, D) of each history, with the columns `field:...` of the table's rows."""
        blocks = _blocks(histories, table, self.latent)
        scaled = zip(blocks, self.centres, self.scales, strict=True)
        return np.hstack([(b - c) / s for b, c, s in scaled]).astype(np.float32)


def category_shares(
    items: pl.DataFrame, column: str, bags: Bags, *, separator: str = "|"
) -> dict[str, NDArray[np.float64]]:
    """Category -> (B,) share of each set's items that are of it; the commonest twelve. Raises
    `SchemaError` where the items have no such column."""
    parts = [_split(v, separator) for v in categories(items, column).to_list()]
    counts: dict[str, int] = {}
    for own in parts:
        for name in own:
            counts[name] = counts.get(name, 0) + 1
    common = sorted(counts, key=lambda c: (-counts[c], c))[:_CATEGORIES]
    flags = np.array([[c in own for c in common] for own in parts], dtype=np.float64)
    shares = (bags.matrix @ flags) / np.maximum(bags.lengths, 1)[:, None]
    return {name: shares[:, c] for c, name in enumerate(common)}


def categories(items: pl.DataFrame, column: str) -> pl.Series:
    """Raises `SchemaError` where the items have no such column."""
    if column not in items.columns:
        raise SchemaError(
            f"items have no column '{column}'", field="category",
            remedy=f"name one of {', '.join(items.columns)}, or leave it out",
        )  # fmt: skip
    return items[column]


def _blocks(
    histories: Queries, table: pl.DataFrame, latent: SegmentModel
) -> tuple[NDArray[np.float64], ...]:
    """(N, D) vectors and (N, F) fields."""
    names = [c for c in table.columns if c.startswith("field:")]
    fields = table.select(names).to_numpy().astype(np.float64)
    return latent.latent(histories).astype(np.float64), fields


def _split(value: object, separator: str) -> set[str]:
    if value is None:
        return set()
    many = list(value) if isinstance(value, list | tuple) else str(value).split(separator)
    return {str(v).strip() for v in many if str(v).strip()}


def _answers(
    recommender: Recommender, queries: Queries, other: Queries, targets: Ints, k: int
) -> tuple[Ints, Ranks]:
    """Rank of each target, and the list, among what neither query has seen."""
    ranks, lists = np.empty(len(queries), dtype=np.int64), []
    for part, _, scores in tiles(recommender, queries):
        rows = np.arange(part.start, part.stop)
        masked = mask_seen(scores, other.take(rows))
        ranks[part] = ranks_of_targets(masked, targets[part])
        top = best(masked, k)
        top[np.isneginf(np.take_along_axis(masked, top, axis=1))] = -1
        lists.append(top)
    return ranks, np.concatenate(lists) if lists else np.zeros((0, k), dtype=np.int64)


def _overlap(before: Ranks, after: Ranks) -> NDArray[np.float64]:
    """(N,) RBO of the two lists, as far as both are filled; 1 for two empty ones."""
    if not len(before):
        return np.zeros(0)
    whole = (before >= 0).all(1) & (after >= 0).all(1)
    out = np.ones(len(before))
    out[whole] = rbo_rows(before[whole], after[whole])
    for row in np.flatnonzero(~whole).tolist():
        depth = int(min((before[row] >= 0).sum(), (after[row] >= 0).sum()))
        if depth:
            out[row] = rbo_rows(before[row : row + 1, :depth], after[row : row + 1, :depth])[0]
    return np.minimum(out, 1.0)


def _judged(
    about: ProbeExperiment, before: Ints, after: Ints, alike: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) who could fail, and who did."""
    everyone = np.ones(len(before), dtype=np.bool_)
    if about.failure == "changes":
        return everyone, alike < about.overlap
    if about.failure == "misses":
        return everyone, after > about.k
    eligible = before <= about.k
    return eligible, eligible & (after > about.k)


def _gone(before: Queries, after: Queries) -> Ints:
    return np.array(
        [len(np.setdiff1d(before.history(q), after.history(q))) for q in range(len(before))],
        dtype=np.int64,
    )


def fields_of(
    train: Dataset, histories: Queries, targets: Ints, about: ProbeExperiment
) -> dict[str, NDArray[np.float64]]:
    """`field:...` -> (N,) what is known of each history beside its vector."""
    bags, logs = Bags.of(histories, train.n_items), np.log1p(train.counts.astype(np.float64))
    out = {
        "field:log length": np.log1p(bags.lengths.astype(np.float64)),
        "field:log popularity of the history": (bags.matrix @ logs) / np.maximum(bags.lengths, 1),
    }
    if about.failure != "changes":
        out["field:log popularity of the held-out item"] = logs[targets]
    if about.category:
        shares = category_shares(train.items, about.category, bags, separator=about.separator)
        out |= {f"field:{name}": values for name, values in shares.items()}
    return out
