"""Whether figures can be trusted: checks, coverage, chance, and several hardened arms."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reports.made_up import MODEL, supported_findings, write_run
from tests.reports.pages import Page

from hardrank.audits.checks import Check, check_samples, findings_of
from hardrank.audits.coverage import Cell, coverage_findings, coverage_samples
from hardrank.audits.samples import gather
from hardrank.findings import Finding
from hardrank.reports import render
from hardrank.reports.evidence import load_evidence
from hardrank.reports.sections.significance import compared, told
from hardrank.reports.verdict import verdict

ARM = f"{MODEL}/hardened"


def dead(trial: str) -> list[Finding]:
    check = Check(
        gate="sanity", name="attack_works_undefended", subject=ARM, trial=trial, passed=False,
        reason="it edits no text on the undefended control",
    )  # fmt: skip
    return findings_of([check])


def p_values(arm: str = "hardened") -> list[Finding]:
    trials = {"copycat": 0.001, "greedy-words": 0.02, "hotflip": 0.04}
    return [
        Finding(subject=f"{MODEL}/{arm}", audit="promotion", metric="p_value", value=p,
                trial=trial, n=20)
        for trial, p in trials.items()
    ]  # fmt: skip


def section(source: str, key: str) -> str:
    return Page(
        source.split(f'<section id="{key}"')[1].split("</section>")[0].partition(">")[2]
    ).text


def test_a_failed_check_says_why_and_what_to_try(tmp_path: Path) -> None:
    checks = [
        Check(gate="sanity", name="gradients_not_zero", subject=ARM, passed=False, statistic=0.75,
              reason="75% of rows have no gradient", site="item-vectors", goal="promote"),
        Check(gate="sanity", name="deterministic", subject=ARM, passed=True, statistic=0.0),
    ]  # fmt: skip
    folder = write_run(tmp_path, [*supported_findings(), *findings_of(checks)])
    check_samples(checks).write_parquet(folder / "samples.parquet")
    text = section(render(folder).read_text("utf-8"), "gates")
    assert "Can these figures be trusted?" in text and "1 failed" in text
    assert "75% of rows have no gradient (statistic 0.75)" in text
    assert "straight-through gradients" in text
    names = [n for n in ("gradients not zero", "deterministic") if n in text]
    assert text.index(names[0]) < text.index(names[1]), "what failed stands first"
    markdown = (tmp_path / "report.md").read_text("utf-8")
    assert "| What to try |" in markdown and "straight-through" in markdown


def test_an_attack_that_proves_nothing_spoils_its_own_row_only(tmp_path: Path) -> None:
    marked = [
        replace(f, reliable=False, reason="no text") if f.trial == "hotflip" else f
        for f in supported_findings()
    ]  # fmt: skip
    evidence = load_evidence(write_run(tmp_path / "one", [*marked, *dead("hotflip")]))
    found = verdict(evidence)
    assert found.status == "supported"
    assert "hotflip proves nothing here: it edits no text" in " ".join(found.caveats)
    every = [f for t in ("hotflip", "copycat", "greedy-words") for f in dead(t)]
    all_dead = load_evidence(write_run(tmp_path / "all", [*supported_findings(), *every]))
    assert verdict(all_dead).status == "unreliable"


def test_the_matrix_prints_what_was_not_measured(tmp_path: Path) -> None:
    """S2-16: uncovered cells are printed; without a matrix the audit is said to be invalid."""
    cells = [Cell("copying", "item-text", "promote"), Cell("poisoning", "profiles", "promote")]
    done = {cells[0]: ["copycat"]}
    tables = [
        coverage_samples(f"{MODEL}/{arm}", done, trained_on=seen, cells=cells)
        for arm, seen in (("control", ()), ("hardened", ("copying",)))
    ]
    table = gather(tables)
    found = coverage_findings(table, {f"{MODEL}/{arm}": done for arm in ("control", "hardened")})
    text = section(
        render(write_run(tmp_path / "a", [*supported_findings(), *found])).read_text(), "coverage"
    )
    assert "copying item-text ✓ measured copycat hardened" in text
    assert "Not measured: poisoning on profiles (promote)." in text
    assert "poisoning on profiles" in (tmp_path / "a" / "report.md").read_text("utf-8")
    bare = render(write_run(tmp_path / "b", supported_findings())).read_text("utf-8")
    assert "as an audit it is not valid" in section(bare, "coverage")


def test_every_attack_is_corrected_for_the_whole_table(tmp_path: Path) -> None:
    """Holm by hand: 0.001 x 3, 0.02 x 2, 0.04 x 1; all below 0.05, effects all above 0."""
    folder = write_run(tmp_path, [*supported_findings(), *p_values()])
    rows = compared(load_evidence(folder))
    assert [row.adjusted for row in rows] == pytest.approx([0.003, 0.04, 0.04])
    assert {row.verdict for row in rows} == {"gain"}
    text = section(render(folder).read_text("utf-8"), "significance")
    assert "Every arm against the control" in text and "0.040" in text


def effect(low: float | None, high: float | None) -> Finding:
    return Finding(subject=ARM, audit="promotion", metric="defence_effect", value=0.1, low=low,
                   high=high)  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "p", "word"),
    [(0.1, 0.3, 0.01, "gain"), (0.1, 0.3, 0.06, "none"), (-0.1, 0.3, 0.01, "none"),
     (-0.3, -0.1, 0.01, "loss"), (None, None, 0.01, ""), (0.1, 0.3, None, "")],
)  # fmt: skip
def test_gain_none_or_loss_only_with_an_interval(
    low: float | None, high: float | None, p: float | None, word: str
) -> None:
    """S4-20."""
    assert told(effect(low, high), p) == word


def test_arms_of_any_name_stand_beside_the_control(tmp_path: Path) -> None:
    """The first hardened arm takes the place of `hardened`; the second has its own columns."""
    named = [
        replace(f, subject=f"{MODEL}/pgd") if f.subject == ARM else f for f in supported_findings()
    ]
    more = [replace(f, subject=f"{MODEL}/free") for f in named if f.subject == f"{MODEL}/pgd"]
    folder = write_run(tmp_path, [*named, *more, *p_values("pgd"), *p_values("free")])
    evidence = load_evidence(folder)
    assert evidence.arms == ("control", "hardened", "free") and evidence.alias == "pgd"
    assert verdict(evidence).status == "supported"
    assert [row.arm for row in compared(evidence)] == ["hardened"] * 3 + ["free"] * 3
    source = render(folder).read_text("utf-8")
    text = section(source, "gates")
    assert re.search(r"Check Control Pgd Free What to try", text)
    assert "Hardened is the arm “pgd”" in section(source, "comparison")
