"""Choosing: the space, the front, the search that resumes, and a whole tiny tuning."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from hardrank.audits import samples as table
from hardrank.audits.verify import verify
from hardrank.context import RunContext
from hardrank.data import Holdout
from hardrank.data.sources import Marketplace
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.errors import ConfigError, DataError, Unsupported
from hardrank.experiment import parse_experiment
from hardrank.experiment.arms import drawn_targets
from hardrank.experiment.tune import run_tuning
from hardrank.experiment.tune_floors import coverage, revenue
from hardrank.experiment.tune_front import Limit, Point, binding, dominates, front, recommended
from hardrank.experiment.tune_search import Evaluate, ledger, search
from hardrank.experiment.tune_space import Dimension, grid, settled
from hardrank.experiment.tune_spec import Tuning, parse_tuning
from hardrank.experiment.tune_targets import aimed, fresh_targets
from hardrank.reports.pareto import Choice
from hardrank.reports.pareto_plot import labels, pareto_plot, plane_front
from hardrank.testing.worlds import planted_world
from hardrank.threats import Promote

ADVERSARIAL = {"kind": "adversarial", "inner": {"kind": "fgm"}, "radius": 0.1}
RAW: dict[str, Any] = {
    "name": "tiny",
    "data": {"kind": "marketplace", "users": 80, "items": 60, "median_events": 6},
    "model": {
        "kind": "text-sequence", "size": 16, "length": 10, "whiten": 16, "max_tokens": 16,
        "training": {"epochs": 2, "batch_size": 128, "patience": 0, "precision": "float32"},
    },
    "harden": ADVERSARIAL,
    "finetune": {"epochs": 1, "batch_size": 128, "keep": "last", "patience": 0,
                 "precision": "float32"},
    "trials": [{
        "threat": {"goal": {"kind": "promote", "items": "unpopular:2", "k": 5},
                   "knowledge": "ranks", "budget": {"words": 2, "queries": 20,
                                                    "whole_text": True}},
        "attacks": [{"kind": "copycat", "candidates": 4}],
    }],
    "gates": {"panel": 16},
}  # fmt: skip
LAMBDAS = (0.0, 0.1, 0.3, 1.0, 3.0)
SPACE = [
    {"path": "harden.radius", "low": 0.01, "high": 0.5, "log": True},
    {"path": "harden.weight", "choices": list(LAMBDAS)},
]


def tuning(**tune: Any) -> Tuning:
    return parse_tuning({**RAW, "tune": {"space": SPACE, "startup": 3, **tune}})


def price(value: float | None, most: float = 0.03, name: str = "price of ndcg@10") -> Limit:
    return Limit(name=name, value=value, most=most)


def point(number: int, clean: float, robust: float, cost: float, *limits: Limit) -> Point:
    return Point(number=number, settings={"x": number}, clean=clean, robust=robust, cost=cost,
                 limits=limits)  # fmt: skip


# The space


def test_values_of_a_dimension() -> None:
    made = Dimension(path="harden.radius", low=0.01, high=1.0, log=True, steps=3)
    assert made.values == (0.01, 0.1, 1.0)
    assert Dimension(path="x", low=1, high=4, whole=True, steps=4).values == (1, 2, 3, 4)
    assert Dimension(path="x", low=1, high=4).values == ()
    assert Dimension(path="x", low=1, high=4).ends == (1, 4)


@pytest.mark.parametrize(
    "wrong",
    [{}, {"low": 1}, {"low": 2, "high": 1}, {"choices": (1,), "low": 1, "high": 2},
     {"low": 0, "high": 1, "log": True}, {"low": 0, "high": 1, "steps": 1}],
)  # fmt: skip
def test_a_dimension_that_says_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Dimension(path="x", **wrong)


def test_a_field_applies_to_its_kind_alone() -> None:
    """With the table that has it, the field is asked for; with another it is not."""
    space = (
        Dimension(path="harden", choices=({"kind": "a"}, {"kind": "b"})),
        Dimension(path="harden.radius", choices=(1, 2), when=("a",)),
        Dimension(path="harden.weight", choices=(3,)),
    )
    made = settled({"k": 1}, space, {"harden": {"kind": "b"}, "harden.weight": 3}.__getitem__)
    assert made.raw == {"k": 1, "harden": {"kind": "b", "weight": 3}}
    assert grid({}, space) == [
        {"harden": {"kind": "a"}, "harden.radius [a]": 1, "harden.weight": 3},
        {"harden": {"kind": "a"}, "harden.radius [a]": 2, "harden.weight": 3},
        {"harden": {"kind": "b"}, "harden.weight": 3},
    ]


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        ({"space": []}, "tune.space: needs at least 1 entry"),
        ({"pionts": 3}, "tune.pionts: unknown key; did you mean 'points'?"),
        ({"floors": [{"metric": "hr@10"}]}, "give one of least and most"),
        ({"floors": [{"metric": "latency", "group": "tail", "most": 1}]}, "is of all users"),
        ({"space": [{"path": "finetune.epochs", "choices": [1]}]}, "is not of harden, which"),
        ({"space": SPACE + SPACE[1:]}, "'harden.weight' stands there twice"),
        ({"sampler": "grid"}, "a grid needs choices, or steps"),
        ({"space": [{"path": "harden.radius", "choices": [-1]}]}, "radius: must be above 0"),
        ({"space": [{"path": "harden.radios", "choices": [1]}]}, "radios: unknown key"),
        ({"space": [{"path": "harden.radius", "choices": [1], "when": ["z"]}]}, "no choice before"),
    ],
)
def test_mistakes_of_a_tuning_are_named(tune: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tuning(**tune)
    assert said in str(caught.value)


def test_tuning_needs_an_attack_whose_targets_it_may_draw() -> None:
    with pytest.raises(ConfigError, match="nothing shows robustness"):
        parse_tuning({**RAW, "trials": [], "tune": {"space": SPACE}})
    threat = {**RAW["trials"][0]["threat"], "goal": {"kind": "promote", "items": ["i1"]}}
    named = [{**RAW["trials"][0], "threat": threat}]
    with pytest.raises(ConfigError, match="never sees the targets of the audit"):
        parse_tuning({**RAW, "trials": named, "tune": {"space": SPACE}})
    with pytest.raises(ConfigError, match="tune: missing"):
        parse_tuning(RAW)


def test_without_harden_the_first_of_the_arms_is_tuned() -> None:
    raw = {k: v for k, v in RAW.items() if k != "harden"}
    arms = [{"name": "ball", "objective": ADVERSARIAL}, {"name": "far", "objective": ADVERSARIAL}]
    space = [{"path": "arms.0.objective.radius", "choices": [0.1, 0.2]}]
    asked = parse_tuning({**raw, "arms": arms, "tune": {"space": space}})
    made, experiment = asked.candidate({"arms.0.objective.radius": 0.2})
    radii = [arm["objective"]["radius"] for arm in made["arms"]]
    assert radii == [0.2, 0.1] and ADVERSARIAL["radius"] == 0.1
    assert experiment.hardenings()[0].objective.radius == 0.2  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"'arms.1.forge' is not of arms.0, which is tuned"):
        other = [{"path": "arms.1.forge", "choices": [1]}]
        parse_tuning({**raw, "arms": arms, "tune": {"space": other}})
    with pytest.raises(ConfigError, match="is not of harden"):
        parse_tuning({**RAW, "arms": arms, "tune": {"space": space}})


# The front


def test_the_front_of_points_made_by_hand() -> None:
    """b beats d in all three; e is beaten by a in cost alone; c is the cheapest."""
    a, b = point(0, 0.60, 0.50, 2.0), point(1, 0.55, 0.20, 3.0)
    c, d = point(2, 0.50, 0.60, 1.0), point(3, 0.54, 0.20, 4.0)
    e, blind = point(4, 0.60, 0.50, 2.5), Point(number=5, settings={}, error="no")
    assert [p.number for p in front([a, b, c, d, e, blind])] == [0, 1, 2]
    assert dominates(b, d) and not dominates(d, b) and not dominates(a, a)
    assert [p.number for p in front([a, replace(a, number=9, twin=0)])] == [0]


def test_the_most_robust_point_that_keeps_every_limit() -> None:
    """S0-48: never one below a floor, however robust; of equals the better clean one."""
    strong = point(0, 0.4, 0.01, 1.0, price(0.2))
    fair = point(1, 0.59, 0.10, 1.0, price(0.01), price(0.03, name="tail"))
    same = point(2, 0.60, 0.10, 9.0, price(0.0), price(0.0, name="tail"))
    weak = point(3, 0.61, 0.30, 1.0, price(0.0))
    unknown = point(4, 0.61, 0.0, 1.0, price(None))
    found = recommended([strong, fair, same, weak, unknown])
    assert found is same
    assert recommended([strong, fair, weak]) is fair
    assert recommended([strong, unknown]) is None
    assert binding([strong, fair]) is None


def test_the_binding_limit_is_that_of_the_nearest_point() -> None:
    """S0-48: the point that breaks its worst limit least is short of coverage by a tenth."""
    cover = Limit(name="coverage@10", value=0.45, least=0.5)
    far = point(0, 0.5, 0.1, 1.0, price(0.3), replace(cover, value=0.6))
    near = point(1, 0.5, 0.1, 1.0, price(0.031), cover)
    found = binding([far, near, Point(number=2, settings={}, error="no")])
    assert found is not None and found.says() == "coverage@10: 0.45, at least 0.5"
    assert found.over == pytest.approx(0.1)
    assert Limit(name="x", value=0.2, most=0).over == pytest.approx(0.2)


# The search


def played(seen: list[int], stop: int | None = None) -> Evaluate:
    """An exact stand-in for training: clean falls and robustness rises with the radius."""

    def evaluate(number: int, settings: Mapping[str, Any], folder: Path) -> Point:
        if number == stop:
            raise KeyboardInterrupt
        seen.append(number)
        radius, weight = settings["harden.radius"], settings["harden.weight"]
        (folder / "samples").write_text(repr(settings), "utf-8")
        return Point(
            number=number, settings=dict(settings), clean=0.06 - 0.01 * radius * weight,
            robust=0.1 / (1 + 10 * radius * weight), cost=1.0, limits=(price(radius * weight / 6),),
        )  # fmt: skip

    return evaluate


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_killed_search_goes_on_as_if_nothing_had_been(tmp_path: Path, sampler: str) -> None:
    asked = tuning(sampler=sampler)
    whole = search(asked, tmp_path / "whole", played([]), 14)
    with pytest.raises(KeyboardInterrupt):
        search(asked, tmp_path / "killed", played([], stop=6), 14)
    assert len(ledger(tmp_path / "killed")) == 6
    again: list[int] = []
    resumed = search(asked, tmp_path / "killed", played(again), 14)
    assert resumed == whole and again == [n for n in range(6, 14) if whole[n].twin is None]
    assert len({repr(p.settings) for p in whole}) > 8
    assert ledger(tmp_path / "whole") == whole
    assert not [p for p in (tmp_path / "killed" / "points").iterdir() if p.name.startswith(".")]


def test_more_points_go_on_and_fewer_are_the_first(tmp_path: Path) -> None:
    first = search(tuning(), tmp_path, played([]), 4)
    seen: list[int] = []
    assert search(tuning(points=99), tmp_path, played(seen), 6)[:4] == first
    assert seen == [4, 5]
    assert search(tuning(), tmp_path, played(seen), 2) == first[:2]


def test_the_search_learns_what_is_allowed(tmp_path: Path) -> None:
    """Of the later points of a long search more keep the limit than of random ones."""
    tpe = search(tuning(), tmp_path / "tpe", played([]), 40)[20:]
    drawn = search(tuning(sampler="random"), tmp_path / "random", played([]), 40)[20:]

    def good(points: list[Point]) -> int:
        return sum(p.feasible and (p.robust or 1) < 0.07 for p in points)

    assert good(tpe) > good(drawn)


def test_a_grid_tries_every_weight_once(tmp_path: Path) -> None:
    """S0-23: at least five weights, each with each radius."""
    space = [{**SPACE[0], "steps": 3}, SPACE[1]]
    asked = tuning(space=space, sampler="grid")
    found = search(asked, tmp_path, played([]), 99)
    tried = [(p.settings["harden.radius"], p.settings["harden.weight"]) for p in found]
    assert tried == [(r, w) for r in (0.01, 0.0707107, 0.5) for w in LAMBDAS]
    best = recommended(found)
    assert best is not None and best.limits[0].value is not None
    assert best.limits[0].value <= 0.03


def test_equal_settings_are_trained_once(tmp_path: Path) -> None:
    asked = tuning(space=[{"path": "harden.weight", "choices": [0.5]}], sampler="random")

    def evaluate(number: int, settings: Mapping[str, Any], folder: Path) -> Point:
        assert number == 0
        return point(number, 0.5, 0.5, 1.0, price(0.0))

    def own(number: int, settings: Mapping[str, Any], folder: Path) -> Point:
        return replace(evaluate(number, settings, folder), settings=dict(settings))

    found = search(asked, tmp_path, own, 3)
    assert [p.twin for p in found] == [None, 0, 0]
    assert recommended(found) is found[0] and front(found) == [found[0]]


def test_points_of_another_file_are_refused(tmp_path: Path) -> None:
    search(tuning(), tmp_path, played([]), 1)
    with pytest.raises(ConfigError, match="holds the points of another file"):
        search(tuning(seed=1), tmp_path, played([]), 1)
    (tmp_path / "points" / "0000" / "point.json").write_text("[]", "utf-8")
    with pytest.raises(DataError, match="remove the folder of this point"):
        search(tuning(), tmp_path, played([]), 1)


# What is measured


@pytest.fixture(scope="module")
def split() -> Split:
    return LeaveOneOut().split(Marketplace(users=80, items=60, median_events=6).load())


def test_tuning_attacks_no_target_of_the_audit(split: Split) -> None:
    asked = tuning()
    goal = asked.experiment.trials[0].threat.goal
    audited = set(drawn_targets(goal, 0, split))
    (trial,) = aimed(asked, split, 0)
    mine = trial.threat.goal.items  # type: ignore[union-attr]
    assert len(mine) == 2 and not audited & set(mine)
    every = frozenset(split.train.items["item_id"].to_list())
    left = every - {"nobody"}
    with pytest.raises(DataError, match="all items of 'random:3' except 0"):
        fresh_targets(Promote(items="random:3"), split, 0, left)


def test_revenue_and_coverage_on_paper() -> None:
    """Ranks 1 and 10 are in the list, 11 is not; user 3's top 2 shows two of six items."""
    assert revenue(np.array([1, 10, 11]), np.array([3.0, 6.0, 9.0])) == 3.0
    world = planted_world()
    queries = world.panel.take(np.array([3]))
    users = Holdout(queries=queries, targets=np.array([0]))
    assert coverage(world.victim, users, k=2) == pytest.approx(2 / 6)


