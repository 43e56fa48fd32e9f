"""What the first sentences say, in each situation that changes what may be said."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.reports.made_up import (
    MODEL,
    doubted_findings,
    good_findings,
    ranged,
    supported_findings,
    undecided_findings,
)

from hardrank.audits.checks import findings_of
from hardrank.audits.quality import quality_floor
from hardrank.audits.samples import gather, samples
from hardrank.errors import SchemaError
from hardrank.findings import Finding
from hardrank.reports import summary_table
from hardrank.reports.evidence import Evidence, RunFacts
from hardrank.reports.verdict import Verdict, verdict
from hardrank.reports.words import gate_kind, gate_state, too_few

HARDENED = f"{MODEL}/hardened"


def judged(findings: list[Finding]) -> Verdict:
    facts = RunFacts(name="run")
    return verdict(Evidence(findings=tuple(findings), samples=pl.DataFrame(), facts=facts))


def with_effects(value: float, half: float, trial: str = "") -> list[Finding]:
    """The supported case with another defence effect (of one attack, or of all)."""
    return [
        replace(f, value=value, low=value - half, high=value + half)
        if f.metric == "defence_effect" and trial in ("", f.trial)
        else f
        for f in supported_findings()
    ]


def flat(text: str) -> str:
    return text.replace("\u202f", "")


def test_good_case_names_attack_effect_and_price_with_intervals() -> None:
    found = judged(supported_findings())
    assert found.status == "supported"
    assert found.caveats == ()
    gameable, removed, price = (flat(s) for s in found.sentences)
    assert gameable == (
        "The control model is gameable: copycat lifts an attacked item from 0.040% to "
        "16.7% [11.7, 21.7%] of eligible users’ top 10."
    )
    assert removed == (
        "Hardening removes 90.4% [81.4, 99.4%] of the exposure gain of copycat, "
        "75.7% [66.7, 84.7%] of that of greedy-words and 49.2% [40.2, 58.2%] of that of hotflip."
    )
    assert price == (
        "The price: clean NDCG@10 changes by −1.5% [−3.5, +0.5%] overall, "
        "+2.1% [−1.9, +6.1%] on tail items and −0.9% [−5.9, +4.1%] on cold items."
    )


@pytest.mark.parametrize("reason", ["cold NDCG@10 fell by 38 %", ""])
def test_a_failed_gate_leaves_no_claim(reason: str) -> None:
    findings = [
        replace(f, value=0.0, reason=reason)
        if f.audit == "gate" and f.metric == "quality floor" and f.group == "cold"
        else f
        for f in supported_findings()
    ]
    found = judged(findings)
    why = f": {reason}" if reason else ""
    assert found.status == "unreliable"
    assert found.label == "Unreliable: a quality gate failed"
    assert found.sentences[:2] == (
        f"The gate “quality floor, cold items” failed on the hardened model{why}.",
        "What was measured does not count as a defence.",
    )
    for claim in ("removes", "robust", "works", "helps"):
        assert claim not in found.text + found.label


def test_many_failed_gates_are_counted_not_recited() -> None:
    failed = [replace(f, value=0.0) if f.audit == "gate" else f for f in supported_findings()]
    found = judged(failed)
    assert found.label == "Unreliable: 3 gates failed"
    assert found.sentences[0] == "The gate “quality floor” failed on the hardened model."
    assert found.sentences[2] == "9 more checks failed (see the gates)."


def test_one_seed_of_three_failing_fails_the_gate() -> None:
    findings = [
        replace(f, value=2 / 3) if f.metric == "pgd beats fgsm" else f for f in supported_findings()
    ]
    assert judged(findings).status == "unreliable"


def test_a_number_marked_unreliable_is_no_claim_either() -> None:
    findings = [
        replace(f, reliable=False, reason="gradients are zero")
        if f.metric == "er_gain@10" and f.subject == HARDENED and f.trial == "hotflip"
        else f
        for f in supported_findings()
    ]
    found = judged(findings)
    assert found.status == "unreliable"
    assert found.label == "Unreliable: an audit doubts a result"
    assert found.sentences[0] == "The result under hotflip is not sound: gradients are zero."


def test_hardened_worse_than_control_says_so() -> None:
    found = judged(with_effects(-0.35, 0.2, "hotflip"))
    assert found.status == "worse" and found.label == "Hardening made it worse"
    assert "adds 35.0% [15.0, 55.0%] of the exposure gain of hotflip" in flat(found.text)
    assert "removes 90.4%" in flat(found.text)


def test_an_interval_that_holds_zero_shows_nothing() -> None:
    found = judged(with_effects(0.1, 0.3))
    assert found.status == "unproven"
    assert found.label == "No effect of hardening measured"
    assert flat(found.sentences[1]).startswith(
        "No effect measured on copycat (+10.0% [−20.0, +40.0%] of its gain removed), "
    )
    assert "removes" not in found.text
    mixed = judged(with_effects(0.1, 0.3, "hotflip"))
    assert mixed.status == "mixed"
    assert flat(mixed.sentences[1]).endswith(
        "of that of greedy-words. No effect measured on hotflip (+10.0% [−20.0, +40.0%] of its "
        "gain removed)."
    )


def test_missing_control_is_refused() -> None:
    """S0-17: a defence report without its clean control is refused."""
    alone = [f for f in good_findings() if f.subject != f"{MODEL}/control"]
    with pytest.raises(SchemaError, match="not reported without its control arm"):
        summary_table(alone)
    no_hotflip = [
        f for f in good_findings() if not (f.subject == f"{MODEL}/control" and f.trial == "hotflip")
    ]
    with pytest.raises(SchemaError, match="promotion findings for 'hotflip'"):
        summary_table(no_hotflip)


def test_attacks_that_did_not_run_are_said_and_never_counted_as_safe() -> None:
    """An attack with n = 0 makes a good result provisional."""
    found = judged(good_findings())
    assert found.status == "provisional"
    assert "No defence effect could be computed for masked-lm." in found.caveats
    assert "Not run: “adaptive attack”." in found.caveats
    idle = [
        replace(f, value=None, low=None, high=None, n=0, per_seed=(), reason="no time")
        if f.audit == "promotion"
        else f
        for f in supported_findings()
    ]
    nothing = judged(idle)
    assert nothing.status == "unproven"
    assert nothing.sentences[:2] == (
        "No attack ran on the control model, so how gameable it is was not measured.",
        "What hardening changed could not be computed.",
    )


def test_a_control_that_resists_is_not_called_gameable() -> None:
    findings = [
        replace(f, value=0.0001, low=-0.0002, high=0.0004) if f.metric == "er_gain@10" else f
        for f in supported_findings()
    ]
    first = flat(judged(findings).sentences[0])
    assert first == (
        "No attack measurably promoted its targets on the control model; the strongest, "
        "copycat, changed top-10 exposure by +0.010% [−0.020, +0.040%]."
    )


def test_a_single_seed_is_marked() -> None:
    """S0-46: single-seed results are marked as such."""
    single = [replace(f, seeds=f.seeds[:1], per_seed=f.per_seed[:1]) for f in supported_findings()]
    found = judged(single)
    assert found.status == "provisional"
    assert any("single seed" in c for c in found.caveats)


def test_wide_spread_between_seeds_is_called_unstable() -> None:
    """S0-46: more than two points of standard deviation set the label."""
    findings = [
        replace(f, per_seed=(0.10, 0.15, 0.20))
        if f.metric == "er_gain@10" and f.subject == HARDENED and f.trial == "copycat"
        else f
        for f in supported_findings()
    ]
    assert [flat(c) for c in judged(findings).caveats] == [
        "Unstable: exposure gain under copycat on the hardened model varies between seeds by a "
        "standard deviation of 5.0%."
    ]


def test_no_hardened_arm_is_no_defence_report() -> None:
    control = [f for f in supported_findings() if f.subject != HARDENED]
    found = judged(control)
    assert found.status == "undefended"
    assert len(found.sentences) == 1 and "gameable" in found.text


def test_without_any_gate_a_result_is_provisional() -> None:
    found = judged([f for f in supported_findings() if f.audit != "gate"])
    assert found.status == "provisional"
    assert "No gate was run." in found.caveats


def test_price_without_a_finding_is_computed_from_the_means() -> None:
    findings = [
        ranged(v, 0.001, subject=f"{MODEL}/{arm}", audit="utility", metric="ndcg@10")
        for arm, v in (("control", 0.04), ("hardened", 0.038))
    ]
    assert "changes by −5.0% overall." in flat(judged(findings).text)


def test_terminal_table_shows_both_arms_and_what_did_not_run() -> None:
    shown = flat(summary_table(good_findings()))
    lines = shown.splitlines()
    assert lines[0] == "Verdict: Hardening helps; provisional"
    gain = next(line for line in lines if "−90.4%" in line)
    assert gain.split() == [
        "Exposure@10", "gain", "16.7%", "[11.6,", "21.7%]", "1.6%", "[1.1,", "2.0%]",
        "−90.4%", "[−99.4,", "−81.4%]",
    ]  # fmt: skip
    assert lines[-1].split() == ["Exposure@10", "gain", "no", "value", "no", "value"]
    assert max(map(len, lines)) <= 100


def test_a_gate_with_too_few_samples_is_undecided_and_the_result_provisional() -> None:
    """Neither failed nor not run: measured, and the samples cannot tell."""
    found = judged(undecided_findings())
    assert (found.status, found.label) == ("provisional", "Hardening helps; provisional")
    assert found.caveats == (
        "Undecided: “quality floor, cold items”, 18 samples are too few to say that it holds.",
    )


def test_the_audit_says_too_few_in_words_that_the_report_reads() -> None:
    """The two rooms agree on one phrase: a loss within the price whose interval is not."""
    rng = np.random.default_rng(0)
    ranks = rng.integers(0, 20, 18)
    rows = [
        {"subject": f"{MODEL}/{arm}", "seed": 0, "audit": "utility", "trial": "clean",
         "group": "cold", "sample": f"u{i}", "rank": int(rank + 3 + shift * (-1) ** i)}
        for arm, shift in (("control", 1), ("hardened", -1)) for i, rank in enumerate(ranks)
    ]  # fmt: skip
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    table = gather([samples(columns)])
    (check,) = quality_floor(
        table, hardened=HARDENED, control=f"{MODEL}/control", groups=("cold",), price=0.12
    )
    assert check.passed is None and check.statistic is not None
    (gate,) = findings_of([check])
    assert gate_state(gate) == "undecided"
    assert too_few(gate.reason) == "18 samples are too few to say that it holds"
    unasked = Finding(subject=HARDENED, audit="gate", metric="x", value=None, reason="not asked")
    assert gate_state(unasked) == "not run"


def test_each_check_belongs_to_one_of_the_four_gates() -> None:
    names = {"quality_floor": "quality", "tells items apart": "quality", "control_arm": "control",
             "unseen_attack": "unseen", "adaptive_attack": "unseen",
             "gradients_finite": "sanity", "unbounded_attack_wins": "sanity"}  # fmt: skip
    for name, kind in names.items():
        assert gate_kind(Finding(subject=HARDENED, audit="gate", metric=name, value=1.0)) == kind


def test_attacks_lose_their_options_in_sentences_unless_these_tell_them_apart() -> None:
    named = [
        replace(f, trial="copycat(candidates=50)") if f.trial == "copycat" else f
        for f in supported_findings()
    ]
    assert "copycat lifts" in judged(named).text
    both = [replace(f, trial="copycat(candidates=9)") if f.trial == "hotflip" else f for f in named]
    assert "copycat(candidates=50) lifts" in judged(both).text


def test_terminal_marks_doubtful_numbers_shortly_and_tells_the_reason_once() -> None:
    lines = flat(summary_table(doubted_findings())).splitlines()
    assert lines[0] == "Verdict: Unreliable: a quality gate failed"
    text = " ".join(" ".join(lines).split())
    assert text.count("! Unreliable: quality floor: ndcg@10 falls by 9.0 %") == 1
    gain = next(line for line in lines if "−90.4%" in line)
    assert "1.6% [1.1, 2.0%]!" in gain and "16.7% [11.6, 21.7%]!" not in gain
    assert max(map(len, lines)) <= 100


def test_terminal_table_never_exceeds_100_columns() -> None:
    """Where intervals of changes do not fit they are left to the page."""
    wide = [
        replace(f, value=-12.3456, low=-123.4567, high=123.4567, reliable=False)
        if f.audit in ("promotion", "utility") and f.value is not None
        else f
        for f in supported_findings()
    ]
    assert max(map(len, summary_table(wide).splitlines())) <= 100
