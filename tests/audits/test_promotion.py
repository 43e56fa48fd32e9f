"""Promotion of rewritten items, against hand-made worlds and a slow twin."""

import numpy as np
import polars as pl
import pytest

from hardrank.audits.judge import CharacterJudge
from hardrank.audits.promotion import promotion
from hardrank.data import Patch, Queries, RewriteItem, Slate
from hardrank.threats import Budget, Demote, Match, Promote, ThreatModel

TITLES = ["red", "red red", "blue", "blue blue", "dull", "red blue"]
TASTES = [{"red": 1.0}, {"blue": 1.0}, {"red": 1.0}, {"red": 1.0, "blue": 2.0}]
QUERIES = Queries.of([[1], [], [4], [3, 5]], users=[0, 1, 2, 3])


def match(target: str, text: str | None, **more: object) -> Match:
    goal = more.pop("goal", Promote(k=1))
    edits = (RewriteItem(target, text),) if text is not None else ()
    threat = ThreatModel(goal=goal, knowledge="scores", budget=Budget(words=3))
    return Match(attack="stuff", threat=threat, target=target, patch=Patch(edits), **more)


def audit(toy, *matches: Match, **more) -> pl.DataFrame:
    return promotion(toy, matches, QUERIES, subject="m/control", seed=0, k=1, **more)


def test_one_target_by_hand(make_toy) -> None:
    """`dull` becomes `red red red`: of three eligible users the red one gets it first, the
    blue one last, and the one who loves both more than `blue` alone."""
    (row,) = audit(make_toy(TITLES, TASTES), match("i4", "red red red", words=3)).to_dicts()
    assert (row["eligible"], row["hits_before"], row["hits_after"]) == (3, 0, 2)
    # Before: user 0 (saw i1) has 5 unseen, all of others >= 0: 5; user 1: 6; user 3 (4 unseen): 4.
    assert row["rank_before"] == pytest.approx((5 + 6 + 4) / 3)
    # After: user 0: 3 beats all: 1; user 1 gives 0 like i0 and i1: 6; user 3: 3 beats 1, 2, 2.
    assert row["rank_after"] == pytest.approx((1 + 6 + 1) / 3)
    assert row["success"]
    assert row["value"] == pytest.approx((3 + 0 + 3) / 3)
    assert (row["trial"], row["goal"], row["knowledge"], row["words"]) == (
        "stuff", "promote", "scores", 3,
    )  # fmt: skip
    assert (row["text_before"], row["text_after"]) == ("dull", "red red red")


def test_a_copy_ties_with_what_it_copies_and_a_tie_is_no_win(make_toy) -> None:
    (row,) = audit(make_toy(TITLES, TASTES), match("i0", "blue blue")).to_dicts()
    assert row["hits_after"] == 1  # user 3 saw the original, for user 1 it stands before the copy


def test_no_edit_changes_nothing(make_toy) -> None:
    toy = make_toy(TITLES, TASTES)
    table = audit(toy, match("i4", None), match("i4", "dull"))
    for row in table.to_dicts():
        assert row["hits_after"] == row["hits_before"]
        assert row["rank_after"] == row["rank_before"]
        assert row["success"] is False


def test_excluded_errors_and_demotion(make_toy) -> None:
    """S0-53: a target that met the goal before the attack is excluded, and counted."""
    toy = make_toy(TITLES, TASTES)
    table = audit(
        toy,
        match("i3", "red"),
        match("i0", None, error="needs gradients"),
        match("i3", "dull", goal=Demote(k=1)),
        note=" (transfer)",
    )
    excluded, failed, demoted = table.to_dicts()
    assert excluded["excluded"] is True
    assert excluded["success"] is None
    assert failed["error"] == "needs gradients"
    assert failed["success"] is None
    assert failed["hits_after"] is None
    assert failed["hits_before"] == 0
    assert demoted["excluded"] is False
    assert demoted["success"] is True
    assert set(table["trial"]) == {"stuff (transfer)"}


def test_groups_judge_and_unknown_targets(make_toy) -> None:
    toy, groups = make_toy(TITLES, TASTES), ["head"] * 4 + ["tail"] * 2

    def judge(before, after):
        return np.array([len(a) / len(b) for a, b in zip(before, after, strict=True)])

    table = audit(toy, match("i4", "duller"), groups=groups, judge=judge)
    assert table["group"].to_list() == ["tail"]
    assert table["similarity"].to_list() == [pytest.approx(4 / 6)]
    with pytest.raises(KeyError, match="i9"):
        audit(toy, match("i9", "x"))
    assert audit(toy).height == 0


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_slow_twin(make_toy, seed: int) -> None:
    """For each target: rewrite the catalogue, rank everything again, count."""
    rng = np.random.default_rng(seed)
    words = [f"w{n}" for n in range(6)]
    titles = [" ".join(rng.choice(words, 3)) for _ in range(15)]
    tastes = [{w: float(rng.integers(-2, 3)) for w in words} for _ in range(20)]
    histories = [rng.choice(15, rng.integers(0, 5), replace=False).tolist() for _ in range(20)]
    queries = Queries.of(histories, users=range(20))
    toy = make_toy(titles, tastes)
    texts = {f"i{t}": " ".join(rng.choice(words, 3)) for t in range(0, 15, 3)}
    table = promotion(
        toy, [match(t, text) for t, text in texts.items()], queries, subject="m", seed=0, k=3
    )
    for row in table.to_dicts():
        target = int(row["sample"][1:])
        changed = toy.items.with_columns(
            title=pl.Series([texts[row["sample"]] if n == target else t
                             for n, t in enumerate(titles)])
        )  # fmt: skip
        ranks = slow_ranks(toy.on(changed), queries, target)
        assert row["eligible"] == len(ranks)
        assert row["hits_after"] == sum(r <= 3 for r in ranks)
        assert row["rank_after"] == pytest.approx(np.mean(ranks))
        before = slow_ranks(toy, queries, target)
        assert row["hits_before"] == sum(r <= 3 for r in before)
        assert row["rank_before"] == pytest.approx(np.mean(before))


def slow_ranks(toy, queries: Queries, target: int) -> list[int]:
    ranks = []
    scores = toy.score(queries, Slate(items=np.arange(toy.items.height)))
    for q in range(len(queries)):
        seen = set(queries.history(q).tolist())
        if target in seen:
            continue
        others = [s for i, s in enumerate(scores[q]) if i not in seen and i != target]
        ranks.append(1 + sum(s >= scores[q][target] for s in others))
    return ranks


def test_the_judge_knows_letters_and_nothing_else() -> None:
    judge = CharacterJudge.fit(["red leather shoe", "blue leather shoe", "garden hose"])
    same, typo, word, other, none = judge(
        "red leather shoe",
        ["Red  leather shoe", "red leathr shoe", "red leather hat", "garden hose", ""],
    )
    assert same == 1
    assert 1 > typo > other
    assert 1 > word > other
    assert none == 0
    assert judge.weights["leat"] < judge.weights["gard"] < judge.rare  # common, rare, unheard of
