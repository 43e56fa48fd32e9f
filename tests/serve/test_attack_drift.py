"""Attackers who change what they do are noticed, and those who do not raise few alarms (S0-47)."""

import numpy as np
import pytest

from hardrank.serve.attack_drift import AttackDrift, features_of
from hardrank.types import Floats

_WORDS = [
    "group", "thing", "silver", "red", "shoe", "light", "small", "best", "quality", "running",
    "jacket", "blue", "cotton", "soft", "summer", "warm", "large", "classic", "leather", "urban",
]  # fmt: skip
_ALIKE = str.maketrans("aeopc", "аеорс")


def _text(rng: np.random.Generator, family: str) -> str:
    words = rng.choice(_WORDS, size=int(rng.integers(4, 9))).tolist()
    if family == "stuffing":
        words += [words[0]] * int(rng.integers(3, 9))
    if family == "look-alikes":
        words = [w.translate(_ALIKE) if rng.random() < 0.6 else w for w in words]
    if family == "shouting":
        words = [w.upper() if rng.random() < 0.5 else w for w in words] + ["!!!", "100%"]
    return " ".join(words)


def _one(rng: np.random.Generator, family: str, guard: str = "one") -> Floats:
    """All of one guard and of like scores: only the texts tell the families apart."""
    return features_of(_text(rng, family), guard, float(rng.uniform(0.6, 1.0)))


_FAMILIES = ("stuffing", "look-alikes", "shouting")


@pytest.mark.parametrize("old", _FAMILIES)
@pytest.mark.parametrize("new", _FAMILIES)
def test_another_family_is_named_within_three_windows(old: str, new: str) -> None:
    """Half of the listings still are of the old family."""
    if old == new:
        return
    rng, drift = np.random.default_rng(0), AttackDrift()
    for n in range(300):
        drift.observe(_one(rng, old), time=float(n))
    assert drift.alarms() == [] and drift.states()[0].phase == "quiet"
    named = None
    for window in range(1, 4):
        for n in range(40):
            family = new if rng.random() < 0.5 else old
            drift.observe(_one(rng, family), time=1000.0 * window + n)
        if drift.alarms() and named is None:
            named = window
    assert named is not None
    (alarm,) = drift.alarms()
    assert alarm.since == 1000.0 * named and alarm.value > alarm.threshold
    assert "audit" in alarm.message and drift.states()[0].phase == "alarm"
    assert drift.accept(alarm.subject) and not drift.accept(alarm.subject)
    assert drift.states()[0].phase == "learning" and drift.alarms() == []


def test_attackers_who_go_on_as_before_raise_at_most_one_alarm_in_fifty_windows() -> None:
    rng, false = np.random.default_rng(1), 0
    for seed in range(2):
        drift = AttackDrift(seed=seed)
        for n in range(300 + 50 * 40):
            family = _FAMILIES[int(rng.integers(3))]
            drift.observe(_one(rng, family), time=float(n))
            if n >= 300 and (n - 299) % 40 == 0:
                false += bool(drift.alarms())
    assert false <= 2, f"{false} of 100 windows"


def test_another_guard_that_stops_them_is_a_change_too() -> None:
    rng, drift = np.random.default_rng(2), AttackDrift(pool=100, window=20)
    for guard in ("one", "two"):
        for _ in range(100):
            drift.observe(_one(rng, "stuffing", guard), time=0.0)
    assert len(drift.alarms()) == 1


def test_features_are_shares_and_bounded() -> None:
    assert features_of("", "g", 0.5).shape == (15,) and np.isfinite(features_of("", "g", 0)).all()
    found = features_of("AB 12 aa aa ж!", "g", 1.0)
    assert found[1:6] == pytest.approx([2 / 14, 2 / 14, 1 / 14, 1 / 14, 1 / 5])
    assert found[6] == 1.0 and found[7:].sum() == 1.0
