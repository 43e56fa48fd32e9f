"""Fake users rewritten until the known detector lets them pass: the adaptive attacker who
optimises."""

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Gt, Le, Len

from hardrank.attacks.profiles.copy_profile import CopyProfile
from hardrank.attacks.profiles.crafted_profiles import CraftedProfiles
from hardrank.attacks.profiles.disguises import Fakes, Scene, Try, fakes_of, stars_of
from hardrank.attacks.profiles.parts import limits
from hardrank.attacks.profiles.rehearsed import Candidate, Rehearsed
from hardrank.attacks.profiles.selection import sworn, usual
from hardrank.data import Patch
from hardrank.surrogates import Aim
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LOG_VIEWS, LogView
from hardrank.types import GoalKind, LogKnowledge, Natural, NonNegative, Share, Surface, spec

__all__ = ["EvasiveProfiles"]


@spec
class EvasiveProfiles:
    """Write fake users in several lengths, praise the target less, mend those who are flagged.

    A detector learns what the attacks that it met did not need to vary. So each base attack
    is played at several lengths and each patch with several ratings of the target, all of
    them through the defence. From the best one, round by round: a flagged fake user is
    shortened, rated otherwise, timed otherwise or crossed with one who passes; one who passes
    exchanges a few fillers along the surrogates' gradient. The detector is asked about all at
    once, who fails goes back, and what wins more exposure after the defence is kept. What
    `first` writes is a candidate from the beginning, so on the attacker's surrogates this is
    never worse. Ours, after Tramer et al., NeurIPS 2020, arXiv:2002.08347: an attack as simple
    as the defence lets it be, and a search only from there. Without a detector it is `first`.

    Who knows of a cap on growth, too (`first.cap`), begins with `helped-profiles` or the like:
    what counts is then what the cap leaves of those who pass, who praises the target is mended
    as above, and who helps without naming it stays a helper.

    The defence's threshold comes from an earlier, clean log and is out of reach.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["evasive-profiles"] = "evasive-profiles"
    first: Rehearsed = Rehearsed()
    """The attacker whom this one has to beat; its `flagged` and `cap` are what is known of the
    defence beside its detector."""
    candidates: Annotated[tuple[Candidate, ...], Len(min_length=1)] = (
        CraftedProfiles(), CopyProfile(users="audience", keep="random"),
    )  # fmt: skip
    """Attacks whose fake users are disguised."""
    lengths: Annotated[tuple[Annotated[float, Gt(0), Le(1)], ...], Len(min_length=1)] = (
        1.0, 0.85, 0.65, 0.4,
    )  # fmt: skip
    """Shares of the budget's events that are tried: a profile that fills the budget is one of
    many of the same length."""
    praise: Annotated[tuple[NonNegative, ...], Len(min_length=1)] = (0.0, 0.5, 1.0, 2.0)
    """Steps below what the base attack gives the target, on average, down to the middle of the
    scale: 0.5 of best ratings is 5 and 4 of 5 stars by turns. Victims that turn ratings into
    events do not see the difference, detectors do."""
    rating_weight: NonNegative = 2.0
    """How much high ratings of the target add to the worth of the exposure won, for victims
    that learn from ratings; 0 for not at all."""
    rounds: Natural = 6
    """Of mending; two looks at the detector each."""
    exchanged: Share = 0.04
    """Share of the fillers of a fake user who passes that are exchanged in a round, at least one;
    half of it after a round that won nothing."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        patch = self.first(view, goal, budget, rng)
        if view.detector is None or not len(patch):
            return patch
        scene = Scene(
            view=view, border=self._border(view), stars=stars_of(view, goal),
            weight=self.rating_weight, jury=sworn(view, usual(view, ()), Aim(k=goal.k), rng),
            cap=self.first.cap, seed=int(rng.integers(2**31)) if self.first.cap else 0,
        )  # fmt: skip
        tries = [scene.tried(fakes_of(patch))]
        for written in self._written(view, goal, budget, rng):
            tries += [scene.tried(scene.praised(written, steps)) for steps in self.praise]
        ordered = sorted(tries, key=lambda t: t.worth, reverse=True)
        everyone = [fake for one in ordered for fake in one.unseen]
        tries.append(scene.tried(tuple(everyone[: limits(budget)[0]])))
        best = max(tries, key=lambda t: t.worth)
        share = self.exchanged
        for _ in range(self.rounds):
            after = self._mended(scene, best, share, rng)
            # all climb one slope at once: too far together is worse than before
            share = share if after.worth > best.worth else share / 2
            best = max(best, after, key=lambda t: t.worth)
        return Patch(tuple(replace(f, user_id=f"new-{n}") for n, f in enumerate(best.fakes)))

    def _border(self, view: LogView) -> float:
        """The score that the defence's threshold lies at."""
        assert view.detector is not None
        scores = np.asarray(view.detector(view.train), dtype=np.float64)
        known = scores[~np.isnan(scores)]
        level = 1 - self.first.flagged
        return float(np.quantile(known, level, method="higher")) if known.size else np.inf

    def _written(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> list[Fakes]:
        """Every base attack at every length; none of them knows the detector."""
        most = limits(budget)[1]
        sizes = sorted({max(1, round(share * most)) for share in self.lengths}, reverse=True)
        out = []
        for attack in self.candidates:
            base: Any = attack
            seen = LOG_VIEWS[base.needs](view.train, view.targets, view.run)
            out += [
                fakes_of(base(seen, goal, replace(budget, profile_events=size), rng))
                for size in sizes
            ]
        return [fakes for fakes in out if fakes]

    def _mended(self, scene: Scene, now: Try, share: float, rng: np.random.Generator) -> Try:
        """One round: everybody is changed, and who then passes stays changed."""
        donors, slope = now.unseen, scene.slope(now.fakes)
        changed = tuple(
            scene.exchanged(fake, slope[p], share, rng)
            if now.passed[p] else scene.disguised(fake, donors, slope[p], rng)
            for p, fake in enumerate(now.fakes)
        )  # fmt: skip
        after = scene.tried(changed)
        return scene.tried(
            tuple(
                new if passed else old
                for old, new, passed in zip(now.fakes, changed, after.passed.tolist(), strict=True)
            )
        )
