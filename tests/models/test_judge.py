"""The attack that a training is judged by."""

from hardrank.hardening import APR, Adversarial, UserAdaptive
from hardrank.models.judge import judge_of
from hardrank.perturbations import PGD


def test_an_absolute_radius_is_no_share() -> None:
    """What is in the units of the vectors says nothing about their length."""
    for objective in (
        UserAdaptive(radius=0.3, site="history-vectors"),
        Adversarial(inner=PGD(), radius=0.3),
    ):
        judge = judge_of(objective, wanted=False)
        assert judge is not None and judge.radius == 0.3
    for objective in (
        UserAdaptive(radius=7.0, absolute=True),
        APR(radius=7.0, absolute=True),
        APR(radius=0.3),  # several sites: none of them is judged
    ):
        assert judge_of(objective, wanted=False) == judge_of(None, wanted=True)
