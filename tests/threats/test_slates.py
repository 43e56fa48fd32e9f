"""Slates read together: whose ranks these are, what stays the same, what is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from hardrank.attacks import Copycat, GreedyWords
from hardrank.data import Patch, Queries, Slate
from hardrank.errors import DataError, FoulPlay, Unsupported, VictimError
from hardrank.testing import WordTaste, World, planted_world, random_world
from hardrank.threats import Budget, Degrade, Demote, Promote, ThreatModel, play_all
from hardrank.threats.slates import ReadsSlates, SlateCourt, SlateDesk
from hardrank.types import Scores

WORLD = planted_world()


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads a slate as `WordTaste` scores it, plus `bias` for each place nearer the front;
    obeys a text that says 'boss', whoever wrote it."""

    taste: WordTaste
    bias: float = 0.0

    @property
    def items(self) -> Any:
        return self.taste.items

    def arrays(self) -> dict[str, Any]:
        return self.taste.arrays()

    def slate_scores(self, queries: Queries, slates: Sequence[Slate]) -> list[Scores]:
        out = []
        for q, slate in enumerate(slates):
            scores = self.taste.score(queries.take(np.array([q])), slate)[0]
            scores = scores + self.bias * np.arange(len(slate))[::-1]
            orders = ["boss" in text for text in slate.texts or ()]
            out.append(scores + 1000 * np.array(orders, dtype=np.float32))
        return out


def court(world: World = WORLD, *, bias: float = 0.0, **changes: Any) -> SlateCourt:
    how = {"first": world.victim, "size": 4, **changes}
    return SlateCourt.of(Reader(world.victim, bias), world.data, world.panel, **how)


def threat(goal: Any = None, **limits: Any) -> ThreatModel:
    return ThreatModel(goal=goal or Promote(k=2), budget=Budget(**limits))


def view_of(made: SlateCourt, model: ThreatModel, target: str = "f") -> Any:
    budget = made.admit(GreedyWords(), model, target)
    return made.open(GreedyWords(), model, budget, target)[0]


def test_a_reader_of_slates_is_known_by_its_methods() -> None:
    assert isinstance(Reader(WORLD.victim), ReadsSlates)
    assert not isinstance(WORLD.victim, ReadsSlates)


def test_a_slate_is_the_first_stages_best_and_the_target() -> None:
    """Unseen items by worth: user 0 (saw a, b) d, c, e; user 1 (saw a, c) b, d, e; user 2
    (saw a, e) b, d, c. User 3 has the target. The target's place is any, the order stays."""
    pages = court().seating.slates("f", 5)
    without = [[i for i in page.tolist() if i != 5] for page in pages]
    assert without == [[3, 2, 4], [1, 3, 4], [1, 3, 2]]
    assert all((page == 5).sum() == 1 for page in pages)
    small = court(size=3).seating.slates("f", 5)
    assert [len(page) for page in small] == [3, 3, 3]
    everything = court(size=50).seating.slates("f", 5)
    assert [len(page) for page in everything] == [4, 4, 4], "no user has more unseen items"


def test_places_are_drawn_once_and_for_each_target() -> None:
    seats = [
        [int(np.flatnonzero(p == 5)[0]) for p in court(seed=s).seating.slates("f", 5)]
        for s in range(40)
    ]
    assert seats[7] == [
        int(np.flatnonzero(p == 5)[0]) for p in court(seed=7).seating.slates("f", 5)
    ]
    assert {place for row in seats for place in row} == {0, 1, 2, 3}


