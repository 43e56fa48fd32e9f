"""Views show what they grant and no more, and the meter counts every version."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.data import Queries, Slate
from hardrank.errors import FoulPlay, Unsupported
from hardrank.testing import World, planted_world, random_world
from hardrank.threats import Budget, GradientView, RankView, ScoreView, sample_panel
from hardrank.threats.desk import ListingDesk as Desk
from hardrank.threats.desk import Meter
from hardrank.threats.panel import watch


def desk(world: World, *, queries: int | None = None, k: int = 2) -> Desk:
    return Desk(
        victim=world.victim, world=world.data, lists=watch(world.victim, world.panel),
        targets=(world.target,), budget=Budget(words=3, queries=queries), k=k,
        meter=Meter(queries),
    )  # fmt: skip


def slow_rank(world: World, user: int, score: float) -> int:
    """1 + the unseen other items that score at least as much."""
    target = world.data.item_rows[world.target]
    seen = set(world.panel.history(user).tolist())
    one = world.panel.take(np.array([user]))
    others = [i for i in range(world.data.n_items) if i != target and i not in seen]
    scores = world.victim.score(one, Slate(items=np.array(others, dtype=np.int64)))[0]
    return 1 + int((scores >= score).sum())


def eligible(world: World) -> list[int]:
    target = world.data.item_rows[world.target]
    return [q for q in range(len(world.panel)) if target not in world.panel.history(q)]


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_ranks_and_thresholds_equal_their_slow_twins(seed: int, k: int) -> None:
    world = random_world(np.random.default_rng(seed))
    view = ScoreView(desk(world, k=k))
    texts = [*world.data.items["title"].to_list(), "bababa", world.victim.words[0]]
    users = eligible(world)
    scores, ranks = view.scores(world.target, texts), view.ranks(world.target, texts)
    assert scores.shape == ranks.shape == (len(users), len(texts))
    for e, user in enumerate(users):
        assert ranks[e].tolist() == [slow_rank(world, user, s) for s in scores[e]]
        threshold = view.thresholds(world.target)[e]
        # At the threshold the target is not yet in the top k; just above it, it is.
        assert slow_rank(world, user, float(np.nextafter(threshold, np.inf))) <= k
        if np.isfinite(threshold):
            assert slow_rank(world, user, float(threshold)) > k
    own = view.ranks(world.target, [view.text(world.target)])[:, 0]
    assert np.array_equal(view.standing_ranks(world.target), own)
    kept = view.scores(world.target, [view.text(world.target)])[:, 0]
    assert np.array_equal(view.standing_scores(world.target), kept)


def test_ranks_on_paper() -> None:
    """User 3 has f already; 'moon river' ties with item b for users 1 and 2."""
    view = RankView(desk(planted_world()))
    assert view.standing_ranks("f").tolist() == [4, 4, 4]
    assert view.ranks("f", ["moon river", "velvet river", "moon"]).tolist() == [
        [1, 2, 1], [2, 3, 2], [2, 3, 2],
    ]  # fmt: skip


def test_public_knowledge() -> None:
    world = planted_world()
    view = RankView(desk(world))
    assert view.items["title"].to_list() == world.data.items["title"].to_list()
    assert view.popularity.tolist() == [3, 2, 1, 1, 1, 1]
    view.popularity[:] = 0
    assert world.data.counts.sum() == 9, "the world's counts were changed through a view"


def test_the_meter_counts_versions() -> None:
    view = ScoreView(desk(planted_world(), queries=6))
    assert (view.spent, view.left) == (0, 6)
    view.ranks("f", ["a", "b"])
    view.scores("f", ["a", "a"])  # asked before: a query all the same
    view.standing_ranks("f"), view.thresholds("f"), view.allows("f", ["x"]), view.text("f")
    view.scores("f", [])
    assert (view.spent, view.left) == (4, 2)
    with pytest.raises(FoulPlay, match="7 queries asked, budget 6"):
        view.ranks("f", ["a", "b", "c"])
    assert view.spent == 4, "a refused batch shows nothing and counts nothing"
    view.ranks("f", ["a", "b"])
    assert view.left == 0


def test_only_owned_items_can_be_submitted() -> None:
    view = GradientView(desk(planted_world()))
    for ask in (view.ranks, view.scores, view.gradient):
        with pytest.raises(FoulPlay, match="'a' is not the attacker's"):
            ask("a", "text")  # type: ignore[operator]


def test_a_view_has_nothing_beyond_its_grant() -> None:
    """Not merely refused: the member is not there."""
    world = planted_world()
    ranks, scores = RankView(desk(world)), ScoreView(desk(world))
    for name in ("scores", "standing_scores", "thresholds", "gradient"):
        assert not hasattr(ranks, name)
    assert not hasattr(scores, "gradient")
    assert not {"victim", "_victim", "desk", "_desk", "_scores"} & set(vars(ranks))


def test_gradient_is_the_mean_taste() -> None:
    """User 3 has the target and is not on the panel for it: scales 1, 2, 1."""
    world = planted_world()
    view = GradientView(desk(world))
    found = view.gradient("f", "moon plain")
    slope = world.victim.taste[:3].mean(axis=0)
    assert found.words == ("moon", "plain")
    assert np.allclose(found.gradient, [slope, slope])
    assert found.current.sum(axis=1).tolist() == [1, 1]
    assert view.spent == 1


def test_a_victim_without_gradients_grants_none() -> None:
    world = planted_world()

    class Opaque:
        items, score = world.victim.items, staticmethod(world.victim.score)

    blind = World(data=world.data, victim=Opaque(), panel=world.panel, target="f")  # type: ignore[arg-type]
    view = GradientView(desk(blind))
    with pytest.raises(Unsupported, match="grants no gradients"):
        view.gradient("f", "moon")


def test_scores_that_are_no_numbers_rank_last() -> None:
    world = planted_world()

    class Broken:
        items = world.victim.items

        def score(self, queries: Queries, slate: Slate) -> np.ndarray:
            scores = world.victim.score(queries, slate)
            return scores if slate.texts is None else scores * np.nan

    broken = World(data=world.data, victim=Broken(), panel=world.panel, target="f")  # type: ignore[arg-type]
    assert RankView(desk(broken)).ranks("f", ["moon"])[:, 0].tolist() == [4, 4, 4]


def test_panels_are_drawn_in_order_without_replacement() -> None:
    queries = Queries.of([[n] for n in range(20)], users=range(20))
    panel = sample_panel(queries, 8, np.random.default_rng(0))
    assert len(panel) == 8 and (np.diff(panel.users) > 0).all()
    assert panel.items.tolist() == panel.users.tolist()
    again = sample_panel(queries, 8, np.random.default_rng(0))
    assert again.fingerprint == panel.fingerprint
    assert sample_panel(queries, 99, np.random.default_rng(0)).fingerprint == queries.fingerprint
