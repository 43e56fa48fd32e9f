"""Let a language model write better and better listings."""

import logging
import re
import unicodedata
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.champion import Champion, bestsellers, pursue
from hardrank.attacks.parts import Shop
from hardrank.data import Patch
from hardrank.errors import Unsupported
from hardrank.language.chat import AnyWriter, Writer
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Natural, Surface, spec
from hardrank.wording import split

__all__ = ["LlmRewrite", "read_title"]

_log = logging.getLogger("hardrank")


@spec
class LlmRewrite:
    """Ask a language model for rewrites, tell it how the best ones did, ask again.

    A language model as optimiser (Yang et al., OPRO, ICLR 2024, arXiv:2309.03409, section 2):
    the prompt shows the best texts so far with their values, worst first, and asks for one
    that does better. Rewriting item text by a language model against recommenders: Zhang et
    al., ACL 2024, arXiv:2402.14836, who ask once and without looking; here every text is
    observed on the panel. Each of `rounds` rounds sends `candidates` prompts, which differ in
    the bestsellers they show, for equal prompts get equal answers. An answer that is no title
    (`read_title`) is dropped and counted in the log; what the budget forbids is never asked
    for. Costs at most rounds * candidates queries, and as many prompts.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = True
    kind: Literal["llm-rewrite"] = "llm-rewrite"
    writer: AnyWriter | None = None
    """Who rewrites: `{ kind = "endpoint", ... }` or `{ kind = "local-lm", ... }`."""
    rounds: Count = 4
    """Times it is told how the best texts did."""
    candidates: Count = 8
    """Prompts of a round."""
    examples: Natural = 5
    """Titles of bestsellers that a prompt shows, drawn from the 50 most bought."""
    shown: Count = 5
    """Best texts so far that a prompt shows with their values."""

    def author(self) -> Writer:
        """Raises `Unsupported` where no writer is configured. Override it to bring another."""
        if self.writer is None:
            raise Unsupported(
                'llm-rewrite has no writer; give it one: writer = { kind = "endpoint", url = '
                '"http://127.0.0.1:8000/v1", model = "..." } or writer = { kind = '
                '"local-lm", folder = "..." }'
            )
        return self.writer

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        shop, author = Shop.of(view), self.author()
        wish = "more" if isinstance(goal, Promote) else "fewer"

        def search(champion: Champion) -> None:
            popular = bestsellers(shop.titles, shop.popularity, champion.aim.text, 50)
            self._improve(champion, author, popular, wish, budget, rng)

        return pursue(view, goal, search)

    def _improve(
        self, champion: Champion, author: Writer, popular: Sequence[str], wish: str,
        budget: Budget, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        history = {champion.text: champion.worth}
        dropped = 0
        for _ in range(self.rounds):
            if champion.reached or (champion.aim.view.left == 0):
                break
            best = sorted(history, key=lambda text: history[text])[-self.shown :]
            tried = "\n".join(f"{100 * history[t][0]:+.1f} {history[t][1]:+.3f}: {t}" for t in best)
            prompts = [
                _prompt(champion.aim.text, tried, self._some(popular, rng), wish, budget, n)
                for n in range(1, self.candidates + 1)
            ]
            titles = [read_title(answer) for answer in author.complete(prompts)]
            dropped += titles.count(None)
            champion.challenge([t for t in titles if t is not None and t not in history])
            history |= champion.asked
        if dropped:
            _log.warning("llm-rewrite: %d answers for '%s' were no titles",
                         dropped, champion.aim.target)  # fmt: skip

    def _some(self, popular: Sequence[str], rng: np.random.Generator) -> list[str]:
        count = min(self.examples, len(popular))
        return [popular[n] for n in rng.choice(len(popular), size=count, replace=False)]


def _prompt(
    own: str, tried: str, popular: Sequence[str], wish: str, budget: Budget, number: int
) -> str:
    limit = ""
    if not budget.whole_text and budget.words is not None:
        limit = f"Change, add or remove at most {budget.words} words of it. "
    sellers = "\n".join(f"- {title}" for title in popular)
    return (
        f"Product title as it is:\n{own}\n\n"
        f"Titles that sell well in the same shop:\n{sellers}\n\n"
        "Versions tried so far, each with two numbers (percent of shoppers who see it, then a "
        f"finer measure), the best one last:\n{tried}\n\n"
        f"Write version {number} of the title so that {wish} shoppers see it than any of these. "
        f"{limit}Answer with the title alone, on one line."
    )


_LABEL = re.compile(
    r"^\s*(?:[-*•>]+\s*|\d{1,2}[.)]\s+|(?:new |rewritten |improved )?(?:title|version)"
    r"(?: \d+)?\s*[:：]\s*|标题\s*[:：]\s*)+",
    re.IGNORECASE,
)
_REFUSAL = re.compile(r"^(?:i'?m sorry|sorry|i can(?:no|')t|as an ai|i am unable)", re.IGNORECASE)


def read_title(answer: str) -> str | None:
    """The one title that an answer gives: its first line that is more than a fence or a
    heading ("Sure:"), without label, quotes and bullets. None where there is no such line, it
    refuses, is longer than 60 words or 500 characters, or holds control characters."""
    lines = [line.strip() for line in answer.strip().splitlines()]
    lines = [n for n in lines if n and not n.startswith("```") and not n.endswith((":", "："))]
    if not lines:
        return None
    title = _LABEL.sub("", lines[0]).strip().strip("\"'“”«»`*_").strip()
    if not split(title) or len(split(title)) > 60 or len(title) > 500 or _REFUSAL.match(title):
        return None
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Cn") for letter in title):
        return None
    return title