def test_ranks_are_those_within_the_slate() -> None:
    """'plain dusty' is worth -1 and ties with e for users 0 and 1, against it; 'moon river' 5
    is first for user 0 and ties with b for users 1 and 2."""
    made = court()
    view = view_of(made, threat(words=3))
    assert view.standing_ranks("f").tolist() == [4, 4, 4]
    assert view.spent == 0
    assert view.ranks("f", ["moon river", "dusty", "velvet river"]).tolist() == [
        [1, 4, 2], [2, 4, 3], [2, 4, 3],
    ]  # fmt: skip
    assert view.spent == 3
    assert view.scores("f", ["moon river"]).tolist() == [[-1], [-2], [-2]]
    assert view.thresholds("f").tolist() == [-3, -3, -3]
    assert view.standing_scores("f").tolist() == [-4, -4, -4]


def test_ranks_agree_with_a_plain_count() -> None:
    """In random worlds, with a reader that looks at places: the same ranks as counting who
    stands at or above the target, slate by slate."""
    for case in range(30):
        rng = np.random.default_rng(case)
        world = random_world(rng)
        made = court(world, bias=0.3, size=int(rng.integers(2, 7)), seed=case)
        row = world.data.item_rows[world.target]
        titles = world.data.items["title"].to_list()
        texts = ["babako miru", titles[row]]
        found = made.seating.ranks(world.target, row, texts, "title")
        users = made.seating.lists.eligible(row)
        pages = made.seating.slates(world.target, row)
        for e, (user, page) in enumerate(zip(users, pages, strict=True)):
            for n, text in enumerate(texts):
                own = tuple(text if i == row else titles[i] for i in page)
                scores = made.seating.victim.slate_scores(
                    world.panel.take(np.array([user])), [Slate(items=page, texts=own)]
                )[0]
                target = scores[list(page).index(row)]
                others = [s for i, s in zip(page, scores, strict=True) if i != row]
                assert found[e, n] == 1 + sum(s >= target for s in others)


def test_attacks_on_item_texts_play_unchanged() -> None:
    """S4-02: slates scored together. The best title of the planted world is best here too."""
    made, model = court(), threat(whole_text=True, words=2)
    copied, greedy = play_all(made, [Copycat(), GreedyWords()], model, targets=["f"])
    assert copied.patch.rewrites()["f"].text == WORLD.best_title
    assert (copied.queries, copied.words) == (5, 2)
    assert copied.victim == made.digest[:16] == made.seating.fingerprint()[:16]
    assert "moon" in greedy.patch.rewrites()["f"].text and greedy.words == 2
    assert made.outcome(greedy)[1].tolist() == [1, 2, 2]
    before, after = made.outcome(copied)
    assert (before.tolist(), after.tolist()) == ([4, 4, 4], [1, 2, 2])
    same = made.outcome(replace(copied, patch=Patch()))
    assert same[1].tolist() == before.tolist()


def test_a_text_that_speaks_about_its_neighbours_is_heard() -> None:
    view = view_of(court(), threat(words=3))
    assert view.ranks("f", ["boss"]).tolist() == [[1], [1], [1]]


def test_what_a_text_gains_is_not_what_a_place_gains() -> None:
    """With a strong bias towards the front the rank says where the target sits, and equal
    texts have equal ranks."""
    made = court(bias=100.0)
    view = view_of(made, threat(words=3))
    pages = made.seating.slates("f", 5)
    places = [int(np.flatnonzero(p == 5)[0]) + 1 for p in pages]
    assert view.standing_ranks("f").tolist() == places
    assert view.ranks("f", ["moon river", "dusty"]).T.tolist() == [places, places]


def test_queries_are_counted_and_limited() -> None:
    view = view_of(court(), threat(words=3, queries=2))
    view.ranks("f", ["a", "b"])
    assert view.left == 0
    with pytest.raises(FoulPlay, match="budget 2"):
        view.ranks("f", ["c"])
    notes = view_of(court(), threat(words=3, free_repeats=True))
    first = notes.ranks("f", ["moon", "dusty", "moon"])
    assert notes.spent == 2 and np.array_equal(first, notes.ranks("f", ["moon", "dusty", "moon"]))
    assert notes.spent == 2
    with pytest.raises(FoulPlay, match="not the attacker's"):
        notes.text("a")


