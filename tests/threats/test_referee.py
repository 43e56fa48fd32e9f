"""The referee counts and checks; nobody grades themselves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardrank.attacks import Copycat, GreedyWords, HotFlip, RandomWords
from hardrank.context import RunContext
from hardrank.data import AddProfile, Patch, RewriteItem
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.testing import overlap, planted_world
from hardrank.threats import (
    Budget,
    Degrade,
    Match,
    Promote,
    ThreatModel,
    check,
    label,
    mount,
    mount_all,
)
from hardrank.types import spec

WORLD = planted_world()


def threat(**changes: Any) -> ThreatModel:
    limits = {"words": 3, "queries": 100, **changes.pop("budget", {})}
    return ThreatModel(**{"goal": Promote(k=2), "budget": Budget(**limits), **changes})


def play(attack: Any, model: ThreatModel | None = None, **more: Any) -> Match:
    given = {"panel": WORLD.panel, "target": "f", **more}
    return mount(attack, model or threat(), WORLD.victim, WORLD.data, **given)


@spec
class Scripted(GreedyWords):
    """Returns what it is told to, and may do something first."""

    edits: tuple[Any, ...] = ()
    deed: Any = None

    def __call__(self, view: Any, goal: Any, budget: Any, rng: Any) -> Patch:
        if self.deed is not None:
            self.deed(view)
        return Patch(self.edits)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (RewriteItem("f", "a b c d plain"), "item 'f': 5 words changed, budget 3"),
        (RewriteItem("a", "moon"), "item 'a' was rewritten, the target is 'f'"),
        (RewriteItem("f", "moon", "item_id"), "field 'item_id' was rewritten.*owns 'title'"),
        (AddProfile("z", ("a",)), "an edit 'add-profile' where only item-text may be written"),
    ],
)
def test_foul_play_is_named(edit: Any, message: str) -> None:
    with pytest.raises(FoulPlay, match=message):
        play(Scripted(edits=(edit,)))


def test_other_limits_bind() -> None:
    patch = Patch((RewriteItem("f", "moon plain dusty"),))
    for limits, message in [
        ({"characters": 4}, "item 'f': 5 characters changed, budget 4"),
        ({"similarity": 0.7}, "item 'f': similarity 0.667, budget at least 0.7"),
    ]:
        with pytest.raises(FoulPlay, match=message):
            check(patch, threat(budget=limits), WORLD.data, "f", judge=overlap)
    with pytest.raises(FoulPlay, match="item 'f': 101 queries asked, budget 100"):
        check(patch, threat(), WORLD.data, "f", queries=101)


def test_costs_are_recorded() -> None:
    match = play(Scripted(edits=(RewriteItem("f", "moon plain dusty"),)), judge=overlap, seed=5)
    assert (match.words, match.characters, match.word_share) == (1, 5, 1 / 3)
    assert match.similarity == pytest.approx(2 / 3)
    assert match.seed == 5 and match.error is None and match.seconds >= 0
    assert len(match.victim) == 16


def test_a_patch_that_changes_nothing_is_empty() -> None:
    match = play(Scripted(edits=(RewriteItem("f", "moon"), RewriteItem("f", "plain dusty"))))
    assert (len(match.patch), match.words, match.characters) == (0, 0, 0)


def test_whole_text_is_for_attacks_made_for_it() -> None:
    """The threat lets whole texts be replaced; an attack on words stays bound."""
    model = threat(budget={"words": 1, "whole_text": True})
    assert play(Copycat(), model).patch.rewrites()["f"].text == "moon river"
    assert play(Copycat(), model).words == 2
    with pytest.raises(FoulPlay, match="2 words changed, budget 1"):
        play(Scripted(edits=(RewriteItem("f", "moon river"),)), model)
    assert play(Copycat(), threat(budget={"words": 1})).patch == Patch()


@pytest.mark.parametrize(
    ("attack", "model", "message"),
    [
        (HotFlip(), threat(knowledge="ranks"), "needs gradients, the threat grants ranks"),
        (
            GreedyWords(),
            threat(surface="reviews"),
            "no item-text is written under a threat to reviews",
        ),
        (GreedyWords(), threat(goal=Degrade()), "cannot degrade"),
        (GreedyWords(), threat(field="brand"), "no field 'brand'"),
        (GreedyWords(), threat(budget={"words": None, "whole_text": True}), "limits neither"),
        (GreedyWords(), threat(budget={"similarity": 0.5}), "no judge"),
    ],
)
def test_refusals_say_why(attack: Any, model: ThreatModel, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        play(attack, model)


def test_gradients_are_refused_where_there_are_none() -> None:
    class Opaque:
        def __init__(self) -> None:
            self.items, self.score, self.arrays = (
                WORLD.victim.items, WORLD.victim.score, WORLD.victim.arrays,
            )  # fmt: skip

    class WhiteBox(Scripted):
        needs = "gradients"

    with pytest.raises(Unsupported, match="this victim grants none"):
        mount(WhiteBox(), threat(knowledge="gradients"), Opaque(), WORLD.data,  # type: ignore[arg-type]
              panel=WORLD.panel, target="f")  # fmt: skip
    assert play(WhiteBox(), threat(knowledge="gradients")).patch == Patch()


def test_unknown_targets_and_worlds() -> None:
    with pytest.raises(DataError, match="unknown target item 'zz'"):
        play(GreedyWords(), target="zz")
    fewer = replace(WORLD.victim, items=WORLD.victim.items.reverse())
    with pytest.raises(DataError, match="ranks another catalogue"):
        mount(GreedyWords(), threat(), fewer, WORLD.data, panel=WORLD.panel, target="f")


@pytest.mark.parametrize("fails", [False, True])
def test_a_changed_victim_is_foul_play(fails: bool) -> None:
    """Also when the attack hides it behind an exception."""
    victim = replace(WORLD.victim, taste=WORLD.victim.taste.copy())

    def deed(view: Any) -> None:
        victim.taste[0, 0] += 1
        if fails:
            raise ValueError("look over there")

    with pytest.raises(FoulPlay, match="changed the victim"):
        mount(Scripted(deed=deed), threat(), victim, WORLD.data, panel=WORLD.panel, target="f")


def test_an_honest_exception_goes_through() -> None:
    def deed(view: Any) -> None:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError, match="planted"):
        play(Scripted(deed=deed))


def test_labels_tell_hyperparameters_apart() -> None:
    assert label(GreedyWords()) == "greedy-words"
    assert label(GreedyWords(vocabulary=30)) == "greedy-words(vocabulary=30)"


def test_mount_all_resumes(tmp_path: Path) -> None:
    """A finished match is not played again; another seed, budget or victim is."""
    log = tmp_path / "m.jsonl"
    calls: list[int] = []
    attack = Scripted(deed=lambda view: calls.append(1))

    def go(model: ThreatModel, victim: Any = WORLD.victim, seed: int = 0) -> tuple[Match, ...]:
        return mount_all(
            [attack, RandomWords()], model, victim, WORLD.data, panel=WORLD.panel,
            targets=["e", "f"], seed=seed, log=log, run=RunContext(),
        )  # fmt: skip

    first = go(threat())
    assert [(m.attack, m.target) for m in first][2:] == [
        ("random-words", "e"),
        ("random-words", "f"),
    ]
    assert len(calls) == 2
    assert go(threat()) == first and len(calls) == 2
    lines = log.read_text("utf-8").splitlines()
    log.write_text("\n".join(lines[:1]) + "\n" + lines[1][:40], "utf-8")  # killed in line 2
    again = go(threat())
    assert [replace(m, seconds=0) for m in again] == [replace(m, seconds=0) for m in first]
    assert len(calls) == 3
    go(threat(), seed=1)
    go(threat(budget={"words": 2}))
    go(threat(), victim=replace(WORLD.victim, taste=WORLD.victim.taste * 2))
    assert len(calls) == 9


def test_mount_all_reports_what_could_not_run(tmp_path: Path) -> None:
    """A refusal is a match with its reason, not a missing row; it is recorded once."""
    log = tmp_path / "m.jsonl"
    for _ in range(2):
        matches = mount_all(
            [HotFlip(), Copycat()], threat(knowledge="ranks"), WORLD.victim, WORLD.data,
            panel=WORLD.panel, targets=["f"], log=log,
        )  # fmt: skip
        assert matches[0].error == "attack 'hotflip' needs gradients, the threat grants ranks"
        assert (len(matches[0].patch), matches[0].queries, matches[1].error) == (0, 0, None)
    assert len(log.read_text("utf-8").splitlines()) == 2


def test_a_match_does_not_depend_on_other_targets() -> None:
    """Each match draws from (seed, attack, target) alone."""
    model = threat()
    given = {"panel": WORLD.panel, "seed": 4}
    both = mount_all([RandomWords()], model, WORLD.victim, WORLD.data, targets=["e", "f"], **given)  # type: ignore[arg-type]
    alone = play(RandomWords(), model, seed=4)
    assert both[1].patch == alone.patch
    drawn = {play(RandomWords(), model, seed=s).patch for s in range(10)}
    assert len(drawn) > 1
    assert np.isfinite([m.seconds for m in both]).all()
