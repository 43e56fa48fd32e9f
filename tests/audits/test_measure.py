"""Samples, formulas and findings."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardrank.audits.formulas import parse
from hardrank.audits.measure import measure
from hardrank.audits.samples import SAMPLES, gather, load, samples, save
from hardrank.errors import SchemaError


def utility_rows(subject: str, seed: int, ranks: list[float], group: str = "head") -> pl.DataFrame:
    return samples(
        {
            "subject": subject, "seed": seed, "audit": "utility", "trial": "clean",
            "sample": [f"u{n}" for n in range(len(ranks))], "group": group, "rank": ranks,
        }
    )  # fmt: skip


def promotion_rows(subject: str, trial: str, before: list[int], after: list[int]) -> pl.DataFrame:
    return samples(
        {
            "subject": subject, "seed": 0, "audit": "promotion", "trial": trial,
            "sample": [f"i{n}" for n in range(len(before))], "eligible": 10,
            "hits_before": before, "hits_after": after,
            "success": [a > 0 for a in after], "excluded": False,
        }
    )  # fmt: skip


def test_samples_have_one_schema_and_refuse_other_columns(tmp_path: Path) -> None:
    table = utility_rows("m/control", 0, [1, 2])
    assert table.schema == pl.Schema(SAMPLES)
    assert samples({"subject": "a"}).height == 1
    assert gather([]).schema == pl.Schema(SAMPLES)
    with pytest.raises(SchemaError, match="no column 'rnk'"):
        samples({"rnk": [1]})
    save(table, tmp_path / "samples.parquet")
    assert load(tmp_path / "samples.parquet").equals(table)
    table.with_columns(pl.lit("x").alias("rank")).write_parquet(tmp_path / "bad.parquet")
    with pytest.raises(SchemaError, match="column 'rank' should be Float64"):
        load(tmp_path / "bad.parquet")


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("hr@10", 3 / 4), ("recall@10", 3 / 4), ("hr@1", 1 / 4),
        ("mrr", (1 + 1 / 3 + 0.1 + 0.05) / 4),
        ("ndcg@10", (1 + 0.5 + 1 / np.log2(11)) / 4),
    ],
)  # fmt: skip
def test_ranking_formulas(metric: str, expected: float) -> None:
    table = utility_rows("m/control", 0, [1, 3, 10, 20])
    found = measure(table, subject="m/control", audit="utility", metric=metric)
    assert found.value == pytest.approx(expected)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= expected <= found.high
    assert (found.n, found.seeds) == (4, (0,))
    assert found.per_seed == pytest.approx((expected,))


def test_seeds_are_pooled_and_reported_each() -> None:
    table = gather(utility_rows("m/control", s, r) for s, r in ((2, [1, 20]), (0, [20, 20])))
    found = measure(table, subject="m/control", audit="utility", metric="hr@10")
    assert found.value == 0.25
    assert (found.seeds, found.per_seed, found.n) == ((0, 2), (0.0, 0.5), 2)


def test_rows_may_stand_in_any_order_and_others_may_come() -> None:
    table = gather(utility_rows("m/control", s, [1, 5, 30, 2.0]) for s in range(3))
    kwargs = {"subject": "m/control", "audit": "utility", "metric": "ndcg@10"}
    found = measure(table, **kwargs)
    other = gather([utility_rows("m/hardened", 0, [9]), table.sample(fraction=1, shuffle=True)])
    assert measure(other, **kwargs) == found


def test_group_is_a_filter_and_a_value_may_be_a_list() -> None:
    table = gather([utility_rows("m/c", 0, [1, 1]), utility_rows("m/c", 1, [20, 20], "tail")])
    common = {"subject": "m/c", "audit": "utility", "metric": "hr@10"}
    assert measure(table, **common, group="tail").value == 0
    assert measure(table, **common, where={"group": ["head", "tail"]}).value == 0.5
    assert measure(table, **common, where={"site": None}).value == 0.5


def test_price_compares_with_the_control_paired() -> None:
    ranks = [1, 3, 11, 2, 7, 30] * 20
    worse = [r if n % 10 else 100 for n, r in enumerate(ranks)]
    table = gather([utility_rows("m/control", 0, ranks), utility_rows("m/hardened", 0, worse)])
    found = measure(
        table, subject="m/hardened", audit="utility", metric="price", formula="price(hr@10)",
        versus={"subject": "m/control"},
    )  # fmt: skip
    lost = sum(a <= 10 < b for a, b in zip(ranks, worse, strict=True))
    assert found.value == pytest.approx(lost / 80)
    assert found.low is not None
    assert found.low > 0  # pairing: every loss is a loss
    assert found.versus["subject"] == "m/control"
    assert found.versus["audit"] == "utility"


def test_exposure_and_defence_effect() -> None:
    """S1-18: hand fixture exact."""
    table = gather(
        [
            promotion_rows("m/control", "copycat", [0, 1], [4, 5]),
            promotion_rows("m/hardened", "copycat", [0, 1], [1, 2]),
        ]
    )
    common = {"audit": "promotion", "trial": "copycat"}
    control = {"subject": "m/control", **common}
    assert measure(table, metric="er_before", **control).value == pytest.approx(0.05)
    assert measure(table, metric="er_after", **control).value == pytest.approx(0.45)
    assert measure(table, metric="er_gain", **control).value == pytest.approx(0.4)
    effect = measure(
        table, subject="m/hardened", metric="defence_effect", versus={"subject": "m/control"},
        **common,
    )  # fmt: skip
    assert effect.value == pytest.approx(0.75)
    assert (effect.low, effect.high) == (pytest.approx(0.75), pytest.approx(0.75))


def test_asr_leaves_out_excluded_targets_and_errors_and_uses_wilson() -> None:
    """S0-53, S1-18: what met the goal before does not count; nor does what could not run."""
    table = promotion_rows("m/c", "x", [0, 0, 9, 0], [1, 0, 9, 0]).with_columns(
        success=pl.Series([True, False, None, None]),
        excluded=pl.Series([False, False, True, False]),
        error=pl.Series([None, None, None, "out of queries"]),
    )
    common = {"subject": "m/c", "audit": "promotion", "trial": "x"}
    found = measure(table, metric="asr", **common)
    assert (found.value, found.n) == (0.5, 2)
    assert measure(table, metric="excluded", **common).value == 0.25
    assert measure(table, metric="failed", **common).value == 0.25
    none = measure(promotion_rows("m/c", "x", [0] * 20, [0] * 20), metric="asr", **common)
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(0.1611, abs=1e-4)


def test_worst_over_attacks_is_per_target() -> None:
    table = gather(
        [promotion_rows("m/c", "a", [0, 0], [4, 0]), promotion_rows("m/c", "b", [0, 0], [0, 6])]
    )
    common = {"subject": "m/c", "audit": "promotion", "where": {"trial": ["a", "b"]}}
    assert measure(table, metric="er_after", **common).value == pytest.approx(0.25)
    assert measure(table, metric="worst(er_after)", **common).value == pytest.approx(0.5)


def test_area_is_the_mean_height_of_the_curve() -> None:
    parts = [
        utility_rows("m/c", 0, ranks).with_columns(audit=pl.lit("curve"), radius=pl.lit(radius))
        for radius, ranks in ((0.0, [1, 1]), (0.1, [1, 30]), (0.4, [30, 30]))
    ]
    found = measure(gather(parts), subject="m/c", audit="curve", metric="area(hr@10)")
    # Heights 1, 1/2, 0: (0.1 * 0.75 + 0.3 * 0.25) / 0.4.
    assert found.value == pytest.approx(0.375)
    assert found.n == 2


def test_auc_equals_the_metric() -> None:
    table = samples(
        {
            "subject": "c/control", "seed": 0, "audit": "utility", "trial": "clean",
            "sample": ["a", "b", "c", "d"], "value": [0.1, 0.4, 0.35, 0.8], "label": [0, 0, 1, 1],
        }
    )  # fmt: skip
    found = measure(table, subject="c/control", audit="utility", metric="auc")
    assert found.value == 0.75
    assert found.n == 4
    right = measure(table, subject="c/control", audit="utility", metric="accuracy@0.5")
    assert right.value == 0.75


def test_what_cannot_be_computed_says_why() -> None:
    table = promotion_rows("m/control", "x", [1, 1], [1, 1])
    common = {"audit": "promotion", "trial": "x", "subject": "m/control"}
    nothing = measure(table, metric="asr", audit="promotion", trial="y", subject="m/control")
    assert (nothing.value, nothing.n, nothing.reason) == (None, 0, "no samples match `where`")
    flat = measure(table, metric="defence_effect", versus={"subject": "m/control"}, **common)
    assert flat.value is None
    assert "not above 0" in flat.reason
    broken = table.with_columns(success=pl.lit(None, dtype=pl.Boolean), error=pl.lit("no gradient"))
    assert measure(broken, metric="asr", **common).reason == "could not run: no gradient"


@pytest.mark.parametrize("name", ["ndgc@10", "hr@", "worst()", "difference", "drop(x)", ""])
def test_unknown_formulas_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="unknown formula"):
        parse(name)


def test_a_comparison_needs_versus_and_others_refuse_it() -> None:
    table = utility_rows("m/c", 0, [1])
    common = {"subject": "m/c", "audit": "utility"}
    with pytest.raises(ValueError, match="versus"):
        measure(table, metric="price", **common)
    with pytest.raises(ValueError, match="versus"):
        measure(table, metric="hr@10", versus={"subject": "m/c"}, **common)
    with pytest.raises(ValueError, match="no column 'sead'"):
        measure(table, metric="hr@10", where={"sead": 1}, **common)


def test_a_seedless_baseline_stands_beside_every_seed() -> None:
    table = gather([utility_rows("p/control", 0, [1, 30])]
                   + [utility_rows("m/c", s, [1, 1]) for s in (1, 2)])  # fmt: skip
    found = measure(
        table, subject="m/c", audit="utility", metric="difference(hr@10)",
        versus={"subject": "p/control"},
    )  # fmt: skip
    assert (found.value, found.per_seed, found.seeds) == (0.5, (0.5, 0.5), (1, 2))
    two = gather([table, utility_rows("p/control", 5, [1, 30])])
    with pytest.raises(ValueError, match="no seed in common"):
        measure(
            two, subject="m/c", audit="utility", metric="price", versus={"subject": "p/control"}
        )
