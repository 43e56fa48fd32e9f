"""The profile attack that draws from the generator."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from hardrank.attacks.profiles import ProfileAttackSpec
from hardrank.attacks.profiles.interest_gan import InterestGanProfiles
from hardrank.data import AddProfile
from hardrank.generators.interest_gan import InterestGan
from hardrank.surrogates import EaseSurrogate
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.court import label
from hardrank.threats.profiles import play_profiles

SMALL = InterestGanProfiles(
    gan=InterestGan(size=8, noise=4, width=16, steps=40, warmup=20, batch_size=32),
    surrogate=EaseSurrogate(weight=20.0), steps=40,
)  # fmt: skip
LOG = taste_log(users=120, items=60, events=12)


def _threat(**budget: int) -> ThreatModel:
    return ThreatModel(
        goal=Promote(items="random:1"), surface="profiles", log="log",
        budget=Budget(**({"profiles": 12, "profile_events": 9} | budget)),
    )  # fmt: skip


def _selection(attack: InterestGanProfiles, target: str) -> np.ndarray:
    match = play_profiles(attack, _threat(), LOG, target=target, seed=1)
    out = np.zeros((len(match.patch), LOG.n_items), dtype=np.float32)
    for n, edit in enumerate(match.patch.edits):
        assert isinstance(edit, AddProfile)
        assert target in edit.item_ids
        out[n, [LOG.item_rows[i] for i in edit.item_ids]] = 1
    return out


def test_beta_buys_exposure_in_the_attackers_recommender() -> None:
    """S2-10: equal budget, only the weight of the recommender's term differs."""
    import torch

    from hardrank.context import RunContext

    surrogate = SMALL.surrogate.fit(LOG, RunContext())
    aim = torch.tensor([LOG.item_rows["i59"]])
    blind = replace(SMALL, beta=0.0, surrogate=EaseSurrogate())
    without, aimed = (
        float(surrogate.promotion(torch.as_tensor(_selection(attack, "i59")), aim))
        for attack in (blind, SMALL)
    )
    assert aimed < 0.6 * without


def test_the_same_seed_gives_the_same_patch_and_edits_keep_their_share() -> None:
    attack = replace(SMALL, keep=0.5, steps=4)
    one, two = (play_profiles(attack, _threat(), LOG, target="i58", seed=4).patch for _ in range(2))
    assert one == two
    users = [set(LOG.histories().history(u).tolist()) for u in range(LOG.n_users)]
    for edit in one.edits:
        assert isinstance(edit, AddProfile)
        rows = {LOG.item_rows[i] for i in edit.item_ids}
        assert max(len(rows & u) for u in users) >= 3


@pytest.mark.parametrize(("ratings", "times"), [(False, False), (True, False)])
def test_logs_without_ratings_or_times(ratings: bool, times: bool) -> None:
    log = taste_log(users=30, items=20, events=6, ratings=ratings, times=times)
    match = play_profiles(replace(SMALL, steps=2), _threat(), log, target="i19", seed=0)
    assert match.profiles == 12


def test_a_budget_of_one_event_is_the_target_alone() -> None:
    match = play_profiles(SMALL, _threat(profile_events=1, profiles=2), LOG, target="i57", seed=0)
    assert [e.item_ids for e in match.patch.edits if isinstance(e, AddProfile)] == [("i57",)] * 2


@pytest.mark.parametrize("kind", ["interest-gan", "interest-vae"])
def test_what_would_not_be_read_cannot_be_said(kind: str) -> None:
    """The generator in an attack has no aim of its own, its steps are its own, and who is not
    asked is not named."""
    made: TypeAdapter[object] = TypeAdapter(ProfileAttackSpec)
    inner = kind.removeprefix("interest-")
    for wrong, says in (
        ({inner: {"kind": kind, "beta": 1.0}}, "beta"),
        ({"pretraining": 10}, "pretraining"),
        ({"steps": 0}, "steps"),
        ({"beta": 0.0, "surrogate": {"kind": "ease", "weight": 3.0}}, "nobody asks it"),
    ):
        with pytest.raises(ValidationError, match=says):
            made.validate_python({"kind": kind, **wrong})
    ablation = made.validate_python({"kind": kind, "beta": 0.0})
    assert label(ablation) == f"{kind}(beta=0.0)"
    assert label(made.validate_python({"kind": kind})) == kind
