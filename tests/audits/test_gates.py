"""The four gates: silent on an honest model, and each planted cheat is caught (S1-11)."""

import numpy as np
import polars as pl
import pytest
import torch

from hardrank.audits.curves import promote_curve
from hardrank.audits.gates import (
    Arm,
    Check,
    Strength,
    check_samples,
    control_present,
    findings_of,
    gradient_checks,
    judge_findings,
    quality_floor,
    ranks_for_somebody,
    rises_with_radius,
    stronger_attack,
    unbounded_wins,
    unseen_present,
)
from hardrank.audits.measure import measure
from hardrank.audits.samples import gather, samples
from hardrank.audits.verify import mismatches
from hardrank.data import Queries
from hardrank.findings import Finding
from hardrank.perturbations import FGM, PGD, Gaussian

QUERIES = Queries.of([[q % 40, (q + 7) % 40] for q in range(60)], users=range(60))
TARGETS = np.array([3, 9, 20, 21, 30])
RADII = (0.0, 0.1, 0.3, 1.0, 30.0)


def honest(make_vectors):
    rng = np.random.default_rng(0)
    return make_vectors(rng.normal(size=(60, 8)) + 0.5, rng.normal(size=(40, 8)))


def tampered(make_vectors, way):
    """The honest model whose perturbed vectors pass through `way` first."""
    model = honest(make_vectors)
    plain, scores = model._loss, model.perturbed_scores

    def loss(site, goal, queries, items):
        like, inner = plain(site, goal, queries, items)
        return like, lambda delta: inner(way(like, delta))

    def perturbed(site, goal, queries, items, delta):
        like, _ = plain(site, goal, queries, items)
        return scores(site, goal, queries, items, way(like, delta).detach())

    model._loss, model.perturbed_scores = loss, perturbed
    return model


def quantised(like, delta):
    step = 8.0
    return torch.round((like + delta) / step) * step - torch.round(like / step) * step


def detached(like, delta):
    return delta.detach() + 0 * delta


def shattered(like, delta):
    return delta + 1e-3 * torch.sin(1e4 * delta)


def random_forward(like, delta):
    return delta + 0.5 * torch.randn(delta.shape)


def broken(like, delta):
    return delta * torch.tensor(float("nan"))


def failed(checks: list[Check]) -> set[str]:
    return {c.name for c in checks if not c.passed}


def asked(model, goal="promote", site="item-vectors") -> set[str]:
    return failed(gradient_checks(model, site, goal, QUERIES, TARGETS, subject="m/hardened"))


def test_true_gradients_pass(make_vectors) -> None:
    assert asked(honest(make_vectors)) == set()
    model = honest(make_vectors)
    targets = np.arange(60) % 40
    checks = gradient_checks(
        model, "history-vectors", "degrade", QUERIES, targets, subject="m/control", seed=3
    )
    assert failed(checks) == set()
    assert len(checks) == 5
    assert {c.seed for c in checks} == {3}


@pytest.mark.parametrize(
    ("way", "caught"),
    [
        (quantised, {"gradients_not_zero", "loss_rises_along_gradient"}),
        (detached, {"gradients_not_zero", "loss_rises_along_gradient"}),
        (shattered, {"loss_rises_along_gradient"}),
        (broken, {"gradients_finite", "loss_rises_along_gradient"}),
    ],
)
def test_hidden_gradients_are_caught(make_vectors, way, caught: set[str]) -> None:
    assert asked(tampered(make_vectors, way)) >= caught
    if way is shattered:  # only the finite difference sees it
        assert asked(tampered(make_vectors, way)) == caught


def test_a_random_forward_pass_is_caught(make_vectors) -> None:
    torch.manual_seed(0)
    names = asked(tampered(make_vectors, random_forward))
    assert {"deterministic", "zero_perturbation_is_clean"} <= names


def test_saturated_scores_are_caught(make_vectors) -> None:
    """Scores times 1000: rows that the model is sure of lose their gradient."""
    model = honest(make_vectors)
    model.states *= 1000
    targets = model.top(QUERIES, 1)[:, 0]
    checks = gradient_checks(
        model, "history-vectors", "degrade", QUERIES, targets, subject="m/hardened"
    )
    assert "gradients_not_zero" in failed(checks)


def curve(model, inner, trial: str, subject="m/hardened") -> pl.DataFrame:
    return promote_curve(
        model, TARGETS, QUERIES, site="item-vectors", inner=inner, radii=RADII, subject=subject,
        seed=0, trial=trial, k=5, success_exposure=0.2,
    )  # fmt: skip


def attacked(model) -> pl.DataFrame:
    inner = {"gaussian": Gaussian(), "fgm": FGM(), "pgd": PGD(), "pgd-long": PGD(steps=40)}
    return gather(curve(model, spec, trial) for trial, spec in inner.items())


WHERE = Strength(subject="m/hardened", goal="promote", site="item-vectors")


