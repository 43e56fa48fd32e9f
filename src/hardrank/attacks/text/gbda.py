"""White box: search a distribution over words by gradient descent, then sample from it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.flips import NEUTRAL, Flips, Place, fill
from hardrank.attacks.parts import Shop
from hardrank.attacks.trail import Trail
from hardrank.attacks.vocabulary import Positions
from hardrank.data import Edit, Patch
from hardrank.threats import Budget, Demote, GradientView, Promote
from hardrank.types import Count, Floats, GoalKind, Knowledge, Positive, Surface, spec
from hardrank.wording import split

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
        scores = aim.view.relaxed(aim.target, plan.text, plan.slots, words)
        logits = torch.from_numpy(plan.start.copy()).requires_grad_(True)
        adam = torch.optim.Adam([logits], lr=self.learning_rate)
        for _ in range(steps):
            noise = rng.gumbel(size=(self.batch, *plan.start.shape)).astype(np.float32)
            weights = ((logits + torch.from_numpy(noise)) / self.temperature).softmax(-1)
            loss = -_worth(aim, scores(weights)).mean()
            (logits.grad,) = torch.autograd.grad(loss, logits)
            adam.step()
        out: Floats = logits.detach().numpy()
        return out


def _worth(aim: Aim, scores: "torch.Tensor") -> "torch.Tensor":
    """(B, E) -> (B,) as `Aim` values them, differentiable."""
    import torch

    assert isinstance(aim.view, GradientView)
    thresholds = torch.from_numpy(aim.view.thresholds(aim.target)[aim.users])
    margins = (scores[:, torch.from_numpy(aim.users)] - thresholds) / aim.spread
    return aim.sign * torch.nn.functional.logsigmoid(margins).logsumexp(-1)


@dataclass(frozen=True, eq=False)
class _Plan:
    """The places that are searched."""

    draft: Draft
    sites: tuple[tuple[int, Place], ...]
    """(S,)"""
    text: str
    """With a neutral word wherever one is to be inserted."""
    slots: tuple[int, ...]
    """(S,) which words of `text` are mixed."""
    start: Floats
    """(S, W) logits: first-order gains, on a scale on which they differ by about 1."""

    @classmethod
    def of(cls, flips: Flips, most: int) -> "_Plan":
        gains = flips.gains[:, :-1]
        rows = np.sort(np.argsort(-gains.max(axis=1), kind="stable")[:most]).tolist()
        sites = [flips.sites[row] for row in rows]
        draft = flips.draft
        held, slots = draft, []
        for site in sites:
            held = fill(held, site, NEUTRAL) if site[1] != "instead" else held
        starts = np.cumsum([0, *(len(split(word)) for word in held.words)]).tolist()
        for slot, place in sites:
            inside = (slot, "front") in sites and place != "front"
            slots.append(starts[slot + 1] - 1 if place == "end" else starts[slot] + int(inside))
        chosen = gains[rows]
        finite = np.where(np.isneginf(chosen), chosen[~np.isneginf(chosen)].min(initial=0), chosen)
        spread = finite.std(axis=1, keepdims=True)
        start = (finite - finite.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
        return cls(draft, tuple(sites), held.text, tuple(slots), start.astype(np.float32))

    def drawn(
        self, logits: Floats, words: Sequence[str], most: int, rng: np.random.Generator
    ) -> Iterator[Draft]:
        """The likeliest words, then samples, and with them what is left when one is not used."""
        noise = rng.gumbel(size=(4 * most, *logits.shape))
        noise[0] = 0
        for choice in (logits + noise).argmax(axis=-1).tolist():
            yield self._filled(words, choice)

    def _filled(self, words: Sequence[str], choice: Sequence[int]) -> Draft:
        made = self.draft
        for site, word in sorted(
            zip(self.sites, choice, strict=True), key=lambda entry: entry[0][1] != "instead"
        ):
            made = fill(made, site, words[word])
        return made
