"""A generated marketplace in which we know why people buy: the default when there is no data."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import polars as pl
from annotated_types import Ge
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.data.dataset import EVENT_COLUMNS, Dataset
from hardrank.data.sources.marketplace_words import BRANDS, COLOURS, PLACES, STYLES, TOPICS
from hardrank.types import Ints, Natural, NonNegative, Positive, Share, spec

__all__ = ["Marketplace"]

_START = 1_640_995_200  # 1 January 2022
_DAY = 86_400
_COUNTRIES = ("DE", "FR", "IN", "BR", "US")
_CONCEPTS = [(topic, words) for topic, concepts in TOPICS.items() for words in concepts]
_TOPIC_OF = np.repeat(np.arange(len(TOPICS)), [len(c) for c in TOPICS.values()])
_FIRST = np.searchsorted(_TOPIC_OF, np.arange(len(TOPICS)))
_SIZES = np.bincount(_TOPIC_OF)
_NEXT = _FIRST[_TOPIC_OF] + (np.arange(len(_TOPIC_OF)) - _FIRST[_TOPIC_OF] + 1) % _SIZES[_TOPIC_OF]

Reals = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class _Catalogue:
    """(I,) each."""

    concept: Ints
    style: Ints
    seller: Ints
    born: Ints
    popularity: Reals


@spec
class Marketplace:
    """Shoppers, sellers and products, with planted structure. Deterministic by seed.

    A product is a concept of a topic (tent, of hiking) in a style (budget), told in one of
    the concept's synonyms. The log-odds that user u next buys item i are

        taste * (log mixture_u(topic, t) + concept_u + style_u + chain) + log popularity_i

    among the items that are on offer at time t and that u does not own: mixture_u drifts
    over the log, `chain` favours the concept of the last purchase and the one that goes with
    it, and popularity follows Zipf's law. Text tells topic, concept and style and is all a new
    item has; ids can learn them from who bought what.
    """

    kind: Literal["marketplace"] = "marketplace"
    seed: Natural = 0
    """Of the whole world: the same seed, the same data."""
    users: Annotated[int, Ge(2)] = 1200
    """Shoppers."""
    items: Annotated[int, Ge(60)] = 800
    """Listings."""
    median_events: Annotated[int, Ge(3)] = 12
    """Of a user; lengths are log-normal, at least 3."""
    days: Annotated[int, Ge(30)] = 730
    """Length of the log."""
    new_share: Share = 0.05
    """Items that appear in the last twentieth of the log: few or no events."""
    late_share: Share = 0.3
    """Items that appear at any time after the beginning."""
    zipf: NonNegative = 0.6
    """Exponent of popularity: an item's weight is rank ** -zipf."""
    drift: Share = 0.6
    """How far a user's topics move from those of the first to those of the last day."""
    taste: Positive = 1.0
    """Scale of all that is personal; near 0 everybody buys what is popular."""
    minority: Share = 0.3
    """Users in group b, whose topics are rarer ones."""

    def load(self) -> Dataset:
        """Columns of items: `item_id`, `title`, `description`, `categories`, `provider`,
        `born` (unix seconds); of users: `user_id`, `group` (a or b), `country`."""
        things = self._catalogue(self._rng("catalogue"))
        group = (self._rng("groups").random(self.users) < self.minority).astype(np.int64)
        return Dataset(
            name=f"synthetic marketplace (seed {self.seed})",
            users=self._people(group, self._rng("people")),
            items=self._items(things, self._rng("texts")),
            events=self._events(things, group, self._rng("events")),
            synthetic=True,
            notes=(
                "Synthetic: generated with planted tastes; no number on it says anything "
                "about real users.",
            ),
        )

    def _rng(self, part: str) -> np.random.Generator:
        return np.random.default_rng(derive(self.seed, "marketplace", part))

    def _catalogue(self, rng: np.random.Generator) -> _Catalogue:
        n, end = self.items, _START + self.days * _DAY
        concept = rng.permutation(np.arange(n) % len(_CONCEPTS))  # every concept is on offer
        fate = rng.permutation(n) / n
        born = np.full(n, _START)
        late = fate < self.new_share + self.late_share
        born[late] += rng.integers(0, int(0.9 * self.days) * _DAY, int(late.sum()))
        new = fate < self.new_share
        born[new] = end - rng.integers(0, max(1, self.days * _DAY // 20), int(new.sum()))
        return _Catalogue(
            concept=concept,
            style=rng.integers(0, len(STYLES), n),
            seller=_sellers(_TOPIC_OF[concept], rng),
            born=born,
            popularity=(rng.permutation(n) + 1.0).astype(np.float32) ** -self.zipf,
        )

    def _people(self, group: Ints, rng: np.random.Generator) -> pl.DataFrame:
        shares = np.where(group[:, None] == 0, [0.3, 0.3, 0.1, 0.1, 0.2], [0.1, 0.1, 0.3, 0.3, 0.2])
        country = (rng.random((self.users, 1)) > np.cumsum(shares, axis=1)[:, :-1]).sum(axis=1)
        return pl.DataFrame(
            {
                "user_id": [f"user-{n:05}" for n in range(self.users)],
                "group": [("a", "b")[g] for g in group],
                "country": [_COUNTRIES[c] for c in country],
            }
        )

    def _items(self, things: _Catalogue, rng: np.random.Generator) -> pl.DataFrame:
        titles, descriptions, categories = [], [], []
        seen: dict[str, int] = {}
        topics = list(TOPICS)
        for concept, style, draw in zip(
            things.concept, things.style, rng.random((self.items, 7)), strict=True
        ):
            topic, names = _CONCEPTS[concept]
            name, other = _pick(names, draw[0]), _pick(names, draw[1])
            look, same = _pick(STYLES[style], draw[2]), _pick(STYLES[style], draw[3])
            brand = BRANDS[3 * topics.index(topic) + int(draw[4] * 3)]
            title = _title(brand, look, name, _pick(COLOURS, draw[5]), int(draw[6] * 3))
            seen[title] = seen.get(title, 0) + 1
            titles.append(title if seen[title] == 1 else f"{title}, set of {seen[title]}")
            descriptions.append(f"{same.capitalize()} {other} for {PLACES[topic]}.")
            categories.append(topic)
        return pl.DataFrame(
            {
                "item_id": [f"item-{n:05}" for n in range(self.items)],
                "title": titles,
                "description": descriptions,
                "categories": categories,
                "provider": [f"seller-{s:02}" for s in things.seller],
                "born": things.born,
            }
        )

    def _events(self, things: _Catalogue, group: Ints, rng: np.random.Generator) -> pl.DataFrame:
        drawn = rng.lognormal(np.log(self.median_events), 0.55, self.users).round()
        lengths: Ints = np.clip(drawn, 3, self.items // 8).astype(np.int64)
        times = self._times(lengths, rng)
        chosen = self._walk(things, group, lengths, times, rng)
        held = np.arange(times.shape[1]) < lengths[:, None]
        n = int(lengths.sum())
        return pl.DataFrame(
            {
                "user": np.repeat(np.arange(self.users), lengths),
                "item": chosen[held],
                "time": times[held],
                "rating": pl.Series([None] * n, dtype=pl.Float32),
                "weight": np.ones(n),
            },
            schema=EVENT_COLUMNS,
        )

    def _times(self, lengths: Ints, rng: np.random.Generator) -> Ints:
        """(U, L) sorted unix seconds in each user's life, which ends late in the log."""
        life = self.days * _DAY
        start = rng.integers(0, life // 2, self.users)
        end = rng.integers(int(0.7 * life), life, self.users)
        draw = rng.random((self.users, int(lengths.max())))
        draw[np.arange(draw.shape[1]) >= lengths[:, None]] = 1.0
        return _START + start[:, None] + (np.sort(draw) * (end - start)[:, None]).astype(np.int64)

    def _walk(
        self,
        things: _Catalogue,
        group: Ints,
        lengths: Ints,
        times: Ints,
        rng: np.random.Generator,
    ) -> Ints:
        """(U, L) items: everybody's n-th purchase is drawn at once."""
        n_topics, n_concepts = len(TOPICS), len(_CONCEPTS)
        base = np.where(group[:, None] == 0, 1.0, 3.0) ** (np.arange(n_topics) >= 2 * n_topics // 3)
        early, late = (_mixture(base, rng) for _ in range(2))
        concept = rng.normal(0, 0.6, (self.users, n_concepts)).astype(np.float32)
        style = rng.normal(0, 1.5, (self.users, len(STYLES))).astype(np.float32)
        fixed = np.log(things.popularity) + self.taste * style[:, things.style]  # (U, I)
        chosen = np.zeros(times.shape, dtype=np.int64)
        last = np.full(self.users, -1)
        for n in range(times.shape[1]):
            who = np.flatnonzero(lengths > n)
            age = self.drift * (times[who, n] - _START) / (self.days * _DAY)
            mixture = (1 - age)[:, None] * early[who] + age[:, None] * late[who]
            odds = self.taste * (np.log(mixture)[:, _TOPIC_OF] + concept[who])  # (who, concepts)
            goes = last[who] >= 0
            odds[goes, _NEXT[last[who][goes]]] += 3.5 * self.taste
            odds[goes, last[who][goes]] += 4.0 * self.taste
            logits = odds.astype(np.float32)[:, things.concept] + fixed[who]
            logits[things.born > times[who, n][:, None]] = -np.inf
            item = _draw(logits, rng)
            chosen[who, n], last[who] = item, things.concept[item]
            fixed[who, item] = -np.inf  # owned
        return chosen


def _mixture(base: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(U, topics), rows sum to 1: a few topics each, no topic impossible."""
    weights = rng.gamma(0.08, size=base.shape) * base + 1e-3
    total: NDArray[np.float64] = weights.sum(axis=1, keepdims=True)
    return weights / total


def _draw(logits: Reals, rng: np.random.Generator) -> Ints:
    """(N,) one column of each row, with probability softmax(logits)."""
    weight = np.exp(logits - logits.max(axis=1, keepdims=True))
    total = np.cumsum(weight, axis=1, dtype=np.float64)
    # [0, 1) times the total is below the total, so an item of weight 0 is never drawn
    passed: Ints = (total <= rng.random((len(logits), 1)) * total[:, -1:]).sum(axis=1)
    return passed


def _sellers(topics: Ints, rng: np.random.Generator) -> Ints:
    """(I,) a few big sellers of everything, many small ones of one to three topics."""
    n = 60
    weight = np.arange(1, n + 1) ** -0.6
    serves = rng.random((n, len(TOPICS))) < 2 / len(TOPICS)
    serves[:4] = True
    return _draw(np.log(np.where(serves.T[topics], weight, 1e-9)).astype(np.float32), rng)


def _pick(words: tuple[str, ...], draw: float) -> str:
    return words[int(draw * len(words))]


def _title(brand: str, look: str, name: str, colour: str, form: int) -> str:
    if form == 0:
        return f"{brand} {look} {name}, {colour}"
    if form == 1:
        return f"{look.capitalize()} {name} by {brand}, {colour}"
    return f"{brand} {name}, {look}, {colour}"
