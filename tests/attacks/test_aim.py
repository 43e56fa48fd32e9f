"""What an attacker gains by a text, on worlds that a person can work out."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hardrank.attacks import DeepWordBug
from hardrank.attacks.aim import Aim, Outcome
from hardrank.errors import FoulPlay
from hardrank.testing import WordTaste, World, dataset, planted_world, random_world
from hardrank.threats import Budget, Demote, ListingCourt, Promote, ThreatModel
from hardrank.types import Knowledge

WORLD = planted_world()
MOON = "moon plain dusty"


def aim(
    goal: Any = None, knowledge: Knowledge = "scores", world: World = WORLD, **limits: Any
) -> Aim | None:
    wanted = goal or Promote(k=2)
    budget = Budget(**(limits or {"words": 3}))
    threat = ThreatModel(goal=wanted, knowledge=knowledge, budget=budget)
    court = ListingCourt.of(world.victim, world.data, world.panel, None)
    view, narrowed, _ = court.open(DeepWordBug(), threat, budget, world.target)
    return Aim.of(view, world.target, narrowed)  # type: ignore[arg-type]


def made(*args: Any, **kwargs: Any) -> Aim:
    found = aim(*args, **kwargs)
    assert found is not None
    return found


def soft(margins: list[float], spread: float) -> float:
    """log sum sigmoid, as on paper."""
    return math.log(sum(1 / (1 + math.exp(-m / spread)) for m in margins))


def test_scores_by_hand() -> None:
    """Users 0, 1, 2 have not seen f: thresholds 1, 6, 3, scores -1, -2, -1; their margins -2,
    -8, -4 have the variance 56/9, and t is a tenth of its root. With moon, f scores 3, 6, 3:
    margins 2, 0, 0."""
    one, spread = made(), math.sqrt(56 / 9) / 10
    assert one.spread == pytest.approx(spread)
    assert one.margins.tolist() == [-2, -8, -4]
    assert one.standing.values == pytest.approx([soft([-2, -8, -4], spread)])
    found = one([MOON, "plain dusty", "plain"])
    expected = [soft(m, spread) for m in ([2, 0, 0], [-2, -8, -4], [-1, -6, -3])]
    assert found.values == pytest.approx(expected)
    assert found.best == 0 and one.view.spent == 3


def test_ranks_by_hand() -> None:
    """f stands 4th of 4 for all three; their margins are equal, so the spread is 1. With moon
    user 0 sees it first with d (a tie, so second), user 1 behind b and d, user 2 too."""
    one = made(knowledge="ranks")
    assert one.spread == 1.0
    before = math.log(2.5) - math.log(4)
    assert one.standing.values == pytest.approx([soft([before] * 3, 1)])
    margins = [math.log(2.5) - math.log(r) for r in (2, 3, 3)]
    assert one([MOON]).values == pytest.approx([soft(margins, 1)])
    assert one.view.spent == 1


@pytest.mark.parametrize("knowledge", ["ranks", "scores"])
def test_demoting_is_promoting_the_other_way_round(knowledge: Knowledge) -> None:
    """With a t that is not sharper: the standard deviation of the margins."""
    texts = [MOON, "plain", "dusty dusty"]
    down = made(Demote(k=2), knowledge)
    assert down.spread == pytest.approx(math.sqrt(56 / 9) if knowledge == "scores" else 1)
    up = replace(made(knowledge=knowledge), spread=down.spread)
    assert down(texts).values.tolist() == (-up(texts).values).tolist()


@pytest.mark.parametrize("knowledge", ["ranks", "scores"])
@pytest.mark.parametrize(
    ("until", "reached"),
    [(0.0, True), (1 / 3, True), (0.34, False), (1.0, False), (None, False)],
)
def test_reached_by_hand(knowledge: Knowledge, until: float | None, reached: bool) -> None:
    """With moon f is in the top 2 of user 0 alone, a tie does not count: a third."""
    found = made(Promote(k=2, until=until), knowledge)([MOON])
    assert found.reached.tolist() == [reached]


@pytest.mark.parametrize("knowledge", ["ranks", "scores"])
def test_reached_when_demoting(knowledge: Knowledge) -> None:
    """d is in the top 2 of users 0, 1, 2 (3 has seen it). As 'dusty river' it is worth 0: that
    is above e, yet behind c for user 0, and behind b for 1 who has seen c; 2 has b and c."""
    world = replace(WORLD, target="d")
    found = made(Demote(k=2, until=1 / 3), knowledge, world)
    assert not found.standing.reached[0]
    assert found(["velvet river", "dusty river", "kettle"]).reached.tolist() == [
        False,
        share(world, "dusty river") <= 1 / 3,
        share(world, "kettle") <= 1 / 3,
    ]


def share(world: World, text: str) -> float:
    """Of the users who can be shown the target: in whose top 2 it is, by the victim itself."""
    row = world.data.item_rows[world.target]
    titles = world.data.items["title"].to_list()
    titles[row] = text
    users = [q for q in range(len(world.panel)) if row not in world.panel.history(q)]
    rewritten = world.victim.on(world.data.items.with_columns(title=np.array(titles)))
    inside = 0
    for user in users:
        scores = rewritten.counts(titles) @ world.victim.taste[user]
        seen = set(world.panel.history(user).tolist())
        better = [n for n, s in enumerate(scores) if n != row and n not in seen]
        inside += sum(scores[n] >= scores[row] for n in better) < 2
    return inside / len(users)


@pytest.mark.parametrize("knowledge", ["ranks", "scores"])
def test_against_the_definition_on_random_worlds(knowledge: Knowledge) -> None:
    """A slow twin that asks the victim itself, user by user."""
    played = 0
    for case in range(60):
        world = random_world(np.random.default_rng(case))
        k, texts = 1 + case % 3, ["", "7th", "bakomi 7th 7th ox"]
        one = aim(Promote(k=k, until=0.5), knowledge, world)
        values = twin(world, k, knowledge, texts)
        if one is None or values is None:
            assert (one is None) == (values is None), case
            continue
        found = one(texts)
        assert found.values == pytest.approx(values), case
        played += 1
    assert played > 30


def twin(world: World, k: int, knowledge: Knowledge, texts: list[str]) -> list[float] | None:
    row, everybody = world.data.item_rows[world.target], range(len(world.panel))
    users = [q for q in everybody if row not in world.panel.history(q)]
    own = str(world.data.items["title"][row])
    margins: dict[str, list[float]] = {text: [] for text in [own, *texts]}
    for user in users:
        standing = world.victim.counts(world.data.items["title"].to_list())
        seen = set(world.panel.history(user).tolist())
        others = [
            float(standing[n] @ world.victim.taste[user])
            for n in range(len(standing))
            if n != row and n not in seen
        ]
        for text, found in margins.items():
            score = float(world.victim.counts([text])[0] @ world.victim.taste[user])
            if knowledge == "ranks":
                rank = 1 + sum(other >= score for other in others)
                found.append(math.log(k + 0.5) - math.log(rank))
            elif len(others) >= k:
                found.append(score - sorted(others)[-k])
    if not margins[own]:
        return None
    spread = float(np.std(margins[own])) * (0.1 if knowledge == "scores" else 0.5) or 1.0
    return [soft(margins[text], spread) for text in texts]


def test_best_is_the_first_of_the_best() -> None:
    none = np.zeros(3, dtype=bool)
    assert Outcome(np.array([1.0, 3.0, 3.0]), none).best == 1
    assert Outcome(np.array([1.0, 3.0, 2.0]), np.array([False, False, True])).best == 2
    assert Outcome(np.array([-np.inf, -np.inf]), none[:2]).best == 0


def test_affordable_keeps_order_budget_and_queries() -> None:
    """One word and ten characters: the own text, repeats and what is too long fall out."""
    one = made(words=1, characters=10, queries=3)
    texts = [MOON, "plain dusty", MOON, "a b plain dusty", "plain", "moonmoonmoonmoon plain dusty",
             "dusty", "plain dusty red", ""]  # fmt: skip
    assert one.affordable(texts) == [MOON, "plain", "dusty"]
    one([MOON, MOON])
    assert one.affordable(texts) == [MOON]
    one([MOON])
    assert one.affordable(texts) == [] and one.view.left == 0
    with pytest.raises(FoulPlay, match="4 queries asked, budget 3"):
        one([MOON])


def test_nobody_to_win() -> None:
    """Everybody has it; or every list is shorter than k, so that it is shown anyway."""
    data = dataset(["red tea", "blue cup"], [[0], [0, 1]])
    words = ("red", "tea", "blue", "cup")
    victim = WordTaste(items=data.items, words=words, taste=np.ones((2, 4), np.float32))
    world = World(data=data, victim=victim, panel=data.histories(), target="a")
    assert aim(Promote(k=1), world=world) is None
    assert aim(Promote(k=1), "ranks", world) is None
    assert aim(Promote(k=9), world=replace(world, target="b")) is None


class Numb(WordTaste):
    """Knows no score."""

    def score(self, queries: Any, slate: Any) -> Any:
        return super().score(queries, slate) * np.float32("nan")


@pytest.mark.parametrize("knowledge", ["ranks", "scores"])
def test_scores_that_are_no_numbers_rank_last(knowledge: Knowledge) -> None:
    """Nothing is won, and nothing is warned of."""
    victim = Numb(items=WORLD.data.items, words=WORLD.victim.words, taste=WORLD.victim.taste)
    one = aim(Promote(k=2), knowledge, replace(WORLD, victim=victim))
    assert one is None or not np.isnan(one([MOON]).values).any()


def test_a_score_of_minus_infinity_can_be_raised() -> None:
    """The target's own text breaks the victim; every other is better."""
    taste = WORLD.victim.taste.copy()
    taste[:, WORLD.victim.words.index("dusty")] = -np.inf
    items = WORLD.data.items.with_columns(
        title=np.array(["silver lantern", "moon river", "copper kettle", "velvet river", "kettle",
                        "plain dusty"])
    )  # fmt: skip
    data = replace(WORLD.data, items=items)
    victim = Mended(items=items, words=WORLD.victim.words, taste=taste)
    one = made(world=World(data=data, victim=victim, panel=data.histories(), target="f"))
    assert one.standing.values[0] == -np.inf
    assert one(["plain"]).values[0] > -np.inf


class Mended(WordTaste):
    """Minus infinity for a word that is there, not for one that is not."""

    def score(self, queries: Any, slate: Any) -> Any:
        vectors = self.counts(slate.texts or self.items["title"].gather(slate.items).to_list())
        with np.errstate(invalid="ignore"):
            product = self.tastes(queries)[:, None, :] * vectors[None]
        return np.where(vectors[None] > 0, product, 0).sum(axis=2).astype(np.float32)
