"""The closed loop: decisions on paper, where every gain is planted, and a whole tiny loop."""

import itertools
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hardrank.audits import samples as table
from hardrank.audits.game import game_of
from hardrank.audits.verify import verify
from hardrank.cli.main import app
from hardrank.context import RunContext
from hardrank.data.sources import Marketplace
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.errors import ConfigError, DataError, Unsupported
from hardrank.experiment import Experiment, parse_experiment
from hardrank.experiment.arm_spec import Arm
from hardrank.experiment.closed_loop import Hardened, read_rounds, run_loop
from hardrank.experiment.closed_loop_confirm import confirmations
from hardrank.experiment.closed_loop_measure import LoopBench, Measures
from hardrank.experiment.closed_loop_plan import (
    Round,
    found_weak,
    judged,
    next_arm,
    stopped,
    weakest,
)
from hardrank.experiment.closed_loop_spec import ClosedLoop, parse_loop
from hardrank.experiment.closed_loop_targets import FINAL, audited, round_trials
from hardrank.experiment.tune_front import Limit
from hardrank.findings import Finding
from hardrank.threats import Budget
from hardrank.types import Knowledge

RAW: dict[str, Any] = {
    "name": "tiny",
    "data": {"kind": "marketplace", "users": 80, "items": 60, "median_events": 6},
    "model": {
        "kind": "text-sequence", "size": 16, "length": 10, "whiten": 16, "max_tokens": 16,
        "training": {"epochs": 2, "batch_size": 128, "patience": 0, "precision": "float32"},
    },
    "finetune": {"epochs": 1, "batch_size": 128, "keep": "last", "patience": 0,
                 "precision": "float32"},
    "trials": [{
        "threat": {"goal": {"kind": "promote", "items": "unpopular:2", "k": 5},
                   "knowledge": "ranks", "budget": {"words": 2, "queries": 20,
                                                    "whole_text": True}},
        "attacks": [{"kind": "copycat", "candidates": 4}, {"kind": "append-title"}],
    }],
    "gates": {"panel": 16},
}  # fmt: skip
BALL = {"kind": "adversarial", "inner": {"kind": "fgm"}, "radius": 0.1}


def loop(**more: Any) -> ClosedLoop:
    return parse_loop({**RAW, "loop": more})


@cache
def labels() -> tuple[str, str]:
    first, second = loop().attacks
    return first, second


def gains(copycat: float | None, append: float | None) -> dict[str, Any]:
    first, second = labels()
    return {first: (copycat, None, None), second: (append, None, None)}


