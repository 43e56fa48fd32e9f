"""Let a language model that has read real reviews write new ones."""

import functools
import logging
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.reviews.parts import (
    keywords,
    lengths,
    praises,
    publish,
    read_review,
    sources,
)
from hardrank.attacks.reviews.sampling import WordSampler
from hardrank.data import Patch
from hardrank.language.chat import AnyWriter
from hardrank.threats.model import Budget, Demote, Promote
from hardrank.threats.reviews import Opinion, ReviewView
from hardrank.types import Count, GoalKind, Ints, LogKnowledge, NonNegative, Surface, spec

__all__ = ["LanguageModelReviews"]

_log = logging.getLogger("hardrank")


@spec
class LanguageModelReviews:
    """Sample from an n-gram model of real reviews, bent towards the target's words.

    Fake reviews by a language model trained on real ones: Yao et al., CCS 2017,
    arXiv:1708.08151, section 4 (there a character RNN whose output is then customised with
    words of the target's kind). Here: interpolated Kneser-Ney of words, with case and marks as
    they stand, trained on the public reviews of popular items that praise (or blame); the odds
    of the words of the target's title are multiplied by 1 + `pull`. A review without any of
    them begins with the first two. With a `writer` a large model writes instead, shown
    `examples` real reviews.
    """

    needs: ClassVar[LogKnowledge] = "catalogue"
    surfaces: ClassVar[tuple[Surface, ...]] = ("reviews",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    kind: Literal["language-model-reviews"] = "language-model-reviews"
    items: Count = 40
    """Popular items whose reviews are read."""
    order: Literal[2, 3] = 3
    """Words of an n-gram."""
    pull: NonNegative = 10.0
    """How much the odds of the target's words are raised; 0 for not at all."""
    writer: AnyWriter | None = None
    """None for the n-gram model; else `{ kind = "local-lm", folder = "..." }` or
    `{ kind = "endpoint", ... }`."""
    examples: Count = 3
    """Real reviews that a prompt shows."""

    def __call__(
        self, view: ReviewView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        real = sources(view, praise=praises(goal), items=self.items)
        sizes = lengths(real, budget.reviews or 0, budget, rng)
        title = str(view.items["title"][view.target]) if "title" in view.items.columns else ""
        if self.writer is None:
            texts = self._sampled(real, keywords(title), sizes, rng)
        else:
            texts = self._asked(self.writer, real, title, sizes, praises(goal), rng)
        return publish(view, goal, budget, rng, texts)

    def _sampled(
        self, real: Sequence[Opinion], own: list[str], sizes: Ints, rng: np.random.Generator
    ) -> list[str]:
        sampler = _sampler(tuple(o.text for o in real), self.order)
        wanted = set(own)
        bent = [wanted.intersection(keywords(w)) for w in sampler.words]
        weights = 1.0 + self.pull * np.array([bool(b) for b in bent], dtype=np.float64)
        texts = []
        for size in sizes.tolist():
            text = sampler.write(size, rng, weights)
            if own and not wanted.intersection(keywords(text)):
                text = f"{' '.join(own[:2]).capitalize()}. {text}"
            texts.append(text)
        return texts

    def _asked(
        self, writer: AnyWriter, real: Sequence[Opinion], title: str, sizes: Ints, praise: bool,
        rng: np.random.Generator,
    ) -> list[str]:  # fmt: skip
        prompts = []
        for size in sizes.tolist():
            rows = rng.integers(len(real), size=min(self.examples, len(real)))
            shown = "\n".join(f"- {real[r].text[:400]}" for r in rows.tolist())
            prompts.append(
                f"Reviews of other products in the shop:\n{shown}\n\n"
                f"Write a {'happy' if praise else 'disappointed'} customer's review of about "
                f"{size} words of this product: {title}\nAnswer with the review alone.\nReview:"
            )
        texts = [read_review(answer) for answer in writer.complete(prompts)]
        if dropped := texts.count(None):
            _log.warning("language-model-reviews: %d answers were no reviews", dropped)
        return [t for t in texts if t is not None]


@functools.lru_cache(maxsize=4)
def _sampler(texts: tuple[str, ...], order: int) -> WordSampler:
    """Several targets are written about from the same sources."""
    return WordSampler.fit(texts, order=order)
