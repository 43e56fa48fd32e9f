"""Who is new to a champion, and on whose events quality is measured (S3-21)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.experiment.test_retrain import DAY, TARGET, Shop, World, as_events, champion, filled

from hardrank.bundle import load_bundle
from hardrank.data import AddProfile, Dataset
from hardrank.experiment.retrain_log import Merged, merged, read_events
from hardrank.experiment.retrain_spec import Retraining, Screen
from hardrank.experiment.retrain_split import cut
from hardrank.serve.records import EventIn
from hardrank.serve.store import Store
from hardrank.testing.logs import taste_log


def warmed(old: Dataset, fakes: Sequence[AddProfile], events: int) -> tuple[Dataset, list[EventIn]]:
    """The champion's log with the first events of every fake user on popular items, and what
    these users do then."""
    names = [fake.user_id for fake in fakes]
    users = pl.concat([old.users, pl.DataFrame({"user_id": names})])
    rows = [
        {"user": old.n_users + k, "item": (k + n) % 20, "time": DAY - 86_400 * (k + 2) + n,
         "rating": None, "weight": 1.0}
        for k in range(len(fakes)) for n in range(events)
    ]  # fmt: skip
    more = pl.DataFrame(rows, schema=old.events.schema)
    return replace(old, users=users, events=pl.concat([old.events, more])), as_events(fakes)


@pytest.mark.parametrize(("kind", "seed", "events"), [("segment", 0, 1), ("popular-fillers", 1, 1),
                                                      ("segment", 2, 5)])  # fmt: skip
def test_accounts_that_were_warmed_up_are_new_ones(
    tmp_path: Path, kind: str, seed: int, events: int
) -> None:
    """S3-21: one trained event before the champion, and the push afterwards: the target is named
    without a screen, and no other item."""
    world = World.of(seed)
    old, pushes = warmed(world.old, world.fakes(kind, seed), events)
    shop = Shop.of(tmp_path, replace(world, old=old))
    assert set(load_bundle(shop.first).histories) > {e.user_id for e in pushes}
    shop.store.add_events(pushes)
    done = shop.retrain()
    (reason,) = done.verdict.decision.reasons
    assert reason.startswith(f"item '{TARGET}' would be in ")


def log_of(folder: Path, old: Dataset, events: Sequence[EventIn]) -> Merged:
    first = load_bundle(champion(folder / "first", World(old, old)))
    store = Store.open(folder / "s.db")
    store.add_events(events)
    spec = Retraining(champion="x", screen=Screen(detector="none"))
    return merged(spec, first, read_events(store), store, 0)


def test_a_newcomer_did_most_after_the_champion(tmp_path: Path) -> None:
    """Half of the events is not most of them, three of five are: the day after the champion was
    trained, when most accounts did nothing since."""
    world = World.of(users=60, items=45)
    place = np.arange(world.old.n_events) - world.old.offsets[world.old.events["user"]]
    old = world.old.where((pl.col("user") >= 3) | pl.Series(place < 2))
    fresh = [
        i for i in world.old.items["item_id"] if i not in old.items["item_id"][old.event_items]
    ]
    events = [
        EventIn(f"{user}-{n}", user, fresh[n], DAY + n)
        for user, size in (("u0", 2), ("u1", 3), ("late", 1))
        for n in range(size)
    ]
    log = log_of(tmp_path, old, events)
    who = set(log.data.users["user_id"].filter(pl.Series(log.newcomers)))
    assert who == {"u1", "late"}


def test_where_the_champion_is_old_new_is_who_did_more_than_others(tmp_path: Path) -> None:
    """Everybody did 60 % of what they did since: no newcomer for that. Beyond 80 % is one."""
    old = taste_log(users=10, items=45, events=8, ratings=False)
    first = pl.Series(np.arange(old.n_events) - old.offsets[old.events["user"]] < 4)
    old = old.where(first)
    events = [
        EventIn(f"{user}-{n}", user, item, DAY + n)
        for user in old.users["user_id"]
        for n, item in enumerate(unseen(old, user)[: 18 if user == "u3" else 6])
    ]
    log = log_of(tmp_path, old, events)
    assert (log.data.counts.sum(), log.new.sum()) == (40 + 72, 72)
    assert log.data.users["user_id"].filter(pl.Series(log.newcomers)).to_list() == ["u3"]


def unseen(log: Dataset, user: str) -> list[str]:
    row = log.user_rows[user]
    seen = log.event_items[log.offsets[row] : log.offsets[row + 1]].tolist()
    return [item for n, item in enumerate(log.items["item_id"]) if n not in seen]


@pytest.mark.parametrize("events", [0, 1])
def test_an_old_champion_does_not_hide_a_push(tmp_path: Path, events: int) -> None:
    """S3-21: three events of five came since, of everybody. The target is named all the same,
    be its accounts new or warmed up."""
    whole = taste_log(users=600, items=200, events=14, ratings=False)
    past = (DAY - 80 * 86_400) + 40 * 86_400
    new = whole.where(pl.col("time") >= past)
    world = World(whole.where(pl.col("time") < past), new)
    fakes = world.fakes("segment")
    pushes = as_events(fakes)
    if events:
        old, pushes = warmed(world.old, fakes, events)
        world = replace(world, old=old)
    first = champion(tmp_path / "bundles" / "first", world)
    users, items = new.users["user_id"], new.items["item_id"]
    arrived = [
        EventIn(f"e{n}", users[u], items[i], t)
        for n, (u, i, t) in enumerate(new.events.select("user", "item", "time").rows())
    ]
    pushes = [replace(e, time=e.time - 40 * 86_400) for e in pushes]
    done = Shop(tmp_path, world, filled(tmp_path / "s.db", [*arrived, *pushes]), first).retrain()
    named = [r.split("'")[1] for r in done.verdict.decision.reasons]
    assert named == [TARGET, "i68"]  # and an item that every one of the profiles leans on


def test_a_flood_of_newcomers_leaves_known_users_to_measure_on(tmp_path: Path) -> None:
    """Newest of all, and five times as many as everybody else's: were the newest fifth held out
    whoever did it, no known user would be asked."""
    world = World.of(users=150, items=60)
    flood = [
        EventIn(f"f{k}-{n}", f"fake{k}", f"i{n}", DAY + 90 * 86_400 + 60 * n + k)
        for k in range(60) for n in range(30)
    ]  # fmt: skip
    arrived = world.arrived()
    log = log_of(tmp_path, world.old, [*arrived, *flood])
    parts = cut(log, Retraining(champion="x"))
    known = ~log.newcomers[parts.test.queries.users]
    assert known.sum() >= 30 and (~known).sum() >= 30
    assert parts.learned.sum() == parts.train.n_events
    fakes = log.data.users["user_id"].str.starts_with("fake").to_numpy()
    held = ~parts.learned & log.fresh
    shares = [held[part].sum() / part.sum() for part in (log.fresh & fakes[log.owners],)]
    assert 0.15 < shares[0] < 0.35


def test_unflagged_fakes_do_not_decide_on_quality(tmp_path: Path) -> None:
    """The poisoned day without a screen: fakes' next events are asked, shown, and left out of
    what decides."""
    world = World.of()
    fakes = world.fakes("segment")
    done = Shop.of(tmp_path, world, fakes=fakes).retrain()
    quality = done.verdict.facts["quality"]
    assert quality["decides"] == "known"
    assert quality["all"]["queries"] >= quality["known"]["queries"] + len(fakes) / 2
    assert done.challenger.queries == quality["known"]["queries"] == len(done.champion.gains)
    assert done.challenger.ndcg == quality["known"]["challenger"]
    assert any("all users" in line for line in done.lines())
    assert "that of users known from before decides" in (done.bundle / "report.html").read_text()
