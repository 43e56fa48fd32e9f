"""Certificates against every attack there is, in a world where all can be tried."""

from functools import cache
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom
from tests.models.smoothing import (
    QUERIES,
    TITLES,
    Exact,
    Text,
    smoothed,
    text_of,
    within,
    words_of,
)

from hardrank.audits.certificate import certificate_findings, certify, upper_bound
from hardrank.data import Queries, Slate
from hardrank.models.masks import reach
from hardrank.models.smoothed import SmoothedRecommender

K = 2
WORDS = (1, 2, 3)
SHORT = tuple(n for n, title in enumerate(TITLES) if len(title.split()) <= 3)
"""Items whose rewrites of three words can all be gone through."""


@cache
def world() -> tuple[SmoothedRecommender, Exact]:
    model = smoothed(keep=0.3, masks=64, softness=0.1)
    return model, Exact(model)


@cache
def rewrites(item: int) -> list[list[Text]]:
    return [sorted(found) for found in within(words_of(TITLES[item]), max(WORDS))]


def votes(exact: Exact, texts: list[Text]) -> np.ndarray:
    """(3, N) expected votes."""
    return np.stack([exact.of(text) for text in texts], axis=1)


def doors(model: SmoothedRecommender, item: int) -> np.ndarray:
    """(3,) what the item has to exceed to be among the best two, by counting."""
    scores = model.score(QUERIES, Slate(items=np.arange(len(TITLES))))
    return np.sort(np.delete(scores, item, axis=1), axis=1)[:, -K]


def certified(model: SmoothedRecommender, draws: int = 2000) -> dict[tuple[int, int, int], bool]:
    """(user, item, words) -> what the audit says, user by user."""
    out = {}
    for user in range(3):
        table = certify(
            model, QUERIES.take(np.array([user])), np.array(SHORT), subject="toy", seed=0,
            words=WORDS, draws=draws, k=K,
        )  # fmt: skip
        for row in table.iter_rows(named=True):
            out[user, int(row["sample"][1:]), row["words"]] = row["value"] == 1.0
    return out


def test_no_attack_succeeds_inside_a_certified_bound() -> None:
    """All texts within three edits of each short item: over 10,000 tries."""
    model, exact = world()
    tries, broken, attackable, nearest, said = 0, 0, 0, 0.0, certified(model)
    for item in SHORT:
        door, before = doors(model, item), exact.of(words_of(TITLES[item]))
        for r in WORDS:
            after = votes(exact, rewrites(item)[r])
            tries += after.size
            moved = np.abs(after - before[:, None]).max() / reach(0.3, r)
            assert moved <= 1 + 1e-9
            nearest = max(nearest, moved)
            for user in range(3):
                succeeds = bool((after[user] > door[user]).any())
                broken += succeeds and said[user, item, r]
                attackable += succeeds and before[user] <= door[user]
    assert broken == 0
    assert tries >= 10_000
    for r in WORDS:  # not vacuous: some are certified at each number of words ...
        assert any(said[user, item, r] for user in range(3) for item in SHORT)
    assert not all(said.values())
    assert attackable > 0  # ... and among the others some can really be lifted onto the list
    assert nearest > 0.95  # nor could the bound be much smaller


def test_certificates_are_no_better_than_the_exact_bound_and_reach_it() -> None:
    """With draws enough the audit certifies exactly where E + 1 - (1 - keep)^r < door."""
    model, exact = world()
    said, decided = certified(model, draws=40_000), 0
    for (user, item, r), found in said.items():
        gap = doors(model, item)[user] - exact.of(words_of(TITLES[item]))[user] - reach(0.3, r)
        if gap <= 0:
            assert not found
        if abs(gap) > 0.03:
            assert found == (gap > 0)
            decided += 1
    assert decided > 40


