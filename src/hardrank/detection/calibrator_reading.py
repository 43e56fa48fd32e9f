"""Profiles as sequences: what the calibrator reads of each event, and the texts of items."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.detection.fits import Misfits, affinity, event_fit, misfit
from hardrank.detection.parts import Log, Numbers, midranks, read
from hardrank.errors import SchemaError
from hardrank.types import Floats, Ints

if TYPE_CHECKING:
    from hardrank.encoders import TextEncoder

__all__ = ["CHANNELS", "Reading", "TextReader", "event_channels", "read_profiles"]

CHANNELS = (
    "misfit", "misfit to previous", "follows", "direction", "item misfit", "popularity",
    "rating", "rating for item", "gap", "place", "length", "text misfit",
    "text misfit to previous",
)  # fmt: skip
"""Of an event, each in [-1, 1], 0 where it cannot be known. By what all other users say: how
badly the item goes with the rest of the profile and with the item before; how seldom the one
comes right after the other; whether they come in the other order more often; how badly the item
goes with all who have it. Its popularity; the rating against the log and against the item's
others; the time since the event before; the place in the profile and the profile's length. By
the texts: how badly the item goes with the rest, and with the item before."""
_READ: "WeakKeyDictionary[Dataset, dict[TextReader, Reading]]" = WeakKeyDictionary()
"""To read a log takes longer than to judge it, and a dataset never changes."""
_SPREAD = 2.5
"""Standard deviations of ratings that fill a channel."""
_BLOCK = 1 << 11
"""Events at a time: their vectors stay near the processor."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Reading:
    """One log, as sequences. No id is kept."""

    channels: Floats
    """(E, C)"""
    items: Ints
    """(E,) rows of `texts`."""
    offsets: Ints
    """(U + 1,) user u's events are offsets[u]:offsets[u + 1], oldest first."""
    texts: Floats
    """(I, D) text vectors less their mean, of length 1, or 0 for an empty text; D is 0 where
    no text is read."""


@dataclass(frozen=True)
class TextReader:
    """Which encoder reads which fields, and where its vectors are kept."""

    encoder: str
    fields: tuple[str, ...]
    max_tokens: int
    cache: Path | None = None

    def __call__(self, dataset: Dataset) -> Floats:
        """(I, D), read-only and the same array for the same texts; D is 0 without fields.

        Raises `SchemaError` for a field that the item table lacks.
        """
        if not self.fields:
            return np.zeros((dataset.n_items, 0), dtype=np.float32)
        missing = [name for name in self.fields if name not in dataset.items.columns]
        if missing:
            raise SchemaError(
                f"the calibrator reads the field '{missing[0]}', which the items of "
                f"{dataset.name} do not have",
                field="fields",
                remedy=f"name fields that they have ({', '.join(dataset.items.columns)}), or "
                "fields = [] for a calibrator that reads no texts",
            )
        return _centred(self, tuple(dataset.texts(self.fields)))

    @property
    def digest(self) -> str:
        """Of the encoder; empty where no text is read."""
        return _loaded(self).digest if self.fields else ""


def read_profiles(dataset: Dataset, reader: TextReader) -> Reading:
    """See `Reading`. Raises `SchemaError` as the reader does."""
    known = _READ.setdefault(dataset, {})
    if reader not in known:
        log, texts = read(dataset), reader(dataset)
        channels = event_channels(log)
        if texts.shape[1]:
            channels[:, -2:] = _text_channels(log, texts)
        known[reader] = Reading(
            channels=channels, items=dataset.event_items, offsets=dataset.offsets, texts=texts
        )
    return known[reader]


