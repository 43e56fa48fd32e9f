"""What fake users do to real ones: ranks, eligible users, gains, disguise, all by hand (S4-07)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.audits.measure import measure
from hardrank.audits.poisoning import (
    Seen,
    disguise,
    exposed,
    look,
    quality_under_attack,
    strangers,
)
from hardrank.data import AddProfile, Dataset, Holdout, Patch, Queries
from hardrank.data.dataset import EVENT_COLUMNS
from hardrank.data.splits import LeaveOneOut
from hardrank.testing.logs import taste_log


@dataclass
class Table:
    """Scores user u by row u of a matrix."""

    matrix: Any

    @property
    def items(self) -> pl.DataFrame:
        return pl.DataFrame({"item_id": [f"i{n}" for n in range(self.matrix.shape[1])]})

    def score(self, queries: Queries, slate: Any) -> Any:
        return self.matrix[queries.users][:, slate.items].astype(np.float32)


def holdout(histories: Sequence[Sequence[int]], targets: Sequence[int]) -> Holdout:
    queries = Queries.of(histories, users=range(len(histories)))
    return Holdout(queries=queries, targets=np.asarray(targets, dtype=np.int64))


def test_look_by_hand() -> None:
    """Item 0 is seen by user 0; ties count against the target."""
    matrix = np.array([[9.0, 3.0, 2.0, 1.0], [1.0, 1.0, 1.0, 4.0]])
    seen = look(Table(matrix), holdout([[0], []], [2, 3]), np.array([3, 1]))  # type: ignore[arg-type]
    assert seen.ranks.tolist() == [[3, 1], [1, 4]]
    assert seen.scores.tolist() == [[1.0, 3.0], [4.0, 1.0]]
    assert seen.held_out.tolist() == [2, 1]
    expected = (np.std([3, 2, 1]) + np.std([1, 1, 1, 4])) / 2
    assert seen.spread == pytest.approx(expected, abs=1e-6)


def test_look_as_a_slow_twin() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 6, size=(70, 15)).astype(np.float64)  # many ties
    histories = [rng.choice(15, size=rng.integers(0, 6), replace=False) for _ in range(70)]
    free = [np.setdiff1d(np.arange(15), h) for h in histories]
    wanted = [int(rng.choice(f)) for f in free]
    targets = np.array([14, 0, 7])
    found = look(Table(matrix), holdout([h.tolist() for h in histories], wanted), targets)  # type: ignore[arg-type]
    for q in range(70):
        for column, target in enumerate(targets):
            if target in free[q]:
                others = [i for i in free[q] if i != target]
                rank = 1 + sum(matrix[q, i] >= matrix[q, target] for i in others)
                assert found.ranks[q, column] == rank
                assert found.scores[q, column] == np.float32(matrix[q, target])
        others = [i for i in free[q] if i != wanted[q]]
        assert found.held_out[q] == 1 + sum(matrix[q, i] >= matrix[q, wanted[q]] for i in others)
    spread = np.mean([np.std(matrix[q, free[q]]) for q in range(70)])
    assert found.spread == pytest.approx(spread, abs=1e-5)


def test_strangers_never_touched_the_target_in_any_part() -> None:
    """Each of four users touches item 5 in another part: training, validation, test, nowhere."""
    histories = [[5, 1, 2, 3], [1, 2, 5, 3], [1, 2, 3, 5], [1, 2, 3, 4]]
    rows = [(u, i, t, None, 1.0) for u, h in enumerate(histories) for t, i in enumerate(h)]
    source = Dataset(
        name="parts", users=pl.DataFrame({"user_id": list("abcd")}),
        items=pl.DataFrame({"item_id": [f"i{n}" for n in range(7)], "title": [""] * 7}),
        events=pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row"),
    )  # fmt: skip
    split = LeaveOneOut().split(source)
    found = strangers(split.test, source, np.array([5, 6, 1]))
    assert split.test.queries.users.tolist() == [0, 1, 2, 3]
    assert found.tolist() == [
        [False, True, False], [False, True, False], [False, True, False], [True, True, False],
    ]  # fmt: skip


def test_fake_users_are_asked_nothing() -> None:
    """Whatever the fake users' rows say, no query is theirs (S1-08)."""
    source = taste_log(users=20, items=12, events=5)
    split = LeaveOneOut().split(source)
    poisoned = split.train.apply(Patch(tuple(AddProfile(f"x{n}", ("i11",)) for n in range(9))))
    assert poisoned.n_users == 29 and split.test.queries.users.max() < 20
    matrix = np.zeros((29, 12))
    matrix[20:, 11] = 100  # what fake users would see
    targets = np.array([11])
    clean = look(Table(matrix[:20]), split.test, targets)  # type: ignore[arg-type]
    after = look(Table(matrix), split.test, targets)  # type: ignore[arg-type]
    assert np.array_equal(clean.ranks, after.ranks) and clean.spread == after.spread


