"""The verdict speaks of one arm: what another arm failed is said, and not held against it."""

from dataclasses import replace

import polars as pl
from tests.reports.made_up import MODEL, supported_findings

from hardrank.findings import Finding
from hardrank.reports import summary_table
from hardrank.reports.evidence import Evidence, RunFacts, headlined
from hardrank.reports.standing import rests_on, standing
from hardrank.reports.verdict import Verdict, verdict

ARM = f"{MODEL}/hardened"


def failed(arm: str, name: str = "quality floor") -> Finding:
    return Finding(subject=f"{MODEL}/{arm}", audit="gate", metric=name, value=0.0, reliable=False,
                   reason="it fell")  # fmt: skip


def arms(*names: str) -> list[Finding]:
    """The supported case for each of these arms, beside the control."""
    found = supported_findings()
    mine = [f for f in found if f.subject == ARM]
    return [
        *(f for f in found if f.subject != ARM),
        *(replace(f, subject=f"{MODEL}/{name}") for name in names for f in mine),
    ]


def judged(findings: list[Finding]) -> Verdict:
    facts = RunFacts(name="run")
    return verdict(
        headlined(Evidence(findings=tuple(findings), samples=pl.DataFrame(), facts=facts))
    )


def test_another_arms_fault_is_told_and_leaves_the_verdict() -> None:
    found = judged([*arms("pgd", "free"), failed("free")])
    assert found.status == "supported"
    assert found.caveats == (
        "Figures of the free arm do not count, for “quality floor” failed on it; those of the "
        "other arms do not rest on it.",
    )


def test_a_model_as_trained_that_fails_is_no_fault_of_the_hardened_one() -> None:
    """A baseline arm is compared with nothing: its gate concerns its own figures."""
    found = judged([*supported_findings(), failed("base", "tells items apart"), failed("hidden")])
    assert found.status == "supported" and len(found.caveats) == 2
    assert found.caveats[0].startswith("Figures of the base arm do not count, for “tells items")


def test_an_arm_that_fails_is_named_and_so_are_those_that_do_not() -> None:
    found = judged([*arms("pgd", "free", "virtual"), failed("pgd"), failed("virtual")])
    assert (found.status, found.label) == (
        "unreliable",
        "Unreliable, pgd arm: a quality gate failed",
    )
    assert found.sentences[:3] == (
        "The gate “quality floor” failed on the pgd model: it fell.",
        "What was measured on the pgd arm does not count as a defence.",
        "No check failed on free: see the tables of all arms.",
    )
    assert [c for c in found.caveats if "virtual arm" in c]


def test_the_control_is_everybodys() -> None:
    found = judged([*arms("pgd", "free"), failed("control", "split without leaks")])
    assert found.status == "unreliable"
    assert not any(s.startswith("No check failed") for s in found.sentences)


def test_a_lone_arm_is_judged_as_before() -> None:
    found = judged([*supported_findings(), failed("hardened")])
    assert found.label == "Unreliable: a quality gate failed"
    assert found.sentences[1] == "What was measured does not count as a defence."
    assert summary_table([*supported_findings(), failed("base")]).startswith(
        "Verdict: Hardening works"
    )


def test_an_arm_rests_on_itself_and_its_control() -> None:
    assert rests_on("m/pgd") == ("m/pgd", "m/control") and rests_on("m/control") == ("m/control",)
    gates = [failed("pgd"), failed("control", "split"), failed("free")]
    found = standing(gates, f"{MODEL}/pgd")
    assert found.state == "failed" and found.why() == "quality floor, split of control"
    assert standing([], f"{MODEL}/pgd").state == "not run"
    unsure = replace(failed("pgd"), value=None, reliable=True, reason="9 samples are too few")
    assert standing([unsure], f"{MODEL}/pgd").state == "undecided"
    passed = replace(failed("pgd"), value=1.0, reliable=True)
    assert standing([passed], f"{MODEL}/pgd").state == "passed"
    idle = replace(failed("pgd"), value=None, reliable=True, reason="no samples")
    assert standing([passed, idle], f"{MODEL}/pgd").state == "not run"
