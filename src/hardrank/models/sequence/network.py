"""The network behind `sasrec`, `text-sequence` and `hybrid`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from hardrank.models.sequence.attacked import AttackedPool
from hardrank.models.sequence.batches import SequenceBatch
from hardrank.models.sequence.influence import Influence
from hardrank.models.sequence.live import LiveTexts
from hardrank.models.sequence.recogniser import Recogniser
from hardrank.models.sequence.transformer import CausalTransformer
from hardrank.training import Predictions
from hardrank.training.softmax import catalogue_cross_entropy
from hardrank.types import Site

__all__ = ["ItemTower", "SequenceNetwork"]


class ItemTower(nn.Module):
    """Item vectors from ids, from text, or from their sum.

    vector(i) = id(i) + scale * A(dropout(x_i)), x_i the whitened text vector, A an adapter of
    one or two layers: two fit known items better, one carries over better to new items,
    whose texts it has never seen. Whitening makes all directions of the encoder's space
    count alike (Su et al. 2021, arXiv:2103.15316): raw sentence vectors share a large mean
    that hides what tells items apart.
    """

    def __init__(
        self,
        *,
        items: int,
        size: int,
        text_size: int,
        ids: bool,
        dropout: float,
        scale: float,
        layers: int = 1,
        text_norm: float = 0.0,
    ) -> None:
        super().__init__()
        self.text_norm = text_norm
        self.ids = nn.Parameter(torch.empty(items, size)) if ids else None
        self.text = _adapter(text_size, size, layers) if text_size else None
        self.dropout, self.scale = nn.Dropout(dropout), scale
        if self.ids is not None:
            nn.init.normal_(self.ids, std=0.02)

    def from_text(self, whitened: Tensor) -> Tensor:
        """(..., X) -> (..., D)"""
        assert self.text is not None
        out: Tensor = self.scale * self.text(self.dropout(whitened))
        if not self.text_norm:
            return out
        return self.text_norm * nn.functional.normalize(out.float(), dim=-1)


def _adapter(text_size: int, size: int, layers: int) -> nn.Module:
    if layers == 1:
        return nn.Linear(text_size, size)
    return nn.Sequential(nn.Linear(text_size, 4 * size), nn.GELU(), nn.Linear(4 * size, size))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Read:
    """A batch as the network reads it, up to the scores."""

    states: Tensor
    """(N, D)"""
    vectors: Tensor
    """(C, D) of this step's candidates."""
    text: Tensor | None
    """(C, D) their text parts."""
    targets: Tensor
    """(N,) rows of `vectors`."""
    correction: Tensor | None
    """(C,) added to scores."""


