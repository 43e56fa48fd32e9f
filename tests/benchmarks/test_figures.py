"""What benchmarks compute of their measurements; the measuring itself is not tested here."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "peers"))
    yield
    for name in set(sys.modules) - before:  # `common` is too common a name to leave there
        if str(BENCHMARKS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def row(target: str, queries: int, success: bool) -> dict[str, Any]:
    return {
        "target": target, "text": "t", "queries": queries, "success": success, "words": 1,
        "similarity": 0.5, "mean_rank": 10.0, "exposure": 0.2, "cpu_seconds": 1.0,
        "wall_seconds": 2.0,
    }  # fmt: skip


def test_queries_are_compared_at_equal_success() -> None:
    from text_attack_vs_textattack import queries_for

    rows = [row("a", 5, True), row("b", 40, True), row("c", 90, False), row("d", 10, True)]
    assert queries_for(3, rows) == 5 + 40 + 40 + 10
    assert queries_for(2, rows) == 5 + 10 + 10 + 10
    assert queries_for(0, rows) == 0


def test_targets_that_were_there_already_count_for_nobody() -> None:
    from text_attack_vs_textattack import comparison

    before = {t: {"mean_rank": 30.0, "exposure": 0.0, "there": t == "b"} for t in ("a", "b", "c")}
    ours = [row("a", 4, True), row("b", 0, True), row("c", 6, False)]
    theirs = [row("a", 8, True), row("b", 0, True), row("c", 32, True)]
    found = comparison({"textattack": theirs, "hardrank": ours}, before)
    assert found["sums"]["hardrank"]["targets"] == 2
    assert found["ratios"]["success_ratio"] == 0.5
    assert found["ratios"]["query_ratio"] == 10 / 40
    # one success each: ours 4 and 4 queries, theirs 8 and 8
    assert found["ratios"]["query_ratio_at_equal_success"] == 0.5
    assert found["means"]["textattack"]["rank_gain"] == 20.0


def test_a_peer_without_success_gives_no_ratio() -> None:
    from text_attack_vs_textattack import ratio

    assert ratio(3, 0) is None
    assert ratio(3, 4) == 0.75


def test_an_attack_is_named_by_kind_or_spelled_in_json() -> None:
    from text_attack_vs_textattack import pair, parsed

    assert pair("pwws") == ("pwws", '{"kind": "pwws"}')
    recipe, ours = pair('deepwordbug={"kind": "greedy-words", "vocabulary": 7}')
    assert (recipe, parsed(ours).vocabulary) == ("deepwordbug", 7)
    with pytest.raises(SystemExit, match="no recipe 'hotflip'"):
        pair("hotflip")


def test_the_shared_victim_is_the_one_that_was_trained(tmp_path: Path) -> None:
    import torch
    from pgd_side import victim

    torch.manual_seed(0)
    made = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)
    )
    arrays = {
        f"{letter}{n}": value.detach().numpy()
        for n, layer in enumerate((made[1], made[3]))
        for letter, value in (("w", layer.weight), ("b", layer.bias))
    }
    x = torch.randn(5, 1, 2, 2)
    assert torch.equal(victim(arrays)(x), made(x))


@pytest.mark.parametrize(("norm", "direction"), [("l2", [0.6, 0.8]), ("linf", [1.0, -1.0])])
def test_leaving_the_ball_stops_the_benchmark(
    tmp_path: Path, norm: str, direction: list[float]
) -> None:
    from pgd_vs_art import RADIUS, checked

    x = np.full((1, 1, 1, 2), 0.5, dtype=np.float32)
    weight = np.eye(2, dtype=np.float32)
    np.savez(tmp_path / "victim.npz", w0=weight, b0=np.zeros(2, np.float32), x=x, y=np.array([0]))
    step = RADIUS[norm] * np.array(direction, dtype=np.float32).reshape(1, 1, 1, 2)
    np.savez(tmp_path / "inside.npz", **{norm: x + step})
    np.savez(tmp_path / "outside.npz", **{norm: x + 1.01 * step})
    loss, fooled = checked(tmp_path, tmp_path / "inside.npz", norm)
    logits = 0.5 + step.reshape(2)
    assert loss[0] == pytest.approx(np.log(np.exp(logits).sum()) - logits[0], abs=1e-6)
    assert bool(fooled[0]) == bool(logits[1] > logits[0])
    with pytest.raises(SystemExit, match="outside: moved an input"):
        checked(tmp_path, tmp_path / "outside.npz", norm)


def test_ratios_of_pgd_are_of_sums_over_seeds_and_the_worst_leads() -> None:
    from pgd_vs_art import EQUAL, against, worst

    def runs(cpu: float, loss: float) -> list[dict[str, Any]]:
        one = {"cpu_seconds": cpu, "wall_seconds": cpu, "mean_loss": loss, "success_rate": 0.5}
        two = {"cpu_seconds": 3 * cpu, "wall_seconds": cpu, "mean_loss": loss, "success_rate": 0.5}
        return [{"l2": one}, {"l2": two}]

    found = against(runs(1.0, 2.0), runs(2.0, 4.0), "l2")
    assert found["time_ratio"] == 0.5
    assert found["loss_ratio"] == 0.5
    assert found["time_ratio_each"] == [0.5, 0.5]
    better = against(runs(1.0, 2.0), runs(1.0, 1.0), "l2")
    ratios = {EQUAL[0]: {"l2": found}, EQUAL[1]: {"l2": better}}
    assert worst(ratios) == {"time_ratio": 1.0, "loss_ratio": 0.5}
