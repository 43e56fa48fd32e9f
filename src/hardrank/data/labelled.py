"""Texts with a label each: reviews, messages, adverts. What a text classifier learns from."""

import csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt, Lt
from pydantic import model_validator
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from hardrank.errors import DataError, LeakError, SchemaError
from hardrank.files import digest_bytes
from hardrank.types import Ints, spec

__all__ = ["UNLABELLED", "Labelled", "LabelledSplit", "LabelledTexts", "check_text_leaks"]
__all__ += ["hide_labels", "split_labelled"]

UNLABELLED = -1
"""In `Labelled.labels`: nobody has said what this text is."""
Part = Annotated[float, Gt(0), Lt(1)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Labelled:
    """N labelled texts; those for training may have unlabelled ones among them."""

    texts: tuple[str, ...]
    labels: Ints
    """(N,), rows of `names`; `UNLABELLED` where there is none."""
    names: tuple[str, ...]
    """C class names."""
    groups: tuple[str, ...] | None = None
    """N group names (a hotel, a seller), where there are any."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Ints) -> "Labelled":
        return Labelled(
            texts=tuple(self.texts[r] for r in rows),
            labels=self.labels[rows],
            names=self.names,
            groups=None if self.groups is None else tuple(self.groups[r] for r in rows),
        )

    @property
    def labelled(self) -> "Labelled":
        """The texts that have a label."""
        known = np.flatnonzero(self.labels != UNLABELLED)
        return self if len(known) == len(self) else self.take(known)

    @cached_property
    def fingerprint(self) -> str:
        parts = (*self.names, *self.texts, *(self.groups or ()))
        return digest_bytes(
            *(p.encode("utf-8", "surrogatepass") for p in parts),
            self.labels.astype(np.int64).tobytes(),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledSplit:
    train: Labelled
    valid: Labelled
    """Early stopping and calibration look here."""
    test: Labelled
    protocol: str


@spec
class LabelledTexts:
    """A CSV file (UTF-8, header line) with a text and a label in each row."""

    kind: Literal["labelled-texts"] = "labelled-texts"
    path: Path
    """The file."""
    text: str = "text"
    """Column of the text."""
    label: str = "label"
    """Column of the class name."""
    labels: tuple[str, ...] | None = None
    """Class names in the order wanted; None for those of the file, sorted."""
    group: str | None = None
    """Column of a group whose texts must stay together in a split."""
    shares: tuple[Part, Part] = (0.1, 0.2)
    """Validation's and test's share of the texts; the rest is for training."""

    @model_validator(mode="after")
    def _leave_some_for_training(self) -> "LabelledTexts":
        if sum(self.shares) >= 1:
            raise ValueError("shares must leave something for training: their sum is at least 1")
        return self

    def load(self) -> Labelled:
        """Read and check every row.

        Raises SchemaError for a missing column and DataError, with file and line, for an
        unreadable file, an empty label, a label that is not in `labels`, a row of the wrong
        width, or a file with fewer than two classes. An empty text is a text.
        """
        rows = list(self._rows())
        found = {label for _, label, _ in rows}
        names = self.labels or tuple(sorted(found))
        if len(found) < 2:
            raise DataError(
                f"{len(found)} class(es) among {len(rows)} texts",
                path=self.path,
                field=self.label,
                remedy="a classifier needs two",
            )
        index = {name: row for row, name in enumerate(names)}
        return Labelled(
            texts=tuple(text for text, _, _ in rows),
            labels=np.asarray([index[label] for _, label, _ in rows], dtype=np.int64),
            names=names,
            groups=tuple(group for _, _, group in rows) if self.group else None,
        )

    def split(self, data: Labelled, rng: np.random.Generator) -> LabelledSplit:
        return split_labelled(data, rng, valid=self.shares[0], test=self.shares[1])

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """(text, label, group) of each row."""
        wanted = [self.text, self.label, *([self.group] if self.group else [])]
        lines = csv.reader(io.StringIO(_decoded(self.path), newline=""), strict=True)
        header: list[str] | None = None
        start = 1
        try:
            for row in lines:
                if header is None:
                    header = row
                    columns = [self._column(header, name) for name in wanted]
                elif row:
                    yield self._checked(row, columns, len(header), start)
                start = lines.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"not CSV: {error}",
                path=self.path,
                line=start,
                remedy="quote fields that hold commas, quotes or line ends",
            ) from error
        if header is None:
            raise DataError("the file is empty", path=self.path)

    def _column(self, header: list[str], name: str) -> int:
        if name not in header:
            raise SchemaError(
                f"no such column; there are: {', '.join(header)}",
                path=self.path,
                line=1,
                field=name,
                remedy="name the right column",
            )
        return header.index(name)

    def _checked(
        self, row: list[str], columns: list[int], width: int, line: int
    ) -> tuple[str, str, str]:
        if len(row) != width:
            raise DataError(f"{len(row)} fields, the header has {width}", path=self.path, line=line)
        text, label, group = (*(row[c] for c in columns), "")[:3]
        label = label.strip()
        if not label:
            raise DataError(
                "no label",
                path=self.path,
                line=line,
                field=self.label,
                remedy="label the row or remove it",
            )
        if self.labels is not None and label not in self.labels:
            raise DataError(
                f"label '{label}' is not one of {', '.join(self.labels)}",
                path=self.path,
                line=line,
                field=self.label,
            )
        return text, label, group


def split_labelled(
    data: Labelled, rng: np.random.Generator, *, valid: float = 0.1, test: float = 0.2
) -> LabelledSplit:
    """Random split, stratified by label. Texts that are equal but for case and spacing stay
    together, and so do texts of one group. Raises DataError when a part would be empty or
    lack a class, or a text has no label."""
    if len(data.labelled) < len(data):
        raise DataError(
            f"{len(data) - len(data.labelled)} texts without a label cannot be split by label",
            remedy="split the labelled texts, then add the others to the training part",
        )
    units = _units(data)
    part_of = np.zeros(len(data), dtype=np.int64)
    for rows in _strata(data, units):
        part_of[rows] = _dealt(units[rows], rng, valid, test)
    parts = [data.take(np.flatnonzero(part_of == p)) for p in range(3)]
    for part, name in zip(parts, ("training", "validation", "test"), strict=True):
        if lacking := set(range(len(data.names))) - set(part.labels.tolist()):
            names = ", ".join(data.names[c] for c in sorted(lacking))
            raise DataError(
                f"the {name} part has no text of class {names}",
                remedy="give it a larger share, more data, or no groups",
            )
    together = " and groups" if data.groups else ""
    split = LabelledSplit(
        train=parts[0],
        valid=parts[1],
        test=parts[2],
        protocol=f"random, stratified by label; equal texts{together} kept together;"
        f" {len(parts[0])} / {len(parts[1])} / {len(parts[2])} texts",
    )
    check_text_leaks(split)
    return split


def hide_labels(data: Labelled, share: float, rng: np.random.Generator) -> Labelled:
    """The same texts, of which a random `share` in (0, 1] of each class, at least one, keeps
    its label; all others are unlabelled."""
    kept = np.zeros(len(data), dtype=bool)
    for label in range(len(data.names)):
        rows = np.flatnonzero(data.labels == label)
        kept[rng.permutation(rows)[: max(1, round(share * len(rows)))]] = True
    return replace(data, labels=np.where(kept, data.labels, UNLABELLED))


def check_text_leaks(split: LabelledSplit) -> None:
    """Raises LeakError if a text, but for case and spacing, or a group is in two parts."""
    for attribute in ("texts", "groups"):
        seen: dict[str, str] = {}
        for name in ("train", "valid", "test"):
            values = getattr(getattr(split, name), attribute) or ()
            for value in {_folded(v) for v in values}:
                if value in seen:
                    raise LeakError(
                        f"in {seen[value]} and {name}: '{value[:60]}'",
                        field=attribute,
                        remedy="split again with split_labelled",
                    )
                seen[value] = name


def _units(data: Labelled) -> Ints:
    """(N,) number of the unit that each text belongs to and that must not be torn apart."""
    n = len(data)
    first: dict[tuple[str, str], int] = {}
    edges = [first.setdefault(("text", _folded(t)), row) for row, t in enumerate(data.texts)]
    rows = list(range(n))
    if data.groups is not None:
        edges += [first.setdefault(("group", _folded(g)), r) for r, g in enumerate(data.groups)]
        rows += rows
    graph = coo_array((np.ones(len(rows)), (rows, edges)), shape=(n, n))
    found: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return found


def _strata(data: Labelled, units: Ints) -> Iterator[Ints]:
    """Rows whose unit has the same commonest label."""
    counts = np.zeros((units.max(initial=-1) + 1, len(data.names)), dtype=np.int64)
    np.add.at(counts, (units, data.labels), 1)
    stratum = counts.argmax(axis=1)[units]
    for label in range(len(data.names)):
        rows = np.flatnonzero(stratum == label)
        if len(rows):
            yield rows


def _dealt(units: Ints, rng: np.random.Generator, valid: float, test: float) -> Ints:
    """(N,) 0, 1, 2 for training, validation and test: units in random order, laid end to
    end on the unit interval, go where their middle falls."""
    sizes = Counter(units.tolist())
    order = rng.permutation(sorted(sizes))
    lengths = np.asarray([sizes[u] for u in order.tolist()], dtype=np.float64)
    middle = (np.cumsum(lengths) - lengths / 2) / lengths.sum()
    part = np.where(middle < valid, 1, np.where(middle < valid + test, 2, 0))
    found = dict(zip(order.tolist(), part.tolist(), strict=True))
    return np.asarray([found[u] for u in units.tolist()], dtype=np.int64)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _decoded(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            "not UTF-8", path=path, line=line, remedy="save the file as UTF-8"
        ) from error
