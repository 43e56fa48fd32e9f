"""A trained sequence model over one catalogue."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardrank.data import Queries, Slate
from hardrank.errors import Unsupported
from hardrank.models.common import same_items, slate_texts, top_of, whole
from hardrank.models.sequence import losses, surfaces, wording
from hardrank.models.sequence.alignment import Alignment
from hardrank.models.sequence.network import SequenceNetwork
from hardrank.models.sequence.texts import TextSource
from hardrank.recommender import Forecast, LossSurface, Relaxed, TextGradient
from hardrank.types import Floats, GoalKind, Ints, RankingLoss, Ranks, Scores, Site

__all__ = ["SequenceRecommender"]

_REMEMBERED = 4
"""Query sets whose states are kept: an attack asks about one panel again and again."""


@dataclass(eq=False)
class _Read:
    """What the network makes of some queries."""

    states: Tensor
    """(Q, D)"""
    by_text: Tensor | None
    """(Q, D) states of the text head."""
    lengths: Tensor
    """(Q,)"""
    alignment: Alignment | None = None
    doors: Tensor | None = None
    """(Q, 2) see `losses.doors`."""


class SequenceRecommender:
    """`hardrank.recommender.Recommender` and `Differentiable`.

    known: (I,) training events per item; an item with none is cold: it is ranked by its
    text alone. A query without history is answered by popularity.
    """

    def __init__(
        self,
        network: SequenceNetwork,
        items: pl.DataFrame,
        counts: Ints,
        source: TextSource | None,
        length: int,
        texts: Tensor | None = None,
    ) -> None:
        """texts: (I, X) whitened text vectors of `items`, if at hand."""
        self.network, self.source, self.length = network.eval(), source, length
        self._items, self.counts = items, counts
        self._known = torch.from_numpy(counts > 0)
        self._reads: OrderedDict[str, _Read] = OrderedDict()
        self._slates: WeakKeyDictionary[Slate, tuple[Tensor, Tensor | None]] = WeakKeyDictionary()
        self.earned = None if network.influence is None else network.influence.serving(counts)
        """(I,) what each item's events add to its scores, or None."""
        if source is not None and texts is None:
            texts = source(slate_texts(items, whole(items), source.fields))
        self._place(texts)

    def _place(self, texts: Tensor | None) -> None:
        """Fill the tables of the whole catalogue from the network's tables of known items."""
        with torch.no_grad():
            size = self.network.transformer.positions.shape[1]
            self._ids = torch.zeros(len(self.counts), size)
            if self.network.tower.ids is not None:
                self._ids[self._known] = self.network.tower.ids
            self._by_text = self.network.tower.from_text(texts) if texts is not None else None
            self._vectors = self._ids if self._by_text is None else self._ids + self._by_text

    @property
    def items(self) -> pl.DataFrame:
        return self._items

    @property
    def vectors(self) -> Tensor:
        """(I, D) of the catalogue as it stands."""
        return self._vectors

    def score(self, queries: Queries, slate: Slate) -> Scores:
        with torch.no_grad():
            read = self._read(queries)
            vectors, by_text = self._slate_vectors(slate)
            rows = torch.from_numpy(slate.items)
            scores = self.with_earned(read.states @ vectors.t(), slate.items)
            if by_text is not None and read.by_text is not None:
                new = ~self._known[rows]
                if new.any():
                    scores[:, new] = self._aligned(read)(read.by_text @ by_text[new].t())
            if (read.lengths == 0).any():
                scores[read.lengths == 0] = self.popularity(slate.items)
            return np.asarray(scores.numpy())

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> "SequenceRecommender":
        """Only texts that changed are encoded."""
        same_items(self._items, items)
        return SequenceRecommender(self.network, items, self.counts, self.source, self.length)

    def arrays(self) -> dict[str, NDArray[Any]]:
        out = {
            f"network/{k}": v.detach().numpy()
            for k, v in self.network.state_dict().items()
            if not k.startswith("live.")
        }
        out["counts"] = self.counts
        if self.network.influence is not None:
            out["served"] = np.array(self.network.influence.serve)
        if self.source is not None:
            out["whitening/mean"] = self.source.whitening.mean
            out["whitening/projection"] = self.source.whitening.projection
            out |= self.source.encoder.stored(self.source.learned)
        return out

    def recognise(self, texts: Sequence[str]) -> Floats:
        """(N,) probability, in [0, 1], that an attack wrote each text: what the head of the
        objective `recognition` says. texts: as the model reads an item, its fields joined by
        ' . '. Attacked and clean texts were equally many in training, so it is no share of
        attacks; a threshold belongs on clean texts that training did not read. Raises
        `Unsupported` for a model that was trained without the head."""
        if self.network.recogniser is None or self.source is None:
            raise Unsupported(
                "this model has no head that recognises attacked texts: train it with the "
                "objective 'recognition' and a forge"
            )
        if not len(texts):
            return np.zeros(0, dtype=np.float32)
        with torch.no_grad():
            return np.asarray(self.network.suspicion(self.source(texts, keep=False)).sigmoid())

    # White box

    @property
    def sites(self) -> tuple[Site, ...]:
        if self.source is None:
            return "item-vectors", "history-vectors"
        tokens: tuple[Site, ...] = ("token-embeddings",)
        within = tokens if self.source.encoder.differentiable else ()
        return "item-vectors", "history-vectors", "text-vectors", *within

    def surface(
        self,
        site: Site,
        goal: GoalKind,
        queries: Queries,
        items: Ints,
        texts: Sequence[str] = (),
        *,
        loss: RankingLoss | None = None,
    ) -> LossSurface:
        return surfaces.surface(self, site, goal, queries, items, loss)

    def perturbed_scores(
        self, site: Site, goal: GoalKind, queries: Queries, items: Ints, delta: Tensor
    ) -> Scores:
        return surfaces.perturbed_scores(self, site, goal, queries, items, delta)

    def text_gradient(
        self, goal: GoalKind, queries: Queries, item: int, text: str, *, field: str = "title"
    ) -> TextGradient:
        """Derivative of the loss of `surface` by each word of `text`, if the `field` of row
        `item` read so; its other fields stay. Raises `Unsupported` for a model without text
        and for other goals than `promote` and `demote`."""
        return surfaces.text_gradient(self, goal, queries, _rewritten(item, text, field))

    def word_embeddings(self, words: Sequence[str]) -> Floats:
        """(W, D) sum of the input embeddings of each word's tokens. Raises `Unsupported` for
        a model without text, as the two below do."""
        return wording.word_embeddings(self, words)

    def forecast(self, queries: Queries, item: int, text: str, *, field: str = "title") -> Forecast:
        """What texts near `text` are expected to score; see `models.sequence.wording`."""
        return wording.forecast(self, queries, _rewritten(item, text, field))

    def relaxed(
        self,
        queries: Queries,
        item: int,
        text: str,
        slots: Sequence[int],
        words: Sequence[str],
        *,
        field: str = "title",
    ) -> Relaxed:
        """Scores as a function of mixtures of `words` in some words' places in `text`."""
        return wording.relaxed(self, queries, _rewritten(item, text, field), slots, words)

    # Inside, used by `surfaces`

    def read(self, queries: Queries) -> tuple[Tensor, Tensor | None]:
        """((Q, D) states, (Q, D) states of the text head or None)."""
        read = self._read(queries)
        return read.states, read.by_text

    def to_full_scale(self, queries: Queries, by_text: Tensor) -> Tensor:
        """(Q, N) scores of the text head -> the scale of the full scores."""
        return self._aligned(self._read(queries))(by_text)

    def doors(self, queries: Queries) -> Tensor:
        """(Q, 2) what an item has to score to be listed; see `losses.doors`."""
        found = self._read(queries).doors
        if found is None:
            found = losses.doors(self, queries)
            self._read(queries).doors = found  # anew: its tiles may have pushed the other out
        return found

    def popularity(self, items: Ints) -> Tensor:
        """(B,) what these items score for a query without history."""
        return torch.from_numpy(np.log1p(self.counts[items])).float()

    def with_earned(self, scores: Tensor, items: Ints) -> Tensor:
        """(Q, B) scores of these items with what their events add."""
        return scores if self.earned is None else scores + self.earned[torch.from_numpy(items)]

    def is_new(self, items: Ints) -> Tensor:
        """(B,) True where scores come from the text head."""
        aligned = self.network.text_states is not None
        return ~self._known[torch.from_numpy(items)] & aligned

    def parts(self, items: Ints) -> tuple[Tensor, Tensor | None]:
        """((B, D) id part, (B, D) text part or None)."""
        rows = torch.from_numpy(items)
        return self._ids[rows], None if self._by_text is None else self._by_text[rows]

    def texts_of(self, items: Ints) -> list[str]:
        assert self.source is not None
        return slate_texts(self._items, Slate(items=items), self.source.fields)

    def _slate_vectors(self, slate: Slate) -> tuple[Tensor, Tensor | None]:
        rows = torch.from_numpy(slate.items)
        if slate.texts is None or self.source is None:
            by_text = None if self._by_text is None else self._by_text[rows]
            return self._vectors[rows], by_text
        if slate not in self._slates:  # while somebody holds that very slate, it is read once
            texts = slate_texts(self._items, slate, self.source.fields)
            by_text = self.network.tower.from_text(self.source(texts, keep=False))
            self._slates[slate] = self._ids[rows] + by_text, by_text
        return self._slates[slate]

    def _read(self, queries: Queries) -> _Read:
        key = queries.fingerprint
        if key not in self._reads:
            self._reads[key] = self._compute(queries)
            while len(self._reads) > _REMEMBERED:
                self._reads.popitem(last=False)
        self._reads.move_to_end(key)
        return self._reads[key]

    def _compute(self, queries: Queries) -> _Read:
        lengths = torch.from_numpy(np.minimum(queries.lengths, self.length))
        padded = torch.from_numpy(queries.padded(self.length, 0))
        states = torch.zeros(len(queries), self._vectors.shape[1])
        with torch.no_grad():
            # Histories of like length together, few at a time: most are far shorter than the
            # longest, and padding costs as much as items do.
            for rows in torch.split(torch.argsort(lengths, stable=True), 64):
                rows = rows[lengths[rows] > 0]
                if len(rows):
                    width = int(lengths[rows].max())
                    states[rows] = self.network.states(
                        self._vectors, padded[rows, :width], lengths[rows]
                    )
            head = self.network.text_states
            return _Read(states, head(states) if head is not None else None, lengths)

    def _aligned(self, read: _Read) -> Alignment:
        if read.alignment is None:
            assert read.by_text is not None and self._by_text is not None
            parts = [
                Alignment.fit(
                    by_text @ self._by_text[self._known].t(),
                    states @ self._vectors[self._known].t(),
                )
                for by_text, states in zip(
                    torch.split(read.by_text, 256), torch.split(read.states, 256), strict=True
                )
            ]
            read.alignment = Alignment(
                torch.cat([p.by_text for p in parts]), torch.cat([p.full for p in parts])
            )
        return read.alignment


def _rewritten(item: int, text: str, field: str) -> Slate:
    return Slate(items=np.array([item]), texts=(text,), field=field)
