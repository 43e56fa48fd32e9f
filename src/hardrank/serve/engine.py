"""One loaded bundle over the live catalogue: lists, scores, and items that come and go."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from hardrank.bundle import Bundle, load_bundle
from hardrank.context import RunContext
from hardrank.data import Queries
from hardrank.errors import Unsupported
from hardrank.files import digest_file
from hardrank.guards.base import Shop
from hardrank.guards.pipeline import Pipeline
from hardrank.models.bpr.recommender import BprMfRecommender
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.recommender import best
from hardrank.serve.asks import Ask, Found, Listed, Reason
from hardrank.serve.catalogue import Catalogue, ItemSource, reads
from hardrank.serve.index import Index, build_index
from hardrank.serve.lists import capped, diverse, nearest
from hardrank.serve.ranker_factors import FactorRanker
from hardrank.serve.ranker_sequence import SequenceRanker
from hardrank.serve.ranker_whole import WholeRanker
from hardrank.serve.rankers import Question, Ranker
from hardrank.types import Floats, Ints, Scores

__all__ = ["Engine"]

_REASONS, _LOOKED_AT = 2, 50
"""Reasons for each listed item, and newest items of the history that may be one."""
_CAPPED = 5_000
"""Best items among which a list with a provider cap is chosen."""
_SAMPLE = 200
"""Users that guards may ask about."""
_BUSY = 2.0
"""Seconds after which a new prior is let go: the monitors must not hang with the model."""


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
        self.guard: Pipeline | None = None
        """Of item texts, where the bundle has some."""
        self.looked, self.left = 0, 0
        self.held: tuple[str, ...] = ()
        """What `hardrank.serve.standing` found in the bundle's own texts."""
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
        self._prior: tuple[Ints, Floats] | None = None

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
            scores = self._lifted(self._ranker.scores([self._question(ask)]))[0]
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
            elif row is None or not reads(self.catalogue.fields(row), item.fields):
                self.put_item(item.item_id, item.fields)
                changed += 1
        return changed

    def beyond(self, known: Callable[[str], bool]) -> list[tuple[str, dict[str, str]]]:
        """Live items, with what they say, that are not known elsewhere."""
        with self._lock:
            rows = [n for n, item in enumerate(self.catalogue.ids) if not known(item)]
            rows = [row for row in rows if row not in self.catalogue.dead]
            return [(self.catalogue.ids[row], self.catalogue.fields(row)) for row in rows]

    def forget_user(self, user_id: str) -> int:
        """What the bundle knows of a user is not used any more; how many events that were.
        (The trained weights stay; only another training without them takes their part out.)"""
        with self._lock:
            if user_id in self._forgotten or user_id not in self._users:
                return 0
            self._forgotten.add(user_id)
            self._ranker.forget()
            return len(self.bundle.histories[user_id])

    def set_prior(self, gains: Mapping[str, float]) -> bool:
        """What items gain from now on: 1 lifts an average item to the best score of a request.
        With any of them every item is scored, and no index proposes. False, and nothing is
        changed, where the model is busy for seconds."""
        if not self._lock.acquire(timeout=_BUSY):
            return False
        try:
            rows_of = ((self.catalogue.row(item), gain) for item, gain in gains.items())
            known = {row: gain for row, gain in rows_of if row is not None and gain > 0}
            rows = np.fromiter(known, dtype=np.int64, count=len(known))
            values = np.fromiter(known.values(), dtype=np.float32, count=len(known))
            self._prior = (rows, values) if known else None
        finally:
            self._lock.release()
        return True

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
                if len(rows) and rows[-1] < 0:  # there are no more: the last places are empty
                    inside = rows >= 0
                    rows, scores = rows[inside], scores[inside]
                out[n] = self._listed(asks[n], questions[n], rows, scores)
        return [found for found in out if found is not None]

    def _question(self, ask: Ask) -> Question:
        row = -1
        if ask.user_id is not None and not ask.fresh and ask.user_id not in self._forgotten:
            row = self._users.get(ask.user_id, -1)
        rows = self.catalogue.known(ask.history)
        if self._unrankable:
            rows = [r for r in rows if r not in self._unrankable]
        return Question(tuple(rows), ask.text, row)

    def _wanted(self, ask: Ask) -> int:
        """Candidates to choose from."""
        if ask.per_provider is not None and self._provider is not None:
            return min(len(self.catalogue), max(_CAPPED, 20 * ask.k))
        return max(5 * ask.k, 50) if ask.diversity > 0 else ask.k

    def _barred(self, ask: Ask, question: Question) -> Ints:
        barred = {*self.catalogue.known(ask.exclude), *self._unrankable}
        if ask.exclude_seen:
            barred.update(question.history)
        return np.fromiter(barred, dtype=np.int64, count=len(barred))

    def _alike(self, asks: Sequence[Ask]) -> list[list[int]]:
        """Asks with the same filters, and those that want the whole catalogue apart."""
        if not any(ask.filters or ask.per_provider is not None for ask in asks):
            return [list(range(len(asks)))]
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
        by_index = self._index is not None and self._prior is None
        states = self._ranker.states(questions) if by_index else None
        if self._index is not None and states is not None:
            return self._index.search(states, k, exclude=barred, allowed=allowed)
        scores = self._lifted(self._ranker.scores(questions))
        scores[:, list(self.catalogue.dead)] = -np.inf
        if allowed is not None:
            scores[:, ~allowed] = -np.inf
        for line, rows in zip(scores, barred, strict=True):
            line[rows] = -np.inf
        rows = best(scores, k)
        values = np.take_along_axis(scores, rows, axis=1)
        return np.where(np.isneginf(values), -1, rows), values

    def _lifted(self, scores: Scores) -> Scores:
        """(Q, I) with the gains of `set_prior`."""
        if self._prior is not None:
            rows, gains = self._prior
            for line in scores:
                finite = line[np.isfinite(line)]
                if finite.size:
                    line[rows] += gains * (finite.max() - finite.mean())
        return scores

    def _listed(self, ask: Ask, question: Question, rows: Ints, scores: Floats) -> Found:
        if ask.per_provider is not None or ask.diversity > 0:
            chosen = self._chosen(ask, rows, scores)
            rows, scores = rows[chosen], scores[chosen]
        rows, scores = rows[: ask.k], scores[: ask.k]
        places, values, catalogue = rows.tolist(), scores.tolist(), self.catalogue
        because = self._because(question, rows) if ask.explain else [None] * len(places)
        listed = tuple(
            Listed(catalogue.ids[row], catalogue.title(row), score, why)
            for row, score, why in zip(places, values, because, strict=True)
        )
        said = b"" if ask.explain else self._said(places, values)
        return Found(listed, "model", self.digest[:12], said)

    def _said(self, rows: Sequence[int], scores: Sequence[float]) -> bytes:
        """The answer in JSON, of pieces that are remembered: its texts are the longer part."""
        numbers, opening = orjson.dumps(scores)[1:-1].split(b","), self.catalogue.opening
        items = b"},".join(opening(r) + n for r, n in zip(rows, numbers, strict=False))
        return b'{"items":[%b],"source":"model","bundle":"%b"}' % (
            items + b"}" if rows else b"", self.digest[:12].encode(),
        )  # fmt: skip

    def _chosen(self, ask: Ask, rows: Ints, scores: Floats) -> list[int]:
        """Places of `rows`, in the order in which they are listed."""
        order = list(range(len(rows)))
        if ask.per_provider is not None and self._provider is not None:
            owners = self.catalogue.columns.get(self._provider, [])
            if owners:
                order = list(capped(order, lambda n: owners[int(rows[n])], ask.per_provider))
        if ask.diversity > 0 and order:
            order = self._spread(order[: max(5 * ask.k, 50)], rows, scores, ask)
        return order

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
        ids, titles = self.catalogue.ids, [self.catalogue.title(int(p)) for p in past]
        for n, row in enumerate(rows.tolist()):
            alike = None if left is None or right is None else right @ left[n]
            near = nearest(self.catalogue.title(row), titles, alike, _REASONS)
            like = np.zeros(len(past)) if alike is None else alike
            why = (Reason(ids[int(past[i])], round(float(like[i]), 4), words) for i, words in near)
            out.append(tuple(why))
        return out

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
