"""The coverage matrix: every kind of threat has a cell, measured or not (S2-16, S3-69)."""

from dataclasses import replace
from pathlib import Path

import pytest

from hardrank.attacks import Copycat, GreedyWords, HotFlip, RandomWords
from hardrank.attacks.roll import ROLL
from hardrank.audits.claims import text_confirmation, unseen_present
from hardrank.audits.coverage import (
    FAMILIES,
    Cell,
    coverage_findings,
    coverage_samples,
    coverage_stated,
    family_of,
    known_cells,
)
from hardrank.audits.remedies import REMEDIES
from hardrank.audits.samples import gather, samples
from hardrank.audits.verify import mismatches
from hardrank.data.sources import Marketplace
from hardrank.experiment.covered import (
    blind,
    coverage,
    families,
    measured,
    trained_on,
    white_and_black,
)
from hardrank.experiment.spec import Curve, Experiment, Trial
from hardrank.findings import Finding
from hardrank.hardening import Adversarial
from hardrank.models import TextSequence
from hardrank.perturbations import FGM, PGD
from hardrank.threats import Budget, Promote, ThreatModel

THREAT = ThreatModel(
    goal=Promote(), knowledge="gradients", budget=Budget(words=2, queries=9, whole_text=True)
)
EXPERIMENT = Experiment(
    name="cover",
    data=Marketplace(),
    model=TextSequence(),
    harden=Adversarial(inner=FGM(), radius=0.1),
    trials=(Trial(threat=THREAT, attacks=(Copycat(), HotFlip(), GreedyWords(), RandomWords())),),
    curves=(Curve(inners=(PGD(), FGM())),),
)


def test_every_attack_has_a_family() -> None:
    assert {cls.kind for cls in ROLL} <= set(FAMILIES), "name its family in coverage.py"  # type: ignore[attr-defined]
    assert family_of("something-new") == "something-new"


def test_the_matrix_is_wide_enough() -> None:
    """S2-16: at least 12 kinds of attack over at least 4 surfaces, unmeasurable ones included."""
    cells = known_cells()
    assert len({c.family for c in cells}) >= 12
    assert len({c.surface for c in cells}) >= 4
    assert Cell("generated profiles", "profiles", "promote") in cells
    assert Cell("scripted profiles", "profiles", "demote") in cells
    assert Cell("fake reviews", "reviews", "promote") in cells
    assert Cell("representation", "representation", "degrade") in cells


def test_uncovered_cells_are_findings_that_can_be_recomputed() -> None:
    copied = Cell("copying", "item-text", "promote")
    done = {copied: ["copycat"]}
    table = coverage_samples("m/pgd", done, trained_on={"copying"})
    found = coverage_findings(table, {"m/pgd": done})
    assert len(found) == len(known_cells())
    by_cell = {(f.where["sample"], f.where["site"], f.where["goal"]): f for f in found}
    one = by_cell["copying", "item-text", "promote"]
    assert (one.value, one.group, one.reason) == (1.0, "seen", "copycat")
    other = by_cell["synonyms", "item-text", "demote"]
    assert (other.value, other.group, other.reason) == (0.0, "unseen", "not measured")
    assert mismatches(found, table) == []
    assert coverage_stated("m/pgd", done).passed is True
    assert coverage_stated("m/pgd", {}).passed is False


def test_an_experiment_says_what_it_covers() -> None:
    ran = samples(
        {"subject": "text-sequence/pgd", "audit": ["promotion", "promotion", "curve"],
         "trial": ["copycat", "hotflip", "pgd"], "goal": "promote",
         "site": ["item-text", "item-text", "item-vectors"], "error": [None, "refused", None]}
    )  # fmt: skip
    assert measured(EXPERIMENT, ran, "text-sequence/pgd") == {
        Cell("copying", "item-text", "promote"): ["copycat"],
        Cell("representation", "representation", "promote"): ["pgd at item-vectors"],
    }
    check = coverage_stated("text-sequence/pgd", {})
    table, found = coverage(EXPERIMENT, ran, [check])
    assert sum(f.value or 0 for f in found) == 2
    seen = {f.where["sample"] for f in found if f.group == "seen"}
    assert seen == {"representation"}  # a free arm's objective is the experiment's own
    assert mismatches(found, gather([ran, table])) == []


def test_what_an_objective_trains_on_is_read_off_its_parts() -> None:
    assert trained_on(EXPERIMENT, "hardened") == {"representation"}
    assert trained_on(replace(EXPERIMENT, harden=None), "hardened") == set()
    seen = replace(EXPERIMENT, trials=(replace(EXPERIMENT.trials[0], seen=True),))
    assert trained_on(seen, "hardened") == {
        "representation", "copying", "gradient search", "word search",
    }  # fmt: skip
    assert families(EXPERIMENT)["copycat"] == "copying"
    assert blind(EXPERIMENT) == {"random-words"}
    assert white_and_black(EXPERIMENT) == [(["hotflip"], ["greedy-words"])]


def ran(trial: str) -> Finding:
    return Finding(subject="m/x", audit="promotion", metric="asr", value=0.1, n=5, trial=trial)


@pytest.mark.parametrize(
    ("trained", "expected"),
    [({"copying"}, True), ({"copying", "word search"}, False), ({"representation"}, True)],
)
def test_an_attack_of_a_family_that_training_met_is_no_evidence(
    trained: set[str], expected: bool
) -> None:
    kinds = {"copycat": "copying", "greedy-words": "word search"}
    unseen, _ = unseen_present(
        [ran("copycat"), ran("greedy-words")], subject="m/x", families=kinds, trained_on=trained,
        adaptive=[],
    )  # fmt: skip
    assert unseen.passed is expected


def test_hardened_on_vectors_alone_it_is_confirmed_in_text() -> None:
    """H20."""
    about = {"subject": "m/x", "texts": ["copycat"]}
    only = text_confirmation([ran("copycat")], trained_on={"representation"}, **about)  # type: ignore[arg-type]
    never = text_confirmation([], trained_on={"representation"}, **about)  # type: ignore[arg-type]
    assert only is not None and only.passed is True
    assert never is not None and never.passed is False
    assert text_confirmation([], trained_on={"copying"}, **about) is None  # type: ignore[arg-type]


def test_every_check_is_explained_on_the_page_about_checks() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "checks.md").read_text("utf-8")
    for name in REMEDIES:
        assert f"`{name}`" in page, f"docs/checks.md does not explain {name}"
