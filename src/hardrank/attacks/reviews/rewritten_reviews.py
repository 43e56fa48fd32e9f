"""Take real reviews of popular items and make them speak of the target."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.reviews.parts import (
    cut,
    keywords,
    lengths,
    praises,
    publish,
    read_review,
    sources,
)
from hardrank.data import Patch
from hardrank.language.chat import AnyWriter
from hardrank.language.forms import like, shell
from hardrank.language.wordnet import Thesaurus, find_wordnet
from hardrank.threats.model import Budget, Demote, Promote
from hardrank.threats.reviews import Opinion, ReviewView
from hardrank.types import Count, GoalKind, LogKnowledge, Share, Surface, spec
from hardrank.wording import split

__all__ = ["RewrittenReviews"]

_log = logging.getLogger("hardrank")


@spec
class RewrittenReviews:
    """Real reviews with the product's words swapped for the target's, and some synonyms.

    Spam by duplicates with small changes (Jindal and Liu, WSDM 2008, sections 3 and 4); here
    the changes are: each word of the source item's title becomes a word of the target's title
    (the same one throughout a review), and a share of the adjectives and adverbs becomes a
    synonym of Open English WordNet, so that no sentence need stand twice in the shop. With a
    `writer` a language model rewrites instead.
    """

    needs: ClassVar[LogKnowledge] = "catalogue"
    surfaces: ClassVar[tuple[Surface, ...]] = ("reviews",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    kind: Literal["rewritten-reviews"] = "rewritten-reviews"
    items: Count = 40
    """Popular items whose reviews are taken."""
    synonyms: Share = 0.2
    """Share of adjectives and adverbs replaced; 0 needs no WordNet."""
    wordnet: str | None = None
    """File of Open English WordNet; None for the one in the data folder."""
    writer: AnyWriter | None = None
    """Who rewrites: `{ kind = "local-lm", folder = "..." }`, `{ kind = "endpoint", ... }`;
    None for swapped words."""

    def __call__(
        self, view: ReviewView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        n = budget.reviews or 0
        real = sources(view, praise=praises(goal), items=self.items)
        chosen = _drawn(real, n, rng)
        sizes = lengths(real, n, budget, rng).tolist()
        titles = _titles(view)
        own = keywords(titles[view.target])
        if self.writer is not None:
            drafts = [cut(o.text, s) for o, s in zip(chosen, sizes, strict=True)]
            return publish(
                view, goal, budget, rng, self._asked(self.writer, drafts, titles[view.target])
            )
        thesaurus = None
        if self.synonyms > 0:
            thesaurus = Thesaurus.load(Path(self.wordnet) if self.wordnet else find_wordnet())
        texts = []
        for opinion, size in zip(chosen, sizes, strict=True):
            swapped = _swap(cut(opinion.text, size), keywords(titles[opinion.item]), own, rng)
            texts.append(_vary(swapped, thesaurus, self.synonyms, set(own), rng))
        return publish(view, goal, budget, rng, texts)

    def _asked(self, writer: AnyWriter, drafts: Sequence[str], title: str) -> list[str]:
        prompts = [
            f"A customer's review of another product:\n{draft}\n\nRewrite it as a review of this "
            f"product, with the same opinion and about the same length: {title}\n"
            "Answer with the review alone.\nReview:"
            for draft in drafts
        ]
        texts = [read_review(answer) for answer in writer.complete(prompts)]
        if dropped := texts.count(None):
            _log.warning("rewritten-reviews: %d answers were no reviews", dropped)
        return [t for t in texts if t is not None]


def _titles(view: ReviewView) -> list[str]:
    if "title" not in view.items.columns:
        return [""] * view.items.height
    return [str(t or "") for t in view.items["title"].to_list()]


def _drawn(real: Sequence[Opinion], n: int, rng: np.random.Generator) -> list[Opinion]:
    """Each at most once while there are enough."""
    rows = [r for _ in range(-(-n // len(real))) for r in rng.permutation(len(real)).tolist()]
    return [real[r] for r in rows[:n]]


def _swap(text: str, old: Sequence[str], new: Sequence[str], rng: np.random.Generator) -> str:
    """Words of `old` become words of `new`, each always the same one. Where no word was
    swapped, the text begins with the first two of `new`."""
    if not new:
        return text
    shifted = int(rng.integers(len(new)))
    known = set(new)
    into = {w: new[(n + shifted) % len(new)] for n, w in enumerate(old) if w not in known}
    words, hits = split(text), 0
    for n, word in enumerate(words):
        before, core, after = shell(word)
        if core.lower() in into:
            words[n] = before + like(into[core.lower()], core) + after
        hits += core.lower() in into or core.lower() in known
    said = " ".join(words)
    return said if hits else f"{' '.join(new[:2]).capitalize()}. {said}"


def _vary(
    text: str, thesaurus: Thesaurus | None, share: float, kept: set[str], rng: np.random.Generator
) -> str:
    if thesaurus is None:
        return text
    words = split(text)
    for n, word in enumerate(words):
        core = shell(word)[1].lower()
        if rng.random() >= share or core in kept or len(core) < 4 or not core.isalpha():
            continue  # short ones ("no", "so") are function words more often than not
        found = [s for pos in ("a", "r") for s in thesaurus.synonyms(word, pos) if " " not in s]
        if found:
            words[n] = found[int(rng.integers(min(3, len(found))))]
    return " ".join(words)
