"""The long table behind every number: one row a sample, columns null where they say nothing.

Audits give pieces of it, `measure` reads it, a run keeps it as `samples.parquet`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.errors import SchemaError
from hardrank.files import write_table

__all__ = ["SAMPLES", "gather", "load", "only", "samples", "save"]

SAMPLES: dict[str, pl.DataType] = {
    "subject": pl.Utf8(),
    "seed": pl.Int64(),
    "audit": pl.Utf8(),
    "trial": pl.Utf8(),
    "sample": pl.Utf8(),
    "group": pl.Utf8(),
    "goal": pl.Utf8(),
    "site": pl.Utf8(),
    "knowledge": pl.Utf8(),
    "radius": pl.Float64(),
    "k": pl.Int64(),
    "rank": pl.Float64(),
    "eligible": pl.Int64(),
    "hits_before": pl.Int64(),
    "hits_after": pl.Int64(),
    "rank_before": pl.Float64(),
    "rank_after": pl.Float64(),
    "success": pl.Boolean(),
    "excluded": pl.Boolean(),
    "words": pl.Int64(),
    "word_share": pl.Float64(),
    "chars": pl.Int64(),
    "similarity": pl.Float64(),
    "cosine": pl.Float64(),
    "perplexity": pl.Float64(),
    "events": pl.Int64(),
    "queries": pl.Int64(),
    "seconds": pl.Float64(),
    "text_before": pl.Utf8(),
    "text_after": pl.Utf8(),
    "error": pl.Utf8(),
    "value": pl.Float64(),
    "label": pl.Int64(),
}
"""Column -> type.

`subject` `<model>/<arm>`; `seed` of the run that trained it; `audit` utility, promotion,
degrade, curve or gate; `trial` the attack's label, `clean` where there is none; `sample` a
user id, a target's item id, or a check's name; `group` head, mid, tail, cold, ...;
`radius` relative to the victim's mean norm at `site`; `rank` of the held-out item;
`eligible` users who never met the target, of whom `hits_before` / `hits_after` have it in
their top `k`, at mean rank `rank_before` / `rank_after`; `excluded` a target that met the
goal before any attack (its `success` is null, as it is where `error` says why nothing ran);
`similarity` of both texts to the referee's judge, `cosine` to a latent one (LSA), `perplexity`
log10 of the new text's perplexity over the old one's under an n-gram model of the catalogue,
`events` of a history that were changed;
`value` and `label` whatever the audit says: a check's statistic, a classifier's probability
of class 1 and the true class.
"""


def samples(columns: Mapping[str, Any]) -> pl.DataFrame:
    """A samples table from some of its columns (lists, arrays, or one value for all rows);
    the others are null, and so is NaN. Raises `SchemaError` on a column it does not have."""
    for name in columns:
        if name not in SAMPLES:
            raise SchemaError(f"samples have no column '{name}'", field=name)
    table = pl.DataFrame(
        [pl.Series(n, v, dtype=SAMPLES[n]) for n, v in columns.items() if not _single(v)]
    )
    single = [pl.lit(v, dtype=SAMPLES[n]).alias(n) for n, v in columns.items() if _single(v)]
    return _complete(table.with_columns(single) if table.width else table.select(single))


def gather(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """All parts below each other; the empty table when there is none."""
    return pl.concat([pl.DataFrame(schema=SAMPLES), *parts])


def save(table: pl.DataFrame, path: Path) -> None:
    """Parquet, atomic."""
    write_table(path, _complete(table))


def load(path: Path) -> pl.DataFrame:
    """Raises `SchemaError` when a column of the table is of another type or unknown."""
    table = pl.read_parquet(path)
    for name, kind in table.schema.items():
        if SAMPLES.get(name) != kind:
            raise SchemaError(f"column '{name}' should be {SAMPLES.get(name)}", path=path)
    return _complete(table)


def only(known: NDArray[np.bool_], values: Sequence[Any] | NDArray[Any]) -> list[Any]:
    """The values as a list, None where not `known`."""
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    return [value if there else None for there, value in zip(known, plain, strict=True)]


def _single(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _clean(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name).cast(kind)
    return column.fill_nan(None) if kind.is_float() else column


def _complete(table: pl.DataFrame) -> pl.DataFrame:
    return table.select(
        _clean(name, kind) if name in table.columns else pl.lit(None, dtype=kind).alias(name)
        for name, kind in SAMPLES.items()
    )
