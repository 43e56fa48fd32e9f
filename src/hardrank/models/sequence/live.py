"""The encoder inside the training step: layers that learn, tokens that are perturbed."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hardrank.encoders import HiddenStates, TextEncoder, TokenBatch
from hardrank.errors import Unsupported
from hardrank.models.sequence.texts import Whitening

__all__ = ["LiveTexts"]

_TOGETHER = 512
"""Texts encoded at a time when the whole catalogue is read."""


class LiveTexts(nn.Module):
    """Whitened text vectors of a list of items, computed anew in every step.

    Layers below the top `unfreeze` ones never change, so what they make of each text is
    kept and the step begins at the cut; -1 begins at the words. The whitening stays the one
    of the frozen encoder: it is a fixed change of basis that the encoder learns under.
    """

    def __init__(
        self, encoder: TextEncoder, texts: Sequence[str], whitening: Whitening, unfreeze: int
    ) -> None:
        """Raises `Unsupported` when the encoder has fewer layers than `unfreeze`."""
        super().__init__()
        self.encoder, self.whitening, self.unfreeze = encoder, whitening, unfreeze
        learning = {id(p) for p in encoder.unfreeze(unfreeze)}
        self.names = tuple(n for n, p in encoder.module.named_parameters() if id(p) in learning)
        self.learned = nn.ParameterList(p for p in encoder.module.parameters() if id(p) in learning)
        self.tokens: TokenBatch = encoder.tokenise(texts)
        self.cut = encoder.layers - unfreeze if unfreeze > 0 else None
        self.hidden: HiddenStates | None = (
            encoder.hidden_at(texts, self.cut) if self.cut is not None else None
        )

    @property
    def learns(self) -> bool:
        return bool(self.names)

    def forward(
        self, rows: Tensor | None, tokens: Tensor | None = None, hidden: Tensor | None = None
    ) -> Tensor:
        """(I, X) of all texts or of `rows`. tokens: (I, T, E) added to token embeddings;
        hidden: (I, T, D) added to the states at the cut, above which alone it runs.

        Raises `Unsupported` for both at once, and for `hidden` without a cut.
        """
        if rows is None and tokens is None and hidden is None:
            parts = torch.split(torch.arange(len(self.tokens)), _TOGETHER)
            return torch.cat([self(part) for part in parts])
        if hidden is not None:
            if tokens is not None:
                raise Unsupported("perturb the token embeddings or the hidden states, not both")
            return self._above(rows, hidden)
        if tokens is not None:
            batch = self._batch(rows)
            embeds = self.encoder.token_embeddings(batch.ids) + tokens
            return self.whitening(self.encoder.from_embeddings(embeds, batch.mask))
        assert rows is not None
        if self.hidden is not None:
            return self._above(rows)
        batch = self.tokens.take(rows)
        embeds = self.encoder.token_embeddings(batch.ids)
        return self.whitening(self.encoder.from_embeddings(embeds, batch.mask))

    def states(self, rows: Tensor | None) -> HiddenStates:
        """(I, T, D) what enters the lowest layer that learns; it never changes. Raises
        `Unsupported` where there is no such cut."""
        if self.hidden is None:
            raise Unsupported("hidden states are kept only where the top layers alone learn")
        return self.hidden if rows is None else self.hidden.take(rows)

    def embeddings(self, rows: Tensor | None) -> Tensor:
        """(I, T, E) clean token embeddings, detached."""
        return self.encoder.token_embeddings(self._batch(rows).ids).detach()

    def mask(self, rows: Tensor | None) -> Tensor:
        """(I, T) True where a token stands."""
        return self._batch(rows).mask

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What was learned, by the encoder's own names."""
        return {
            name: value.detach().numpy().copy()
            for name, value in zip(self.names, self.learned, strict=True)
        }

    def _above(self, rows: Tensor | None, delta: Tensor | None = None) -> Tensor:
        kept = self.states(rows)
        assert self.cut is not None
        states = kept.states if delta is None else kept.states + delta
        return self.whitening(self.encoder.from_hidden(states, kept.mask, self.cut))

    def _batch(self, rows: Tensor | None) -> TokenBatch:
        return self.tokens if rows is None else self.tokens.take(rows)
