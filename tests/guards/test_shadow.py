"""The shadow-ranking gate: exposures a person can count, and what is held."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.audits.exposures import observe
from hardrank.context import RunContext
from hardrank.data import Queries, Slate
from hardrank.errors import BundleError, DataError
from hardrank.guards.base import Listing, Shop
from hardrank.guards.exposure_view import ExposureView
from hardrank.guards.pipeline import Pipeline, load_pipeline
from hardrank.guards.shadow import (
    FittedShadowRanking,
    ShadowRanking,
    _ceiling,
    _margin,
)
from hardrank.models import Popularity, Tfidf
from hardrank.recommender import mask_seen
from hardrank.testing import dataset, planted_world, random_world
from hardrank.testing.logs import taste_log
from hardrank.testing.worlds import WordTaste, WordTasteModel
from hardrank.types import Scores

WORLD = planted_world()


def shop(data: Any, recommender: Any, queries: Queries | None = None) -> Shop:
    return Shop(
        items=data.items, counts=data.counts, recommender=recommender,
        queries=data.histories() if queries is None else queries,
    )  # fmt: skip


def planted(k: int = 2) -> ExposureView:
    return ExposureView.of(shop(WORLD.data, WORLD.victim), k, 100)


@lru_cache
def tasteful() -> tuple[Shop, FittedShadowRanking]:
    data = taste_log(users=90, items=60)
    found = shop(data, WordTasteModel().fit(data, RunContext()))
    return found, ShadowRanking(floor=0.0).fit_on(found)


def test_exposure_in_the_planted_world() -> None:
    """S0-29. Of the three users without f, 'moon river' enters the top 2 of all, 'velvet river'
    of the first alone: for the others it ties with d, and ties count against it."""
    texts = ("moon river", "velvet river", "plain dusty", "kettle kettle")
    found = planted().shown([Listing("f", {"title": t}) for t in texts])
    assert [s.after for s in found] == pytest.approx([1, 1 / 3, 0, 0])
    assert [s.before for s in found] == [0, 0, 0, 0]
    assert [s.read for s in found] == [True, True, False, True]


def test_a_new_item_is_scored_for_all_users_beside_all_items() -> None:
    """'velvet river' is listed for users 0 and 3; c, in whose place it is scored, competes."""
    view = planted()
    assert (view.stand_in, view.stand_in_events, view.reads) == (2, 1, ("title",))
    (found,) = view.shown([Listing("new", {"title": "velvet river"})])
    assert (found.before, found.after, found.read) == (0.0, 0.5, True)


def test_standing_exposure_is_what_the_audit_counts() -> None:
    """The audit sorts the whole catalogue; here two scores of each list are kept."""
    for seed in range(40):
        world = random_world(np.random.default_rng(seed))
        n, k = world.data.n_items, 1 + seed % 4
        rng = np.random.default_rng(seed)
        rows = rng.integers(0, n, size=5)
        texts = tuple(" ".join(rng.choice(world.victim.words, size=3)) for _ in rows)
        after = world.victim.score(world.panel, Slate(items=rows, texts=texts))
        slow = observe(
            world.victim, world.panel, rows, after, changed=np.ones(5, dtype=bool), k=k
        )  # fmt: skip
        view = ExposureView.of(shop(world.data, world.victim), k, 100)
        names = world.data.items["item_id"].gather(rows).to_list()
        found = view.shown(
            [Listing(i, {"title": t}) for i, t in zip(names, texts, strict=True)]
        )  # fmt: skip
        wanted = [np.nan_to_num(e).tolist() for e in (slow.er_before, slow.er_after)]
        assert [s.before for s in found] == pytest.approx(wanted[0])
        assert [s.after if s.read else s.before for s in found] == pytest.approx(wanted[1])


def branded() -> tuple[Any, Any]:
    data = dataset(
        ["red lamp", "blue lamp", "red chair", "blue chair", "old vase", "old rug"],
        [[0, 2], [1, 3], [0], [4]],
    )
    brands = pl.Series("brand", ["acme", "bolt", "acme", "bolt", "cosy", "cosy"])
    data = replace(data, items=data.items.with_columns(brands, pl.lit("x").alias("note")))
    return data, Tfidf(fields=("title", "brand")).fit(data, RunContext())


def test_a_listing_that_changes_two_columns() -> None:
    """Equal to what a recommender over the rewritten catalogue lists."""
    data, model = branded()
    view = ExposureView.of(shop(data, model), 1, 100)
    assert view.reads == ("title", "brand")
    (found,) = view.shown([Listing("f", {"title": "red lamp", "brand": "acme", "note": "y"})])
    titles, brands = data.items["title"].to_list(), data.items["brand"].to_list()
    titles[5], brands[5] = "red lamp", "acme"
    live = model.on(data.items.with_columns(title=pl.Series(titles), brand=pl.Series(brands)))
    tops = live.top(data.histories(), 1)[:, 0]
    assert found.after == float((tops == 5).mean()) == 0.5
    (new,) = view.shown([Listing("new", {"title": "old"})])
    assert new.after == 0.0  # it has no brand; with that of f, in whose place it stands: 0.25


@dataclass(frozen=True, eq=False, kw_only=True)
class Known(WordTaste):
    """A model with ids inside: an item scores its events, too."""

    counts_of: Any

    def score(self, queries: Queries, slate: Slate) -> Scores:
        earned = np.asarray(self.counts_of, dtype=np.float32)[slate.items]
        return super().score(queries, slate) + 10 * earned


def test_what_stands_in_for_a_new_item_is_said() -> None:
    victim = Known(
        items=WORLD.data.items, words=WORLD.victim.words, taste=WORLD.victim.taste,
        counts_of=WORLD.data.counts,
    )  # fmt: skip
    gate = fixed(0.0)
    asked = [Listing("new", {"title": "moon moon moon"})]
    (verdict,) = gate.inspect(asked, shop(WORLD.data, victim))
    assert verdict.reason.endswith("(scored in the place of one with 1 events)")
    cold = shop(WORLD.data, WORLD.victim)
    cold = replace(cold, counts=np.array([3, 2, 1, 1, 1, 0]))
    assert gate.inspect(asked, cold)[0].reason == (
        "if this goes live, ER@2 moves from 0.000 to 1.000; at most 0.000 is usual for a new item"
    )


def fixed(level: float, *, rise: float = 1.0, **options: Any) -> FittedShadowRanking:
    spec = ShadowRanking(k=2, **({"floor": 0.0} | options))
    return FittedShadowRanking(
        spec=spec, knots=np.zeros(1), levels=np.array([level]), newcomer=level, rise=rise
    )


def test_the_verdict_and_its_reason() -> None:
    """Above the limit is held, the limit itself is not; the score is a half there."""
    there = shop(WORLD.data, WORLD.victim)
    asked = [Listing("f", {"title": t}, events=1) for t in ("moon river", "velvet river")]
    high, low = fixed(1 / 3).inspect(asked, there)
    assert (high.action, high.guard, high.score) == ("quarantine", "shadow-ranking", 0.75)
    assert high.reason == (
        "if this goes live, ER@2 moves from 0.000 to 1.000; "
        "at most 0.333 is usual for a rewrite of an item with 1 events"
    )
    assert (low.action, low.score) == ("admit", 0.5)
    assert low.reason == "if this goes live, ER@2 moves from 0.000 to 0.333"
    assert [v.action for v in fixed(0.0, floor=0.34).inspect(asked, there)] == [
        "quarantine", "admit"
    ]  # fmt: skip
    # no edit brings a rise of a third, whatever is usual for the item
    assert fixed(1.0, rise=0.3).inspect(asked, there)[1].action == "quarantine"
    # b is listed for both who have not seen it: it may be rewritten into as much
    again = [Listing("b", {"title": "moon velvet"}, events=2)]
    assert fixed(0.0).inspect(again, there)[0].action == "admit"


def test_a_rewrite_that_stuffs_the_users_words_is_held() -> None:
    """S0-29. i59 has hardly an event; with the digits of all groups it would be everybody's."""
    there, gate = tasteful()
    asked = Listing("i59", {"title": "group 0 group 1 group 2 thing 0 1 2"}, events=1)
    mild = Listing("i59", {"title": "group 2 thing new"}, events=1)
    (held,), (fine,) = gate.inspect([asked], there), gate.inspect([mild], there)
    assert held.action == "quarantine" and held.score > 0.5
    assert held.reason.startswith("if this goes live, ER@10 moves from 0.111 to 1.000; at most 0.1")
    assert held.reason.endswith(" is usual for a rewrite of an item with 1 events")
    assert fine.action == "admit"
    assert gate.inspect([asked, mild, asked], there) == [held, fine, held]


