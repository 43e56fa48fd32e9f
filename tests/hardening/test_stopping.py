"""The stop rule on validation robust error (S0-12)."""

import pytest
from pydantic import ValidationError

from hardrank.errors import Unsupported
from hardrank.hardening import StopAtRobustError


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