# What a file may say


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"ronds": 3}, "loop.ronds: unknown key; did you mean 'rounds'?"),
        ({"steps": [{}]}, "give weak, objective or influence"),
        ({"steps": [{"weak": True, "objective": BALL}]}, "give one of weak and objective"),
        ({"steps": [{"objective": {"kind": "discrete"}}]}, "they need one; weak = true makes"),
        ({"rounds": 0}, "loop.rounds: must be at least 1"),
    ],
)
def test_mistakes_of_a_loop_are_named(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loop(**table)
    assert said in str(caught.value)


def test_a_loop_needs_attacks_whose_targets_it_may_draw() -> None:
    trial = RAW["trials"][0]
    named = {**trial["threat"], "goal": {"kind": "promote", "items": ["i1"], "k": 5}}
    brand = {**trial["threat"], "field": "brand"}
    other = {**trial["threat"], "goal": {"kind": "promote", "items": "unpopular:2", "k": 9}}
    for trials, said in [
        ([], "no attack promotes"),
        ([{**trial, "threat": named}], "never sees the targets of the audit"),
        ([{**trial, "threat": brand}], "attacks write 'brand'"),
        ([trial, {**trial, "threat": other, "name": "b"}], "lists of 5 and 9 items"),
    ]:
        with pytest.raises(ConfigError, match=said):
            parse_loop({**RAW, "trials": trials, "loop": {}})
    with pytest.raises(ConfigError, match="loop: missing"):
        parse_loop(RAW)


# Decisions


def test_the_weakest_spot_is_the_largest_gain_and_of_equals_the_first_by_name() -> None:
    assert weakest({"b": (0.2, None, None), "a": (0.2, 0, 1), "c": (0.1, None, None)}) == ("a", 0.2)
    assert weakest({"a": (None, None, None), "b": (-0.1, None, None)}) == ("b", -0.1)
    assert weakest({"a": (None, None, None)}) is None


def test_a_round_is_kept_for_a_fall_on_the_same_targets_within_the_price() -> None:
    """left: 0.4 -> 0.1 leaves a quarter; then 0.3 -> 0.15 on other targets half of that."""
    first, second = labels()
    opened = Round(number=0, after=gains(0.4, 0.2), weak=first)
    one = judged(Round(number=1, before=gains(0.4, 0.2), after=gains(0.05, 0.1)), [opened])
    assert (one.kept, one.best, one.weak) == (True, 1, second)
    assert one.left == pytest.approx(0.25) and one.fall == pytest.approx(0.3)
    two = judged(Round(number=2, before=gains(0.3, 0.1), after=gains(0.15, 0.1)), [opened, one])
    assert two.kept and two.left == pytest.approx(0.125) and two.weak == first
    same = judged(Round(number=3, before=gains(0.1, 0.2), after=gains(0.2, 0.0)), [opened, one])
    assert (same.kept, same.best, same.fall, same.left) == (False, 1, 0.0, 0.25)
    assert same.why.endswith(": no better") and same.weak == second
    broken = (Limit(name="price of ndcg@10", value=0.05, most=0.03),)
    dear = judged(
        Round(number=2, before=gains(0.4, 0.2), after=gains(0.0, 0.0), limits=broken),
        [opened, one],
    )
    assert not dear.kept and dear.left == 0.25 and dear.best == 1
    assert dear.why.endswith("but breaks price of ndcg@10: 0.05, at most 0.03")


number = st.one_of(st.none(), st.floats(-0.2, 1))


@given(st.lists(st.tuples(number, number, number, number, st.floats(0, 0.06)), max_size=8))
def test_best_so_far_never_grows(measured: list[tuple[Any, ...]]) -> None:
    """S2-12: whatever the attacks gain and whatever it costs; only a kept round is the best."""
    rounds = [Round(number=0, after=gains(0.4, 0.2), weak=labels()[0])]
    for n, (a, b, c, d, cost) in enumerate(measured, 1):
        price = (Limit(name="price", value=cost, most=0.03),)
        found = Round(number=n, before=gains(a, b), after=gains(c, d), limits=price)
        rounds.append(judged(found, rounds))
    left = [r.left for r in rounds]
    assert left == sorted(left, reverse=True) and min(left) >= 0
    for one, other in itertools.pairwise(rounds):
        assert other.best == (other.number if other.kept else one.best)
        assert other.why and (other.fall > 0) == other.kept
        assert not (other.kept and other.limits[0].over > 0)


def test_training_widens_with_what_was_found_and_weighs_more_where_it_did_not_help() -> None:
    """S2-24: the audit's result drives what is trained."""
    first, second = labels()
    closed = loop(objective={"kind": "discrete", "weight": 1.0}, items=7, queries=5)
    opened = Round(number=0, after=gains(0.4, 0.2), weak=first)
    arm, against = next_arm(closed, [opened])
    assert against == (first,) and arm.name == "round-1" and arm.forge is not None
    assert [a.kind for a in arm.forge.attacks] == ["copycat"]
    assert arm.forge.knowledge == "ranks" and arm.forge.items == 7
    assert arm.forge.budget == Budget(words=2, queries=5, whole_text=True)
    one = Round(number=1, trained_on=(first,), weak=second, best=1, after=gains(0.1, 0.2))
    arm, against = next_arm(closed, [opened, one])
    assert against == (first, second) == found_weak([opened, one])
    assert arm.objective is not None and arm.objective.weight == 1.0  # type: ignore[union-attr]
    two = Round(number=2, trained_on=against, weak=first, best=2)
    arm, _ = next_arm(closed, [opened, one, two])
    assert arm.objective is not None and arm.objective.weight == 2.0  # type: ignore[union-attr]
    dear = replace(two, number=3, limits=(Limit(name="p", value=1.0, most=0.0),), kept=False)
    arm, _ = next_arm(closed, [opened, one, two, dear])
    assert arm.objective is not None and arm.objective.weight == 1.0  # type: ignore[union-attr]


def test_texts_are_written_with_the_widest_budget_of_their_trials() -> None:
    trial = RAW["trials"][0]
    wide = {**trial["threat"], "knowledge": "gradients", "budget": {"words": 5, "queries": None}}
    extra = {**trial, "threat": wide, "name": "wide", "attacks": [{"kind": "hotflip"}]}
    closed = parse_loop({**RAW, "trials": [trial, extra], "loop": {}})
    known = tuple(closed.attacks)
    rounds = [Round(number=n, weak=label) for n, label in enumerate((known[0], known[2]))]
    arm, _ = next_arm(closed, rounds)
    assert arm.forge is not None
    sees: Knowledge = "gradients"
    assert arm.forge.knowledge == sees and [a.kind for a in arm.forge.attacks] == [
        "copycat", "hotflip",
    ]  # fmt: skip
    assert arm.forge.budget == Budget(words=5, whole_text=True)


def test_steps_are_tried_in_order_and_stay_where_they_help() -> None:
    first, _ = labels()
    closed = loop(steps=[{"influence": {}}, {"objective": BALL}, {"weak": True}])
    opened = Round(number=0, weak=first, after=gains(0.4, 0.2))
    arm, against = next_arm(closed, [opened])
    assert arm.influence is not None and arm.objective is None and against == ()
    kept = Round(
        number=1, arm={"name": "round-1", "influence": {}}, best=1, weak=first,
        after=gains(0.3, 0.2),
    )  # fmt: skip
    arm, _ = next_arm(closed, [opened, kept])
    assert arm.influence is not None and arm.objective is not None
    lost = replace(kept, best=0, kept=False)
    arm, _ = next_arm(closed, [opened, lost])
    assert arm.influence is None and arm.objective is not None
    arm, against = next_arm(closed, [opened, kept, replace(kept, number=2)])
    assert arm.influence is not None and arm.forge is not None and against == (first,)
    assert stopped(closed, [opened, kept, kept, kept], 9) == "every step was tried"


def test_the_loop_stops_after_two_rounds_that_help_too_little() -> None:
    """S2-12: gain below the least for two rounds, or as many rounds as asked for."""
    closed = loop(least_gain=0.02)
    opened = Round(number=0, weak="a", after=gains(0.4, 0.2))
    good, poor = replace(opened, number=1, fall=0.02), replace(opened, number=1, fall=0.019)
    assert stopped(closed, [opened], 9) == ""
    assert stopped(closed, [opened, poor, good, poor], 9) == ""
    assert stopped(closed, [opened, good, poor, poor], 9).startswith("2 rounds in a row")
    assert stopped(closed, [opened, good], 1) == "as many rounds as asked for (1)"
    assert stopped(closed, [replace(opened, after=gains(0, -0.1))], 9) == "no attack gains exposure"
    assert stopped(closed, [replace(opened, weak="")], 9) == "no attack could be measured"


def rates(**asr: tuple[float | None, float | None]) -> Measures:
    def made(subject: str, trial: str, value: float | None) -> Finding:
        why = "" if value is not None else "every target met the goal before the attack"
        return Finding(
            subject=subject, audit="promotion", metric="asr", value=value, trial=trial, reason=why
        )

    found = [made("m/control", t, pair[0]) for t, pair in asr.items()]
    return Measures(
        findings=found + [made("m/best", t, pair[1]) for t, pair in asr.items()],
        samples=pl.DataFrame(),
    )


@pytest.mark.parametrize(
    ("asr", "passed"),
    [
        ({"a": (0.5, 0.35), "b": (0.2, 0.23)}, [True, True]),
        ({"a": (0.5, 0.36), "b": (0.2, 0.24)}, [False, False]),
        ({"a": (0.0, 0.0), "b": (None, 0.0)}, [False, False]),
        ({"a": (0.4, None), "b": (0.9, 0.1)}, [False, True]),
    ],
)
def test_repair_is_checked_not_assumed(asr: dict[str, Any], passed: list[bool]) -> None:
    """S2-24: -30 % of the weakest spot's rate; no other attack up by more than 3 points."""
    limit = Limit(name="price of ndcg@10", value=0.01, most=0.03)
    found = confirmations(rates(**asr), "m/control", "m/best", "a", (limit,))
    assert [check.passed for check in found] == [*passed, True]
    assert found[-1].found == "0.01, at most 0.03"
    told = {n for n, pair in enumerate(asr.values()) if None in pair}
    assert told == {n for n, check in enumerate(found) if "not measured: every" in check.found}


# Targets


@pytest.fixture(scope="module")
def split() -> Split:
    return LeaveOneOut().split(Marketplace(users=80, items=60, median_events=6).load())


def test_each_round_attacks_fresh_targets_and_none_of_the_audit(split: Split) -> None:
    closed = loop()
    rounds = [round_trials(closed, split, 0, n)[0].threat.goal.items for n in (FINAL, 0, 1, 2)]  # type: ignore[union-attr]
    every = [item for items in rounds for item in items]
    assert len(every) == len(set(every)) == 8
    assert not set(every) & audited(closed, split, 0)
    assert round_trials(closed, split, 0, 2) == round_trials(closed, split, 0, 2)
    far = round_trials(closed, split, 0, 30)[0].threat.goal.items  # type: ignore[union-attr]
    assert len(far) == 2 and not set(far) & (audited(closed, split, 0) | set(rounds[0]))
    trial = {**RAW["trials"][0]}
    trial["threat"] = {**trial["threat"], "goal": {"kind": "promote", "items": "unpopular:9"}}
    with pytest.raises(DataError, match="too few items beside the targets"):
        round_trials(parse_loop({**RAW, "trials": [trial], "loop": {}}), split, 0, 0)


# A loop on paper: training and attacks are arithmetic, everything else is real


def paper(patch: pytest.MonkeyPatch, base: Sequence[float], *, dear: float = 4.0) -> list[str]:
    """Gains `base` on the control; an attack trained on with weight w keeps 1 / (1 + 3 w).
    From weight `dear` on each user's item falls from rank 1 to 2. Returns what was trained."""
    trained: list[str] = []

    def models(self: LoopBench, arm: Arm | None, number: int) -> list[Any]:
        name = "control" if arm is None else arm.name
        trained.append(name)
        return [SimpleNamespace(label="m", arm=name, subject=f"m/{name}", seed=0, spelt=arm)]

    def clean(self: LoopBench, model: Any) -> pl.DataFrame:
        return table.samples({
            "subject": model.subject, "seed": 0, "audit": "utility", "trial": "clean",
            "sample": ["u0", "u1"], "group": ["tail", "head"],
            "rank": 2 if weight(model.spelt) >= dear else 1,
        })  # fmt: skip

    def attacked(self: LoopBench, model: Any, number: int) -> list[pl.DataFrame]:
        made = []
        for gain, (label, (attack, _)) in zip(base, self.closed.attacks.items(), strict=True):
            known = model.spelt is not None and attack in model.spelt.forge.attacks
            left = gain / (1 + 3 * weight(model.spelt)) if known else gain
            hits = round(1000 * left)
            made.append(table.samples({
                "subject": model.subject, "seed": number, "audit": "promotion", "trial": label,
                "sample": ["x", "y"], "goal": "promote", "eligible": 1000, "hits_before": 0,
                "hits_after": hits, "success": [hits > 0, hits >= 150], "excluded": False,
            }))  # fmt: skip
        return made

    def of(cls: Any, closed: ClosedLoop, source: Any, split: Split, run: RunContext) -> Any:
        groups = ("head",) * source.n_items
        return LoopBench(closed=closed, experiment=closed.experiment, source=source, split=split,
                         groups=groups, bases=(), run=run)  # fmt: skip

    patch.setattr(LoopBench, "of", classmethod(of))
    patch.setattr(LoopBench, "models", models)
    patch.setattr(LoopBench, "_clean", clean)
    patch.setattr(LoopBench, "_attacked", attacked)
    patch.setattr(LoopBench, "cost", lambda self, models: 1.5)
    return trained


def weight(arm: Arm | None) -> float:
    return 0.0 if arm is None else arm.objective.weight  # type: ignore[union-attr]


def run(closed: ClosedLoop, folder: Path, **more: Any) -> Hardened:
    return run_loop(closed, RunContext(folder=folder), **more)


def test_a_loop_finds_the_planted_weak_spot_and_repairs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2-12, S2-24: by hand. Weak spot copycat (0.4), trained: 0.1; then append-title (0.2),
    trained too: 0.05, so copycat is left at 0.1; twice the weight: 0.057; four times breaks
    the price; half of that again is no better, and two such rounds end the loop."""
    first, second = labels()
    paper(monkeypatch, (0.4, 0.2))
    done = run(loop(rounds=9), tmp_path)
    assert [r.kept for r in done.rounds] == [True, True, True, True, False, False]
    assert [r.weak for r in done.rounds[:4]] == [first, second, first, first]
    assert [weight(arm) for arm in map(arm_at, done.rounds[1:])] == [1, 1, 2, 4, 2]
    worst = [0.4, 0.2, 0.1, 0.057, 0.057, 0.057]
    assert [r.left for r in done.rounds] == pytest.approx([w / 0.4 for w in worst])
    assert "breaks price of ndcg@10: 0.3691, at most 0.03" in done.rounds[4].why
    assert done.best.number == 3 and done.stopped.startswith("2 rounds in a row")
    assert [c.passed for c in done.checks] == [True] * 4
    log = json.loads((tmp_path / "loop.json").read_text("utf-8"))
    assert [r["number"] for r in log["rounds"]] == list(range(6)) and log["best"] == 3
    assert all(r["why"] and set(r["after"]) == {first, second} for r in log["rounds"])
    assert done.game is not None
    assert done.game.defences == ("m/control", "m/round-1", "m/round-2", "m/round-3")
    assert done.game.pure == "m/round-3" and done.game.value == pytest.approx(0.057)
    assert done.game.defence_mix.tolist() == [0, 0, 0, 1]


def arm_at(found: Round) -> Arm:
    from hardrank.experiment.closed_loop_plan import arm_of

    made = arm_of(found)
    assert made is not None
    return made


def test_a_dear_repair_is_discarded_and_nothing_is_recommended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2-12: every round breaks the planted price, so the control stays."""
    paper(monkeypatch, (0.4, 0.2), dear=0.0001)
    (tmp_path / "recommended.toml").write_text("of an earlier loop", "utf-8")
    done = run(loop(), tmp_path)
    assert [r.kept for r in done.rounds] == [True, False, False]
    assert done.best.number == 0 and done.file is None and done.checks == []
    assert [weight(arm_at(r)) for r in done.rounds[1:]] == [1, 0.5]
    assert not (tmp_path / "recommended.toml").exists()
    assert "No round helped" in done.page.read_text("utf-8")


def test_a_killed_loop_goes_on_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2-12: the same log byte for byte; finished rounds are not trained again."""
    paper(monkeypatch, (0.4, 0.2))
    closed = loop(rounds=9)
    run(closed, tmp_path / "whole")
    honest = LoopBench.attack

    def killed(self: LoopBench, control: Any, subjects: Any, number: int) -> Measures:
        if number == 2:
            raise KeyboardInterrupt
        return honest(self, control, subjects, number)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LoopBench, "attack", killed)
        run(closed, tmp_path / "killed")
    assert len(read_rounds(tmp_path / "killed")) == 2
    run(closed, tmp_path / "killed")
    for name in ("loop.json", "loop.html", "recommended.toml"):
        whole = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "killed" / name).read_bytes() == whole
    trained = paper(monkeypatch, (0.4, 0.2))
    run(closed, tmp_path / "killed")
    assert trained == ["control", "round-1", "round-2", "round-3"]  # the confirmation alone


def test_more_rounds_go_on_and_another_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper(monkeypatch, (0.4, 0.2))
    first = run(loop(), tmp_path, rounds=1)
    assert first.stopped == "as many rounds as asked for (1)" and len(first.rounds) == 2
    more = run(loop(rounds=3), tmp_path)
    assert more.rounds[:2] == first.rounds and len(more.rounds) == 4
    with pytest.raises(ConfigError, match="holds the rounds of another file"):
        run(loop(least_gain=0.1), tmp_path)
    (tmp_path / "rounds" / "0000" / "round.json").write_text("[]", "utf-8")
    with pytest.raises(DataError, match="remove the folder of this round"):
        run(loop(), tmp_path)


def test_a_round_that_cannot_be_trained_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paper(monkeypatch, (0.4, 0.2))
    honest = LoopBench.models

    def fails(self: LoopBench, arm: Arm | None, number: int) -> Any:
        if arm is not None:
            raise Unsupported("this model reads no texts")
        return honest(self, arm, number)

    monkeypatch.setattr(LoopBench, "models", fails)
    done = run(loop(), tmp_path)
    assert [r.error for r in done.rounds] == ["", *["this model reads no texts"] * 2]
    assert [weight(arm_at(r)) for r in done.rounds[1:]] == [1, 1]
    assert done.file is None and "this model reads no texts" in done.page.read_text("utf-8")


def test_the_recommended_file_runs_and_says_what_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only copycat was trained on, so its trial is split: append-title is still unseen."""
    paper(monkeypatch, (0.4, 0.001))
    done = run(parse_loop({**RAW, "harden": BALL, "loop": {"rounds": 1}}), tmp_path)
    assert done.file is not None
    raw = tomllib.loads(done.file.read_text("utf-8"))
    assert "loop" not in raw and "harden" not in raw
    found = parse_experiment(raw)
    assert isinstance(found, Experiment)
    (arm,) = found.hardenings()
    assert arm == replace(arm_at(done.best), name="hardened")
    assert [(t.seen, [a.kind for a in t.attacks]) for t in found.trials] == [
        (True, ["copycat"]), (False, ["append-title"]),
    ]  # fmt: skip
    assert found.trials[0].threat == loop().experiment.trials[0].threat


def test_the_command_says_what_came_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hardrank.reports.sections.method import toml

    paper(monkeypatch, (0.4, 0.2))
    file = tmp_path / "loop.toml"
    file.write_text("\n".join(toml({**RAW, "loop": {"rounds": 1}})), "utf-8")
    checked = CliRunner().invoke(app, ["harden", str(file), "--check"])
    assert checked.exit_code == 0 and checked.output == f"{file}: fine\n"
    out = str(tmp_path / "out")
    done = CliRunner().invoke(app, ["harden", str(file), "--out", out, "--rounds", "2", "-q"])
    assert done.exit_code == 0, done.output
    assert "round 2 is recommended" in done.output and "value of the game: 0.1000" in done.output
    paper(monkeypatch, (0.4, 0.2), dear=0.1)
    args = ["harden", str(file), "--out", str(tmp_path / "dear"), "-q"]
    dear = CliRunner().invoke(app, args)
    assert dear.exit_code == 1 and "no round helped" in dear.output


# The whole


@pytest.fixture(scope="module")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, ClosedLoop]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARDRANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder = tmp_path_factory.mktemp("loop") / "run"
        closed = loop(rounds=2, price=1.0, least_gain=0.0, items=4, queries=4, panel=16)
        run(closed, folder)
        yield folder, closed


