"""Whence the item that a pairwise comparison says a user likes less.

Whatever the kind, it reads training events alone and never gives an item that the user has in
training. An item that the user will like later may be given: a false negative, and the more
likely the better the sampler knows the user.
"""

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge
from pydantic import Field

from hardrank.context import RunContext, derive
from hardrank.generators.interest_gan import InterestGan
from hardrank.models.bpr.samplers import Mixed, Popular, Proposals, Uniform
from hardrank.models.bpr.triples import Candidates, Triples
from hardrank.types import Count, NonNegative, Positive, Share, spec

__all__ = [
    "GeneratedNegatives",
    "HardNegatives",
    "Negatives",
    "PopularNegatives",
    "UniformNegatives",
]


@spec
class UniformNegatives:
    """Every item that the user does not have is as likely. Rendle et al., UAI 2009,
    arXiv:1205.2618, section 4.2."""

    kind: Literal["uniform-items"] = "uniform-items"

    def sampler(self, triples: Triples, run: RunContext) -> Candidates:
        return Uniform(triples)


@spec
class PopularNegatives:
    """By popularity: P(j) ~ (events of j)^exponent among what the user does not have. Mikolov
    et al., NeurIPS 2013, arXiv:1310.4546, section 2.2. Knows nothing of the user: the control
    of a generator of negatives."""

    kind: Literal["popular"] = "popular"
    share: Share = 0.5
    """Of comparisons; the others take a uniform item."""
    exponent: NonNegative = 0.75
    """0 is uniform among items with events, 1 by the count of events."""

    def sampler(self, triples: Triples, run: RunContext) -> Candidates:
        counts = triples.data.counts.astype(np.float64)
        odds = np.where(counts > 0, counts**self.exponent, 0.0)
        return Mixed(triples, Popular(triples, odds), self.share)


@spec
class HardNegatives:
    """The one of some uniform items that the model, as it stands, puts highest. Zhang et al.,
    SIGIR 2013 (dynamic negative sampling); ours takes the best candidate where the paper also
    draws by rank among them."""

    kind: Literal["hard"] = "hard"
    candidates: Annotated[int, Ge(2)] = 4
    """Uniform items of each comparison; more are harder, and more often what the user will
    like."""

    def sampler(self, triples: Triples, run: RunContext) -> Candidates:
        return Uniform(triples, self.candidates)


@spec
class GeneratedNegatives:
    """From what a generator of interests proposes for the user, without the user's own.

    After Wang et al., SIGIR 2017, arXiv:1705.10513, section 3.4 (IRGAN, pairwise): a generator
    finds what looks like the user's taste, the ranker learns to put the real events above it.
    There both learn by turns and the generator is the ranker's own softmax; ours is an
    `InterestGan`, trained before on the training log alone and then held fixed, so the ranker's
    mistakes do not steer it. Proposals are drawn once; each event then draws one of them.
    """

    kind: Literal["generated"] = "generated"
    share: Share = 0.25
    """Of comparisons; the others take a uniform item, so that false negatives stay rare."""
    proposals: Count = 100
    """Most items proposed for each user, best first; fewer where the catalogue has no more."""
    temperature: Positive = 1.0
    """Proposal r of n is drawn with odds exp(-(r / n) / temperature), r from 0: low for the
    likeliest ones, which are hardest and most often false; high for all alike."""
    generator: InterestGan = InterestGan()
    """Trained by the seed of the run; in a folder it resumes."""

    def sampler(self, triples: Triples, run: RunContext) -> Candidates:
        """Raises what `InterestGan.fit` raises."""
        seed = run.seed
        place = run.seeded(derive(seed, "generator")).at("generators", f"generator-{seed}")
        rng = np.random.default_rng(derive(seed, "negatives", "proposals"))
        fitted = self.generator.fit(triples.data, place)
        made = Proposals.of(triples, fitted, rng, most=self.proposals, temperature=self.temperature)
        return Mixed(triples, made, self.share)


Negatives = Annotated[
    UniformNegatives | PopularNegatives | HardNegatives | GeneratedNegatives,
    Field(discriminator="kind"),
]
