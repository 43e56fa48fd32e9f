"""Checks that are read off the trials of a run, on rows with planted answers."""

from typing import Any

import polars as pl
import pytest

from hardrank.audits.attempts import (
    attacks_work_undefended,
    black_box_no_better,
    errors_counted,
    several_seeds_agree,
)
from hardrank.audits.measure import measure, recompute
from hardrank.audits.quality import quality_floor
from hardrank.audits.samples import gather, samples
from hardrank.audits.significance import ALL, chance_of_effects, noninferiority, worst_case

N = 12


def rows(arm: str, trial: str, hits: list[int], *, seed: int = 0, **more: Any) -> pl.DataFrame:
    """Targets that so many of 100 users get after the attack, none before."""
    columns = {
        "subject": f"m/{arm}", "seed": seed, "audit": "promotion", "trial": trial, "k": 10,
        "sample": [f"t{n}" for n in range(len(hits))], "goal": "promote", "eligible": 100,
        "hits_before": 0, "hits_after": hits, "rank_before": 50.0,
        "rank_after": [50.0 - h for h in hits], "success": [h >= 1 for h in hits],
        "text_before": "old", "text_after": "new",
    }  # fmt: skip
    return samples(columns | more)


def works(table: pl.DataFrame, blind: tuple[str, ...] = ()) -> dict[str, bool | None]:
    made = attacks_work_undefended(
        table, control="m/control", subjects=["m/control", "m/pgd"], blind=blind
    )
    assert {c.subject for c in made} == {"m/control", "m/pgd"}
    return {c.trial: c.passed for c in made}


def test_an_attack_must_move_the_undefended_model() -> None:
    """H18: exposure, or at least the rank; else it proves nothing."""
    table = gather(
        [
            rows("control", "strong", [20 + n for n in range(N)]),
            rows("control", "idle", [0] * N, text_after="old"),
            rows("control", "useless", [0] * N),
            rows("control", "climbs", [0] * N, rank_after=[40.0 - n for n in range(N)]),
            rows("control", "random", [0] * N),
            rows("control", "refused", [0] * N, error="no gradients"),
        ]
    )
    assert works(table, blind=("random",)) == {
        "strong": True, "idle": False, "useless": False, "climbs": None, "random": True,
        "refused": None,
    }  # fmt: skip


def test_errors_are_counted() -> None:
    """H21: all of a trial or some of it are two different things."""
    some = ["boom"] + [None] * (N - 1)
    table = gather(
        [rows("pgd", "a", [1] * N), rows("pgd", "b", [1] * N, error=some),
         rows("pgd", "c", [1] * N, error="refused")]
    )  # fmt: skip
    found = {
        c.trial: (c.passed, c.statistic, c.reason) for c in errors_counted(table, subject="m/pgd")
    }
    assert found["clean"] == (True, 13.0, "13 of 36 matches ended in an error")
    assert found["b"] == (False, 1.0, "1 of 12 matches ended in an error: boom")
    assert found["c"][0] is None
    assert errors_counted(table, subject="m/other") == []


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [((30, 10), (30, 10), True), ((5, 25), (30, 10), False), ((5, 25), (5, 25), None)],
)
def test_a_black_box_that_wins_more_only_on_the_defended_model(
    here: tuple[int, int], there: tuple[int, int], expected: bool | None
) -> None:
    """H7: (white, black) hits on the hardened arm and on the control."""
    table = gather(
        rows(arm, trial, [hits + n % 3 for n in range(N)])
        for arm, pair in (("pgd", here), ("control", there))
        for trial, hits in zip(("hotflip", "greedy"), pair, strict=True)
    )
    (check,) = black_box_no_better(
        table, subject="m/pgd", control="m/control", groups=[(["hotflip"], ["greedy"])]
    )
    assert check.passed is expected
    assert ("weak white-box" in check.reason) == (expected is None)
    assert black_box_no_better(
        table, subject="m/pgd", control="m/control", groups=[(["x"], ["y"])]
    ) == []  # fmt: skip


def test_seeds_that_disagree_are_told() -> None:
    """S0-46: one seed says nothing, a standard deviation above two points says unstable."""
    one = rows("pgd", "a", [10] * N)
    near, far = rows("pgd", "a", [11] * N, seed=1), rows("pgd", "a", [20] * N, seed=1)
    said = [
        several_seeds_agree(t, subject="m/pgd", trials=["a"])
        for t in (one, gather([one, near]), gather([one, far]))
    ]
    assert [c.passed for c in said] == [None, True, False]
    assert "a single seed" in said[0].reason
    assert said[2].statistic == pytest.approx(0.0707, abs=1e-4)


def test_the_worst_case_takes_the_best_attack_for_each_target() -> None:
    """H15: two attacks that win 10 of 100 users on different halves win 10 everywhere."""
    halves = [[10] * 6 + [0] * 6, [0] * 6 + [10] * 6]
    table = gather(
        rows(arm, trial, [h // scale for h in hits])
        for arm, scale in (("control", 1), ("pgd", 2))
        for trial, hits in zip("ab", halves, strict=True)
    )
    found = {
        f.metric: f
        for f in worst_case(table, subject="m/pgd", trials=["a", "b"], k=10, control="m/control")
    }
    assert found["er_gain@10"].value == pytest.approx(0.05)
    assert found["defence_effect"].value == pytest.approx(0.5)
    assert found["asr"].value == 1.0 and {f.trial for f in found.values()} == {ALL}
    tested = list(chance_of_effects(table, subject="m/pgd", control="m/control", trials=["a", "b"]))
    # 6 targets differ under a, all one way: 2 of 64 patterns; 12 in the worst case: 2 of 4096
    assert [f.value for f in tested] == pytest.approx([2 / 64, 2 / 64, 2 / 4096])
    assert all(recompute(table, f) == f and f.low is None for f in tested)


def ranked(arm: str, ranks: list[int]) -> pl.DataFrame:
    return samples(
        {
            "subject": f"m/{arm}", "seed": 0, "audit": "utility", "trial": "clean", "rank": ranks,
            "sample": [f"u{n}" for n in range(len(ranks))], "group": "tail",
        }
    )  # fmt: skip


def test_clean_quality_is_tested_against_a_declared_margin() -> None:
    """S1-59: pass or fail, p and margin. Of 400 users one in 50 loses the item."""
    control = [1 + n % 4 for n in range(400)]
    worse = [99 if n % 50 == 0 else r for n, r in enumerate(control)]
    table = gather([ranked("control", control), ranked("pgd", worse)])
    kept, lost = (
        noninferiority(table, subject="m/pgd", control="m/control", margin=margin)
        for margin in (0.1, 0.01)
    )
    assert kept.metric == "p_noninferior@0.1" and lost.metric == "p_noninferior@0.01"
    assert kept.value is not None and kept.value < 0.01
    assert lost.value is not None and lost.value > 0.5
    (check,) = quality_floor(
        table, hardened="m/pgd", control="m/control", price=0.1, groups=("all",)
    )
    assert (
        check.passed is True and "p = 0.0001" in check.reason and "allowed 10.0 %" in check.reason
    )
    assert measure(
        table, subject="m/pgd", audit="utility", metric="p_value(ndcg@10)",
        versus={"subject": "m/pgd"},
    ).value == 1.0  # fmt: skip
