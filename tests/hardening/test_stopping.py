"""Stop rules on the errors that validation measures under attack (S0-12, S1-61)."""

import pytest
from pydantic import ValidationError

from hardrank.errors import Unsupported
from hardrank.hardening import CatastrophicOverfitting, StopAtRobustError
from hardrank.training.watch import catastrophic_overfitting, robust_gap


def rows(*errors: float | None) -> list[dict[str, float]]:
    """One epoch each; None for an epoch that was not validated."""
    plain = [{"epoch": n + 1.0, "loss": 1.0, "seconds": 0.1} for n in range(len(errors))]
    found = [{} if e is None else {"ndcg@10": 0.1, "robust_error": e} for e in errors]
    return [row | more for row, more in zip(plain, found, strict=True)]


def test_target_one_stops_after_the_first_epoch() -> None:
    assert StopAtRobustError(target=1.0).check(rows(1.0)) == "robust error 1 reached the target 1"


def test_target_zero_runs_to_the_cap() -> None:
    rule = StopAtRobustError(target=0.0)
    assert all(rule.check(rows(*[0.5, 0.1, 0.0, 0.0][:n])) is None for n in range(5))


def test_the_reason_names_error_and_target() -> None:
    rule = StopAtRobustError(target=0.3)
    assert rule.check(rows(0.9, 0.31)) is None
    assert rule.check(rows(0.9, 0.31, 0.3)) == "robust error 0.3 reached the target 0.3"


def test_patience_wants_validations_in_a_row() -> None:
    rule = StopAtRobustError(target=0.3, patience=2)
    assert rule.check(rows(0.2)) is None
    assert rule.check(rows(0.2, 0.4, 0.2)) is None
    assert rule.check(rows(0.2, None, 0.1)) == (
        "robust error 0.1 reached the target 0.3 in 2 validations"
    )


def test_epochs_without_validation_and_nan_do_not_count() -> None:
    rule = StopAtRobustError(target=0.3)
    assert rule.check([]) is None
    assert rule.check(rows(None, None)) is None
    assert rule.check(rows(0.2, float("nan"))) is None


def test_a_validation_that_does_not_measure_it_is_refused() -> None:
    with pytest.raises(Unsupported, match="reports 'robust_error'"):
        StopAtRobustError(target=0.3).check([{"epoch": 1.0, "loss": 1.0, "ndcg@10": 0.1}])


@pytest.mark.parametrize(
    "wrong", [{"target": 1.1}, {"target": -0.1}, {"target": 0.5, "patience": 0}]
)
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        StopAtRobustError(**wrong)


def errors(*pairs: tuple[float, float] | None) -> list[dict[str, float]]:
    """(error under many steps, under one) an epoch; None for one that was not validated."""
    found = [
        {} if p is None else {"ndcg@10": 0.1, "robust_error": p[0], "single_step_error": p[1]}
        for p in pairs
    ]
    return [{"epoch": n + 1.0, "loss": 1.0, "seconds": 0.1} | row for n, row in enumerate(found)]


SOARS = errors((0.6, 0.55), (0.5, 0.45), None, (0.95, 0.10))


def test_catastrophic_over_fitting_is_told_from_over_fitting() -> None:
    """S1-61: many steps soar while one step falls."""
    rule = CatastrophicOverfitting()
    assert rule.check([]) is None
    assert rule.check(SOARS[:3]) is None
    reason = rule.check(SOARS)
    assert reason is not None
    assert "since epoch 2 the error under many steps rose from 0.5 to 0.95" in reason
    assert "under one step it went from 0.45 to 0.1" in reason
    # Both rise: the model over-fits or forgets, but not to the one step.
    assert rule.check(errors((0.5, 0.45), (0.95, 0.9))) is None
    # Within the tolerance, and exactly at it.
    assert rule.check(errors((0.5, 0.45), (0.5625, 0.1))) is None
    assert CatastrophicOverfitting(rise=0.25).check(errors((0.5, 0.4), (0.75, 0.1))) is None
    assert CatastrophicOverfitting(rise=0.25).check(errors((0.5, 0.4), (0.7501, 0.1)))


def test_a_model_that_recovers_is_not_stopped() -> None:
    """S1-61: the last validation decides."""
    assert CatastrophicOverfitting().check([*SOARS, *errors((0.52, 0.5))]) is None


def test_the_rule_needs_a_single_step_to_compare() -> None:
    with pytest.raises(Unsupported, match="an `inner` of one step"):
        CatastrophicOverfitting().check(rows(0.5))
    assert catastrophic_overfitting(rows(0.5, 0.9)) is None  # the log just has nothing to say


def test_the_gap_between_the_last_and_the_best() -> None:
    """S1-61."""
    assert robust_gap([]) is None
    assert robust_gap(rows(None)) is None
    assert robust_gap(rows(0.75, 0.25, None, 0.5)) == {
        "best_error": 0.25, "best_epoch": 2, "last_error": 0.5, "last_epoch": 4, "gap": 0.25,
    }  # fmt: skip
