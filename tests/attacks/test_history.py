"""Events slipped into histories (C4: history surface), against hand-worked worlds."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from hardrank.attacks.history import (
    HISTORY_ATTACKS,
    InsertEvents,
    RandomEvents,
    ReorderEvents,
    ReplaceEvents,
)
from hardrank.audits.history import history_audit
from hardrank.data import Dataset, InsertEvent, MoveEvent, Patch, Queries, ReplaceEvent, Slate
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.recommender import best, mask_seen
from hardrank.testing.worlds import dataset
from hardrank.threats import (
    Budget,
    Degrade,
    Demote,
    Match,
    MatchLog,
    Promote,
    ThreatModel,
    digest_victim,
    play_all,
)
from hardrank.threats.history import HistoryCourt, Plan, plans, replay, watched_ranks
from hardrank.types import Ranks, Scores


@dataclass(frozen=True, eq=False, kw_only=True)
class NextItem:
    """score(h, j) = sum over events l of weight^(age of l) * link[event, j]."""

    items: pl.DataFrame
    link: NDArray[np.float32]
    fade: float = 0.5
    asked: list[int]
    trap: Callable[[], None] = lambda: None

    def score(self, queries: Queries, slate: Slate) -> Scores:
        self.trap()
        self.asked.append(len(queries))
        out = np.zeros((len(queries), len(self.link)), dtype=np.float32)
        for q in range(len(queries)):
            for age, item in enumerate(reversed(queries.history(q).tolist())):
                out[q] += self.fade**age * self.link[item]
        return out[:, slate.items]

    def top(self, queries: Queries, k: int) -> Ranks:
        everything = Slate(items=np.arange(self.items.height, dtype=np.int64))
        return best(mask_seen(self.score(queries, everything), queries), k)

    def on(self, items: pl.DataFrame) -> "NextItem":
        return replace(self, items=items)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"link": self.link}


def planted() -> tuple[NextItem, Dataset]:
    """Items a to f. After d comes f (weight 8), after e comes c (8), after a comes b (4);
    everything else 0. User u0 has a then b: the list is c, d, e, f by row (all 0)."""
    data = dataset([f"item {n}" for n in range(6)], [[0, 1], [2, 3], [4, 0]])
    link = np.zeros((6, 6), dtype=np.float32)
    link[3, 5], link[4, 2], link[0, 1] = 8, 8, 4
    return NextItem(items=data.items, link=link, asked=[]), data


def random_case(seed: int) -> tuple[NextItem, Dataset, ThreatModel, Plan]:
    rng = np.random.default_rng(seed)
    n_items, n_users = int(rng.integers(5, 12)), int(rng.integers(1, 4))
    histories = [
        rng.choice(n_items, size=rng.integers(1, n_items - 2), replace=False).tolist()
        for _ in range(n_users)
    ]
    data = dataset([f"item {n}" for n in range(n_items)], histories)
    link = rng.normal(size=(n_items, n_items)).round(1).astype(np.float32)
    victim = NextItem(items=data.items, link=link, asked=[])
    goal = [Promote, Demote, Degrade][int(rng.integers(3))](k=int(rng.integers(1, 4)))
    limit = int(rng.integers(0, 40)) if rng.random() < 0.6 else None
    threat = ThreatModel(
        goal=goal, surface="history", knowledge=str(rng.choice(["ranks", "scores"])),  # type: ignore[arg-type]
        budget=Budget(events=int(rng.integers(0, 4)), queries=limit),
    )  # fmt: skip
    ids = data.items["item_id"].to_list()
    made = plans(victim, data, data.histories(), goal, [] if isinstance(goal, Degrade) else ids)
    victim.asked.clear()
    return victim, data, threat, made[0]


def threat_of(goal: Any, events: int = 1, knowledge: Any = "scores") -> ThreatModel:
    return ThreatModel(
        goal=goal, surface="history", knowledge=knowledge, budget=Budget(events=events)
    )


def play(attack: Any, threat: ThreatModel, victim: Any, data: Dataset, plan: Plan) -> Match:
    return HistoryCourt.of(victim, data, [plan]).play(attack, threat, plan.name, 0)


@pytest.mark.parametrize("knowledge", ["ranks", "scores"])
def test_insertion_finds_the_planted_event(knowledge: Any) -> None:
    """Only d leads to f. d after the history brings f from rank 4 to rank 1."""
    victim, data = planted()
    (plan,) = plans(victim, data, data.histories().take(np.array([0])), Promote(k=1), ["f"])
    match = play(InsertEvents(), threat_of(Promote(k=1), 1, knowledge), victim, data, plan)
    assert match.patch == Patch((InsertEvent("u0", "d", 2),))
    assert (match.events, match.queries) == (1, 3), "c, d and e were tried, f and own ones not"
    audit = history_audit(victim, data, [match], {plan.name: plan}, subject="m", seed=0, k=1)
    row = audit.to_dicts()[0]
    assert (row["rank_before"], row["rank_after"], row["success"]) == (4.0, 1.0, True)
    assert (row["hits_before"], row["hits_after"], row["events"]) == (0, 1, 1)
    assert row["value"] == 0.0, "another list"


def test_replacement_keeps_the_length() -> None:
    victim, data = planted()
    (plan,) = plans(victim, data, data.histories().take(np.array([0])), Promote(k=1), ["f"])
    match = play(ReplaceEvents(), threat_of(Promote(k=1)), victim, data, plan)
    assert match.patch == Patch((ReplaceEvent("u0", "d", 1),))
    assert replay(match.patch, "u0", [0, 1], data) == [0, 3]


def test_reordering_brings_the_leading_event_to_the_end() -> None:
    """u2 has e then a: b 4, c 8/2, a tie, which counts against c. With e last c has 8, b 2."""
    victim, data = planted()
    (plan,) = plans(victim, data, data.histories().take(np.array([2])), Promote(k=1), ["c"])
    match = play(ReorderEvents(), threat_of(Promote(k=1)), victim, data, plan)
    assert match.patch == Patch((MoveEvent("u2", 0, 1),)) and match.queries == 2
    assert replay(match.patch, "u2", [4, 0], data) == [0, 4]


def test_degrading_drives_the_list_out() -> None:
    """u1's list of one is f (8 from d). Any insertion halves that; e leads to b... to c,
    which u1 has, so f stays first; more events fade it to a tie at most."""
    victim, data = planted()
    (plan,) = plans(victim, data, data.histories().take(np.array([1])), Degrade(k=1))
    assert plan.watched.tolist() == [5] and plan.name == "u1"
    match = play(InsertEvents(), threat_of(Degrade(k=1), 1), victim, data, plan)
    assert match.events == 1 and match.patch.edits[0].item_id == "a", "only a raises a rival"  # type: ignore[union-attr]


@pytest.mark.parametrize("attack", [made() for made in HISTORY_ATTACKS], ids=lambda a: a.kind)
def test_inside_the_budget_in_a_thousand_random_cases(attack: Any) -> None:
    """S0-03. Also: queries counted as asked, same rng same patch, nothing for no budget."""
    for case in range(1000):
        victim, data, threat, plan = random_case(case)
        court = HistoryCourt.of(victim, data, [plan])
        victim.asked.clear()
        match = court.play(attack, threat, plan.name, case)
        free = 1 if attack.kind != "random-events" else 0  # the look at the standing list
        limit = threat.budget.queries
        assert threat.budget.events is not None and match.events <= threat.budget.events
        assert limit is None or match.queries <= limit, f"case {case}"
        assert sum(victim.asked) == match.queries + free, f"case {case}: not counted"
        if threat.budget.events == 0:
            assert not match.patch, f"case {case}: a patch for nothing"
        if case % 20 == 0:
            assert court.play(attack, threat, plan.name, case).patch == match.patch


@pytest.mark.parametrize("attack", [made() for made in HISTORY_ATTACKS], ids=lambda a: a.kind)
def test_a_victim_that_fails_is_left_as_it_was(attack: Any) -> None:
    victim, data = planted()
    (plan,) = plans(victim, data, data.histories().take(np.array([0])), Promote(k=1), ["f"])

    def trap() -> None:
        raise RuntimeError("planted")

    broken = replace(victim, trap=trap)
    before = digest_victim(broken)
    if attack.kind == "random-events":
        assert play(attack, threat_of(Promote(k=1)), broken, data, plan).events == 1
    else:
        with pytest.raises(RuntimeError, match="planted"):
            play(attack, threat_of(Promote(k=1)), broken, data, plan)
    assert digest_victim(broken) == before
    assert type(attack)(**{f.name: getattr(attack, f.name) for f in fields(attack)}) == attack


def test_more_events_and_more_knowledge_are_never_weaker_on_average() -> None:
    """Random events < greedy by ranks <= by scores, over 60 worlds, at equal events."""

    def gain(attack: Any, knowledge: Any, events: int) -> float:
        total = 0.0
        for case in range(60):
            victim, data, _, _ = random_case(case)
            ids = data.items["item_id"].to_list()
            made = plans(victim, data, data.histories(), Promote(k=2), ids)[0]
            match = play(attack, threat_of(Promote(k=2), events, knowledge), victim, data, made)
            rows = history_audit(victim, data, [match], {made.name: made}, subject="m", seed=0)
            total += rows["rank_before"][0] - rows["rank_after"][0]
        return total / 60

    random = gain(RandomEvents(), "ranks", 2)
    ranks, scores = (gain(InsertEvents(), k, 2) for k in ("ranks", "scores"))
    assert random < ranks and random < scores
    assert gain(InsertEvents(), "scores", 1) <= scores + 1e-9


def test_the_referee_sees_through_false_patches() -> None:
    victim, data = planted()
    history = [0, 1]
    for edit, why in [
        (InsertEvent("u1", "d", 0), "only the history of user 'u0'"),
        (InsertEvent("u0", "zz", 0), "unknown item 'zz'"),
        (InsertEvent("u0", "d", 3), "position"),
        (ReplaceEvent("u0", "d", 2), "position"),
        (MoveEvent("u0", 0, 2), "position"),
    ]:
        with pytest.raises(FoulPlay, match=why):
            replay(Patch((edit,)), "u0", history, data)
    (plan,) = plans(victim, data, data.histories().take(np.array([0])), Promote(k=1), ["f"])
    court = HistoryCourt.of(victim, data, [plan])
    two = Patch((InsertEvent("u0", "d", 2), InsertEvent("u0", "e", 2)))
    threat = threat_of(Promote(k=1), 1)
    with pytest.raises(FoulPlay, match="2 events changed, budget 1"):
        court.count(two, threat, threat.budget, plan.name, 0)
    with pytest.raises(DataError, match="no such match"):
        court.play(InsertEvents(), threat, "nobody", 0)
    with pytest.raises(Unsupported, match="no history is written"):
        text = ThreatModel(goal=Promote(), budget=Budget(words=1))
        court.play(InsertEvents(), text, plan.name, 0)


def test_ranks_count_ties_and_hide_seen_items() -> None:
    scores = np.array([[1.0, 2.0, 2.0, -np.inf]], dtype=np.float32)
    assert watched_ranks(scores, np.array([0, 1, 2, 3])).tolist() == [[3, 2, 2, 4]]


def test_plans_take_turns_and_skip_what_a_user_has() -> None:
    victim, data = planted()
    made = plans(victim, data, data.histories(), Promote(k=1), ["a", "c"])
    assert [p.name for p in made] == ["u0 > c", "u1 > a", "u2 > c"][: len(made)]
    with pytest.raises(DataError, match="unknown target item 'zz'"):
        plans(victim, data, data.histories(), Promote(), ["zz"])


def test_matches_are_logged_and_not_played_again(tmp_path: Any) -> None:
    victim, data = planted()
    made = plans(victim, data, data.histories(), Promote(k=1), ["f"])
    court = HistoryCourt.of(victim, data, made)
    names, log = [p.name for p in made], tmp_path / "matches.jsonl"
    first = play_all(court, [InsertEvents()], threat_of(Promote(k=1)), targets=names, log=log)
    asked = len(victim.asked)
    again = play_all(court, [InsertEvents()], threat_of(Promote(k=1)), targets=names, log=log)
    assert again == first and len(victim.asked) == asked
    assert len(list(MatchLog(log))) == len(names)
