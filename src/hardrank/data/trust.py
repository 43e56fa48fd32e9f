"""How far each user or item is trusted: weights in [0, 1] by id, and their files."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardrank.data.dataset import Dataset
from hardrank.errors import DataError, SchemaError
from hardrank.files import write_json, write_table, write_text
from hardrank.types import Floats

__all__ = ["read_trust", "trust_of", "trust_rows", "write_trust"]

_FORMATS = "write .parquet, .csv (columns {column}, weight) or .json (an object of id: weight)"


def trust_of(dataset: Dataset, fraud: Floats, *, above: float | None = None) -> dict[str, float]:
    """user_id -> weight: 1 - p for a suspect, 1 for everybody else.

    fraud: (U,) probabilities p in [0, 1] that a user is a fraudster, NaN where not judged.
    above: who is a suspect; None for the mean of all p. The form of LoRec's user-wise
    re-weighting (Zhang et al., SIGIR 2024, arXiv:2401.17723): suspects are those above the
    mean, unless they are a third of all users. There a suspect's weight falls each time the
    detector, trained alongside, finds it again; here the probabilities are given, once.
    Raises `DataError` for other than (U,) probabilities, and where a third or more would be
    suspects: a detector that says so has found no fraud, or no border.
    """
    p = np.asarray(fraud, dtype=np.float64)
    judged = ~np.isnan(p)
    if p.shape != (dataset.n_users,) or not ((p[judged] >= 0) & (p[judged] <= 1)).all():
        raise DataError(f"expected {dataset.n_users} probabilities in [0, 1], one for each user")
    border = above if above is not None else (p[judged].mean() if judged.any() else 1.0)
    suspects = judged & (np.nan_to_num(p) > border)
    if suspects.sum() * 3 >= max(dataset.n_users, 1):
        raise DataError(
            f"{suspects.sum()} of {dataset.n_users} users are above {border:.4g}; "
            "a third or more cannot be suspects",
            remedy="give a higher `above`",
        )
    weights = np.where(suspects, 1 - np.nan_to_num(p), 1.0)
    return dict(zip(dataset.users["user_id"].to_list(), weights.tolist(), strict=True))


def trust_rows(trust: Mapping[str, float], ids: Sequence[str], *, what: str) -> Floats:
    """(len(ids),) weights in the order of `ids`; 1 for an id that `trust` does not name.

    what: `user` or `item`. Raises `DataError` for a weight outside [0, 1], and when not one
    id is known: then it is another dataset's trust.
    """
    for name, weight in trust.items():
        if not 0 <= weight <= 1:
            raise DataError(f"the weight of {what} '{name}' is {weight!r}", remedy="use [0, 1]")
    if trust and not set(ids) & set(trust):
        raise DataError(
            f"none of the {len(trust)} {what} ids is in the training data, "
            f"such as '{next(iter(trust))}'",
            remedy=f"use the ids of the {what} table, such as '{next(iter(ids), '')}'",
        )
    return np.asarray([trust.get(i, 1.0) for i in ids], dtype=np.float32)


def read_trust(path: Path, *, what: str) -> dict[str, float]:
    """id -> weight from a Parquet or CSV file with the columns `user_id` (`item_id`) and
    `weight`, or from a JSON object. what: `user` or `item`.

    Raises `DataError` when the file is not there, cannot be read, names an id twice or has
    a weight that is not a number in [0, 1].
    """
    column = f"{what}_id"
    if not path.is_file():
        raise DataError("no such file", path=path, remedy=_FORMATS.format(column=column))
    out: dict[str, float] = {}
    for name, weight in _pairs(path, column):
        if name in out:
            raise DataError(f"'{name}' appears more than once", path=path, field=column)
        if weight is None or not 0 <= weight <= 1:
            problem = f"the weight of '{name}' is {'no number' if weight is None else weight}"
            raise DataError(problem, path=path, field="weight", remedy="use [0, 1]")
        out[name] = weight
    return out


def write_trust(path: Path, trust: Mapping[str, float], *, what: str) -> None:
    """A file that `read_trust` reads, in the format of its ending; atomic.

    Raises `DataError` for another ending.
    """
    table = pl.DataFrame(
        {f"{what}_id": list(trust), "weight": list(trust.values())},
        schema={f"{what}_id": pl.Utf8(), "weight": pl.Float64()},
    )
    if path.suffix == ".parquet":
        write_table(path, table)
    elif path.suffix == ".csv":
        write_text(path, table.write_csv())
    elif path.suffix == ".json":
        write_json(path, dict(trust))
    else:
        raise DataError("unknown format", path=path, remedy=_FORMATS.format(column=f"{what}_id"))


def _pairs(path: Path, column: str) -> list[tuple[str, float | None]]:
    if path.suffix == ".json":
        return _of_json(path)
    if path.suffix not in (".parquet", ".csv"):
        raise DataError("unknown format", path=path, remedy=_FORMATS.format(column=column))
    table = _table(path)
    for name in (column, "weight"):
        if name not in table.columns:
            has = f"it has: {', '.join(table.columns)}"
            raise SchemaError(f"no column '{name}'", path=path, field=name, remedy=has)
    weights = table["weight"].cast(pl.Float64, strict=False).to_list()
    return list(zip(table[column].cast(pl.Utf8).to_list(), weights, strict=True))


def _table(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        # Ids as they are spelt: '007' is not 7.
        return pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot be read: {error}", path=path) from error


def _of_json(path: Path) -> list[tuple[str, float | None]]:
    def paired(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        return pairs  # a dict would hide an id that appears twice

    try:
        made = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=paired)
    except (ValueError, OSError) as error:
        line = getattr(error, "lineno", None)
        raise DataError(f"is not JSON: {error}", path=path, line=line) from error
    if not (isinstance(made, list) and all(isinstance(pair, tuple) for pair in made)):
        raise DataError("is not an object of id: weight", path=path)
    return [(name, _number(weight)) for name, weight in made]


def _number(value: Any) -> float | None:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if numeric and math.isfinite(value) else None
