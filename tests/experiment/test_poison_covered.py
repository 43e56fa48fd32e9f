"""What a poisoning run says of the attacks that it tried, read off its experiment and samples;
and its tables for a terminal."""

from typing import Any

import polars as pl

from hardrank.attacks.profiles import PROFILE_ATTACKS
from hardrank.audits.coverage import Cell, coverage_samples
from hardrank.audits.samples import gather, samples
from hardrank.audits.verify import mismatches
from hardrank.experiment.poison_covered import poison_coverage, seen_by, tried
from hardrank.experiment.poison_spec import PoisonExperiment, parse_poisoning
from hardrank.experiment.poison_table import poison_tables
from hardrank.findings import Finding

RAW: dict[str, Any] = {
    "name": "covered",
    "data": {"kind": "table", "path": "events.csv", "items": "items.csv"},
    "models": [{"kind": "ease"}, {"kind": "item-knn"}],
    "attacks": [
        {"kind": "random-profiles"}, {"kind": "bandwagon"}, {"kind": "pga"},
        {"kind": "copy-profile"}, {"kind": "obfuscated", "base": {"kind": "copy-profile"}},
    ],
    "defences": [
        {"name": "learnt", "detector": {"kind": "boosted"}, "adaptive": [{"kind": "bandwagon"}]},
        {"name": "plain", "detector": {"kind": "degree"}},
    ],
}  # fmt: skip
SCRIPTED = Cell("scripted profiles", "profiles", "promote")
COPIED = Cell("copied profiles", "profiles", "promote")
GRADIENT = Cell("profiles by gradient", "profiles", "promote")
TRIALS = ("random-profiles", "bandwagon", "pga", "copy-profile", "bandwagon (adaptive)")


def experiment() -> PoisonExperiment:
    return parse_poisoning(RAW)


def measured() -> pl.DataFrame:
    """All attacks ran on two arms but `pga`, which fell over on `plain`; obfuscated did not."""
    rows = [("ease/learnt", t, None) for t in TRIALS]
    rows += [("ease/plain", t, "refused" if t == "pga" else None) for t in TRIALS[:-1]]
    subjects, trials, errors = (list(column) for column in zip(*rows, strict=True))
    return gather([
        samples({"subject": ["ease/learnt", "ease/plain"], "audit": "utility", "trial": "clean"}),
        samples({"subject": subjects, "audit": "promotion", "trial": trials, "error": errors}),
    ])  # fmt: skip


def test_what_ran_is_told_from_what_was_asked_for() -> None:
    plain, adaptive = tried(experiment(), measured(), "ease/learnt")
    assert plain == {SCRIPTED: ["random-profiles", "bandwagon"], GRADIENT: ["pga"],
                     COPIED: ["copy-profile"]}  # fmt: skip
    assert adaptive == {SCRIPTED: ["bandwagon (adaptive)"]}
    plain, adaptive = tried(experiment(), measured(), "ease/plain")
    assert set(plain) == {SCRIPTED, COPIED} and adaptive == {}


def test_a_detector_that_learns_knows_the_likes_of_the_attack_that_is_held_out() -> None:
    """Of scripted profiles it always learns from one kind while the other is held out; a copied
    profile is held out with its disguise, and pga is alone in its family."""
    learnt, plain = experiment().defences
    assert seen_by(experiment(), learnt) == {"scripted profiles"}
    assert seen_by(experiment(), plain) == set() == seen_by(experiment(), None)


def test_the_matrix_has_every_cell_and_can_be_recomputed() -> None:
    """S2-16: kinds of attack on a log, measured or not, for each arm."""
    table, found, checks = poison_coverage(experiment(), measured())
    cells = {(c.kind, goal) for c in PROFILE_ATTACKS for goal in c.goals}  # type: ignore[attr-defined]
    assert len(cells) > 20 and mismatches(found, table) == []
    mine = {(f.where["sample"], f.where["goal"], f.group): f for f in found
            if f.subject == "ease/learnt"}  # fmt: skip
    seen = mine["scripted profiles", "promote", "seen"]
    assert (seen.value, seen.reason) == (1.0, "random-profiles, bandwagon")
    adaptive = mine["scripted profiles", "promote", "adaptive"]
    assert (adaptive.value, adaptive.reason) == (1.0, "bandwagon (adaptive)")
    never = mine["profiles by policy gradient", "promote", "unseen"]
    assert (never.value, never.reason) == (0.0, "not measured")
    assert mine["scripted profiles", "demote", "seen"].value == 0.0
    assert not [f for f in found if f.where["site"] != "profiles"]
    assert [(c.subject, c.passed) for c in checks] == [("ease/learnt", True), ("ease/plain", True)]
    others = {f.group for f in found if f.subject == "ease/plain"}
    assert others == {"unseen"}


def test_an_arm_that_nothing_ran_on_fails_the_check() -> None:
    alone = measured().filter(pl.col("audit") == "utility")
    _, found, checks = poison_coverage(experiment(), alone)
    assert not any(f.value for f in found) and [c.passed for c in checks] == [False, False]


def test_adaptive_attacks_have_rows_of_their_own() -> None:
    table = coverage_samples("m/a", {COPIED: ["copy-profile"]}, trained_on=["copied profiles"],
                             cells=[COPIED, GRADIENT],
                             adaptive={GRADIENT: ["pga (adaptive)"]})  # fmt: skip
    assert table.select("sample", "group", "success", "value").rows() == [
        ("copied profiles", "seen", True, 1.0), ("profiles by gradient", "unseen", False, 0.0),
        ("profiles by gradient", "adaptive", True, 1.0),
    ]  # fmt: skip


def test_nested_labels_do_not_stretch_the_terminal() -> None:
    inner = ", ".join(f"option{n}={n}" for n in range(40))
    trial = f"evasive-profiles(first=rehearsed({inner})) (adaptive)"
    found = [
        Finding(subject="ease/control", audit="utility", metric="ndcg@10", value=0.1),
        *(Finding(subject="ease/control", audit="promotion", metric=metric, value=0.5, trial=t)
          for metric in ("er_before@10", "er_after@10") for t in ("pga", trial)),
        Finding(subject="degree", audit="detection-auroc", metric="auroc", value=1.0, trial=trial),
    ]  # fmt: skip
    lines = poison_tables(found, k=10)
    assert "evasive-profiles(first=rehearsed) (adaptive)         50.00" in lines
    assert "pga                                                  50.00" in lines
    assert max(map(len, lines)) < 80