def behaviour(table: pl.DataFrame) -> list[Check]:
    return [
        stronger_attack(table, WHERE, ("gaussian", "fgm", "pgd")),
        stronger_attack(table, WHERE, ("pgd", "pgd-long"), name="more_steps_win_more"),
        rises_with_radius(table, WHERE, "pgd"),
        unbounded_wins(table, WHERE, "pgd", radius=30.0),
    ]


def test_an_honest_model_behaves(make_vectors) -> None:
    checks = behaviour(attacked(honest(make_vectors)))
    assert [c.passed for c in checks] == [True] * 4


@pytest.mark.parametrize("way", [quantised, detached])
def test_attacks_that_go_nowhere_are_caught(make_vectors, way) -> None:
    names = failed(behaviour(attacked(tampered(make_vectors, way))))
    assert "unbounded_attack_wins" in names
    if way is quantised:  # noise crosses the steps of the staircase, the gradient does not
        assert "stronger_attack_wins_more" in names


def test_weaker_at_a_larger_radius_is_caught(make_vectors) -> None:
    table = attacked(honest(make_vectors))
    at_one = pl.when(pl.col("radius") == 1.0).then(0).otherwise(pl.col("hits_after"))
    check = rises_with_radius(table.with_columns(hits_after=at_one), WHERE, "pgd")
    assert check.passed is False
    assert "weaker at 1 than at 0.3" in check.reason


def test_degrading_curves_are_read_the_other_way_round() -> None:
    def rows(trial: str, radius: float, ranks: list[int]) -> pl.DataFrame:
        return samples(
            {
                "subject": "m/c", "seed": 0, "audit": "curve", "goal": "degrade", "trial": trial,
                "site": "history-vectors", "radius": radius, "rank": ranks,
                "sample": [f"u{n}" for n in range(len(ranks))],
            }
        )  # fmt: skip

    table = gather(
        [rows(t, r, [rank] * 30) for t, ranks in
         (("fgm", (1, 5, 50)), ("pgd", (1, 2, 3))) for r, rank in zip((0.0, 0.1, 9.0), ranks,
                                                                   strict=True)]
    )  # fmt: skip
    strength = Strength(subject="m/c", goal="degrade", site="history-vectors")
    assert stronger_attack(table, strength, ("pgd", "fgm")).passed
    assert not stronger_attack(table, strength, ("fgm", "pgd")).passed
    assert rises_with_radius(table, strength, "pgd").passed
    assert unbounded_wins(table, strength, "fgm", radius=9.0).passed
    assert not unbounded_wins(table, strength, "pgd", radius=9.0).passed
    assert unbounded_wins(table, strength, "pgd", radius=5.0).passed is None


def test_what_was_not_measured_neither_passes_nor_fails(make_vectors) -> None:
    table = curve(honest(make_vectors), PGD(), "pgd").filter(pl.col("radius") < 0.2)
    checks = behaviour(table)
    assert [c.passed for c in checks] == [None] * 4
    assert "gaussian" in checks[0].reason


# Quality


def ranked(subject: str, group: str, ranks: np.ndarray) -> pl.DataFrame:
    return samples(
        {
            "subject": subject, "seed": 0, "audit": "utility", "trial": "clean", "group": group,
            "sample": [f"{group}{n}" for n in range(len(ranks))], "rank": ranks,
        }
    )  # fmt: skip


def floors(every: int, tail: int = 1000) -> dict[str, Check]:
    """Head ranks are kept; each `every`-th held-out item of the tail falls to rank 99."""
    parts = []
    for group, n in (("head", 4 * tail), ("tail", tail)):
        ranks = 1 + np.arange(n) * 7 % 13
        lost = np.arange(n) % every == 0 if group == "tail" else np.zeros(n, bool)
        worse = np.where(lost, 99, ranks)
        parts += [ranked("m/control", group, ranks), ranked("m/hardened", group, worse)]
    checks = quality_floor(gather(parts), hardened="m/hardened", control="m/control", price=0.05)
    return {c.group: c for c in checks}


def test_burying_the_tail_is_caught_though_the_mean_holds() -> None:
    kept, buried = floors(every=50), floors(every=12)
    assert (kept["all"].passed, kept["tail"].passed) == (True, True)
    assert (buried["all"].passed, buried["tail"].passed) == (True, False)
    assert "ndcg@10 falls by 8" in buried["tail"].reason
    assert kept["cold"].passed is None  # no held-out item is cold here


def test_too_few_samples_cannot_say_that_the_price_is_kept() -> None:
    check = floors(every=60, tail=60)["tail"]
    assert check.statistic is not None
    assert 0 < check.statistic < 0.05
    assert check.passed is None
    assert "60 samples are too few" in check.reason


def test_a_control_that_ranks_no_cold_item_has_none_to_lose() -> None:
    table = gather(ranked(f"m/{arm}", "cold", np.full(5, 90)) for arm in ("control", "hardened"))
    (check,) = quality_floor(table, hardened="m/hardened", control="m/control", groups=("cold",))
    assert check.passed is True


