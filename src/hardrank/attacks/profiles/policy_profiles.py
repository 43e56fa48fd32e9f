"""Fake users that a policy writes item by item, trained by reward alone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray

from hardrank.attacks.profiles.parts import Lengths, Manner, others
from hardrank.attacks.profiles.policy_desk import MOST, ROOM, Desk, features_of, guarded, loss_of
from hardrank.attacks.profiles.selection import Jury, invented, sworn
from hardrank.data import Patch
from hardrank.surrogates import Aim, AlsSurrogate, EaseSurrogate, SurrogateSpec
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import (
    Count,
    GoalKind,
    Ints,
    LogKnowledge,
    NonNegative,
    Share,
    Surface,
    spec,
)

if TYPE_CHECKING:
    from hardrank.generators.profile_policy import ProfilePolicy

__all__ = ["Learning", "PolicyProfiles"]

_WATCHED = 200
"""Real users whose lists a query watches: a few tell as much as all, and cost less."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Learning:
    """What came of training the policy, for who wants to look at it."""

    rewards: tuple[float, ...]
    """Mean reward of each step's queries: the log of the soft share of lists, added up over
    surrogates."""
    patch: Patch
    """Of the best of the last sets."""


@spec
class PolicyProfiles:
    """Reinforcement learning: a policy writes profiles, surrogates reward what they would do.

    After PoisonRec (Song et al., ICDE 2020): a recurrent policy picks item after item, a
    tree over the catalogue makes a pick cheap, and proximal policy optimisation raises the
    reward, for which no gradient of recommender or detector is needed. As there: the
    recurrent state, the reward at the end alone, the clipped objective, sampled batches.
    Otherwise here: the reward comes from the attacker's own surrogates, never from the
    victim, and is the log of a soft share of lists, since the share itself is 0 for rare
    items; items have fixed vectors of a factorisation of the log; their tree is by taste and
    popularity, unbiased, and cut into two levels; the target stands in each profile once, so
    the policy does not choose it; a query's set repeats `voices` profiles, the paper's has
    none alike; the mean of the batch is the baseline.

    An attacker who knows the detector subtracts suspicion from the gain, and drops what
    would be flagged when he chooses among the last sets.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["policy-profiles"] = "policy-profiles"
    surrogates: tuple[SurrogateSpec, ...] = ()
    """Models that reward; empty for EASE (up to its limit of items) and an ALS."""
    factors: Count = 16
    """Length of the item vectors that the policy reads."""
    width: Count = 32
    """Of the recurrent state."""
    steps: Count = 25
    """Batches of queries, each followed by an update."""
    batch: Annotated[int, Ge(2)] = 24
    """Queries of each step: sets of fake users that the surrogates are asked about."""
    voices: Count = 5
    """Different profiles in the set of one query; the others repeat them. The fewer, the
    clearer whose merit a reward is; as many as the budget's profiles for the paper's way."""
    finals: Count = 20
    """Sets that the trained policy writes in the end, a query each; the best is taken."""
    epochs: Count = 4
    """Updates on one batch."""
    learning_rate: NonNegative = 0.02
    """Of Adam. 0 leaves the policy random: what it has to beat with the same queries."""
    clip: Annotated[float, Gt(0), Lt(1)] = 0.2
    """How far a draw's chance may move in one step, as a share of it."""
    entropy: NonNegative = 0.01
    """Weight of the entropy of a draw, in nats, beside gains of deviation 1."""
    evasion: Share = 0.5
    """Weight of suspicion beside exposure, where the detector is known."""
    asking: Count = 1
    """Steps from one question to the detector to the next, which has to score the whole log;
    in between, suspicion is guessed from the items by ridge regression."""
    flagged: Share = 0.01
    """Share of the users of the clean log that the known detector's threshold flags."""
    lengths: Lengths = "budget"
    """`budget` or `natural`: events of a fake user."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        desk = self._desk(view, goal, budget, rng)
        if desk.room.max(initial=0) < 1:
            return desk.patch((np.zeros(0, dtype=np.int64),) * desk.room.size, rng)
        return self._learned(desk, rng).patch

    def learned(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Learning:
        """The same patch as a call gives, and how the reward rose. The budget has room for a
        profile with a filler."""
        return self._learned(self._desk(view, goal, budget, rng), rng)

    def _desk(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Desk:
        crowd = invented(view, budget, rng, self.lengths)
        return Desk(view=view, goal=goal, budget=budget, crowd=crowd, manner=self.manner)

    def _learned(self, desk: Desk, rng: np.random.Generator) -> Learning:
        import torch

        from hardrank.generators.profile_policy import ascend

        jury, guard = self._jury(desk, rng), guarded(desk.view, self.flagged)
        policy = self._policy(desk.view, rng)
        optimiser = torch.optim.Adam(policy.parameters(), lr=self.learning_rate)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        company, asked = len(desk.room), self.batch * self.voices
        rose: list[float] = []
        for step in range(self.steps):
            due = guard is not None and step % self.asking == 0
            drawn = policy.write(desk.lengths(max(asked, company if due else 0)), generator)
            profiles = drawn.profiles()
            rewards = self._rewards(desk, jury, profiles[:asked])
            if guard and due:
                judged = profiles[:company]
                guard.ask(desk.multi_hot(judged), desk.patch(judged, rng))
            margins = guard.guess(desk.multi_hot(profiles[:asked])) if guard else None
            ascend(
                policy, optimiser, drawn.first(asked), self._gains(rewards, margins),
                epochs=self.epochs, clip=self.clip, entropy=self.entropy,
            )  # fmt: skip
            rose.append(float(rewards.mean()))
        sets = [policy.write(desk.lengths(company), generator).profiles()
                for _ in range(self.finals)]  # fmt: skip
        patches = [desk.patch(profiles, rng) for profiles in sets]
        losses = [loss_of(desk, jury, guard, *pair) for pair in zip(sets, patches, strict=True)]
        return Learning(rewards=tuple(rose), patch=patches[int(np.argmin(losses))])

    def _jury(self, desk: Desk, rng: np.random.Generator) -> Jury:
        ease = EaseSurrogate(users=_WATCHED)
        factors = AlsSurrogate(factors=self.factors, users=_WATCHED)
        few = desk.view.items.height <= ease.most_items
        chosen = self.surrogates or ((ease, factors) if few else (factors,))
        return sworn(desk.view, chosen, Aim(k=desk.goal.k, sharpness=2.0), rng)

    def _policy(self, view: LogView, rng: np.random.Generator) -> "ProfilePolicy":
        from hardrank.generators.profile_policy import grouped, new_policy

        seed = int(rng.integers(2**31))
        features = features_of(view, self.factors, seed)
        rows = others(view)
        depth = round(np.log2(rows.size) / 2)  # about as many groups as places in each
        menu = grouped(features, rows, depth)
        start = features[view.targets].mean(axis=0)
        return new_policy(features, menu, start, width=self.width, seed=seed)

    def _rewards(self, desk: Desk, jury: Jury, profiles: list[Ints]) -> NDArray[np.float64]:
        """(B,) of each query: V profiles by turns, until there are as many as fake users."""
        sets = [profiles[n : n + self.voices] for n in range(0, len(profiles), self.voices)]
        turns = np.arange(len(desk.room))
        return np.asarray([-jury.value(desk.selection(s)[turns % len(s)]) for s in sets])

    def _gains(
        self, rewards: NDArray[np.float64], margins: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """(B * V,) of each profile: its query's reward less its own suspicion, both beside the
        batch's."""
        from hardrank.generators.profile_policy import advantages

        exposed = np.repeat(advantages(rewards), self.voices)
        if margins is None:
            return exposed
        doubts = advantages(np.clip(margins + ROOM, 0.0, MOST))
        return (1 - self.evasion) * exposed - self.evasion * doubts