class SequenceNetwork(nn.Module):
    """Reads a history of item vectors and scores every item by a dot product.

    With both ids and text there is a second head: other states, scored against the text
    parts alone. It learns to rank an item by its text when no id can help, which is what
    new items need; `SequenceRecommender` brings both heads to one scale. Item rows here
    count the items that have training events only: an item nobody has touched yet must not
    be taught as a wrong answer.
    """

    def __init__(
        self,
        *,
        tower: ItemTower,
        transformer: CausalTransformer,
        text_weight: float = 0.0,
        id_dropout: float = 0.0,
        negatives: int = 0,
        frequency: Tensor | None = None,
        narrow: bool = False,
    ) -> None:
        super().__init__()
        self.tower, self.transformer = tower, transformer
        self.text_weight, self.id_dropout, self.narrow = text_weight, id_dropout, narrow
        self.negatives, self.frequency = negatives, frequency
        size = transformer.positions.shape[1]
        self.text_states = nn.Linear(size, size) if text_weight else None
        self.recogniser: Recogniser | None = None
        """Tells attacked texts, where an objective has trained it."""
        self.influence: Influence | None = None
        """What ranking adds for popularity."""
        self.popularity: Tensor | None = None
        """(I,) what training adds to the scores of its items."""
        self.texts: Tensor = torch.empty(0)
        """(I, X) whitened text vectors of the training items: given, not learned."""
        self.encoded: Tensor = torch.empty(0)
        """(I, E) the same before whitening: the encoder's own unit vectors."""
        self.projection: Tensor = torch.empty(0)
        """(E, X) from one to the other, but for the mean."""
        self.attacked: AttackedPool | None = None
        """Rewritten texts that training sets beside the catalogue."""
        self.live: LiveTexts | None = None
        """The encoder itself, where it learns or its tokens are perturbed."""

    @property
    def sites(self) -> tuple[Site, ...]:
        tokens: tuple[Site, ...] = ("token-embeddings",) if self.live is not None else ()
        if self.live is not None and self.live.hidden is not None:
            tokens = (*tokens, "hidden-states")
        text: tuple[Site, ...] = ("text-vectors",) if self.tower.text is not None else ()
        return ("item-vectors", "history-vectors", *text, *tokens)

    def vectors(
        self, rows: Tensor | None = None, deltas: Mapping[Site, Tensor] | None = None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """((I, D) sum, id part, text part) of all items or of `rows`, with the deltas that
        move texts: `text-vectors` (all items, E), `token-embeddings` (I, T, E) or
        `hidden-states` (I, T, D)."""
        ids: Tensor | None = self.tower.ids
        text: Tensor | None = None
        if self.tower.text is not None:
            # The adapter runs over the whole catalogue in every step, half of all the work.
            narrow = self.narrow and self.training
            with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                text = self.tower.from_text(self._whitened(rows, deltas or {})).float()
        if ids is None:
            assert text is not None
            return text, None, text
        ids = ids if rows is None else ids[rows]
        return (ids if text is None else ids + text), ids, text

    def loss(self, batch: SequenceBatch, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        """Mean next-item cross-entropy over the batch's targets.

        Deltas: `item-vectors` (I, D) moves each item wherever it stands, as history and as
        candidate; `text-vectors` (I, E) moves what the encoder made of its text; `history-vectors`
        (B, L, D) moves what the transformer reads;
        `token-embeddings` (C, T, E) moves the words of this step's candidates,
        `hidden-states` (C, T, D) what the learning layers of the encoder read of them.
        """
        read = self._read(batch, deltas or {})
        loss = catalogue_cross_entropy(
            read.states, read.vectors, read.targets, read.correction, half=self.narrow
        )
        if self.text_states is not None and read.text is not None:
            # A third of the targets, drawn anew in each step: the same loss on average for a
            # third of the cost.
            part = torch.randperm(len(read.targets))[: (len(read.targets) + 2) // 3]
            by_text = self.text_states(read.states[part])
            loss = loss + self.text_weight * catalogue_cross_entropy(
                by_text, read.text, read.targets[part], read.correction, half=self.narrow
            )
        return loss

    def loss_beside(self, batch: SequenceBatch, rows: Tensor, added: float) -> Tensor:
        """`loss` with these rows of `attacked` among the candidates, where no target is;
        `added` to their scores. (An attacked item that has an id keeps it.)"""
        assert self.attacked is not None
        read, pool = self._read(batch, {}), self.attacked
        by_text = self.tower.from_text(pool.texts[rows]).float()
        own = by_text
        if self.tower.ids is not None:
            owners = pool.owners[rows]
            own = by_text + self.tower.ids[owners.clamp_min(0)] * (owners >= 0)[:, None]
        usual = read.correction if read.correction is not None else torch.zeros(len(read.vectors))
        bias = torch.cat([usual, pool.popularity[rows] + added])
        vectors = torch.cat([read.vectors, own])
        loss = catalogue_cross_entropy(read.states, vectors, read.targets, bias, half=self.narrow)
        if self.text_states is not None and read.text is not None:
            part = torch.randperm(len(read.targets))[: (len(read.targets) + 2) // 3]
            loss = loss + self.text_weight * catalogue_cross_entropy(
                self.text_states(read.states[part]), torch.cat([read.text, by_text]),
                read.targets[part], bias, half=self.narrow,
            )  # fmt: skip
        return loss

    def suspicion(self, texts: Tensor) -> Tensor:
        """(N, X) whitened text vectors -> (N,) log-odds that an attack wrote them, read from
        what the item tower makes of them. Needs a `recogniser`."""
        assert self.recogniser is not None
        out: Tensor = self.recogniser(self.tower.from_text(texts).float())
        return out

    def predictions(
        self, batch: SequenceBatch, deltas: Mapping[Site, Tensor] | None = None
    ) -> Predictions:
        """Logits over this step's candidates, all at once: (N, I) floats of memory."""
        read = self._read(batch, deltas or {})
        logits = read.states @ read.vectors.t()
        if read.correction is not None:
            logits = logits + read.correction
        return Predictions(
            logits=logits,
            labels=read.targets,
            users=batch.users,
            items=batch.targets,
            auxiliary=partial(self._text_predictions, read, batch),
        )

    def _text_predictions(
        self, read: "_Read", batch: SequenceBatch
    ) -> tuple[tuple[float, Predictions], ...]:
        """The second head's, of the same third of the targets that `loss` draws."""
        if self.text_states is None or read.text is None:
            return ()
        part = torch.randperm(len(read.targets))[: (len(read.targets) + 2) // 3]
        logits = self.text_states(read.states[part]) @ read.text.t()
        said = Predictions(
            logits=logits if read.correction is None else logits + read.correction,
            labels=read.targets[part],
            users=None if batch.users is None else batch.users[part],
            items=batch.targets[part],
            rows=part,
        )
        return ((self.text_weight, said),)

    def _read(self, batch: SequenceBatch, deltas: Mapping[Site, Tensor]) -> "_Read":
        rows, correction = self._candidates(batch)
        vectors, ids, text = self.vectors(rows, deltas)
        inputs, targets = batch.inputs, batch.targets
        if rows is not None:
            # Padding reads some candidate; nothing reads padding.
            inputs = torch.searchsorted(rows, inputs).clamp_max(len(rows) - 1)
            targets = torch.searchsorted(rows, targets)
        read = vectors
        if self.training and self.id_dropout and ids is not None and text is not None:
            read = text + ids * (torch.rand(len(ids), 1) >= self.id_dropout)
        if (delta := deltas.get("item-vectors")) is not None:
            delta = delta if rows is None else delta[rows]
            vectors, read = vectors + delta, read + delta
        history = read[inputs]
        if (delta := deltas.get("history-vectors")) is not None:
            history = history + delta
        states = self.transformer(history)[batch.real]
        return _Read(
            states=states, vectors=vectors, text=text, targets=targets,
            correction=self._added(rows, correction),
        )  # fmt: skip

    def _added(self, rows: Tensor | None, correction: Tensor | None) -> Tensor | None:
        """(C,) what scores get beside the product: popularity and the sampling correction."""
        if self.popularity is None:
            return correction
        own = self.popularity if rows is None else self.popularity[rows]
        return own if correction is None else own + correction

    def clean(self, site: Site, batch: SequenceBatch) -> Tensor:
        with torch.no_grad():
            if site == "token-embeddings":
                assert self.live is not None
                return self.live.embeddings(self._candidates(batch)[0])
            if site == "hidden-states":
                assert self.live is not None
                return self.live.states(self._candidates(batch)[0]).states
            if site == "text-vectors":
                return self.encoded
            vectors = self.vectors()[0]
            return vectors.detach() if site == "item-vectors" else vectors[batch.inputs]

    def writable(self, site: Site, batch: SequenceBatch) -> Tensor | None:
        if site in ("token-embeddings", "hidden-states"):
            assert self.live is not None
            return self.live.mask(self._candidates(batch)[0])
        return batch.real if site == "history-vectors" else None

    def states(self, vectors: Tensor, items: Tensor, lengths: Tensor) -> Tensor:
        """(Q, D) state after each history. items: (Q, L) rows of `vectors`, padded right;
        lengths: (Q,) at least 1."""
        out: Tensor = self.transformer(vectors[items])
        return out[torch.arange(len(items)), lengths - 1]

    def _whitened(self, rows: Tensor | None, deltas: Mapping[Site, Tensor]) -> Tensor:
        tokens, delta = deltas.get("token-embeddings"), deltas.get("text-vectors")
        if self.live is not None and (self.live.learns or tokens is not None):
            whitened: Tensor = self.live(rows, tokens, deltas.get("hidden-states"))
        else:
            whitened = self.texts if rows is None else self.texts[rows]
        if delta is None:
            return whitened
        return whitened + (delta if rows is None else delta[rows]) @ self.projection

    def _candidates(self, batch: SequenceBatch) -> tuple[Tensor | None, Tensor | None]:
        """(rows, correction) of a sampled softmax, or (None, None) for the full one.

        Candidates are the batch's own items and `negatives` uniform ones. An item that is in
        the batch more often is a candidate more often, so its score is lowered by the log of
        that chance (logQ correction; Yi et al., RecSys 2019, section 4.2).
        """
        if not self.negatives or self.frequency is None:
            return None, None
        everything = len(self.frequency)
        drawn = torch.randint(everything, (self.negatives,))
        rows = torch.unique(torch.cat([batch.inputs[batch.real], batch.targets, drawn]))
        seen = 1 - (1 - self.frequency[rows]).pow(len(batch.targets))
        sampled = 1 - (1 - 1 / everything) ** self.negatives
        return rows, -(seen + (1 - seen) * sampled).log()
