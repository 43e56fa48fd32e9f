"""TALLRec: instruction samples for rankers that are language models."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import polars as pl

from hardrank.data.build import build
from hardrank.data.dataset import Dataset
from hardrank.data.options import FileSource
from hardrank.data.quarantine import LINE, Quarantine
from hardrank.data.reading import opened
from hardrank.data.texts import plain
from hardrank.errors import DataError, SchemaError
from hardrank.types import spec

__all__ = ["TallRec"]

_INPUT = re.compile(
    r'User Preference: ?(?P<liked>.*?)\s*\nUser Unpreference: ?(?P<disliked>.*?)\s*\n'
    r'Whether the user will like the target \w+ "(?P<target>.*)"\?\s*$',
    re.DOTALL,
)  # fmt: skip
_NEXT = re.compile(r'(?<="), (?=")')
_BOOK = re.compile(r', (?=")')
_WRITTEN = re.compile(r'^"(?P<title>.*)" written by (?P<author>.*)$', re.DOTALL)


@spec
class TallRec(FileSource):
    """A JSON array of samples `instruction`, `input`, `output` ("Yes." or "No.").

    Bao et al., RecSys 2023, arXiv:2305.00447. The samples do not say whose they are, so each
    is a user of its own, `<file>/<number>`: first the liked titles (rating 1), then the
    disliked (rating 0), then the target with the answer as its rating. There are no times.
    An item is its title (and author: books have `author`); equal wording is the same item.
    """

    kind: Literal["tallrec"] = "tallrec"
    path: Path
    """The JSON file."""

    def load(self) -> Dataset:
        """Raises `DataError` when the file is no JSON array or too many samples are bad."""
        bad = self.aside()
        rows = list(self._rows(bad))
        kinds = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float32, LINE: pl.UInt32}
        events = pl.DataFrame(rows, schema=kinds, orient="row")
        return build(
            f"tallrec-{self.path.parent.name}-{self.path.stem}",
            events,
            bad=bad,
            path=self.path,
            items=_items(events),
            notes=("each sample is a user of its own: liked, disliked titles, then the target",),
        )

    def _rows(self, bad: Quarantine) -> Iterator[tuple[str, str, float, int]]:
        for number, (line, sample) in enumerate(self._samples(), 1):
            bad.saw(self.path, 1)
            try:
                parsed = _parse(sample)
            except (KeyError, TypeError, ValueError) as error:
                bad.put(self.path, line, str(error).strip("'"), field="input",
                        row=json.dumps(sample, ensure_ascii=False))  # fmt: skip
                continue
            for item, rating in parsed:
                yield f"{self.path.stem}/{number}", item, rating, line

    def _samples(self) -> Iterator[tuple[int, Any]]:
        """(line, sample): the array is decoded sample by sample to know where each begins."""
        encoding = self.encoding or "utf-8"
        with opened(self.path) as file:
            try:
                text = file.read().decode(encoding)
            except UnicodeDecodeError as error:
                raise DataError(
                    f"byte {error.start} is not {encoding}", path=self.path,
                    remedy="say the encoding the file has",
                ) from error  # fmt: skip
        decoder, at, line = json.JSONDecoder(), text.find("[") + 1, 1
        if not text.lstrip().startswith("["):
            raise SchemaError("a JSON array of samples is needed", path=self.path, line=1)
        line += text.count("\n", 0, at)
        while True:
            start = _skip(text, at, " \t\r\n,")
            line += text.count("\n", at, start)
            if text[start : start + 1] == "]":
                return
            try:
                sample, at = decoder.raw_decode(text, start)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"is not JSON ({error.msg})", path=self.path, line=error.lineno,
                    remedy="the file may be cut off",
                ) from error  # fmt: skip
            yield line, sample
            line += text.count("\n", start, at)


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def _parse(sample: dict[str, Any]) -> list[tuple[str, float]]:
    found = _INPUT.search(sample["input"])
    answer = str(sample["output"]).strip().rstrip(".").lower()
    if found is None:
        raise ValueError("does not name preferences and a target")
    if answer not in ("yes", "no"):
        raise ValueError("has an output that is neither Yes. nor No.")
    liked, disliked = _titles(found["liked"]), _titles(found["disliked"])
    target = (_item(found["target"]), float(answer == "yes"))
    return [(i, 1.0) for i in liked] + [(i, 0.0) for i in disliked] + [target]


def _titles(text: str) -> list[str]:
    parts = (_BOOK if '" written by ' in text else _NEXT).split(text.strip())
    return [_item(part) for part in parts if part.strip('" ')]


def _item(text: str) -> str:
    book = _WRITTEN.match(text)
    if book:
        return f"{plain(book['title'])} / {plain(book['author'])}"
    return plain(text.removeprefix('"').removesuffix('"'))


def _items(events: pl.DataFrame) -> pl.DataFrame:
    table = events.select(pl.col("item_id").unique(maintain_order=True))
    split = pl.col("item_id").str.extract_groups(r"^(?<title>.*) / (?<author>.*)$").struct
    title = pl.coalesce(split.field("title"), pl.col("item_id"))
    return table.with_columns(title.alias("title"), split.field("author").fill_null(""))