def test_few_of_the_catalogues_own_items_would_be_held() -> None:
    """S0-29: the false alarms asked for, on items that the ceiling has not seen."""
    rng = np.random.default_rng(0)
    events = rng.geometric(0.05, size=4000).astype(float)
    exposure = rng.exponential(0.001 * events) * (rng.random(4000) < 0.5)
    earned = np.log1p(events)
    held = []
    for alarms in (0.01, 0.05):
        knots, levels = _ceiling(earned[:2000], exposure[:2000], 1e-3)
        levels = levels * _margin(earned[:2000], exposure[:2000], 1e-3, alarms)
        assert (np.diff(levels) >= 0).all() and (np.diff(knots) > 0).all()
        held.append((exposure[2000:] > np.interp(earned[2000:], knots, levels)).mean())
    assert 0.004 <= held[0] <= 0.018 and 0.03 <= held[1] <= 0.07


def test_new_items_pass_and_a_new_copy_of_a_bestseller_does_not() -> None:
    """The copy would also go to all who bought the bestseller, which its own text never does."""
    there, gate = tasteful()
    asked = [Listing(f"new{n}", {"title": f"group {n % 3} thing {60 + n}"}) for n in range(30)]
    assert {v.action for v in gate.inspect(asked, there)} == {"admit"}
    (copy,) = gate.inspect([Listing("new", {"title": there.items["title"][0]})], there)
    assert copy.action == "quarantine"


