"""White box: search a distribution over words by gradient descent, then sample from it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.flips import Flips, Site, fill, opened
from hardrank.attacks.parts import Shop
from hardrank.attacks.trail import Trail
from hardrank.attacks.vocabulary import Positions
from hardrank.data import Edit, Patch
from hardrank.threats import Budget, Demote, GradientView, Promote
from hardrank.types import Count, Floats, GoalKind, Knowledge, Positive, Surface, spec

if TYPE_CHECKING:
    import torch

__all__ = ["Gbda"]

_SITES = 8
"""Most places that are searched at once, however many words the budget allows."""


@spec
class Gbda:
    """Adam on the logits of a word distribution for each place, through Gumbel-softmax samples.

    Guo et al., EMNLP 2021, arXiv:2104.13733, section 3. The mixture that a sample weighs is
    put into the victim's input embeddings; what is climbed is the soft exposure of `Aim`, and
    `samples` texts drawn from what was learned are scored exactly. The paper lets every token
    move and keeps fluency and similarity by penalties; here as many places move as the budget
    has words, those with the greatest first-order gain, and the referee keeps the rest. A word
    of several tokens is mixed in as their mean. One query for the gradient that picks the
    places, one for each mixture of each step, one for each text: by default 1 + 240 + 100,
    with fewer queries half of them for the steps.
    """

    needs: ClassVar[Knowledge] = "gradients"
    uses: ClassVar[Knowledge] = "gradients"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["gbda"] = "gbda"
    vocabulary: Count = 1000
    """Candidate words: the most bought words of the catalogue."""
    positions: Positions = ("front", "end")
    """Where a word may be inserted."""
    steps: Count = 60
    """Steps of Adam."""
    batch: Count = 4
    """Mixtures drawn at each step."""
    samples: Count = 100
    """Texts drawn in the end."""
    learning_rate: Positive = 0.3
    """Of Adam, in logits."""
    temperature: Positive = 1.0
    """Of the Gumbel-softmax: lower is nearer to single words, with rougher gradients."""

    def __call__(
        self, view: GradientView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        words, edits = Shop.of(view).vocabulary(self.vocabulary), list[Edit]()
        embeddings = view.embed(words)
        for target in goal.items:
            aim = Aim.of(view, target, goal)
            if aim is None or aim.standing.reached[0]:
                continue
            text = self._search(aim, budget, words, embeddings, rng)
            if text != aim.text:
                edits.append(view.edit(target, text))
        return Patch(tuple(edits))

    def _search(
        self, aim: Aim, budget: Budget, words: Sequence[str], embeddings: Floats,
        rng: np.random.Generator,
    ) -> str:  # fmt: skip
        left, most = aim.view.left, _SITES if budget.words is None else min(budget.words, _SITES)
        if not words or most == 0 or (left is not None and left < 2):
            return aim.text
        flips = Flips.of(aim, Draft.of(aim.text), words, embeddings, self.positions)
        plan = _Plan.of(flips, most)
        if not plan.sites:
            return aim.text
        steps = self.steps if left is None else min(self.steps, (left - 1) // 2 // self.batch)
        logits = self._descend(aim, plan, words, steps, rng) if steps else plan.start
        trail = Trail.of(aim)
        fresh = trail.fresh(plan.drawn(logits, words, self.samples, rng), self.samples)
        if fresh:
            trail.ask(list(fresh))
        return trail.text

    def _descend(
        self, aim: Aim, plan: "_Plan", words: Sequence[str], steps: int, rng: np.random.Generator
    ) -> Floats:
        """(S, W) logits."""
        import torch

        assert isinstance(aim.view, GradientView)
        scores, worth = aim.view.relaxed(aim.target, plan.text, plan.slots, words), _worth(aim)
        logits = torch.from_numpy(plan.start.copy()).requires_grad_(True)
        mean, square = np.zeros((2, *plan.start.shape), dtype=np.float32)
        for step in range(1, steps + 1):
            noise = rng.gumbel(size=(self.batch, *plan.start.shape)).astype(np.float32)
            weights = ((logits + torch.from_numpy(noise)) / self.temperature).softmax(-1)
            loss = -worth(scores(weights)).mean()
            slope = torch.autograd.grad(loss, logits)[0].numpy()
            mean += (slope - mean) * 0.1
            square += (slope**2 - square) * 0.001
            ahead = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
            with torch.no_grad():
                logits -= torch.from_numpy(self.learning_rate * ahead)
        out: Floats = logits.detach().numpy()
        return out


def _worth(aim: Aim) -> "Callable[[torch.Tensor], torch.Tensor]":
    """(B, E) scores -> (B,) as `Aim` values them, differentiable."""
    import torch

    assert isinstance(aim.view, GradientView)
    thresholds = torch.from_numpy(aim.view.thresholds(aim.target)[aim.users])
    users = torch.from_numpy(aim.users)

    def worth(scores: "torch.Tensor") -> "torch.Tensor":
        margins = (scores[:, users] - thresholds) / aim.spread
        return aim.sign * torch.nn.functional.logsigmoid(margins).logsumexp(-1)

    return worth


@dataclass(frozen=True, eq=False)
class _Plan:
    """The places that are searched."""

    draft: Draft
    sites: tuple[Site, ...]
    """(S,)"""
    text: str
    """With a neutral word wherever one is to be inserted."""
    slots: tuple[int, ...]
    """(S,) which words of `text` are mixed."""
    start: Floats
    """(S, W) logits: first-order gains, on a scale on which they differ by about 1."""

    @classmethod
    def of(cls, flips: Flips, most: int) -> "_Plan":
        gains, best = flips.gains[:, :-1], flips.gains[:, :-1].max(axis=1)
        order = [n for n in np.argsort(-best, kind="stable") if not np.isneginf(best[n])]
        rows = sorted(order[:most])
        sites = [flips.sites[row] for row in rows]
        text, slots = opened(flips.draft, sites)
        chosen = gains[rows]
        finite = np.where(np.isneginf(chosen), chosen[~np.isneginf(chosen)].min(initial=0), chosen)
        spread = finite.std(axis=1, keepdims=True)
        start = (finite - finite.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
        first = tuple(own[0] for own in slots)
        return cls(flips.draft, tuple(sites), text, first, start.astype(np.float32))

    def drawn(
        self, logits: Floats, words: Sequence[str], most: int, rng: np.random.Generator
    ) -> Iterator[Draft]:
        """The likeliest words together, then without one of them each, then samples."""
        likeliest = [words[n] for n in logits.argmax(axis=-1)]
        everywhere = range(len(self.sites))
        yield self._filled(likeliest, everywhere)
        for left_out in everywhere:
            yield self._filled(likeliest, [n for n in everywhere if n != left_out])
        noise = rng.gumbel(size=(4 * most, *logits.shape))
        for choice in (logits + noise).argmax(axis=-1):
            yield self._filled([words[n] for n in choice], everywhere)

    def _filled(self, words: Sequence[str], used: Sequence[int]) -> Draft:
        made = self.draft
        for n in used:  # the ends come last among the sites, so what is inserted stays
            made = fill(made, self.sites[n], words[n])
        return made
