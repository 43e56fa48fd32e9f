"""The trainable part: a head on text vectors, and the encoder's layers that may learn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardrank.data.labelled import UNLABELLED
from hardrank.encoders import HiddenStates, TextEncoder, TokenBatch
from hardrank.errors import Unsupported
from hardrank.training import Predictions
from hardrank.types import Site

__all__ = ["TextBatch", "TextNetwork", "head_of"]


@dataclass(frozen=True, eq=False, kw_only=True)
class TextBatch:
    """B labelled texts, at the depth from which the network goes on."""

    labels: Tensor
    """(B,) int64; `UNLABELLED` where there is none"""
    read: Callable[[], TokenBatch]
    """Tokens of the B texts, asked for only where something depends on them."""
    vectors: Tensor | None = None
    """(B, D), where the encoder is frozen."""
    hidden: HiddenStates | None = None
    """(B, T, D) states at the cut, where only its top layers learn."""

    @cached_property
    def tokens(self) -> TokenBatch:
        return self.read()


def head_of(size: int, hidden: int, classes: int, dropout: float) -> nn.Sequential:
    """(N, D) -> (N, C): linear, or with one hidden layer of `hidden` units."""
    if not hidden:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(size, classes))
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(size, hidden),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )


class TextNetwork(nn.Module):
    """softmax(head(sqrt(D) v)), v the unit vector of the text. A `TrainableNetwork`.

    The encoder is no submodule: only its parameters that learn are, so that checkpoints do
    not carry the frozen ones and its dropout stays off (which keeps cached and computed
    states alike).
    """

    def __init__(self, encoder: TextEncoder, head: nn.Module, unfreeze: int) -> None:
        super().__init__()
        self.encoder, self.head, self.unfreeze = encoder, head, unfreeze
        self.learning = nn.ParameterList(encoder.unfreeze(unfreeze))
        named = encoder.module.named_parameters()
        self.learned = [name for name, p in named if p.requires_grad]
        """Names of the encoder's weights that learn."""

    def on(self, encoder: TextEncoder) -> "TextNetwork":
        """The same head on another encoder, nothing learning."""
        twin = TextNetwork(encoder, self.head, 0)
        twin.learned = self.learned
        return twin

    @property
    def sites(self) -> tuple[Site, ...]:
        latent: tuple[Site, ...] = () if self.cut is None else ("hidden-states",)
        return ("text-vectors", "token-embeddings", *latent)

    @property
    def cut(self) -> int | None:
        """The lowest layer that learns; None where the encoder learns whole or not at all."""
        return self.encoder.layers - self.unfreeze if self.unfreeze > 0 else None

    def loss(self, batch: TextBatch, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        """Over the labelled texts; 0 where the batch has none, with gradients of 0."""
        logits, known = self.logits(batch, deltas), batch.labels != UNLABELLED
        if bool(known.all()):
            return F.cross_entropy(logits, batch.labels)
        total = F.cross_entropy(logits, batch.labels, ignore_index=UNLABELLED, reduction="sum")
        return total / known.sum().clamp_min(1)

    def logits(self, batch: TextBatch, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        """(B, C). Deltas: `text-vectors` (B, D); `token-embeddings` (B, T, E) or, at the cut,
        `hidden-states` (B, T, D)."""
        deltas = deltas or {}
        if strange := [site for site in deltas if site not in self.sites]:
            raise Unsupported(f"a text classifier has no site '{strange[0]}'")
        vectors = self._vectors(batch, deltas.get("token-embeddings"), deltas.get("hidden-states"))
        if (delta := deltas.get("text-vectors")) is not None:
            vectors = vectors + delta
        return self.from_vectors(vectors)

    def predictions(
        self, batch: TextBatch, deltas: Mapping[Site, Tensor] | None = None
    ) -> Predictions:
        """See `PredictiveNetwork`; candidates are the classes."""
        return Predictions(logits=self.logits(batch, deltas), labels=batch.labels)

    def from_vectors(self, vectors: Tensor) -> Tensor:
        """(N, D) -> (N, C). Entries are brought to the order of 1 first."""
        out: Tensor = self.head(vectors * vectors.shape[1] ** 0.5)
        return out

    def clean(self, site: Site, batch: TextBatch) -> Tensor:
        with torch.no_grad():
            if site == "text-vectors":
                return self._vectors(batch).detach()
            if site == "hidden-states":
                return _cut_of(batch).states
            return self.encoder.token_embeddings(batch.tokens.ids).detach()

    def writable(self, site: Site, batch: TextBatch) -> Tensor | None:
        if site == "hidden-states":
            return _cut_of(batch).mask
        return batch.tokens.mask if site == "token-embeddings" else None

    def _vectors(
        self, batch: TextBatch, delta: Tensor | None = None, hidden: Tensor | None = None
    ) -> Tensor:
        if delta is not None and hidden is not None:
            raise Unsupported("perturb the token embeddings or the hidden states, not both")
        if hidden is None and delta is None and batch.vectors is not None:
            return batch.vectors
        if self.cut is not None and (
            hidden is not None or (delta is None and batch.hidden is not None)
        ):
            kept = _cut_of(batch)
            states = kept.states if hidden is None else kept.states + hidden
            return self.encoder.from_hidden(states, kept.mask, self.cut)
        embeds = self.encoder.token_embeddings(batch.tokens.ids)
        embeds = embeds if delta is None else embeds + delta
        return self.encoder.from_embeddings(embeds, batch.tokens.mask)


def _cut_of(batch: TextBatch) -> HiddenStates:
    if batch.hidden is None:
        raise Unsupported("hidden states are kept only where the top layers alone learn")
    return batch.hidden