# The plot


def choice(label: str, clean: float | None, robust: float | None, **more: Any) -> Choice:
    return Choice(label=label, settings=(), clean=clean, robust=robust, cost=None, **more)


def test_the_drawn_front_rises() -> None:
    found = plane_front([choice("a", 3, 3), choice("b", 1, 1), choice("c", 2, 2.5),
                         choice("d", 0.5, 2), choice("e", 2, 2)])  # fmt: skip
    assert [c.label for c in found] == ["b", "e", "a"]


def test_labels_never_touch() -> None:
    marks = [(100.0 + dx, 100.0, 5.0, f"{dx}") for dx in (0, 4, 8, 12, 200)]
    found = labels(marks, 400)
    boxes = [(x, y - 9, x + 6.4 * len(t), y + 1) for x, y, t in found]
    for n, one in enumerate(boxes):
        for other in boxes[n + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or (
                other[3] <= one[1]
            )  # fmt: skip
    assert (207 + 100, 104, "200") in found


def test_the_plot_says_what_is_not_allowed_in_words() -> None:
    drawn = pareto_plot([choice("0", 0.5, 0.1, recommended=True), choice("1", 0.4, 0.0)],
                        choice("control", 0.6, 0.3), 0.45, 0.25)  # fmt: skip
    assert "costs more than 25" in drawn and 'class="ring"' in drawn
    assert pareto_plot([], choice("control", None, None), None, 0.1) == ""


# The whole


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Tuning]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARDRANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        folder = tmp_path_factory.mktemp("tune") / "run"
        asked = tuning(price=0.9, points=3, floors=[{"metric": "coverage@10", "least": 0.05}])
        run_tuning(asked, RunContext(folder=folder))
        yield folder, asked


