"""White-box views of a sequence model: its losses as functions of a perturbation.

What the losses are says `hardrank.recommender.Differentiable.surface`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hardrank import wording
from hardrank.data import Queries, Slate, render
from hardrank.encoders.words import word_gradient
from hardrank.errors import Unsupported
from hardrank.models.common import slate_texts
from hardrank.models.sequence import losses
from hardrank.models.sequence.texts import TextSource
from hardrank.recommender import LossSurface, TextGradient
from hardrank.types import GoalKind, Ints, RankingLoss, Scores, Site

if TYPE_CHECKING:
    from hardrank.models.sequence.recommender import SequenceRecommender

__all__ = [
    "perturbed_scores",
    "scores_of",
    "source_of",
    "surface",
    "text_gradient",
    "words_before",
]

_MOVABLE: tuple[Site, ...] = ("item-vectors", "text-vectors", "token-embeddings")


def surface(
    model: "SequenceRecommender",
    site: Site,
    goal: GoalKind,
    queries: Queries,
    items: Ints,
    loss: RankingLoss | None = None,
) -> LossSurface:
    """Raises `Unsupported` for a site that the goal does not have."""
    if goal == "degrade" and site == "history-vectors":
        return _history_surface(model, queries, losses.of_queries(queries, items, loss))
    if goal in ("promote", "demote") and site in _MOVABLE:
        vectors = _moved(model, site, items)
        measure = losses.of_items(model, queries, items, goal, loss)

        def climbed(delta: Tensor) -> Tensor:
            return measure(scores_of(model, queries, items, vectors.of(delta)))

        return LossSurface(loss=climbed, like=vectors.like, scale=vectors.scale, mask=vectors.mask)
    raise Unsupported(f"this model has no surface for goal '{goal}' at '{site}'")


def perturbed_scores(
    model: "SequenceRecommender",
    site: Site,
    goal: GoalKind,
    queries: Queries,
    items: Ints,
    delta: Tensor,
) -> Scores:
    """See `hardrank.recommender.Differentiable`."""
    with torch.no_grad():
        if goal == "degrade" and site == "history-vectors":
            return np.asarray(_history_scores(model, queries, delta).numpy())
        if goal in ("promote", "demote") and site in _MOVABLE:
            moved = _moved(model, site, items).of(delta)
            return np.asarray(scores_of(model, queries, items, moved).numpy())
    raise Unsupported(f"this model has no surface for goal '{goal}' at '{site}'")


def text_gradient(
    model: "SequenceRecommender", goal: GoalKind, queries: Queries, slate: Slate
) -> TextGradient:
    """By the words that the slate's one candidate has in its rewritten field."""
    if goal not in ("promote", "demote"):
        raise Unsupported(f"the words of one item have no gradient for goal '{goal}'")
    source = source_of(model)
    assert slate.texts is not None
    (text,) = slate_texts(model.items, slate, source.fields)
    tokens = source.encoder.tokenise([text])
    embeds = source.encoder.token_embeddings(tokens.ids).detach().requires_grad_(True)
    ids, _ = model.parts(slate.items)
    whitened = source.whitening(source.encoder.from_embeddings(embeds, tokens.mask))
    by_text = model.network.tower.from_text(whitened)
    measure = losses.of_items(model, queries, slate.items, goal, None)
    scores = scores_of(model, queries, slate.items, (ids + by_text, by_text))
    (gradient,) = torch.autograd.grad(measure(scores).sum(), embeds)
    found = word_gradient(
        source.encoder.words(text), gradient[0].numpy(), embeds[0].detach().numpy()
    )
    return _of_field(model, found, slate)


def _of_field(model: "SequenceRecommender", found: TextGradient, slate: Slate) -> TextGradient:
    """The rewritten field's part of what was found for all fields together; zeros for a
    field that the model does not read."""
    assert slate.texts is not None
    words = tuple(wording.split(slate.texts[0]))
    if slate.field not in source_of(model).fields:
        nothing = np.zeros((len(words), found.gradient.shape[1]), dtype=np.float32)
        return TextGradient(words=words, gradient=nothing, current=nothing)
    start = words_before(model, slate)
    part = slice(start, start + len(words))
    return TextGradient(words=words, gradient=found.gradient[part], current=found.current[part])


def words_before(model: "SequenceRecommender", slate: Slate) -> int:
    """Words that the model reads before the slate's field, the separator counted as one."""
    fields = source_of(model).fields
    earlier = fields[: fields.index(slate.field)] if slate.field in fields else ()
    before = render(model.items[slate.items], earlier)[0] if earlier else ""
    return len(wording.split(before)) + 1 if before else 0