def event_channels(log: Log) -> Floats:
    """(E, C) all but what the texts say, which stays 0. Events of a user stand together."""
    before = _before(log)
    odds = affinity(log)
    fit = event_fit(log, odds)
    found = Misfits.of(log, fit)
    follows, direction = _order(log, before)
    columns = [
        _two_sided(found.events),
        _two_sided(misfit(log, _pairs(odds, log, before))),
        _two_sided(misfit(log, follows)),
        direction,
        _two_sided(_ranks_of_items(found.items, log)),
        _two_sided(midranks(log.counts[log.items])),
        *_ratings(log),
        _two_sided(midranks(_gaps(log, before))),
        *_places(log),
    ]
    out = np.zeros((len(log.users), len(CHANNELS)), dtype=np.float32)
    out[:, : len(columns)] = np.column_stack(columns).reshape(len(log.users), len(columns))
    return out


def _before(log: Log) -> Ints:
    """(E,) the event right before of the same user, -1 for his first."""
    at = np.arange(len(log.users))
    first = np.r_[True, log.users[1:] != log.users[:-1]] if len(at) else np.zeros(0, bool)
    return np.where(first, -1, at - 1).astype(np.int64)


def _two_sided(ranks: Numbers) -> Numbers:
    """Ranks in (0, 1) as numbers in (-1, 1); 0 for what is not known."""
    return np.nan_to_num(2 * ranks - 1)


def _pairs(odds: Any, log: Log, before: Ints) -> Numbers:
    """(E,) log-odds of each item and the one before; NaN for a first event or a repeat."""
    out = np.full(len(log.users), np.nan)
    known = np.flatnonzero(before >= 0)
    known = known[log.items[known] != log.items[before[known]]]
    if len(known):
        found = odds[log.items[before[known]], log.items[known]]
        out[known] = np.asarray(found, dtype=np.float64).ravel()
    return out


