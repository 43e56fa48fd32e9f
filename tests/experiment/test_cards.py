"""Attack cards say what the attacks say, and what runs measured."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hardrank.attacks.roll import ROLL
from hardrank.audits.measure import measure
from hardrank.audits.samples import samples, save
from hardrank.experiment.cards import pages
from hardrank.experiment.strength import cheapest, collect

DOCS = Path(__file__).parents[2] / "docs" / "attacks"


def table() -> pl.DataFrame:
    """Two targets; copycat wins both with 100 queries, greedy one with 40; a third is excluded."""
    rows = [
        ("copycat", "a", True, False, 100, 2), ("copycat", "b", True, False, 100, 9),
        ("copycat", "c", None, True, 100, 9), ("greedy", "a", True, False, 40, 3),
        ("greedy", "b", False, False, 40, 3), ("greedy", "c", None, True, 40, 3),
    ]  # fmt: skip
    trial, sample, success, excluded, queries, words = zip(*rows, strict=True)
    return samples(
        {
            "subject": "m/control", "seed": 0, "audit": "promotion", "trial": trial,
            "sample": sample, "goal": "promote", "k": 10, "eligible": 50,
            "hits_before": 0, "hits_after": [5 if s else 0 for s in success],
            "success": success, "excluded": excluded, "queries": queries, "words": words,
        }
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    found = [
        measure(table(), subject="m/control", audit="promotion", metric=m, formula=f, trial=t)
        for t in ("copycat", "greedy")
        for m, f in (("er_after@10", "er_after"), ("asr", "asr"), ("queries", "queries"))
    ]
    save(table(), tmp_path / "samples.parquet")
    (tmp_path / "findings.json").write_text(json.dumps([f.__dict__ for f in found]))
    facts = {"name": "toy", "model": "m", "seeds": [0], "threats": ["A seller."]}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    return tmp_path


def test_strength_is_what_the_findings_say(run: Path) -> None:
    found = collect([run])["toy"]["attacks"]
    assert found["copycat"]["asr"][0] == 1.0 and found["greedy"]["asr"][0] == 0.5
    assert found["copycat"]["er_after"][0] == pytest.approx(0.0667, abs=1e-4)
    assert found["greedy"]["queries"][0] == 40


def test_the_cheapest_successful_attack_is_named_per_target() -> None:
    found = {row["sample"]: row for row in cheapest(table())}
    assert found["a"]["trial"] == "greedy" and found["b"]["trial"] == "copycat"
    assert "c" not in found, "it met the goal before any attack"
    lost = cheapest(table().with_columns(success=pl.lit(False)))
    assert {row["sample"]: row["trial"] for row in lost} == {"a": None, "b": None}


def test_a_card_shows_docstring_hyperparameters_and_strength(run: Path) -> None:
    made = pages(collect([run]))
    card = made["copycat.md"]
    assert "Try the titles of the most popular items" in card
    assert "| `candidates` | `100` |" in card
    assert "| copycat | – | 0.0667" in card and "**toy**, m, seeds [0]" in card
    assert "Not measured" in made["greedy-words.md"]
    assert "copycat 1" in made["README.md"] and "greedy 1" in made["README.md"]
    assert "| 0 | a | greedy | 40 | 3 |" in made["README.md"]


def test_the_pages_in_the_documents_are_current() -> None:
    """`python -m hardrank.experiment.cards docs/attacks benchmarks/results` after any change."""
    measured = json.loads((DOCS / "measured.json").read_text("utf-8"))
    made = pages(measured, poisoned())
    kept = {path.name: path.read_text("utf-8") for path in DOCS.glob("*.md")}
    assert kept.keys() == made.keys()
    stale = sorted(name for name, page in made.items() if kept[name] != page)
    assert not stale, f"write these pages again: {stale}"


def poisoned() -> dict[str, Any]:
    results = sorted((DOCS.parents[1] / "benchmarks" / "results").glob("poisoning*.json"))
    return {path.stem: json.loads(path.read_text("utf-8")) for path in results}


def test_a_card_of_fake_users_says_what_it_gains_and_who_finds_it() -> None:
    """S1-08: each has cost, exposure gain and detector AUROC."""
    row = {"er_after@5": figure(0.01), "er_after@50": figure(0.2), "er_gain@50": figure(0.1),
           "shift": figure(0.5)}  # fmt: skip
    found = {"boosted": {"bandwagon(share=0.3)": figure(0.75)}}
    kept = {"seeds": [0], "figures": {
        "exposure": {"ease/control": {"bandwagon(share=0.3)": row, "segment": row}},
        "detectors": {"auroc": found, "recall": found}}}  # fmt: skip
    made = pages({}, {"toy": kept})
    card = made["bandwagon.md"]
    assert "| victim/arm | attack | T-HR@50 | gain |" in card
    assert (
        "| ease/control | bandwagon(share=0.3) | 0.2000 [0.1000, 0.3000] | 0.1000 [0.0000, "
        "0.2000] | 0.5000 [0.4000, 0.6000] | – |" in card
    )
    assert "`boosted` finds `bandwagon(share=0.3)` with AUROC 0.7500 [0.6500, 0.8500]" in card
    assert "boosted" not in made["segment.md"] and "0.2000" in made["segment.md"]
    assert "Not measured" in made["pga.md"]
    assert "| asks the victim | never: no queries |" in made["template-reviews.md"]


def figure(value: float) -> dict[str, float]:
    return {"value": value, "low": round(value - 0.1, 4), "high": round(value + 0.1, 4)}


def test_every_attack_has_a_card_with_its_source_and_cost() -> None:
    for attack in ROLL:
        page = pages({})[f"{attack.kind}.md"]  # type: ignore[attr-defined]
        assert "quer" in page, f"{attack.__name__}: its card says nothing of queries"
