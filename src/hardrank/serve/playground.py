"""What an edit of a listing would do to its ranks, on the live model and on an undefended one.

Nothing is stored, no item changes, and no attack is searched for: a person edits, the numbers
follow. The other items count as the bundle has them; the edited one as it stands now.
"""

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from hardrank.bundle import load_bundle
from hardrank.data import Queries, Slate
from hardrank.errors import HardrankError
from hardrank.guards.base import Shop
from hardrank.guards.exposure_view import ExposureView
from hardrank.recommender import Recommender, mask_seen
from hardrank.serve.engine import Engine
from hardrank.serve.logs import LOGGER, tell
from hardrank.types import Floats, Ints, Scores

__all__ = ["SAMPLE", "Person", "Placed", "Playground", "TrialModel", "Tried", "sampled"]

ControlState = Literal["none", "loading", "ready", "failed"]
SAMPLE = 200
"""Users whose lists stand for all."""
_CELLS = 1 << 22
"""Scores held at once: 16 MiB of float32."""
_PROBES = 16
"""Users asked to find out which columns a model reads."""


@dataclass(frozen=True)
class Person:
    """Whose list an item may enter."""

    user_id: str
    history: tuple[str, ...]
    """Item ids, oldest first."""
    fresh: bool = False
    """Whether some of the history is newer than the training."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Where one text puts its item, person by person."""

    scores: Floats
    """(Q,)"""
    ranks: Ints
    """(Q,) from 1, among what the person has not had; 0 where it is in the history."""

    def exposure(self, k: int, people: slice) -> float | None:
        """Share of those people who have not had the item whose top k holds it; None where
        all have had it."""
        ranks = self.ranks[people]
        free = int((ranks > 0).sum())
        return None if not free else float(((ranks > 0) & (ranks <= k)).sum() / free)


@dataclass(frozen=True, eq=False)
class Tried:
    """One item on one model, before and after an edit."""

    before: Placed
    after: Placed
    known: bool
    """False for an item newer than the training: it is scored in the place of the trained one
    with fewest events."""
    reads: tuple[str, ...]
    """Columns of text that the model reads."""


