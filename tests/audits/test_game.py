"""The game of attacks and defences: known solutions, and guarantees that meet."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hardrank.audits import samples as table
from hardrank.audits.game import Game, game, game_of
from hardrank.errors import DataError


def solved(matrix: Any) -> Game:
    payoff = np.array(matrix, dtype=float)
    return game(
        payoff, [f"a{n}" for n in range(len(payoff))], [f"d{n}" for n in range(payoff.shape[1])]
    )


def test_rock_paper_scissors_is_a_third_each() -> None:
    """S3-77: no single defence is safe (worst 1), the mixture gives nothing away."""
    made = solved([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    assert made.defence_mix == pytest.approx([1 / 3] * 3, abs=1e-9)
    assert made.attack_mix == pytest.approx([1 / 3] * 3, abs=1e-9)
    assert made.value == pytest.approx(0, abs=1e-9)
    assert made.most == pytest.approx(0, abs=1e-9) and made.pure_worst == 1


def test_a_two_by_two_game_worked_by_hand() -> None:
    """q on d0 makes both attacks equal: 0.4 q + 0.1 (1 - q) = 0.2 (1 - q) + 0 q => q = 1 / 5."""
    made = solved([[0.4, 0.1], [0.0, 0.2]])
    assert made.defence_mix == pytest.approx([0.2, 0.8])
    assert made.attack_mix == pytest.approx([0.4, 0.6])
    assert made.value == pytest.approx(0.16)
    assert (made.pure, made.pure_worst) == ("d1", 0.2)
    assert made.lines()[1] == "best single defence: d1, worst case 0.2000"
    assert made.lines()[2] == "best mixture of defences: d1 80.0 %, d0 20.0 %, worst case 0.1600"


def test_dominated_strategies_are_not_played() -> None:
    """Attack 2 gains least everywhere, defence 0 loses most everywhere."""
    made = solved([[9, 4, 1], [9, 0, 3], [5, -1, 0]])
    assert made.attack_mix[2] == 0 and made.defence_mix[0] == 0
    assert made.attack_mix == pytest.approx([0.5, 0.5, 0])
    assert made.defence_mix == pytest.approx([0, 1 / 3, 2 / 3])
    assert made.value == pytest.approx(2)


def test_a_saddle_point_needs_no_mixture() -> None:
    made = solved([[0.3, 0.2], [0.1, 0.05]])
    assert made.defence_mix.tolist() == [0, 1] and made.attack_mix.tolist() == [1, 0]
    assert made.value == made.most == made.least == made.pure_worst == 0.2
    assert made.lines()[2].endswith("(no better than the single one)")


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.floats(-1, 1, width=32))
    )
)
def test_both_guarantees_are_the_value(matrix: Any) -> None:
    """S3-77: to 1e-6; and a mixture is never worse than the best single defence."""
    made = solved(matrix)
    assert abs(made.most - made.value) <= 1e-6 and abs(made.value - made.least) <= 1e-6
    assert made.most <= made.pure_worst + 1e-12
    assert made.least >= matrix.min(axis=1).max() - 1e-12
    for mix in (made.attack_mix, made.defence_mix):
        assert (mix >= 0).all() and mix.sum() == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (3, 4), elements=st.floats(-1, 1, width=16)), st.sampled_from([3, 1e3]))
def test_scale_and_shift_move_the_value_alone(matrix: Any, scale: float) -> None:
    one, other = solved(matrix), solved(scale * matrix + 5)
    assert other.value == pytest.approx(scale * one.value + 5, abs=1e-6 * scale)


@pytest.mark.parametrize("wrong", [[], [[]], [[1.0, np.nan]], [[np.inf]], [1.0]])
def test_what_is_no_payoff_matrix_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="payoff"):
        game(wrong, ["a"], ["d"] * 2 if wrong == [[1.0, np.nan]] else ["d"])


def attack_rows(subject: str, trial: str, hits: int | None) -> Any:
    return table.samples({
        "subject": subject, "seed": 0, "audit": "promotion", "trial": trial, "sample": ["i1"],
        "goal": "promote", "eligible": 10, "hits_before": 0,
        "hits_after": [hits], "error": [None if hits is not None else "no such model"],
    })  # fmt: skip


def test_the_game_of_a_run_reads_its_samples(tmp_path: Path) -> None:
    """Gains 0.4, 0.1 / 0.0, 0.2 as above; an attack that did not run everywhere is named."""
    hits = {("m/control", "x"): 4, ("m/hardened", "x"): 1, ("m/control", "y"): 0,
            ("m/hardened", "y"): 2, ("m/control", "z"): 9, ("m/hardened", "z"): None}  # fmt: skip
    rows = [attack_rows(subject, trial, n) for (subject, trial), n in hits.items()]
    table.save(table.gather(rows), tmp_path / "samples.parquet")
    made = game_of(tmp_path)
    assert made.defences == ("m/control", "m/hardened") and made.attacks == ("x", "y")
    assert made.payoff.tolist() == [[0.4, 0.1], [0.0, 0.2]]
    assert made.value == pytest.approx(0.16) and made.left_out == ("z",)
    assert made.lines()[-1] == "left out, not measured on every defence: z"


def test_a_run_with_nothing_to_choose_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        game_of(tmp_path)
    table.save(attack_rows("m/control", "x", 4), tmp_path / "samples.parquet")
    with pytest.raises(DataError, match="two arms or more"):
        game_of(tmp_path)