def _order(log: Log, before: Ints) -> tuple[Numbers, Numbers]:
    """Two of (E,): the log-odds, beyond chance, that the item comes right after the one before,
    NaN for a first event; and by how much more often the two come the other way round, in
    [-1, 1]. Of other users alone, each of whom counts once for a pair.

    With n_ab other users who go from a to b and T such steps in all:
    log((n_ab + 1/2) / (n_a. n_.b / T + 1/2)) and (n_ba - n_ab) / (n_ba + n_ab + 1).
    """
    follows, direction = np.full(len(before), np.nan), np.zeros(len(before))
    at = np.flatnonzero(before >= 0)
    if not len(at):
        return follows, direction
    a, b, size = log.items[before[at]], log.items[at], log.n_items
    keys, of = np.unique(a * size + b, return_inverse=True)
    own = np.unique(log.users[at] * len(keys) + of)
    steps = own % len(keys)  # one for each user and pair
    users = np.bincount(steps, minlength=len(keys)).astype(np.float64)
    out = np.bincount(keys // size, users, minlength=size)
    into = np.bincount(keys % size, users, minlength=size)
    forth = users[of] - 1
    chance = (out[a] - 1) * (into[b] - 1) / max(users.sum() - 1, 1)
    follows[at] = np.log((forth + 0.5) / (chance + 0.5))
    back = _others_back(keys, users, own, log.users[at], (a, b, size))
    direction[at] = np.where(a == b, 0.0, (back - forth) / (back + forth + 1))
    return follows, direction


def _others_back(
    keys: Ints, users: Numbers, own: Ints, who: Ints, pair: tuple[Ints, Ints, int]
) -> Numbers:
    """(E,) other users who go from b to a. own: sorted user * K + number of the pair."""
    a, b, size = pair
    wanted = b * size + a
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    there = keys[place] == wanted
    mine = who * len(keys) + place
    at = np.minimum(np.searchsorted(own, mine), len(own) - 1)
    return np.where(there, users[place] - (own[at] == mine), 0.0)


def _ranks_of_items(scores: Numbers, log: Log) -> Numbers:
    """(E,) the rank of the event's item among items with events."""
    return midranks(np.where(log.counts > 0, scores, np.nan))[log.items]


def _ratings(log: Log) -> tuple[Numbers, Numbers]:
    """Two of (E,): the rating less the log's mean, and less that of the item's other events."""
    rated = ~np.isnan(log.ratings)
    plain = np.zeros(len(log.ratings))
    if not rated.any() or (spread := float(log.ratings[rated].std())) < 1e-9:
        return plain, plain
    away = np.where(rated, (log.ratings - log.ratings[rated].mean()) / (_SPREAD * spread), 0.0)
    n = np.bincount(log.items, rated, minlength=log.n_items)[log.items]
    total = np.bincount(log.items, away, minlength=log.n_items)[log.items]
    others = (total - away) / np.maximum(n - 1, 1)
    apart = np.where(rated & (n > 1), away - others, 0.0)
    return np.clip(away, -1, 1), np.clip(apart, -1, 1)


def _gaps(log: Log, before: Ints) -> Numbers:
    """(E,) seconds since the event before; NaN for a first one and where a time is missing."""
    return np.where(before >= 0, log.times - log.times[before], np.nan)


def _places(log: Log) -> tuple[Numbers, Numbers]:
    """Two of (E,): from -1 for a user's first event to 1 for the last; rank of the length."""
    sizes = np.bincount(log.users, minlength=log.n_users)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.arange(len(log.users)) - starts[log.users]
    last = np.maximum(sizes - 1, 1)[log.users]
    long = midranks(np.where(sizes > 0, sizes.astype(np.float64), np.nan))
    return 2 * place / last - 1, _two_sided(long[log.users])


def _text_channels(log: Log, texts: Floats) -> Floats:
    """(E, 2)"""
    before, vectors = _before(log), texts.astype(np.float64)
    silent = np.abs(texts).max(axis=1) == 0
    profiles = log.matrix @ vectors  # (U, D) sums
    squares, lengths = (vectors**2).sum(1), (profiles**2).sum(1)
    with_self, near = np.empty(len(log.users)), np.empty(len(log.users))
    for start in range(0, len(near), _BLOCK):
        rows = slice(start, start + _BLOCK)
        own = vectors[log.items[rows]]
        with_self[rows] = np.einsum("ed,ed->e", own, profiles[log.users[rows]])
        near[rows] = np.einsum("ed,ed->e", own, vectors[log.items[before[rows]]])
    own_square = squares[log.items]
    others = lengths[log.users] - 2 * with_self + own_square  # of the sum without the item
    rest = (with_self - own_square) / np.sqrt(np.maximum(others, 1e-9))
    nothing = silent[log.items]
    rest[nothing | (log.lengths[log.users] < 2)] = np.nan
    near[nothing | (before < 0) | silent[log.items[before]]] = np.nan
    ranked = [_two_sided(misfit(log, values)) for values in (rest, near)]
    return np.column_stack(ranked).astype(np.float32)


@lru_cache(maxsize=4)
def _centred(reader: TextReader, texts: tuple[str, ...]) -> Floats:
    """(I, D) the mean over the catalogue's texts taken away: what all share says nothing."""
    said = np.asarray([bool(text.strip()) for text in texts])
    distinct: Sequence[str] = sorted({t for t in texts if t.strip()})
    encoder = _loaded(reader)
    if not distinct:
        out = np.zeros((len(texts), encoder.size), dtype=np.float32)
    else:
        place = {text: n for n, text in enumerate(distinct)}
        vectors = encoder.encode(distinct).astype(np.float64)
        whole = vectors[[place.get(text, 0) for text in texts]] * said[:, None]
        away = (whole - whole.sum(0) / said.sum()) * said[:, None]
        length = np.sqrt((away**2).sum(1, keepdims=True))
        out = np.where(length > 1e-6, away / np.maximum(length, 1e-6), 0.0).astype(np.float32)
    out.flags.writeable = False
    return out


@lru_cache(maxsize=1)
def _loaded(reader: TextReader) -> "TextEncoder":
    from hardrank.encoders import load_encoder

    run = RunContext(cache=reader.cache)
    return load_encoder(reader.encoder, max_tokens=reader.max_tokens, run=run)