def test_restore_is_the_inverse_of_arrays(tmp_path: Path) -> None:
    there, gate = tasteful()
    again = gate.spec.restore(gate.arrays())
    Pipeline((gate,)).save(tmp_path / "guards")
    kept = load_pipeline(tmp_path / "guards")
    asked = [Listing("i5", {"title": "group 1 group 1"}, events=3), Listing("n", {"title": "0 1"})]
    wanted = gate.inspect(asked, there)
    assert again.inspect(asked, there) == kept.inspect(asked, there) == wanted
    with pytest.raises(BundleError, match="'levels' is missing"):
        gate.spec.restore({"knots": np.zeros(1), "newcomer": np.zeros(1), "rise": np.zeros(1)})
    with pytest.raises(BundleError, match="1 knots, 2 levels"):
        gate.spec.restore({**gate.arrays(), "knots": np.zeros(1), "levels": np.zeros(2)})


def test_nothing_is_judged_without_a_model_or_users() -> None:
    bare = Shop(items=WORLD.data.items)
    empty = replace(shop(WORLD.data, WORLD.victim), queries=Queries.of([]))
    for there in (bare, empty):
        (verdict,) = fixed(0.0).inspect([Listing("f", {"title": "moon"})], there)
        assert (verdict.action, verdict.reason) == (
            "admit", "not judged: no live model or no users yet"
        )  # fmt: skip
    with pytest.raises(DataError, match="a sample of users"):
        ShadowRanking().fit_on(bare)
    with pytest.raises(DataError, match="6 items are too few"):
        ShadowRanking().fit_on(shop(WORLD.data, WORLD.victim))
    other = replace(shop(WORLD.data, WORLD.victim), items=WORLD.data.items.reverse())
    with pytest.raises(DataError, match="another catalogue"):
        fixed(0.0).inspect([Listing("f", {"title": "moon"})], other)


def test_a_model_that_reads_no_text_has_nothing_to_fear() -> None:
    there = shop(WORLD.data, Popularity().fit(WORLD.data, RunContext()))
    (verdict,) = fixed(0.0).inspect([Listing("f", {"title": "moon"})], there)
    assert (verdict.action, verdict.score) == ("admit", 0.0)
    assert verdict.reason == "nothing changes that the live model reads"


def test_doors_are_those_of_whole_lists() -> None:
    """Slow twin: sort each list."""
    world = random_world(np.random.default_rng(3))
    view = ExposureView.of(shop(world.data, world.victim), 2, 100)
    whole = world.victim.score(world.panel, Slate(items=np.arange(world.data.n_items)))
    lists = -np.sort(-mask_seen(whole.copy(), world.panel), axis=1)
    padded = np.pad(lists, ((0, 0), (0, 3)), constant_values=-np.inf)
    assert view.kth.tolist() == padded[:, 1].tolist()
    assert view.following.tolist() == padded[:, 2].tolist()