def test_a_certificate_for_tries_holds_for_what_is_served() -> None:
    """The served mean over 64 known masks is what an attacker can search; one word."""
    model = world()[0]
    item, tries = TITLES.index("d"), 20
    counted = {
        n: certify(
            model, QUERIES, np.array([item]), subject="toy", seed=0, words=(1,), k=K, tries=n,
            alpha=0.01, draws=4000,
        )["value"][0]
        for n in (0, tries, 10**30)
    }  # fmt: skip
    assert counted[0] >= counted[tries] > counted[10**30] == 0.0
    texts = tuple(text_of(text) for text in rewrites(item)[1])
    assert len(texts) <= tries
    rows = np.full(len(texts), item)
    served = model.score(QUERIES, Slate(items=rows, texts=texts))
    lifted = (served > doors(model, item)[:, None]).any(axis=1)
    assert lifted.mean() <= 1 - counted[tries]


def test_rows_say_what_was_counted() -> None:
    model = world()[0]
    items = np.array([0, TITLES.index("d")])
    queries = Queries.of([[], [], [], [int(items[1])]], users=[0, 1, 2, 0])
    table = certify(
        model, queries, items, subject="toy/base", seed=3, k=K, groups=["x"] * len(TITLES)
    )
    assert table["words"].to_list() == [1, 1, 2, 2, 3, 3]
    assert table["sample"].to_list() == ["i0", f"i{items[1]}"] * 3
    assert table["eligible"].to_list() == [4, 3] * 3
    assert table["hits_before"].to_list() == [2, 0] * 3
    assert table["excluded"].to_list() == [True, False] * 3
    assert table["success"].to_list()[::2] == [None] * 3
    assert set(table["group"]) == {"x"} and set(table["audit"]) == {"certificate"}
    held = table["value"] * table["eligible"]
    assert np.allclose(held, table["eligible"] - table["hits_after"])
    falling = table.filter(table["sample"] == f"i{items[1]}")["value"].to_list()
    assert falling == sorted(falling, reverse=True) and falling[0] > 0
    findings = {f.metric: f for f in certificate_findings(table, subject="toy/base")}
    assert findings["certified@1"].value == pytest.approx(table["value"][:2].mean())
    bounds = (table["hits_after"] / table["eligible"])[:2]
    assert findings["er_bound@1"].value == pytest.approx(bounds.mean())
    assert findings["items_certified@3"].n == 1


def test_a_list_that_takes_everybody_is_never_certified() -> None:
    model = world()[0]
    table = certify(
        model, QUERIES, np.array(SHORT), subject="toy", seed=0, words=(0, 1), k=len(TITLES)
    )
    assert set(table["value"]) == {0.0}


def test_same_seed_same_certificates() -> None:
    model = world()[0]
    found = [
        certify(model, QUERIES, np.array(SHORT), subject="toy", seed=seed, draws=50, k=K)
        for seed in (0, 0)
    ]
    assert found[0].equals(found[1])


def test_upper_bound_by_hand() -> None:
    """Nothing in n draws: 1 - alpha^(1/n), as Clopper and Pearson have it. All of n: 1."""
    n, alpha = 300, 0.01
    assert upper_bound(0.0, n, alpha) == pytest.approx(1 - alpha ** (1 / n), abs=1e-12)
    assert upper_bound(1.0, n, alpha) == 1.0
    assert upper_bound(0.5, n, alpha) == pytest.approx(0.5 + np.sqrt(log(100) / 2 / n), abs=2e-3)


@pytest.mark.parametrize("alpha", [0.05, 1e-6])
def test_upper_bound_covers(alpha: float) -> None:
    """For votes of 0 and 1 it is never below Clopper and Pearson's, the exact one; and the
    chance that it fails is at most alpha for every expectation."""
    n = 60
    seen = np.arange(n + 1)
    bound = upper_bound(seen / n, n, alpha)
    exact = np.append(beta.ppf(1 - alpha, seen[:-1] + 1, n - seen[:-1]), 1.0)
    assert (bound >= exact - 1e-9).all() and (bound <= exact + 0.12).all()
    for p in np.linspace(0.001, 0.999, 97):
        assert binom.pmf(seen[bound < p], n, p).sum() <= alpha


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 5000))
def test_upper_bound_rises_with_the_mean_and_falls_with_draws(a: float, b: float, n: int) -> None:
    low, high = upper_bound([min(a, b), max(a, b)], n, 0.01)
    assert min(a, b) <= low <= high + 1e-12 <= 1 + 1e-12
    assert upper_bound(a, n + 1, 0.01) <= upper_bound(a, n, 0.01) + 1e-9
