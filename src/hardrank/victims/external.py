"""A recommender that is asked, not held: what lies behind a line, as a `Recommender`."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Queries, Slate, render
from hardrank.errors import Unsupported
from hardrank.files import digest_bytes
from hardrank.recommender import best, mask_seen
from hardrank.types import Floats, Ints, Knowledge, Ranks, Scores
from hardrank.victims.line import Asked, Line, Offer

__all__ = ["External"]

_TILE = 16 * 2**20
"""Bytes of scores of the whole catalogue that are held at a time where places are compared."""


@dataclass(frozen=True, eq=False, kw_only=True)
class External:
    """Somebody else's ranker over one catalogue; nothing of it is here, so it has no arrays.

    A victim that answers scores is asked for each slate as it is. One that answers ranks is
    asked to rank the whole catalogue, and the score of an item is minus its place, from 0.
    For a rewritten item it is asked to rank the whole catalogue with that one text changed;
    the score is then half-way between the two neighbours in the ranking as it stands, so
    that ranks among the standing items come out exactly.
    """

    items: pl.DataFrame
    users: Sequence[str]
    """User ids by user row."""
    line: Line
    fields: tuple[str, ...] = ("title",)

    @property
    def grants(self) -> Knowledge:
        """The most that an attacker can be shown."""
        return self.line.answers

    def fingerprint(self) -> str:
        """Of the answers to a fixed probe, asked once for the audit, and of the catalogue."""
        return self._digest

    def score(self, queries: Queries, slate: Slate) -> Scores:
        """(Q, I). Raises `Unsupported` for a rewritten field that the victim is not sent, and
        `VictimError` when it does not answer as agreed."""
        if slate.texts is not None and slate.field not in self.fields:
            raise Unsupported(
                f"the victim is not sent the field '{slate.field}', only "
                f"{', '.join(self.fields)}; add it to victim.fields"
            )
        out = np.empty((len(queries), len(slate)), dtype=np.float32)
        if self.line.answers == "ranks":
            for part in self._tiles(len(queries)):
                self._placed(queries.take(part), slate, out[part[0] : part[-1] + 1])
            return out
        asked, width = self._asked(queries), self.line.candidates
        for start in range(0, len(slate), width):
            columns = slice(start, start + width)
            out[:, columns] = self.line.rows(asked, self._offer(slate, columns))
        return out

    def top(self, queries: Queries, k: int) -> Ranks:
        every = Slate(items=np.arange(self.items.height, dtype=np.int64))
        out = np.empty((len(queries), min(k, len(every))), dtype=np.int64)
        for part in self._tiles(len(queries)):
            chunk = queries.take(part)
            out[part] = best(mask_seen(self.score(chunk, every), chunk), k)
        return out

    def on(self, items: pl.DataFrame) -> Self:
        """The same victim, asked with the texts of `items`."""
        return replace(self, items=items)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Nothing: see `fingerprint`."""
        return {}

    def _placed(self, queries: Queries, slate: Slate, out: Scores) -> None:
        """Fill `out` (Q, I) with scores that stand for places in the whole catalogue."""
        asked = self._asked(queries)
        every = Slate(items=np.arange(self.items.height, dtype=np.int64))
        standing = self.line.rows(asked, self._offer(every, slice(None)))
        out[:] = standing[:, slate.items]
        if slate.texts is None:
            return
        own = self._texts[slate.field]
        descending = -np.sort(-standing, axis=1)
        for n, (row, text) in enumerate(zip(slate.items.tolist(), slate.texts, strict=True)):
            if text != own[row]:
                offer = self._rewritten(every, row, slate.field, text)
                place = -self.line.rows(asked, offer, only=row)[:, 0]
                out[:, n] = _between(descending, standing[:, row], place)

    def _rewritten(self, every: Slate, row: int, field: str, text: str) -> Offer:
        """The whole catalogue with one text changed."""
        texts = list(self._texts[field])
        texts[row] = text
        changed = Slate(items=every.items, texts=tuple(texts), field=field)
        return self._offer(changed, slice(None))

    def _asked(self, queries: Queries) -> Asked:
        ids, people = self._ids, self.users
        return Asked(
            histories=[[ids[i] for i in queries.history(q).tolist()] for q in range(len(queries))],
            users=[people[u] if u >= 0 else None for u in queries.users.tolist()],
        )

    def _offer(self, slate: Slate, columns: slice) -> Offer:
        """Candidates as the victim sees them. One whose text is the standing one is the
        standing candidate, so that a slate with and without its own texts is one question."""
        rows = slate.items[columns].tolist()
        items, prints = [self._cells[r] for r in rows], self._prints[slate.items[columns]]
        for n, text in enumerate(slate.texts[columns] if slate.texts is not None else ()):
            if text != self._texts[slate.field][rows[n]]:
                items[n] = {**items[n], "text": {**items[n]["text"], slate.field: text}}
                prints[n] = _print(items[n])
        return Offer(items=items, digest=digest_bytes(prints.tobytes()).encode())

    def _tiles(self, count: int) -> Iterator[Ints]:
        rows = max(16, _TILE // (4 * max(self.items.height, 1)))
        for start in range(0, count, rows):
            yield np.arange(start, min(start + rows, count))

    @cached_property
    def _ids(self) -> list[str]:
        return self.items["item_id"].to_list()

    @cached_property
    def _texts(self) -> dict[str, list[str]]:
        return {field: render(self.items, (field,)) for field in self.fields}

    @cached_property
    def _cells(self) -> list[dict[str, Any]]:
        return [
            {"item_id": name, "text": {field: self._texts[field][n] for field in self.fields}}
            for n, name in enumerate(self._ids)
        ]

    @cached_property
    def _prints(self) -> NDArray[np.uint8]:
        """(I, 32) digest of each candidate."""
        return np.stack([_print(cell) for cell in self._cells])

    @cached_property
    def _digest(self) -> str:
        return digest_bytes(self.line.identity.encode(), self.items.write_ndjson().encode())


def _print(cell: dict[str, Any]) -> NDArray[np.uint8]:
    text = json.dumps(cell, sort_keys=True).encode()
    return np.frombuffer(bytes.fromhex(digest_bytes(text)), dtype=np.uint8)


def _between(descending: Scores, own: Floats, place: Floats) -> Floats:
    """(Q,) a score that leaves exactly as many of the other items above it as stood above the
    rewritten item, ties counting as above.

    descending: (Q, I) each row of the standing scores, best first; own: (Q,) the item's own
    among them; place: (Q,) items above it after the rewrite, I where it is not in the list.
    A mean place between two whole ones is rounded down the list.
    """
    count = descending.shape[1]
    rows = np.arange(len(descending))
    at = (descending > own[:, None]).sum(axis=1)  # where the item itself stands
    above = np.minimum(np.ceil(place), count).astype(np.int64)

    def other(n: NDArray[np.int64]) -> Floats:
        """The n-th best (from 0) of the other items."""
        inside = np.clip(n + (n >= at), 0, count - 1)
        return np.asarray(descending[rows, inside], dtype=np.float32)

    floor = np.float32(-count)
    first = np.where(above == 0, other(np.zeros_like(at)) + 1, other(above - 1))
    after = np.where(above >= count - 1, floor, other(above))
    return np.where(above >= count, floor, (first + after) / 2).astype(np.float32)