def test_demoting_from_a_slate() -> None:
    made = court()
    model = threat(Demote(k=1), words=1)
    (match,) = play_all(made, [GreedyWords()], model, targets=["b"])
    _, after = made.outcome(match)
    assert match.error is None and (after >= 1).all()


class Blank(GreedyWords):  # type: ignore[misc]
    needs = "gradients"


def test_what_slates_cannot_be_asked() -> None:
    made = court()
    for attack, model, why in (
        (GreedyWords(), threat(Promote(k=4), words=1), "every item of a slate of 4"),
        (GreedyWords(), threat(Degrade(), words=1), "cannot degrade"),
        (Blank(), replace(threat(words=1), knowledge="gradients"), "slates grant none"),
        (GreedyWords(), replace(threat(words=1), field="brand"), "no field 'brand'"),
        (GreedyWords(), threat(whole_text=True), "limits neither words nor characters"),
    ):
        match = made.attempt(attack, model, "f", 0)
        assert why in str(match.error), match.error
    with pytest.raises(DataError, match="unknown target item 'zz'"):
        made.play(GreedyWords(), threat(words=1), "zz", 0)
    view = view_of(made, replace(threat(words=1), knowledge="gradients"))
    assert not hasattr(view, "gradient"), "scores are the most that slates show"
    with pytest.raises(Unsupported, match="no gradients"):
        SlateDesk(world=WORLD.data, targets=("f",), budget=Budget(), seating=made.seating).gradient(
            "f", "x"
        )
    with pytest.raises(DataError, match="ranks nothing"):
        court(size=1)


def test_both_stages_have_to_know_the_catalogue() -> None:
    other = random_world(np.random.default_rng(0))
    with pytest.raises(DataError, match="another catalogue"):
        court(first=other.victim)
    with pytest.raises(DataError, match="another catalogue"):
        SlateCourt.of(Reader(other.victim), WORLD.data, WORLD.panel, first=WORLD.victim)


def test_another_page_is_another_victim() -> None:
    """Matches of different pages are never taken for each other."""
    digests = {court(size=size, seed=seed).digest for size in (3, 4) for seed in (0, 1)}
    assert len(digests) == 4
    assert court().digest == court().digest
    other = replace(WORLD.victim, taste=WORLD.victim.taste + 1)
    assert court(first=other).digest != court().digest


@dataclass(frozen=True, eq=False)
class Odd(Reader):
    """Answers as `answer` says."""

    answer: Any = None

    def slate_scores(self, queries: Queries, slates: Sequence[Slate]) -> list[Scores]:
        made: list[Scores] = self.answer(slates)
        return made


def test_wrong_answers_are_said_and_what_is_no_number_ranks_last() -> None:
    def ask(answer: Any) -> list[list[int]]:
        victim = Odd(WORLD.victim, answer=answer)
        made = SlateCourt.of(victim, WORLD.data, WORLD.panel, first=WORLD.victim, size=4)
        found: list[list[int]] = made.seating.ranks("f", 5, ["x"], "title").tolist()
        return found

    with pytest.raises(VictimError, match="0 answers for 3 slates"):
        ask(lambda slates: [])
    with pytest.raises(VictimError, match=r"shape \(5,\) for 4 candidates"):
        ask(lambda slates: [np.zeros(5) for _ in slates])
    assert ask(lambda slates: [np.zeros(4) for _ in slates]) == [[4], [4], [4]], "ties"
    nan = [np.where(np.arange(4) >= 0, np.nan, 0.0)] * 3
    assert ask(lambda slates: nan) == [[4], [4], [4]]


def test_nobody_to_show_it_to() -> None:
    """User 3 alone has seen the target."""
    panel = WORLD.panel.take(np.array([3]))
    made = SlateCourt.of(Reader(WORLD.victim), WORLD.data, panel, first=WORLD.victim, size=4)
    match = made.play(Copycat(), threat(whole_text=True), "f", 0)
    assert not match.patch and match.error is None
