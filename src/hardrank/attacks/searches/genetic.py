"""A population of texts that mate slot by slot."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Ordering, Shop, Transformation, choices
from hardrank.attacks.trail import Trail
from hardrank.threats import Budget
from hardrank.types import Count, spec

__all__ = ["Genetic"]

_TRIES = 8
"""Times that children are conceived for those which break the budget or were asked before."""


@spec
class Genetic:
    """Mutate one slot at random, mate parents slot by slot, keep the best of each generation.

    Alzantot et al., EMNLP 2018, arXiv:1804.07998, algorithm 1. Parents are drawn in
    proportion to what they are worth: as that is the logarithm of the soft exposure, by its
    exponential. The paper asks for every neighbour of a word when it mutates; here a
    mutation takes one at random, so that a generation costs `population` - 1 queries, and a
    child with too many edits loses some at random. At most generations x (population - 1)
    queries. The ordering names the slots that may be edited.
    """

    kind: Literal["genetic"] = "genetic"
    population: Count = 20
    """Texts of a generation; the best of the one before is always among them."""
    generations: Count = 30
    """Rounds of mating and mutation, at most."""

    def __call__(
        self,
        aim: Aim,
        transformations: Sequence[Transformation],
        ordering: Ordering,
        budget: Budget,
        shop: Shop,
        rng: np.random.Generator,
    ) -> str:
        trail, first = Trail.of(aim), Draft.of(aim.text)
        slots = list(ordering(first, aim, rng))
        living, values = [first], np.array([trail.value])
        while len(trail.asked) <= self.generations * (self.population - 1):
            children, wanted = dict[str, Draft](), self.population - 1
            for _ in range(_TRIES):
                made = [
                    _mutant(_child(living, values, rng), slots, transformations, budget, shop, rng)
                    for _ in range(wanted - len(children))
                ]
                children = trail.fresh([*children.values(), *made], wanted)
            if not children:
                break
            found = trail.ask(list(children)).values
            if trail.reached:
                break
            elite = int(values.argmax())
            living = [living[elite], *children.values()]
            values = np.concatenate([values[elite : elite + 1], found])
        return trail.text


def _child(living: Sequence[Draft], values: NDArray[np.float64], rng: np.random.Generator) -> Draft:
    """Each slot from one of two parents, by a fair coin."""
    weights = np.exp(values - values.max()) if np.isfinite(values.max()) else np.ones(len(values))
    mother, father = rng.choice(len(living), size=2, p=weights / weights.sum()).tolist()
    child: Draft = living[mother]
    from_father = (rng.random(len(child.words)) < 0.5).tolist()
    pairs = zip(child.words, living[father].words, from_father, strict=True)
    return replace(child, words=tuple(f if his else m for m, f, his in pairs))


def _mutant(
    child: Draft,
    slots: Sequence[int],
    transformations: Sequence[Transformation],
    budget: Budget,
    shop: Shop,
    rng: np.random.Generator,
) -> Draft:
    """One filling more, at a slot drawn evenly; before that as many fewer as it has too many."""
    slot = int(rng.choice(slots)) if len(slots) else 0
    others = [s for s in child.touched if s != slot]
    room = len(others) if budget.words is None else max(0, budget.words - 1)
    for lost in rng.permutation(others)[room:].tolist():
        child = child.put(lost, child.original[lost])
    found = choices(child, slot, transformations, shop, rng)
    return child.put(slot, found[int(rng.integers(len(found)))]) if found else child