def test_constant_models_are_caught(make_vectors) -> None:
    fine = honest(make_vectors)
    assert failed(ranks_for_somebody(fine, QUERIES, subject="m/c", k=5)) == set()
    constant = honest(make_vectors)
    constant.states *= 0
    assert "tells_items_apart" in failed(ranks_for_somebody(constant, QUERIES, subject="m/c", k=5))
    everyone_alike = honest(make_vectors)
    everyone_alike.states[:] = everyone_alike.states[0]
    lonely = Queries.of([[0]] * 60, users=range(60))
    names = failed(ranks_for_somebody(everyone_alike, lonely, subject="m/c", k=5))
    assert names == {"tells_queries_apart"}
    not_a_number = honest(make_vectors)
    not_a_number.vectors[4] = float("nan")
    assert "tells_items_apart" in failed(
        ranks_for_somebody(not_a_number, QUERIES, subject="m/c", k=5)
    )


# Control, unseen


def arm(name: str, **changes: object) -> Arm:
    fields = {"data": "d1", "model": "spec", "seeds": (0, 1), "steps": (100, 100)} | changes
    return Arm(subject=f"m/{name}", **fields)  # type: ignore[arg-type]


def test_a_control_must_be_there_and_alike() -> None:
    assert control_present(arm("hardened"), arm("control")).passed
    assert control_present(arm("hardened"), None).reason == "there is no control arm"
    check = control_present(arm("hardened"), arm("control", steps=(50, 50)))
    assert check.passed is False
    assert "steps differ ((50, 50) and (100, 100))" in check.reason


def test_unseen_and_adaptive_attacks_must_have_run() -> None:
    def ran(trial: str, value: float | None = 0.1) -> Finding:
        return Finding(subject="m/hardened", audit="promotion", metric="asr", value=value, n=5,
                       trial=trial)  # fmt: skip

    kwargs = {
        "subject": "m/hardened",
        "families": {"pgd": "vector", "copycat": "copy", "greedy": "words"},
        "trained_on": {"vector"},
        "adaptive": {"greedy"},
    }
    both = unseen_present([ran("pgd"), ran("greedy")], **kwargs)
    assert [c.passed for c in both] == [True, True]
    assert both[0].reason == "greedy"
    none = unseen_present([ran("pgd"), ran("greedy", None), ran("mystery")], **kwargs)
    assert [c.passed for c in none] == [None, None]


# Findings


def test_a_failed_check_marks_what_hangs_on_it_and_nothing_else() -> None:
    def finding(subject: str, audit: str, site: str = "", versus: str = "") -> Finding:
        return Finding(
            subject=subject, audit=audit, metric="x", value=1.0,
            where={"site": site} if site else {}, versus={"subject": versus} if versus else {},
        )  # fmt: skip

    check = Check(
        gate="sanity", name="loss_rises_along_gradient", subject="m/control", passed=False,
        reason="0 % of rows", concerns={"audit": ("curve", "promotion"), "site": "item-vectors"},
    )  # fmt: skip
    findings = [
        finding("m/control", "curve", "item-vectors"),
        finding("m/hardened", "curve", "item-vectors", versus="m/control"),
        finding("m/control", "curve", "history-vectors"),
        finding("m/hardened", "curve", "item-vectors"),
        finding("m/control", "utility"),
        finding("m/control", "gate", "item-vectors"),
    ]
    judged = judge_findings(findings, [check, check])
    assert [f.reliable for f in judged] == [False, False, True, True, True, True]
    assert judged[0].reason == "loss rises along gradient: 0 % of rows"
    passed = Check(gate="sanity", name="x", subject="m/control", passed=True)
    assert judge_findings(findings, [passed]) == findings


def test_checks_are_findings_that_can_be_recomputed() -> None:
    twice = {"gate": "sanity", "name": "deterministic", "subject": "m/c", "site": "a"}
    checks = [
        Check(**twice, seed=0, passed=True, statistic=0.1, reason="seed 0"),
        Check(**twice, seed=1, passed=False, statistic=0.1, reason="seed 1"),
        Check(gate="unseen", name="unseen_attack", subject="m/c", passed=None, reason="none ran"),
        Check(gate="quality", name="quality_floor", subject="m/c", passed=True, group="tail"),
    ]
    found = findings_of(checks)
    assert [(f.metric, f.value, f.reliable) for f in found] == [
        ("deterministic", 0.5, False), ("unseen_attack", None, True), ("quality_floor", 1.0, True),
    ]  # fmt: skip
    assert found[0].reason == "seed 1"
    assert found[1].reason == "none ran"
    table = check_samples(checks)
    assert mismatches(found, table) == []
    assert len(mismatches(found, table.with_columns(success=~pl.col("success")))) > 0
    assert measure(table, subject="m/c", audit="gate", metric="value",
                   where={"sample": "deterministic"}).value == pytest.approx(0.1)  # fmt: skip
