"""Alarms at their borders, and what a training that went wrong leaves behind (S2-35)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.errors import Diverged
from hardrank.generators.health import Monitor
from hardrank.generators.interest_gan import InterestGan
from hardrank.generators.networks import Generator

WELL = {
    "spread": 0.5, "overlap": 0.2, "overlap_real": 0.2, "gradient_generator": 1.0,
    "change_generator": 1.0, "change_critic": 1.0, "verdicts": 1.0, "through": 0.1,
    "accuracy_real": 0.8, "accuracy_fake": 0.8,
}  # fmt: skip


def alarms(monitor: Monitor, row: dict[str, float]) -> list[str]:
    return [alarm.kind for alarm in monitor.check(row)]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"overlap": 0.61}, "collapse"),
        ({"overlap": 0.60}, None),
        ({"spread": 0.9e-5}, "collapse"),
        ({"spread": 1.1e-5}, None),
        ({"gradient_generator": 0.0}, "frozen"),
        ({"change_generator": 0.0}, "frozen"),
        ({"through": 0.9e-12}, "detached"),
        ({"through": 1.1e-12}, None),
        ({"change_critic": 0.0}, "dead-critic"),
        ({"verdicts": 0.9e-7}, "dead-critic"),
        ({"accuracy_real": 1.0, "accuracy_fake": 0.99}, "unbalanced"),
        ({"accuracy_real": 1.0, "accuracy_fake": 0.98}, None),
        ({"accuracy_real": 0.98, "accuracy_fake": 1.0}, None),
    ],
)
def test_each_alarm_has_its_border(change: dict[str, float], kind: str | None) -> None:
    monitor = Monitor()
    assert [alarms(monitor, WELL | change) for _ in range(3)] == [[], [], [kind] if kind else []]


def test_a_symptom_that_went_away_begins_anew() -> None:
    """Three rounds running, not three rounds in all."""
    monitor, ill = Monitor(), WELL | {"overlap": 0.9}
    said = [alarms(monitor, row) for row in (ill, ill, WELL, ill, ill)]
    assert said == [[]] * 5
    assert not monitor.well
    assert alarms(monitor, ill) == ["collapse"]


def collapsing(patch: pytest.MonkeyPatch, after: int) -> Any:
    """A hook of `fit`: from the end of that round on the generator says the same of all."""
    old, ill = Generator.forward, [False]

    def forward(self: Generator, *given: Tensor) -> Tensor:
        logits: Tensor = old(self, *given)
        return logits * 1e-9 + logits.mean(0) if ill[0] else logits

    patch.setattr(Generator, "forward", forward)

    def hook(entry: dict[str, Any]) -> None:
        ill[0] = ill[0] or (entry["round"], entry["number"]) == (after, 5)

    return hook


@pytest.mark.slow
def test_what_is_kept_is_the_last_round_without_a_symptom(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gan_log: Dataset, small_gan: InterestGan
) -> None:
    """Not the rounds that the alarm waited for: both on disk and, with `stop`, as the result."""
    run = RunContext(seed=1)
    good = replace(small_gan, steps=30).fit(gan_log, run)
    with monkeypatch.context() as patch:
        hook = collapsing(patch, after=3)
        model = replace(small_gan, alarms="stop").fit(gan_log, run, hook=hook)
    assert "collapse" in model.warnings[-1]
    assert [row["step"] for row in model.history] == [10, 20, 30, 40, 50, 60]
    expected = dict(good.generator.named_parameters())
    for name, parameter in model.generator.named_parameters():
        assert torch.equal(parameter, expected[name]), name
    with monkeypatch.context() as patch:
        hook = collapsing(patch, after=3)
        with pytest.raises(Diverged, match=r"step 60: collapse: .*last good round is kept in"):
            small_gan.fit(gan_log, RunContext(seed=1, folder=tmp_path), hook=hook)
    ended = small_gan.fit(gan_log, RunContext(seed=1, folder=tmp_path))
    assert [row["step"] for row in ended.history] == [10, 20, 30, 40, 50, 60]
    assert not any(row["spread"] < 1e-5 for row in ended.history), "it went on from round 3"