@pytest.mark.slow
def test_a_loop_leaves_everything_behind(hardened: tuple[Path, ClosedLoop]) -> None:
    folder, closed = hardened
    log = json.loads((folder / "loop.json").read_text("utf-8"))
    assert len(log["rounds"]) == 3
    for found in log["rounds"]:
        home = folder / "rounds" / f"{found['number']:04d}"
        assert verify(home) == []
        assert set(found["after"]) == set(closed.attacks) and found["weak"] in closed.attacks
    first = log["rounds"][1]
    assert first["trained_on"] == [log["rounds"][0]["weak"]] and first["cost"] > 0
    aimed = [item for r in log["rounds"] for item in r["targets"][0]] + log["confirmed_on"][0]
    assert len(aimed) == len(set(aimed)) == 8
    if log["best"]:
        assert verify(folder / "confirmed") == []
        assert game_of(folder / "confirmed").value == pytest.approx(log["game"]["value"])
        parse_experiment(tomllib.loads((folder / "recommended.toml").read_text("utf-8")))


@pytest.mark.slow
def test_no_test_event_is_looked_at(
    hardened: tuple[Path, ClosedLoop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hardly any test users every number stays."""
    folder, closed = hardened
    honest = LeaveOneOut.split

    def blind(self: LeaveOneOut, dataset: Any) -> Split:
        cut = honest(self, dataset)
        return replace(cut, test=cut.test.take(np.arange(1)))

    monkeypatch.setattr(LeaveOneOut, "split", blind)
    run(closed, tmp_path / "run", rounds=1)
    for number in (0, 1):
        where = Path("rounds") / f"{number:04d}" / "samples.parquet"
        mine = table.load(folder / where).drop("seconds")
        assert mine.equals(table.load(tmp_path / "run" / where).drop("seconds"))
    both = [read_rounds(f)[:2] for f in (folder, tmp_path / "run")]
    assert [replace(r, cost=None) for r in both[0]] == [replace(r, cost=None) for r in both[1]]