def seen(ranks: Any, scores: Any, spread: float = 2.0, held_out: Any = None) -> Seen:
    ranks = np.asarray(ranks, dtype=np.int64)
    given = np.ones(len(ranks)) if held_out is None else held_out
    return Seen(ranks=ranks, scores=np.asarray(scores, dtype=np.float32), spread=spread,
                held_out=np.asarray(given, dtype=np.int64))  # fmt: skip


BEFORE = seen([[3, 1], [9, 9], [9, 2], [9, 9]], [[1.0, 5.0], [0.0, 5.0], [2.0, 5.0], [8.0, 5.0]])
AFTER = seen([[1, 1], [2, 9], [1, 1], [9, 9]], [[2.0, 5.0], [4.0, 5.0], [9.0, 5.0], [8.0, 5.0]])
ELIGIBLE = np.array([[True, True], [True, True], [False, True], [True, True]])
"""User 2 owns target a; what he is shown of it must not count."""


def table(**more: Any) -> pl.DataFrame:
    return exposed(
        BEFORE, AFTER, ELIGIBLE,
        **{"subject": "m/control", "seed": 0, "trial": "x", "targets": ["a", "b"], "ks": (2,),
           "cost": (7, 1.5), **more},
    )  # fmt: skip


def test_exposure_by_hand() -> None:
    """S4-07: T-HR, T-NDCG and the shift over eligible users alone."""
    made = table()
    rows = made.filter(audit="promotion").to_dicts()
    assert [(r["sample"], r["k"], r["eligible"], r["hits_before"], r["hits_after"]) for r in rows] \
        == [("a", 2, 3, 0, 2), ("b", 2, 4, 2, 2)]  # fmt: skip
    assert [(r["rank_before"], r["rank_after"]) for r in rows] == [(7.0, 4.0), (5.25, 5.0)]
    assert [r["value"] for r in rows] == pytest.approx([(1 + 4 + 0) / 3, 0.0])
    assert [(r["events"], r["seconds"]) for r in rows] == [(7, 1.5)] * 2
    # b was shown to enough users before: it cannot succeed
    assert [(r["excluded"], r["success"]) for r in rows] == [(False, True), (True, None)]
    gains = made.filter(audit="target-ndcg")["value"].to_list()
    assert gains == pytest.approx([(1 + 1 / np.log2(3) + 0) / 3, 2 / 4])
    relative = made.filter(audit="relative-shift")["value"].to_list()
    assert relative == pytest.approx([5 / 3 / 2.0, 0.0])
    about = {"subject": "m/control", "audit": "promotion", "trial": "x"}
    found = {f: measure(made, metric=f, where={"k": 2}, **about).value  # type: ignore[arg-type]
             for f in ("er_before", "er_after", "er_gain", "asr")}  # fmt: skip
    assert found["er_before"] == pytest.approx((0 / 3 + 2 / 4) / 2)
    assert found["er_after"] == pytest.approx((2 / 3 + 2 / 4) / 2)
    assert found["er_gain"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["asr"] == 1


def test_a_target_that_everybody_owns_has_no_exposure() -> None:
    made = table(targets=["a", "b"], ks=(2,)).filter(audit="promotion")
    nobody = exposed(
        BEFORE, AFTER, np.zeros_like(ELIGIBLE), subject="m/control", seed=0, trial="x",
        targets=["a", "b"], ks=(2,),
    ).filter(audit="promotion")  # fmt: skip
    assert nobody["eligible"].to_list() == [0, 0] and nobody["value"].to_list() == [None, None]
    assert made["eligible"].to_list() == [3, 4]
    assert measure(nobody, subject="m/control", audit="promotion", trial="x", metric="er_after",
                   where={"k": 2}).value is None  # fmt: skip


def test_minus_infinity_of_owners_does_not_reach_the_shift() -> None:
    before = seen([[1], [1]], [[-np.inf], [1.0]])
    after = seen([[1], [1]], [[-np.inf], [4.0]])
    made = exposed(before, after, np.array([[False], [True]]), subject="m/control", seed=0,
                   trial="x", targets=["a"], ks=(1,))  # fmt: skip
    assert made.filter(audit="promotion")["value"].to_list() == [3.0]


def test_demotion_succeeds_where_the_target_is_gone() -> None:
    made = exposed(
        AFTER, BEFORE, ELIGIBLE, subject="m/control", seed=0, trial="x", targets=["a", "b"],
        goal="demote", ks=(2,), success_exposure=0.3,
    ).filter(audit="promotion")  # fmt: skip
    assert made["excluded"].to_list() == [False, False]
    assert made["success"].to_list() == [True, False]


def test_quality_is_the_mean_over_the_logs() -> None:
    held = holdout([[0], [1]], [2, 2])
    logs = [seen([[1], [1]], [[1.0], [1.0]], held_out=[1, 2]),
            seen([[1], [1]], [[1.0], [1.0]], held_out=[3, 11])]  # fmt: skip
    made = quality_under_attack(logs, held, subject="m/control", seed=0, trial="x",
                                names=["ann", "bob"])  # fmt: skip
    assert made["sample"].to_list() == ["ann", "bob"]
    expected = [(1 + 1 / 2) / 2, (1 / np.log2(3) + 0) / 2]
    assert made["value"].to_list() == pytest.approx(expected)


def _copies(log: Dataset, users: Sequence[int]) -> Patch:
    histories, ids = log.histories(), log.items["item_id"].to_list()
    ratings = log.events["rating"].to_list()
    return Patch(tuple(
        AddProfile(f"x{u}", tuple(ids[i] for i in histories.history(u).tolist()),
                   tuple(ratings[log.offsets[u] : log.offsets[u + 1]]))
        for u in users
    ))  # fmt: skip


def looks(log: Dataset, patch: Patch) -> dict[str, float]:
    made = disguise(log.apply(patch), log.n_users, seed=0, trial="x", target="t")
    return dict(zip(made["audit"].to_list(), made["value"].to_list(), strict=True))


def test_copies_of_everybody_are_a_perfect_disguise_but_for_their_overlap() -> None:
    log = taste_log(users=60, items=30, events=8)
    found = looks(log, _copies(log, range(60)))
    assert {k: v for k, v in found.items() if k != "disguise-overlap"} == pytest.approx(
        {"disguise-ratings": 0, "disguise-popularity": 0, "disguise-js": 0, "disguise-length": 0},
        abs=1e-12,
    )
    assert found["disguise-overlap"] > 0.1  # each fake user is wholly inside a real one


def test_strangers_of_the_same_kind_look_alike() -> None:
    """Profiles of the other half of one population: no distance is large, none above chance."""
    whole = taste_log(users=400, items=40, events=8)
    half = Dataset(name="half", users=whole.users[:200], items=whole.items,
                   events=whole.events.filter(pl.col("user") < 200))  # fmt: skip
    found = looks(half, _copies(whole, range(200, 400)))
    assert max(found.values()) < 0.08 and abs(found["disguise-overlap"]) < 0.04


def test_odd_profiles_are_told_by_what_is_odd() -> None:
    log = taste_log(users=60, items=30, events=8)
    top = [f"i{n}" for n in range(29)]
    odd = looks(log, Patch((AddProfile("x", tuple(top), (5.0,) * 29),)))
    fives = float((log.events["rating"] == 5.0).mean())  # type: ignore[arg-type]
    assert odd["disguise-ratings"] == pytest.approx(1 - fives, abs=1e-6)
    assert odd["disguise-length"] == 1
    rare = looks(log, Patch((AddProfile("x", ("i29", "i28", "i27"), (5.0,) * 3),)))
    assert rare["disguise-popularity"] > 0.9
    alike = looks(log, _copies(log, range(60)))
    assert all(odd[n] > alike[n] for n in odd if n != "disguise-overlap")


def test_a_log_without_ratings_has_no_distance_of_them() -> None:
    log = taste_log(users=30, items=20, events=5, ratings=False)
    found = looks(log, Patch((AddProfile("x", ("i1", "i2")),)))
    assert sorted(found) == [f"disguise-{n}" for n in ("js", "length", "overlap", "popularity")]