class TrialModel:
    """A trained model that texts are tried on. Not safe for threads."""

    def __init__(self, recommender: Recommender, histories: Mapping[str, Sequence[str]]) -> None:
        self._model = recommender
        self._rows = {name: n for n, name in enumerate(recommender.items["item_id"].to_list())}
        self._users = {user: n for n, user in enumerate(histories)}
        counts = np.zeros(len(self._rows), dtype=np.int64)
        for past in histories.values():
            np.add.at(counts, self._known(past), 1)
        self._stand_in = int(counts.argmin())
        some = [Person(user, tuple(past)) for user, past in islice(histories.items(), _PROBES)]
        self._probes = self._queries(some or [Person("", ())])

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Columns of text whose change moves a score."""
        shop = Shop(items=self._model.items, recommender=self._model, queries=self._probes)
        return ExposureView.of(shop, 1, _PROBES).reads

    def tried(
        self,
        item_id: str,
        before: Mapping[str, str],
        after: Mapping[str, str],
        people: Sequence[Person],
        gone: Iterable[str] = (),
    ) -> Tried:
        """before, after: texts of the item by column. gone: ids of items that are not listed
        any more."""
        queries, row = self._queries(people), self._rows.get(item_id)
        place = self._stand_in if row is None else row
        barred = np.unique(np.asarray([place, *self._known(gone)], dtype=np.int64))
        own = [self._scores(queries, row, place, texts) for texts in (before, after)]
        ranks = self._ranks(queries, place, barred, own)
        if row is not None:
            had = queries.owners[queries.items == row]
            for line in ranks:
                line[had] = 0
        was, now = (Placed(s, r) for s, r in zip(own, ranks, strict=True))
        return Tried(was, now, row is not None, self.reads)

    def _queries(self, people: Sequence[Person]) -> Queries:
        users = [-1 if p.fresh else self._users.get(p.user_id, -1) for p in people]
        return Queries.of([self._known(p.history) for p in people], users=users)

    def _known(self, item_ids: Iterable[str]) -> list[int]:
        return [self._rows[name] for name in item_ids if name in self._rows]

    def _scores(
        self, queries: Queries, row: int | None, place: int, texts: Mapping[str, str]
    ) -> Floats:
        """(Q,) of the item if it read so."""
        items, changed = self._model.items, dict[str, str]()
        for column in self.reads:
            stands = str(items[column][place] or "")
            text = texts.get(column, stands if row is not None else "")
            if text != stands:
                changed[column] = text
        model, at = self._model, np.array([place])
        if not changed:
            return _finite(model.score(queries, Slate(items=at)))[:, 0]
        *others, last = changed  # a slate rewrites one column: the rest needs a catalogue
        if others:
            model = model.on(_rewritten(items, place, {c: changed[c] for c in others}))
        slate = Slate(items=at, texts=(changed[last],), field=last)
        return _finite(model.score(queries, slate))[:, 0]

    def _ranks(
        self, queries: Queries, place: int, barred: Ints, own: Sequence[Floats]
    ) -> list[Ints]:
        """(Q,) for each of `own`; ties go to the lower row, as in a list."""
        n, out = self._model.items.height, [np.ones(len(queries), dtype=np.int64) for _ in own]
        lower = np.arange(n) < place
        step = max(1, _CELLS // n)
        for start in range(0, len(queries), step):
            part = slice(start, min(start + step, len(queries)))
            asked = queries.take(np.arange(part.start, part.stop))
            scores = mask_seen(_finite(self._model.score(asked, Slate(items=np.arange(n)))), asked)
            scores[:, barred] = -np.inf
            for ranks, mine in zip(out, own, strict=True):
                level = mine[part, None]
                above = (scores > level) | ((scores == level) & lower & np.isfinite(scores))
                ranks[part] += above.sum(axis=1)
        return out


class Playground:
    """The two models of a service: the live one, asked on a thread of the caller's choice, and
    an undefended one, loaded on first use by a thread of its own."""

    def __init__(self, control: str | None) -> None:
        """control: folder of the undefended model's bundle."""
        self._folder = None if control is None else Path(control)
        self.thread = ThreadPoolExecutor(1, "playground")
        self.control_state: ControlState = "none" if control is None else "loading"
        self._control: TrialModel | None = None
        self._asked = False
        self._lock = threading.Lock()
        self._live: tuple[Engine, TrialModel] | None = None
        self.trying = 0
        """Edits that are worked on; counted by whoever asks, on one thread."""

    def live(self, engine: Engine) -> TrialModel:
        """Of the engine; the same as long as the engine is."""
        with self._lock:
            if self._live is None or self._live[0] is not engine:
                made = TrialModel(engine.bundle.recommender, engine.bundle.histories)
                self._live = (engine, made)
            return self._live[1]

    def control(self) -> TrialModel | None:
        """To be asked on `thread`; None while it is loading (the first call begins that), and
        where there is none."""
        with self._lock:
            if self._folder is not None and not self._asked:
                self._asked = True
                self.thread.submit(self._load, self._folder)
        return self._control

    def close(self) -> None:
        self.thread.shutdown(wait=False, cancel_futures=True)

    def _load(self, folder: Path) -> None:
        try:
            bundle = load_bundle(folder)
            self._control = TrialModel(bundle.recommender, bundle.histories)
            self.control_state = "ready"
        except (HardrankError, OSError) as error:
            self.control_state = "failed"
            tell("control-not-loaded", level=logging.ERROR, kind=type(error).__name__)
        except Exception:
            self.control_state = "failed"
            LOGGER.exception("control-not-loaded")


def sampled(engine: Engine) -> list[Person]:
    """Evenly spaced users of the bundle, none forgotten."""
    users = list(engine.bundle.histories)
    some = users[:: max(1, len(users) // SAMPLE)][:SAMPLE]
    found = [Person(user, tuple(engine.bundled_history(user))) for user in some]
    return [person for person in found if person.history]


def _finite(scores: Scores) -> Scores:
    """A copy in which a score that is not a number is below all others."""
    made = np.asarray(scores, dtype=np.float32)
    return np.where(np.isnan(made), np.float32(-np.inf), made)


def _rewritten(items: pl.DataFrame, row: int, texts: Mapping[str, str]) -> pl.DataFrame:
    for column, text in texts.items():
        values = items[column].to_list()
        values[row] = text
        items = items.with_columns(pl.Series(column, values, dtype=pl.Utf8))
    return items