@pytest.mark.slow
def test_a_tuning_leaves_everything_behind(tuned: tuple[Path, Tuning]) -> None:
    folder, asked = tuned
    made = json.loads((folder / "tune.json").read_text("utf-8"))
    assert [p["number"] for p in made["points"]] == [0, 1, 2]
    assert made["control"]["cost"] == 1.0 and made["recommended"] in made["front"]
    for number in range(3):
        home = folder / "points" / f"{number:04d}"
        assert verify(home) == []
        samples = table.load(home / "samples.parquet")
        assert set(samples["subject"]) == {"text-sequence/control", "text-sequence/hardened"}
        assert tomllib.loads((home / "experiment.toml").read_text("utf-8"))["name"] == "tiny"
    best = made["points"][made["recommended"]]
    raw = tomllib.loads((folder / "recommended.toml").read_text("utf-8"))
    chosen = parse_experiment(raw)
    assert chosen == asked.candidate(best["settings"])[1] and "tune" not in raw
    assert not list((folder / "models").glob("*/hardened-*"))
    page = (folder / "tune.html").read_text("utf-8")
    assert f"Point {best['number']} is recommended" in page and "<svg" in page


@pytest.mark.slow
def test_no_test_event_is_looked_at(
    tuned: tuple[Path, Tuning], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0-23: with other test targets, and hardly any test users, every number stays."""
    folder, asked = tuned
    honest = LeaveOneOut.split

    def blind(self: LeaveOneOut, dataset: Any) -> Split:
        cut = honest(self, dataset)
        return replace(cut, test=cut.test.take(np.arange(1)))

    monkeypatch.setattr(LeaveOneOut, "split", blind)
    again = run_tuning(asked, RunContext(folder=tmp_path / "run"), points=1)
    first = ledger(folder)[0]
    assert (again.points[0].clean, again.points[0].robust) == (first.clean, first.robust)
    mine = pl.read_parquet(folder / "points" / "0000" / "samples.parquet").drop("seconds")
    theirs = pl.read_parquet(tmp_path / "run/points/0000/samples.parquet").drop("seconds")
    assert mine.equals(theirs)


@pytest.mark.slow
def test_kinds_of_objectives_compete(tuned: tuple[Path, Tuning], tmp_path: Path) -> None:
    """The cache of the tuning above holds the texts; both kinds are trained and measured."""
    kinds = [ADVERSARIAL, {"kind": "r-drop"}]
    space = [{"path": "harden", "choices": kinds},
             {"path": "harden.radius", "choices": [0.2], "when": ["adversarial"]}]  # fmt: skip
    asked = tuning(space=space, sampler="grid", price=1.0)
    done = run_tuning(asked, RunContext(folder=tmp_path / "run"))
    assert [p.error for p in done.points] == ["", ""]
    assert done.points[0].settings == {"harden": ADVERSARIAL, "harden.radius [adversarial]": 0.2}
    assert done.points[1].settings == {"harden": {"kind": "r-drop"}}
    assert done.file is not None and done.recommended is not None
    kind = tomllib.loads(done.file.read_text("utf-8"))["harden"]["kind"]
    assert kind == done.recommended.settings["harden"]["kind"]


@pytest.mark.slow
def test_a_point_that_cannot_be_trained_does_not_end_the_search(
    tuned: tuple[Path, Tuning], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All points fail here: nothing is recommended, and each says why."""
    _, asked = tuned
    from hardrank.experiment.tune_measure import Bench

    def fails(self: Bench, experiment: Any) -> Any:
        raise Unsupported("no such site")

    monkeypatch.setattr(Bench, "candidate", fails)
    done = run_tuning(asked, RunContext(folder=tmp_path / "run"), points=2)
    assert [p.error for p in done.points] == ["no such site"] * 2
    assert done.recommended is None and done.binding is None and done.file is None
    assert "no such site" in done.page.read_text("utf-8")
