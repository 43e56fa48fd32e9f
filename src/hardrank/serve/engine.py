"""One loaded bundle over the live catalogue: lists, scores, and items that come and go."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.bundle import Bundle, load_bundle
from hardrank.context import RunContext
from hardrank.data import Queries
from hardrank.errors import Unsupported
from hardrank.files import digest_file
from hardrank.guards.base import Shop
from hardrank.models.bpr.recommender import BprMfRecommender
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.recommender import best
from hardrank.serve.asks import Ask, Found, Listed, Reason
from hardrank.serve.catalogue import Catalogue
from hardrank.serve.index import Index, build_index
from hardrank.serve.lists import capped, diverse, shared_words
from hardrank.serve.ranker_factors import FactorRanker
from hardrank.serve.ranker_sequence import SequenceRanker
from hardrank.serve.ranker_whole import WholeRanker
from hardrank.serve.rankers import Question, Ranker
from hardrank.types import Floats, Ints

__all__ = ["Engine", "ItemSource"]

_REASONS, _LOOKED_AT = 2, 50
"""Reasons for each listed item, and newest items of the history that may be one."""
_CAPPED = 5_000
"""Best items among which a list with a provider cap is chosen."""
_SAMPLE = 200
"""Users that guards may ask about."""


class ItemSource(Protocol):
    """As much of a stored item as the engine reads."""

    @property
    def item_id(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, str]: ...


class Engine:
    """Safe for threads: one lock guards the catalogue, the model and the index; encoding the
    text of a new item happens outside it."""

    def __init__(
        self, bundle: Bundle, *, digest: str = "", provider: str | None = None,
        exact: int = 100_000,
    ) -> None:  # fmt: skip
        """provider: column of the item table that names the seller. exact: items up to which
        all are scored; beyond, an index proposes."""
        self.bundle, self.digest, self._provider = bundle, digest, provider
        self._lock = threading.RLock()
        self.catalogue = Catalogue(bundle.recommender.items)
        self._ranker = _ranker(bundle, self.catalogue)
        self._users = {user: row for row, user in enumerate(bundle.histories)}
        self._forgotten: set[str] = set()
        vectors = self._ranker.vectors()
        self._index: Index | None = None
        if vectors is not None:
            self._index = build_index(vectors, exact_up_to=exact, sample=self._states_sample())
        self._unrankable: set[int] = set()
        """Rows that the model has nothing for: they wait for the next training."""
        self._shoppers: tuple[int, Ints, Queries] | None = None

    @classmethod
    def load(
        cls, folder: Path | str, run: RunContext | None = None, *, provider: str | None = None,
        exact: int = 100_000,
    ) -> "Engine":  # fmt: skip
        """Raises `BundleError` when the bundle is incomplete, altered or of another format."""
        bundle = load_bundle(folder, run)
        digest = digest_file(Path(folder) / "SHA256SUMS")
        return cls(bundle, digest=digest, provider=provider, exact=exact)

    @property
    def reads_text(self) -> bool:
        return self._ranker.reads_text

    @property
    def live_items(self) -> int:
        return self.catalogue.live

    @property
    def version(self) -> int:
        """Grows with every change of the catalogue and every forgotten user."""
        return self.catalogue.version + len(self._forgotten)

    def bundled_history(self, user_id: str) -> list[str]:
        """Item ids of the training log, oldest first; none of a user who was forgotten."""
        if user_id in self._forgotten:
            return []
        return list(self.bundle.histories.get(user_id, ()))

    # Lists

    def recommend(self, asks: Sequence[Ask]) -> list[Found | Unsupported]:
        """One answer for each ask, in order, all by one pass of the model. An ask that the
        model cannot answer gets `Unsupported` in its place."""
        if not self._ranker.reads_text and any(ask.text is not None for ask in asks):
            plain = [a for a in asks if a.text is None]
            found = iter(self.recommend(plain))
            refused = Unsupported("this model cannot be asked in words; give a user or a history")
            return [refused if a.text is not None else next(found) for a in asks]
        with self._lock:
            return list(self._answers(asks)) if asks else []

    def score(self, ask: Ask, items: Sequence[str]) -> list[float | None]:
        """In the order of `items`; None for one that is not live or cannot be ranked. Raises
        `Unsupported` for a text where the model reads none."""
        if ask.text is not None and not self._ranker.reads_text:
            raise Unsupported("this model cannot be asked in words; give a user or a history")
        with self._lock:
            scores = self._ranker.scores([self._question(ask)])[0]
            rows = [self.catalogue.row(item_id) for item_id in items]
            found = [
                None if row is None or row in self._unrankable else float(scores[row])
                for row in rows
            ]
            return [None if s is None or not np.isfinite(s) else s for s in found]

    # Items and users

    def put_item(self, item_id: str, fields: Mapping[str, str]) -> bool:
        """The item reads so from now on; whether it can be listed (at once)."""
        with self._lock:
            row = self.catalogue.row(item_id)
            whole = {**(self.catalogue.fields(row) if row is not None else {}), **fields}
        read = self._ranker.read(whole)  # the slow part: lists go on meanwhile
        with self._lock:
            row = self.catalogue.put(item_id, fields)
            rankable = self._ranker.put(row, self.catalogue.fields(row), read)
            if rankable:
                self._unrankable.discard(row)
            else:
                self._unrankable.add(row)
            self._reindex(row, rankable)
            return rankable

    def remove_item(self, item_id: str) -> bool:
        """Whether it was live; it is listed no more."""
        with self._lock:
            row = self.catalogue.remove(item_id)
            if row is not None and self._index is not None:
                self._index.remove(row)
            return row is not None

    def overlay(self, items: Iterable[ItemSource]) -> int:
        """Bring the bundle's catalogue to what the store holds; how many items changed."""
        changed = 0
        for item in items:
            row = self.catalogue.row(item.item_id)
            if item.state != "live":
                changed += self.remove_item(item.item_id)
            elif row is None or not _reads(self.catalogue.fields(row), item.fields):
                self.put_item(item.item_id, item.fields)
                changed += 1
        return changed

    def forget_user(self, user_id: str) -> int:
        """What the bundle knows of a user is not used any more; how many events that were.
        (The trained weights stay; only another training without them takes their part out.)"""
        with self._lock:
            if user_id in self._forgotten or user_id not in self._users:
                return 0
            self._forgotten.add(user_id)
            return len(self.bundle.histories[user_id])

    def shop(self) -> Shop:
        """What guards may ask: the bundle's catalogue as it reads now, and a sample of users."""
        with self._lock:
            model = self.bundle.recommender
            items = self.catalogue.frame()[: model.items.height]
            if self._shoppers is None or self._shoppers[0] != len(self._forgotten):
                self._shoppers = (len(self._forgotten), self._counts(), self._sample())
            _, counts, sample = self._shoppers
        return Shop(items=items, counts=counts, recommender=model, queries=sample)

    # Inside

    def _answers(self, asks: Sequence[Ask]) -> list[Found]:
        questions = [self._question(ask) for ask in asks]
        wanted = [self._wanted(ask) for ask in asks]
        barred = [self._barred(ask, q) for ask, q in zip(asks, questions, strict=True)]
        out: list[Found | None] = [None] * len(asks)
        for members in self._alike(asks):
            allowed = self.catalogue.allowed(asks[members[0]].filters)
            most = max(wanted[n] for n in members)
            found = self._candidates(
                [questions[n] for n in members], most, [barred[n] for n in members], allowed
            )
            for n, rows, scores in zip(members, *found, strict=True):
                inside = rows >= 0
                out[n] = self._listed(asks[n], questions[n], rows[inside], scores[inside])
        return [found for found in out if found is not None]

    def _question(self, ask: Ask) -> Question:
        row = -1
        if ask.user_id is not None and not ask.fresh and ask.user_id not in self._forgotten:
            row = self._users.get(ask.user_id, -1)
        rows = [r for r in self.catalogue.known(ask.history) if r not in self._unrankable]
        return Question(tuple(rows), ask.text, row)

    def _wanted(self, ask: Ask) -> int:
        """Candidates to choose from."""
        if ask.per_provider is not None and self._provider is not None:
            return min(len(self.catalogue), max(_CAPPED, 20 * ask.k))
        return max(5 * ask.k, 50) if ask.diversity > 0 else ask.k

    def _barred(self, ask: Ask, question: Question) -> Ints:
        barred = [*self.catalogue.known(ask.exclude), *self._unrankable]
        if ask.exclude_seen:
            barred += question.history
        return np.unique(np.asarray(barred, dtype=np.int64))

    def _alike(self, asks: Sequence[Ask]) -> list[list[int]]:
        """Asks with the same filters, and those that want the whole catalogue apart."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for n, ask in enumerate(asks):
            filters = tuple((c, ask.filters[c]) for c in sorted(ask.filters))
            groups.setdefault((filters, ask.per_provider is not None), []).append(n)
        return list(groups.values())

    def _candidates(
        self,
        questions: Sequence[Question],
        k: int,
        barred: Sequence[Ints],
        allowed: NDArray[np.bool_] | None,
    ) -> tuple[Ints, Floats]:
        """((Q, K) rows, -1 where there are no more, (Q, K) scores), best first."""
        k = min(k, len(self.catalogue))
        states = self._ranker.states(questions) if self._index is not None else None
        if self._index is not None and states is not None:
            return self._index.search(states, k, exclude=barred, allowed=allowed)
        scores = self._ranker.scores(questions)
        scores[:, list(self.catalogue.dead)] = -np.inf
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        for line, rows in zip(scores, barred, strict=True):
            line[rows] = -np.inf
        rows = best(scores, k)
        values = np.take_along_axis(scores, rows, axis=1)
        return np.where(np.isneginf(values), -1, rows), values

    def _listed(self, ask: Ask, question: Question, rows: Ints, scores: Floats) -> Found:
        order = list(range(len(rows)))
        if ask.per_provider is not None and self._provider is not None:
            owners = self.catalogue.columns.get(self._provider, [])
            if owners:
                order = list(capped(order, lambda n: owners[int(rows[n])], ask.per_provider))
        if ask.diversity > 0 and order:
            order = self._spread(order[: max(5 * ask.k, 50)], rows, scores, ask)
        chosen = order[: ask.k]
        because = self._because(question, rows[chosen]) if ask.explain else None
        ids, listed = self.catalogue.ids, []
        for n, place in enumerate(chosen):
            row = int(rows[place])
            reasons = None if because is None else because[n]
            listed.append(
                Listed(ids[row], self.catalogue.title(row), float(scores[place]), reasons)
            )
        return Found(tuple(listed), "model", self.digest[:12])

    def _spread(self, order: list[int], rows: Ints, scores: Floats, ask: Ask) -> list[int]:
        units = self._ranker.units(rows[order])
        if units is None:
            return order
        picked = diverse(scores[order], units, ask.k, ask.diversity)
        return [order[n] for n in picked]

    def _because(self, question: Question, rows: Ints) -> list[tuple[Reason, ...]]:
        """For each row the nearest items of the history by the model's vectors, else those
        with most words in common; none where nothing is alike."""
        past = np.asarray(list(dict.fromkeys(question.history[-_LOOKED_AT:])), dtype=np.int64)
        past = np.asarray([row for row in past if row not in self.catalogue.dead], dtype=np.int64)
        out: list[tuple[Reason, ...]] = []
        left, right = self._ranker.units(rows), self._ranker.units(past)
        for n, row in enumerate(rows.tolist()):
            text = self._text(row)
            words = [shared_words(text, self._text(int(p))) for p in past]
            alike = np.zeros(len(past)) if left is None or right is None else right @ left[n]
            worth = alike if left is not None else np.asarray([float(len(w)) for w in words])
            near = [i for i in np.argsort(-worth, kind="stable")[:_REASONS] if worth[i] > 0]
            ids = self.catalogue.ids
            out.append(
                tuple(Reason(ids[int(past[i])], round(float(alike[i]), 4), words[i]) for i in near)
            )
        return out

    def _text(self, row: int) -> str:
        return self.catalogue.title(row)

    def _reindex(self, row: int, rankable: bool) -> None:
        if self._index is None:
            return
        vectors = self._ranker.vectors()
        if vectors is None:
            self._index = None  # scores are no inner products any more
        elif rankable and row < len(vectors):
            self._index.put(row, vectors[row])

    def _states_sample(self) -> Floats | None:
        histories = [h for h in list(self.bundle.histories.values())[:500] if h]
        if not histories:
            return None
        return self._ranker.states([Question(tuple(self.catalogue.known(h))) for h in histories])

    def _sample(self) -> Queries:
        users = [u for u in self.bundle.histories if u not in self._forgotten]
        step = max(1, len(users) // _SAMPLE)
        users = users[::step][:_SAMPLE]
        height = self.bundle.recommender.items.height
        histories = [
            [r for r in self.catalogue.known(self.bundle.histories[u]) if r < height] for u in users
        ]
        return Queries.of(histories, users=[self._users[u] for u in users])

    def _counts(self) -> Ints:
        """(I,) events of the bundle's log, without those of forgotten users."""
        out = np.zeros(self.bundle.recommender.items.height, dtype=np.int64)
        for user, history in self.bundle.histories.items():
            if user not in self._forgotten:
                np.add.at(out, self.catalogue.known(history), 1)
        return out


def _ranker(bundle: Bundle, catalogue: Catalogue) -> Ranker:
    model = bundle.recommender
    if isinstance(model, SequenceRecommender):
        return SequenceRanker(model)
    if isinstance(model, BprMfRecommender):
        return FactorRanker(model)
    frame: Callable[[], pl.DataFrame] = catalogue.frame
    return WholeRanker(model, bundle.spec, frame)


def _reads(stands: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(stands.get(name) == text for name, text in wanted.items())
