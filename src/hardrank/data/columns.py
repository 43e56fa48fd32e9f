"""Raw text columns to typed events, with every row that cannot be typed set aside."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from hardrank.data.quarantine import LINE, Check, Quarantine

__all__ = ["LATEST", "Fields", "number", "seconds", "typed"]

LATEST = 4_102_444_800
"""2100-01-01 in unix seconds: a later time is a wrong unit, not a time."""
_MOMENT = "%Y-%m-%d %H:%M:%S%.f"
_ZONED = "%Y-%m-%d %H:%M:%S%.f%:z"


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Which column of a raw table is what."""

    user: str
    item: str
    rating: str | None = None
    time: str | None = None
    weight: str | None = None
    time_format: str = "seconds"
    """`seconds`, `milliseconds`, `iso`, or a pattern such as `%d.%m.%Y %H:%M`; UTC."""
    sparse: bool = False
    """A row may lack its rating or its time; else that makes it a bad row."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Further columns to keep as they are: new name -> column."""

    def checks(self) -> list[Check]:
        needed = [self.user, self.item, *([] if self.sparse else [self.rating, self.time])]
        out = [Check(c, _blank(c), "is missing") for c in needed if c]
        for column in (c for c in (self.rating, self.weight) if c):
            out.append(Check(column, _given(column) & number(column).is_null(), "is not a number"))
            out.append(Check(column, ~number(column).is_finite(), "is not finite"))
        if self.weight:
            w = number(self.weight)
            out.append(Check(self.weight, ~w.is_between(0, 1, closed="right"), "is outside (0, 1]"))
        if self.time:
            t, given = seconds(self.time, self.time_format), _given(self.time)
            out.append(Check(self.time, given & t.is_null(), f"is not a time ({self.time_format})"))
            impossible = ~t.is_between(0, LATEST)
            out.append(Check(self.time, impossible, "is a time outside 1970..2100"))
        return [c._replace(failed=c.failed.fill_null(False)) for c in out]

    def select(self) -> list[pl.Expr]:
        return [
            pl.col(self.user).str.strip_chars().alias("user_id"),
            pl.col(self.item).str.strip_chars().alias("item_id"),
            _or_null(self.time and seconds(self.time, self.time_format), pl.Int64).alias("time"),
            _or_null(self.rating and number(self.rating), pl.Float32).alias("rating"),
            (number(self.weight).fill_null(1.0) if self.weight else pl.lit(1.0))
            .cast(pl.Float32)
            .alias("weight"),
            pl.col(LINE),
            *(pl.col(column).alias(name) for name, column in self.extra.items()),
        ]


def typed(
    frames: Iterable[pl.DataFrame], fields: Fields, bad: Quarantine, path: Path
) -> pl.DataFrame:
    """One table of events (`user_id`, `item_id`, `time`, `rating`, `weight`, `line`, extras)."""
    parts = [bad.sift(f, fields.checks(), path).select(fields.select()) for f in frames]
    if parts:
        return pl.concat(parts)
    names = (fields.user, fields.item, fields.rating, fields.time, fields.weight)
    empty = dict.fromkeys([n for n in (*names, *fields.extra.values()) if n], pl.String)
    return pl.DataFrame(schema={**empty, LINE: pl.UInt32()}).select(fields.select())


def number(column: str) -> pl.Expr:
    """Float64; null where the text is no number."""
    return pl.col(column).str.strip_chars().cast(pl.Float64, strict=False)


def seconds(column: str, form: str) -> pl.Expr:
    """Unix seconds as Int64; null where the text does not read as a time of that form."""
    text = pl.col(column).str.strip_chars()
    if form in ("seconds", "milliseconds"):
        value = number(column) if form == "seconds" else number(column) / 1000
        # NaN, infinity and what no Int64 holds must stay wrong, not become null.
        bounded = pl.when(value.is_finite()).then(value.clip(-1, LATEST + 1)).otherwise(-1.0)
        return pl.when(value.is_not_null()).then(bounded.floor().cast(pl.Int64))
    if form != "iso":
        return _epoch(text.str.to_datetime(form, time_unit="us", strict=False))
    return _iso(text)


def _iso(text: pl.Expr) -> pl.Expr:
    """ISO 8601 to the day, minute or second, with `-` or `/`; UTC where no offset is given."""
    text = text.str.replace("T", " ", literal=True).str.replace(r"(Z|\+00:00)$", "")
    text = text.str.replace(r"^(\d{4})/(\d\d)/", "$1-$2-")
    size, zoned = text.str.len_bytes(), text.str.contains(r"\d[+-]\d\d:?\d\d$")
    whole = pl.when(size == 10).then(text + " 00:00:00").when(size == 16).then(text + ":00")
    local = pl.when(~zoned).then(whole.otherwise(text))
    # Rows of the other kind are null, so each pattern is only tried where it may fit.
    return pl.coalesce(
        _epoch(local.str.to_datetime(_MOMENT, time_unit="us", strict=False)),
        _epoch(pl.when(zoned).then(text).str.to_datetime(_ZONED, time_unit="us", strict=False)),
    )


def _epoch(moment: pl.Expr) -> pl.Expr:
    return moment.dt.epoch("s")


def _given(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.len_bytes() > 0


def _blank(column: str) -> pl.Expr:
    return ~_given(column).fill_null(False)


def _or_null(value: pl.Expr | str | None, kind: type[pl.DataType]) -> pl.Expr:
    return (value if isinstance(value, pl.Expr) else pl.lit(None)).cast(kind)
