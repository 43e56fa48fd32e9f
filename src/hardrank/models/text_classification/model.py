"""A trained text classifier."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hardrank.data import Queries
from hardrank.encoders import TextEncoder, word_gradient
from hardrank.errors import Unsupported
from hardrank.models.text_classification.calibration import Calibration, scaled
from hardrank.models.text_classification.network import TextNetwork
from hardrank.recommender import LossSurface, TextGradient
from hardrank.types import Floats, GoalKind, Ints, RankingLoss, Site

__all__ = ["TextClassifierModel"]


class TextClassifierModel:
    """A `hardrank.recommender.Classifier` that grants gradients."""

    def __init__(
        self, network: TextNetwork, labels: tuple[str, ...], calibration: Calibration
    ) -> None:
        """The network's encoder must be frozen (see `TextEncoder.tuned`)."""
        self._network = network.eval().requires_grad_(False)
        self._labels, self.calibration = labels, calibration

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def encoder(self) -> TextEncoder:
        return self._network.encoder

    @property
    def sites(self) -> tuple[Site, ...]:
        return ("text-vectors", "token-embeddings")

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """(N, C), rows sum to 1, calibrated on validation texts (where there were any)."""
        return scaled(self.logits(texts), self.calibration.temperature)

    def logits(self, texts: Sequence[str]) -> Floats:
        """(N, C), before calibration."""
        vectors = torch.from_numpy(self.encoder.encode(texts, keep=False))
        with torch.no_grad():
            out = self._network.from_vectors(vectors.to(self.encoder.device))
        return np.asarray(out.cpu().numpy(), dtype=np.float32)

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
        """Goal `flip`: the loss of the true label `items[b]` of `texts[b]`, `listwise` (its
        cross-entropy) or `margin` (the best other logit less its own).

        Of the network before calibration: a temperature changes no decision, but a low one
        would flatten the loss and hide its gradient. Queries are not read. Raises
        `Unsupported` for other goals, sites and losses."""
        self._check(goal, items, texts)
        if loss not in (None, "listwise", "margin"):
            raise Unsupported(f"a label has no loss '{loss}': 'listwise' or 'margin'")
        like, mask = self._clean(site, texts)
        truth = torch.from_numpy(np.asarray(items, dtype=np.int64)).to(like.device)

        measure = _margin if loss == "margin" else _cross_entropy

        def climbed(delta: Tensor) -> Tensor:
            return measure(self._moved(site, like + delta, mask), truth)

        norms = like.norm(dim=-1) if mask is None else like.norm(dim=-1)[mask]
        return LossSurface(loss=climbed, like=like, scale=float(norms.mean()), mask=mask)

    def perturbed_scores(
        self,
        site: Site,
        goal: GoalKind,
        queries: Queries,
        items: Ints,
        delta: Tensor,
        texts: Sequence[str] = (),
    ) -> Floats:
        """(B, C) probabilities of `texts` after `delta`, which is as `surface` gave `like`."""
        self._check(goal, items, texts)
        like, mask = self._clean(site, texts)
        with torch.no_grad():
            logits = self._moved(site, like + delta, mask).cpu().numpy()
        return scaled(logits, self.calibration.temperature)

    def text_gradient(
        self, goal: GoalKind, queries: Queries, item: int, text: str, *, field: str = "text"
    ) -> TextGradient:
        """Derivative of the loss of `text`'s true label `item`, by the text's words."""
        surface = self.surface("token-embeddings", goal, queries, np.array([item]), [text])
        delta = torch.zeros_like(surface.like, requires_grad=True)
        (gradient,) = torch.autograd.grad(surface.loss(delta).sum(), delta)
        return word_gradient(
            self.encoder.words(text), gradient[0].cpu().numpy(), surface.like[0].cpu().numpy()
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`head/...`, `encoder/...` (the layers that learned), and `calibration`:
        temperature, ECE before, ECE after, n."""
        c = self.calibration
        head = self._network.head.state_dict()
        tuned = self.encoder.arrays(self._network.learned)
        return (
            {f"head/{name}": value.cpu().numpy().copy() for name, value in head.items()}
            | {f"encoder/{name}": value for name, value in tuned.items()}
            | {"calibration": np.array([c.temperature, c.ece_before, c.ece_after, c.n])}
        )

    def _check(self, goal: GoalKind, items: Ints, texts: Sequence[str]) -> None:
        if goal != "flip":
            raise Unsupported(f"a text classifier can be asked to flip, not to {goal}")
        if len(items) != len(texts):
            raise Unsupported(f"{len(texts)} texts with {len(items)} true labels")
        if len(items) and not 0 <= np.min(items) <= np.max(items) < len(self.labels):
            raise Unsupported(f"true labels must be in 0..{len(self.labels) - 1}")

    def _clean(self, site: Site, texts: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        if site == "text-vectors":
            vectors = torch.from_numpy(self.encoder.encode(texts, keep=False))
            return vectors.to(self.encoder.device), None
        if site == "token-embeddings":
            tokens = self.encoder.tokenise(texts)
            return self.encoder.token_embeddings(tokens.ids).detach(), tokens.mask
        raise Unsupported(f"a text classifier has no site '{site}'; it has {self.sites}")

    def _moved(self, site: Site, values: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C) logits from the values at the site."""
        if site == "token-embeddings":
            assert mask is not None
            values = self.encoder.from_embeddings(values, mask)
        return self._network.from_vectors(values)


def _cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    return F.cross_entropy(logits, truth, reduction="none")


def _margin(logits: Tensor, truth: Tensor) -> Tensor:
    own = truth[:, None]
    others = logits.scatter(1, own, -torch.inf)
    return others.amax(1) - logits.gather(1, own)[:, 0]