class _Moved:
    """Item vectors as a function of the perturbation at one site."""

    def __init__(
        self,
        of: Callable[[Tensor], tuple[Tensor, Tensor | None]],
        like: Tensor,
        mask: Tensor | None = None,
    ) -> None:
        self.of, self.like, self.mask = of, like, mask
        norms = like.norm(dim=-1)
        self.scale = float((norms if mask is None else norms[mask]).mean())


def _moved(model: "SequenceRecommender", site: Site, items: Ints) -> _Moved:
    ids, by_text = model.parts(items)
    if site == "item-vectors":
        new = model.is_new(items)[:, None]
        total = ids if by_text is None else ids + by_text

        def shifted(delta: Tensor) -> tuple[Tensor, Tensor | None]:
            return total + delta, None if by_text is None else by_text + delta * new

        return _Moved(shifted, total)
    source = source_of(model)
    if site == "text-vectors":
        clean = torch.from_numpy(source.encoder.encode(model.texts_of(items)))

        def adapted(delta: Tensor) -> tuple[Tensor, Tensor | None]:
            moved = model.network.tower.from_text(source.whitening(clean + delta))
            return ids + moved, moved

        return _Moved(adapted, clean)
    tokens = source.encoder.tokenise(model.texts_of(items))
    like = source.encoder.token_embeddings(tokens.ids).detach()

    def encoded(delta: Tensor) -> tuple[Tensor, Tensor | None]:
        vectors = source.encoder.from_embeddings(like + delta, tokens.mask)
        moved = model.network.tower.from_text(source.whitening(vectors))
        return ids + moved, moved

    return _Moved(encoded, like, tokens.mask)


def scores_of(
    model: "SequenceRecommender",
    queries: Queries,
    items: Ints,
    vectors: tuple[Tensor, Tensor | None],
) -> Tensor:
    """(Q, B) scores of items with these vectors, new items through the text head."""
    full, by_text = vectors
    states, text_states = model.read(queries)
    scores = model.with_earned(states @ full.t(), items)
    new = model.is_new(items)
    if text_states is not None and by_text is not None and new.any():
        aligned = model.to_full_scale(queries, text_states @ by_text.t())
        scores = torch.where(new, aligned, scores)
    bare = torch.from_numpy(queries.lengths == 0)
    return torch.where(bare[:, None], model.popularity(items), scores) if bare.any() else scores


def _history_surface(
    model: "SequenceRecommender", queries: Queries, measure: Callable[[Tensor], Tensor]
) -> LossSurface:
    lengths, padded = _histories(model, queries)
    like = model.vectors[padded]
    mask = torch.arange(padded.shape[1]) < lengths[:, None]

    def loss(delta: Tensor) -> Tensor:
        return measure(_history_scores(model, queries, delta))

    scale = float(like.norm(dim=-1)[mask].mean())
    return LossSurface(loss=loss, like=like, scale=scale, mask=mask)


def _history_scores(model: "SequenceRecommender", queries: Queries, delta: Tensor) -> Tensor:
    """(B, I) scores of the catalogue after histories whose vectors moved by delta. New items
    come through the text head, on the scale that the clean histories give."""
    lengths, padded = _histories(model, queries)
    read: Tensor = model.network.transformer(model.vectors[padded] + delta)
    states = read[torch.arange(len(read)), lengths - 1]
    scores = model.with_earned(states @ model.vectors.t(), np.arange(len(model.counts)))
    new = np.flatnonzero(model.is_new(np.arange(len(model.counts))).numpy())
    head, (_, by_text) = model.network.text_states, model.parts(new)
    if not len(new) or head is None or by_text is None:
        return scores
    aligned = model.to_full_scale(queries, head(states) @ by_text.t())
    return scores.index_copy(1, torch.from_numpy(new), aligned)


def _histories(model: "SequenceRecommender", queries: Queries) -> tuple[Tensor, Tensor]:
    lengths = np.minimum(queries.lengths, model.length)
    if (lengths == 0).any():
        raise Unsupported("a query without history has no history vectors to perturb")
    padded = queries.padded(int(lengths.max()), 0)
    return torch.from_numpy(lengths), torch.from_numpy(padded)


def source_of(model: "SequenceRecommender") -> TextSource:
    if model.source is None:
        raise Unsupported("this model reads no text")
    return model.source
