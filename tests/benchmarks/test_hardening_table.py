"""The table behind the default: read off findings, nothing typed by hand."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hardrank.findings import Finding

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import hardening

    yield hardening
    for name in set(sys.modules) - before:  # `common` is too common a name to leave there
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def finding(**more: Any) -> Finding:
    about = {"subject": "m/control", "audit": "promotion", "metric": "er_gain@10", "value": 0.1}
    return Finding(**(about | more))


def test_the_strongest_attack_is_the_controls_on_rare_items(bench: Any) -> None:
    table = bench.Table(
        [
            finding(trial="copycat", value=0.2),
            finding(trial="gradient-words", value=0.3),
            finding(trial="copycat (new items)", value=0.9),
            finding(trial="append-title", value=0.8, subject="m/default"),
            finding(trial="random-words", value=None),
        ],
        "m",
    )
    assert table.strongest() == "gradient-words"


def test_an_arm_has_price_and_effect_and_the_control_none(bench: Any) -> None:
    price = finding(
        subject="m/default", audit="utility", metric="price(ndcg@10)", value=-0.05, group="tail",
        low=-0.1, high=0.02, n=7, per_seed=(-0.04, -0.06), reliable=False, reason="one seed",
    )  # fmt: skip
    effect = finding(subject="m/default", metric="defence_effect", value=0.9, trial="copycat")
    table = bench.Table([price, effect, finding(trial="copycat")], "m")
    row = table.arm("default")
    assert row["price"]["tail"] == {
        "value": -0.05, "low": -0.1, "high": 0.02, "n": 7, "per_seed": [-0.04, -0.06],
        "unreliable": "one seed",
    }  # fmt: skip
    assert row["effect"]["copycat"]["value"] == 0.9
    assert "effect" not in table.arm("control")
    assert table.arm("control")["gain"]["copycat"]["value"] == 0.1


def test_failed_and_open_checks_are_named(bench: Any) -> None:
    table = bench.Table(
        [
            finding(audit="gate", metric="quality_floor", value=0, group="cold", reason="lost"),
            finding(audit="gate", metric="control_arm", value=1),
            finding(audit="gate", metric="unseen_attack", value=None, reason="not measured"),
        ],
        "m",
    )
    said = table.failed()
    assert len(said) == 2
    assert "quality_floor cold" in said[0] and "failed: lost" in said[0]
    assert "not settled: not measured" in said[1]


@pytest.mark.parametrize(
    "path", sorted((BENCHMARKS / "results").glob("hardening-*.json")), ids=lambda p: p.stem
)
def test_a_result_says_what_it_must(path: Path) -> None:
    figures = json.loads(path.read_text("utf-8"))["figures"]
    assert {"dataset", "defence_effect", "price", "cost_ratio", "arms", "checks"} <= set(figures)
    strongest = figures["defence_effect"][figures["strongest"]]
    assert len(strongest["per_seed"]) == 3
    assert {"all", "tail", "cold"} <= set(figures["price"])
