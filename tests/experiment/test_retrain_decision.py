"""What refuses a challenger where both models answered the same events (S3-21)."""

from dataclasses import replace

import numpy as np
import pytest

from hardrank.errors import BundleError
from hardrank.experiment.retrain_compare import compared, told
from hardrank.experiment.retrain_decision import decided, surging
from hardrank.experiment.retrain_measure import Outcome
from hardrank.serve.lifecycle import Figures, Floors, challenge

ITEMS = [f"i{n}" for n in range(20)]
USUAL = dict.fromkeys(ITEMS, 0.2)


def figures(gains: np.ndarray, **more: object) -> Figures:  # type: ignore[type-arg]
    return Figures(
        ndcg=float(gains.mean()), attacks={}, queries=len(gains), gains=tuple(gains.tolist()),
        **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_small_loss_on_few_events_is_chance() -> None:
    """2 % less on 50 events that scatter widely: not refused; on 50,000 it is."""
    rng = np.random.default_rng(0)
    few = rng.random(50)
    moved = few + rng.normal(0, 0.2, 50)
    moved += 0.98 * few.mean() - moved.mean()
    before, after = figures(few), figures(moved)
    assert challenge(before, after).promote
    many, other = figures(np.tile(few, 1000)), figures(np.tile(moved, 1000))
    assert not challenge(many, other).promote
    assert not challenge(before, after, Floors(chance=0.5)).promote
    assert not challenge(replace(before, gains=()), after).promote


def test_no_chance_excuses_a_large_loss() -> None:
    rng = np.random.default_rng(0)
    gains = rng.random(40)
    noisy = gains + rng.normal(0, 5.0, 40)
    noisy += 0.85 * gains.mean() - noisy.mean()
    assert not challenge(figures(gains), figures(noisy)).promote
    assert challenge(figures(gains), figures(noisy), Floors(quality_worst=0.3)).promote


def test_a_challenger_just_at_the_floor_is_refused_as_often_as_stated() -> None:
    """Over 2,000 draws 5 % are refused, give or take three standard errors."""
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(2000):
        gains = rng.uniform(0.2, 0.8, 200)
        after = 0.99 * gains + rng.normal(0, 0.1, 200)
        refused += not challenge(figures(gains), figures(after)).promote
    assert abs(refused / 2000 - 0.05) < 0.015


def surged(share: float, chance: float, before: float = 0.001) -> bool:
    one = figures(np.full(40, 0.5), exposure={**USUAL, "x": 0.0})
    two = replace(
        one, exposure={**USUAL, "x": share}, without={**USUAL, "x": before},
        chance={**dict.fromkeys(ITEMS, 1.0), "x": chance},
    )  # fmt: skip
    return not challenge(one, two).promote


@pytest.mark.parametrize(
    ("share", "chance", "named"),
    [
        (0.03, 1e-6, True),  # its events come from new accounts
        (0.03, 0.5, False),  # as they do for everything
        (0.009, 1e-9, False),  # too little to matter
        (0.06, 0.5, True),  # sudden: all others stand still
        (0.03, 0.01 / 21 + 1e-9, False),
    ],
)
def test_what_new_accounts_bought_is_named(share: float, chance: float, named: bool) -> None:
    assert surged(share, chance) == named


def test_what_old_accounts_like_as_well_is_no_surge() -> None:
    """The model without new accounts lists it, too: a hit, though the champion has none of it."""
    assert not surged(0.3, 1e-9, before=0.2)


def test_the_noise_of_two_trainings_is_allowed_for() -> None:
    """Where all items move about, a sudden one is one of them."""
    rng = np.random.default_rng(0)
    moved = {i: float(np.clip(0.2 + d, 0, 1)) for i, d in zip(ITEMS, rng.normal(0, 0.1, 20),
                                                              strict=True)}  # fmt: skip
    one = figures(np.full(40, 0.5), exposure=USUAL)
    two = replace(one, exposure={**moved, "x": 0.06}, without={**USUAL, "x": 0.001})
    assert challenge(one, two).promote
    assert not challenge(one, two, Floors(exposure_noise=0.1)).promote


def outcome(gains: list[float] | None = None, **attacks: dict[str, bool]) -> Outcome:
    answered = np.full(40, 0.5) if gains is None else np.asarray(gains)
    return Outcome(gains=answered, exposure={}, attacks=attacks)


def both(champion: Outcome, challenger: Outcome) -> tuple[Figures, Figures]:
    done = compared(champion, challenger, np.ones(len(champion.gains), dtype=np.bool_), 30)
    return done.champion, done.challenger


def test_attacks_are_compared_on_targets_that_count_for_both() -> None:
    """A target that one model lists anyway is left out of both; an attack that did not run on
    the challenger stays with the champion, and so is missed."""
    champion, challenger = both(
        outcome(a={"x": True, "y": False}, b={"x": True}), outcome(a={"y": False, "z": True})
    )
    assert champion.attacks == {"a": 0.0, "b": 1.0}
    assert challenger.attacks == {"a": 0.0}
    assert challenge(champion, challenger).reasons == ("not measured against 'b'",)


def test_different_targets_are_no_comparison() -> None:
    """No target counts for both: one figure would be of x, the other of z. It is missing, and
    counts against the challenger, whatever it says of z."""
    for other in (False, True):
        champion, challenger = both(outcome(a={"x": True}), outcome(a={"z": other}))
        assert challenger.attacks == {}
        assert challenge(champion, challenger).reasons == ("not measured against 'a'",)


def test_what_ran_on_the_challenger_alone_meets_absolute_floors() -> None:
    champion, challenger = both(outcome(), outcome(a={"z": True}))
    assert champion.attacks == {} and challenger.attacks == {"a": 1.0}
    assert challenge(champion, challenger).promote
    assert not challenge(champion, challenger, Floors(success=0.5)).promote


def test_quality_is_that_of_users_known_from_before() -> None:
    """A challenger that learned what 40 unflagged fake users do next gains there, and loses half
    on the 30 events of everybody else: those decide."""
    before, after = outcome([0.4] * 30 + [0.0] * 40), outcome([0.2] * 30 + [0.9] * 40)
    known = np.arange(70) < 30
    done = compared(before, after, known, 30)
    assert (done.champion.queries, done.champion.ndcg) == (30, pytest.approx(0.4))
    assert done.challenger.gains == (0.2,) * 30
    assert done.quality["decides"] == "known"
    assert done.quality["all"] == {
        "queries": 70, "champion": pytest.approx(12 / 70), "challenger": pytest.approx(42 / 70),
    }  # fmt: skip
    (reason,) = challenge(done.champion, done.challenger).reasons
    assert reason.startswith("NDCG@10 0.2000 is under 0.3960")
    assert told(done.quality) == [
        "NDCG@10 of 30 new events of users known from before: 0.2000, champion 0.4000 "
        "(this one decides)",
        "NDCG@10 of 70 new events of all users: 0.6000, champion 0.1714",
    ]


def test_too_few_known_users_fall_back_and_it_is_said() -> None:
    before, after = outcome([0.4] * 29 + [0.0] * 41), outcome([0.2] * 29 + [0.9] * 41)
    done = compared(before, after, np.arange(70) < 29, 30)
    assert done.quality["decides"] == "all" and done.challenger.queries == 70
    first, *_rest, last = told(done.quality)
    assert first.startswith("NDCG@10 of 70 new events of all users") and "decides" in first
    assert last == (
        "only 29 new events are of users known from before: quality is that of all users"
    )
    nobody = compared(before, after, np.zeros(70, dtype=np.bool_), 0)
    assert nobody.quality["decides"] == "all" and nobody.quality["known"]["champion"] is None
    assert len(told(nobody.quality)) == 2


def test_one_event_says_nothing_of_quality() -> None:
    """The floor of events holds without being asked for."""
    champion, challenger = both(outcome([0.5] * 29), outcome([1.0] * 29))
    assert challenge(champion, challenger).reasons == ("measured on 29 events, 30 are asked for",)
    assert challenge(*both(outcome([0.5] * 30), outcome([1.0] * 30))).promote


def test_the_largest_growth_comes_first() -> None:
    one = figures(np.full(40, 0.5), exposure={"a": 0.5, "b": 0.0, "c": 0.3})
    two = replace(one, exposure={"a": 0.56, "b": 0.05, "c": 0.2}, without=one.exposure)
    assert [row["item_id"] for row in surging(one, two)] == ["b", "a"]


def test_a_decision_that_cannot_be_read_is_told() -> None:
    assert decided({}, "b") is None
    with pytest.raises(BundleError, match="cannot be read"):
        decided({"retraining": {"promote": True}}, "b")
    for odd in ("false", 1, None):  # only true is a yes
        raw = {"promote": odd, "reasons": [], "champion": "0" * 64}
        with pytest.raises(BundleError, match="cannot be read"):
            decided({"retraining": raw}, "b")
