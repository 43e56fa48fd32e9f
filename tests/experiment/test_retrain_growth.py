"""A cap on what new accounts teach a challenger about one item (S3-21, C7)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.experiment.test_retrain import DAY, TARGET, Shop, World, as_events
from tests.experiment.test_retrain_newcomers import warmed
from typer.testing import CliRunner

from hardrank.bundle import load_bundle
from hardrank.cli.main import app
from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset
from hardrank.data.growth import allowed
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.retrain import Retrained, retrain, work_folder
from hardrank.experiment.retrain_growth import Grown, grown
from hardrank.experiment.retrain_log import Merged, merged, read_events
from hardrank.experiment.retrain_spec import Growth, Retraining, Screen, parse_retraining
from hardrank.experiment.retrain_split import Cut, cut
from hardrank.guards.base import admit
from hardrank.models import ItemKnn
from hardrank.reports.retraining_growth import growth_section
from hardrank.serve.lifecycle import Floors
from hardrank.serve.records import EventIn
from hardrank.types import Floats

CAP = Growth()
EASY = Floors(quality_loss=1.0, quality_worst=1.0, exposure_factor=0)


@cache
def day(kind: str = "segment", seed: int = 0) -> tuple[World, Sequence[AddProfile]]:
    world = World.of(seed)
    return world, world.fakes(kind, seed)


def log_of(shop: Shop) -> tuple[Merged, Cut, pl.Series]:
    """The merged log, its parts, and the items that the champion has."""
    first = load_bundle(shop.first)
    spec = Retraining(champion="x", screen=Screen(detector="none"))
    log = merged(spec, first, read_events(shop.store), shop.store, 0)
    return log, cut(log, spec), first.recommender.items["item_id"]


def held_back(shop: Shop, growth: Growth = CAP, seed: int = 0) -> Grown:
    log, parts, had = log_of(shop)
    return grown(growth, log, parts, had, seed)


def next_one(shop: Shop, before: Retrained, name: str, **asked: object) -> Retrained:
    """Retrained from `before`, on what honest users did since."""
    store = shop.store
    users = shop.world.old.users["user_id"].to_list()
    read = before.verdict.facts["read"]
    rows = [
        EventIn(f"{name}-{n}", users[n % 500], f"i{(n + read) % 40}", DAY + 60 * 86_400 + n)
        for n in range(150)
    ]
    store.add_events(rows)
    screen = Screen(detector="none")
    spec = Retraining(champion=str(before.bundle), screen=screen, **asked)  # type: ignore[arg-type]
    return retrain(spec, shop.folder / "bundles" / name, store, RunContext())


def same(one: Retrained, other: Retrained) -> bool:
    a, b = (load_bundle(d.bundle).recommender.arrays() for d in (one, other))
    return all(np.array_equal(a[name], b[name]) for name in a)


# A poisoned day, a clean one


@pytest.mark.parametrize(("kind", "seed"), [("segment", 0), ("popular-fillers", 1)])
def test_with_the_cap_a_poisoned_day_is_promoted_without_the_target(
    tmp_path: Path, kind: str, seed: int
) -> None:
    """S3-21, C7: nobody is screened. Without the cap the target is named and the challenger
    refused; with it the target is in 0.5 % of the lists at most, in none at the champion, and
    hardly anything else is cut."""
    world, fakes = day(kind, seed)
    shop = Shop.of(tmp_path, world, fakes=fakes)
    open_, capped = shop.retrain(), shop.retrain("capped", growth=CAP)
    assert not open_.verdict.decision.promote and open_.challenger.exposure[TARGET] > 0.03
    assert capped.verdict.decision.promote, capped.verdict.decision.reasons
    assert capped.challenger.exposure[TARGET] < 0.005 and capped.champion.exposure[TARGET] == 0
    assert capped.grown is not None and open_.grown is None
    first = capped.grown.items.row(0, named=True)
    assert first["item_id"] == TARGET and first["cut"] >= 7 and not first["fresh"]
    assert first["given"] - first["cut"] <= first["allowed"]
    assert capped.grown.facts["cut"] - first["cut"] <= 2


def test_with_the_cap_warmed_up_accounts_gain_nothing(tmp_path: Path) -> None:
    """Fourteen trained events each, a third of all they do: they are newcomers all the same."""
    world, fakes = day()
    old, pushes = warmed(world.old, fakes, 14)
    shop = Shop.of(tmp_path, replace(world, old=old))
    shop.store.add_events(pushes)
    assert shop.retrain().challenger.exposure[TARGET] > 0.02
    done = shop.retrain("capped", growth=CAP)
    assert done.verdict.decision.promote and done.challenger.exposure[TARGET] < 0.005


@pytest.mark.parametrize("seed", [0, 1])
def test_a_clean_day_loses_next_to_nothing(tmp_path: Path, seed: int) -> None:
    """At most one honest event of 500 is cut, and the decision stays."""
    shop = Shop.of(tmp_path, World.of(seed))
    open_, capped = shop.retrain(), shop.retrain("capped", growth=CAP)
    assert capped.grown is not None and capped.grown.facts["given"] > 600
    assert capped.grown.facts["cut"] <= capped.grown.facts["given"] / 500
    assert capped.verdict.decision == open_.verdict.decision
    if not capped.grown.facts["cut"]:
        assert same(open_, capped)


# What is cut


def test_only_new_events_of_newcomers_are_cut(tmp_path: Path) -> None:
    """Of no earlier user, and nothing that the champion learned from: no event of its log, be it
    of an account that was warmed up. Without slack, where most is cut."""
    world, fakes = day()
    old, pushes = warmed(world.old, fakes, 5)
    shop = Shop.of(tmp_path, replace(world, old=old))
    shop.store.add_events(pushes)
    log, parts, _ = log_of(shop)
    found = held_back(shop, Growth(slack=0.0))
    gone = parts.learned & ~found.parts.learned
    assert gone.sum() == found.facts["cut"] == found.events.height > 50
    assert (log.new & log.newcomers[log.owners])[gone].all()
    assert (log.sequence[gone] > 0).all() and (found.events["sequence"] > 0).all()
    assert found.parts.train.n_events == parts.train.n_events - gone.sum()
    assert len(found.parts.test) == len(parts.test) and len(found.parts.valid) == len(parts.valid)
    names = {fake.user_id for fake in fakes}
    assert set(found.events["user_id"]) & names  # and their older events are all there
    mine = np.isin(log.owners, [log.data.user_rows[u] for u in names]) & (log.sequence == 0)
    assert mine.sum() == 5 * len(names) and found.parts.learned[mine & parts.learned].all()


@pytest.mark.parametrize("slack", [0.0, 1.0])
def test_every_item_keeps_what_it_is_allowed(tmp_path: Path, slack: float) -> None:
    """Counted from the log, as if each event had a user of its own: what everybody else gave,
    and newcomers before, sets the cap; no item keeps more of what is new, nor less where it has
    so many."""
    world, fakes = day()
    shop = Shop.of(tmp_path, world, fakes=fakes)
    log, parts, _ = log_of(shop)
    found = held_back(shop, Growth(slack=slack))
    train, size = parts.train, log.data.n_items
    new = (log.new & log.newcomers[log.owners])[parts.learned]
    alone = replace(
        train,
        users=pl.DataFrame({"user_id": [str(n) for n in range(train.n_events)]}),
        events=train.events.with_columns(user=pl.int_range(train.n_events, dtype=pl.Int32)),
    )
    most = allowed(alone, new, slack)
    given = np.bincount(train.event_items[new], minlength=size)
    kept = given - np.bincount(
        log.data.event_items[parts.learned & ~found.parts.learned], minlength=size
    )
    assert np.array_equal(kept, np.minimum(given, most))
    rows = {row["item_id"]: row for row in found.items.to_dicts()}
    for n, item in enumerate(log.data.items["item_id"]):
        if kept[n] < given[n]:
            row = rows.pop(item)
            assert (row["given"], row["allowed"], row["cut"]) == (
                given[n], most[n], given[n] - kept[n],
            )  # fmt: skip
            assert row["earlier"] == (train.event_items[~new] == n).sum()
    assert not rows and found.items["cut"].is_sorted(descending=True)


def test_the_run_folder_lists_what_was_cut(tmp_path: Path) -> None:
    """Items with what they were given and allowed, and each event with its user; the decision
    counts them, and neither it nor the page names a user."""
    world, fakes = day()
    done = Shop.of(tmp_path, world, fakes=fakes).retrain(growth=CAP)
    assert done.grown is not None
    items = pl.read_parquet(done.work / "growth.parquet")
    events = pl.read_parquet(done.work / "growth-events.parquet")
    assert items.equals(done.grown.items) and events.equals(done.grown.events)
    assert items["cut"].sum() == events.height == done.verdict.facts["growth"]["cut"]
    pushed = events.filter(pl.col("item_id") == TARGET)["user_id"]
    assert pushed.len() == items.row(0, named=True)["cut"]
    assert set(pushed) <= {fake.user_id for fake in fakes}
    about = load_bundle(done.bundle).about["retraining"]
    assert about["growth"]["most"][0]["item_id"] == TARGET
    assert about["left_out"] == events["sequence"].to_list()
    assert about["config"]["growth"]["slack"] == 3.0
    first = items.row(0, named=True)
    said = f"'{TARGET}' {first['cut']} of {first['given']}"
    assert any(said in line for line in done.lines())
    written = (done.bundle / "spec.json").read_text() + (done.bundle / "report.html").read_text()
    assert not [u for u in events["user_id"] if f'"{u}"' in written or f">{u}<" in written]


# The next retraining


def test_what_was_cut_stays_out_of_the_next_retraining(tmp_path: Path) -> None:
    """Its accounts are old ones by then, and the store still has the events: without memory the
    cap would only put a push off by a day. Naming the item brings them back."""
    world, fakes = day()
    shop = Shop.of(tmp_path, world, fakes=fakes)
    done = shop.retrain(growth=CAP)
    out = set(done.verdict.facts["left_out"])
    again = next_one(shop, done, "third", growth=CAP)
    assert again.grown is not None and again.grown.facts["cut_before"] == len(out) > 0
    assert out <= set(again.verdict.facts["left_out"])
    assert again.challenger.exposure[TARGET] < 0.01
    assert any("stay out" in line for line in again.lines())
    row = again.grown.items.filter(pl.col("item_id") == TARGET).row(0, named=True)
    assert done.grown is not None and row["cut_before"] == done.grown.items["cut"][0]
    fourth = next_one(shop, again, "fourth", growth=Growth(except_items=(TARGET,)))
    assert not out & set(fourth.verdict.facts["left_out"])
    assert fourth.challenger.exposure[TARGET] > 0.02
    assert any(r.startswith(f"item '{TARGET}'") for r in fourth.verdict.decision.reasons)


def test_a_retraining_without_the_cap_takes_them_for_new(tmp_path: Path) -> None:
    """They come back, and the comparison without new accounts is without them: it is named."""
    world, fakes = day()
    shop = Shop.of(tmp_path, world, fakes=fakes)
    done = shop.retrain(growth=CAP)
    again = next_one(shop, done, "third")
    assert again.verdict.facts["left_out"] == [] and again.verdict.facts["growth"] is None
    assert any(r.startswith(f"item '{TARGET}'") for r in again.verdict.decision.reasons)


def test_quarantine_does_not_make_it_forget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose event was cut is flagged the next day and admitted later: it is out all the while."""
    world, fakes = day()
    shop = Shop.of(tmp_path, world, fakes=fakes)
    done = shop.retrain(growth=CAP)
    names = [fake.user_id for fake in fakes]

    def seen(data: Dataset) -> Floats:
        bad = data.users["user_id"].is_in(names).to_numpy().astype(np.float32)
        return np.where(np.diff(data.offsets) > 0, bad, np.float32("nan"))

    monkeypatch.setattr(
        "hardrank.experiment.retrain_screen.detector_of",
        lambda _: seen,
    )
    asked = {"screen": Screen(detector="duplicates"), "growth": CAP, "floors": EASY}
    spec = Retraining(champion=str(done.bundle), **asked)  # type: ignore[arg-type]
    shop.store.add_events([EventIn(f"h{n}", f"u{n}", f"i{n % 40}", DAY * 2) for n in range(60)])
    again = retrain(spec, shop.folder / "bundles" / "third", shop.store, RunContext())
    assert again.screened.flagged.height == len(names)
    assert set(done.verdict.facts["left_out"]) <= set(again.verdict.facts["left_out"])


# Launches


def launched(folder: Path, users: Sequence[str]) -> Shop:
    """An item that the champion does not have, and whoever touched it."""
    world = World.of(users=300, items=90)
    shop = Shop.of(folder, world)
    shop.store.put_items([("hit", {"title": "group 0 thing new"}, admit("test"))])
    shop.store.add_events([EventIn(f"h-{u}", u, "hit", DAY + 5) for u in users])
    return shop


def test_a_launch_that_new_accounts_alone_like_is_cut_unless_exempt(tmp_path: Path) -> None:
    """The cap cannot tell it from a push; exempt, all is there."""
    shop = launched(tmp_path, [f"u{n}" for n in range(270, 300)])
    (row,) = held_back(shop).items.filter(pl.col("item_id") == "hit").to_dicts()
    assert row["fresh"] and row["earlier"] == 0 and row["cut"] >= row["given"] - 5 > 15
    either = Growth(except_new_items=True, except_items=("i0",))
    assert held_back(shop, either).facts["exempt"] > row["given"]
    for growth in (Growth(except_new_items=True), Growth(except_items=("hit",))):
        found = held_back(shop, growth)
        assert "hit" not in found.items["item_id"].to_list()
        assert found.facts["exempt"] == row["given"]
        assert any("exempt" in line for line in found.said())
    # an item that the champion has is not new, be it without any event
    assert not held_back(shop, Growth(except_new_items=True, slack=0.0)).items["fresh"].any()
    done = shop.retrain(growth=Growth(except_new_items=True))
    assert "not held back by the cap" in (done.bundle / "report.html").read_text()


def test_an_exempt_item_is_compared_all_the_same(tmp_path: Path) -> None:
    """The second line holds: the training without new accounts names it."""
    world, fakes = day()
    shop = Shop.of(tmp_path, world, fakes=fakes)
    done = shop.retrain(growth=Growth(except_items=(TARGET,)))
    (reason,) = done.verdict.decision.reasons
    assert reason.startswith(f"item '{TARGET}' would be in ")


def test_a_launch_that_earlier_users_like_too_keeps_nearly_all(tmp_path: Path) -> None:
    """What they do the same day raises the cap."""
    shop = launched(tmp_path, [f"u{n}" for n in range(0, 300, 3)])
    found = held_back(shop)
    assert found.items.filter(pl.col("item_id") == "hit")["cut"].sum() == 0
    done = shop.retrain(growth=CAP)
    assert done.challenger.exposure["hit"] > 0.1 and done.verdict.decision.promote


def test_exempt_items_do_not_raise_the_cap_of_others(tmp_path: Path) -> None:
    """Else whoever floods one item that is exempt is allowed more on another."""
    world, fakes = day()
    shop = Shop.of(tmp_path, world, fakes=fakes)
    log, parts, had = log_of(shop)
    before = held_back(shop, Growth(slack=0.0))
    busiest = before.items["item_id"][0]
    found = held_back(shop, Growth(slack=0.0, except_items=(busiest,)))
    theirs = log.doubtful & (log.data.event_items == log.data.item_rows[busiest])
    rest = parts.learned & ~theirs  # as if nobody new had touched it
    without = replace(parts, train=log.data.where(pl.Series(rest)), learned=rest)
    assert found.items.equals(grown(Growth(slack=0.0), log, without, had, 0).items)
    both = before.items.join(found.items, on="item_id", suffix="_after")
    assert both.height > 5 and (both["allowed_after"] <= both["allowed"]).all()


# Again, and mistakes


def test_the_same_seed_cuts_the_same_events(tmp_path: Path) -> None:
    world, fakes = day()
    shop = Shop.of(tmp_path, world, fakes=fakes)
    one, two, other = (held_back(shop, Growth(slack=0.0), seed=seed) for seed in (0, 0, 1))
    assert one.events.equals(two.events) and one.items.equals(two.items)
    assert one.items.equals(other.items) and not one.events.equals(other.events)


def test_killed_in_training_and_run_again_it_cuts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events that came in between are not read, so nobody's cap moves."""
    world, fakes = day()
    calm = Shop.of(tmp_path / "calm", world, fakes=fakes).retrain(growth=CAP)
    shop = Shop.of(tmp_path / "killed", world, fakes=fakes)
    with monkeypatch.context() as patch:
        patch.setattr(ItemKnn, "fit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            shop.retrain(growth=CAP)
    assert (work_folder(shop.folder / "bundles" / "second") / "growth.parquet").is_file()
    late = [
        replace(e, event_id=f"l{e.event_id}", user_id=f"l{e.user_id}") for e in as_events(fakes)
    ]
    shop.store.add_events(late)
    done = shop.retrain(growth=CAP)
    assert calm.grown is not None and done.grown is not None
    assert done.grown.events.equals(calm.grown.events) and same(calm, done)
    assert done.verdict.facts["growth"] == calm.verdict.facts["growth"]


def test_a_table_of_a_killed_run_does_not_outlive_its_cap(tmp_path: Path) -> None:
    shop = Shop.of(tmp_path, World.of(users=150, items=60))
    held_back(shop, Growth(slack=0.0)).save(work := work_folder(tmp_path / "bundles" / "second"))
    assert len(list(work.glob("growth*"))) == 2
    assert not list(shop.retrain().work.glob("growth*"))


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("growth", "said"),
    [
        ({"slac": 3.0}, "growth.slac: unknown key; did you mean 'slack'?"),
        ({"slack": -1.0}, "growth.slack: must be at least 0 (is -1.0)"),
        ({"slack": "much"}, "growth.slack: must be a number"),
        (3.0, "growth: must be a table"),
        ({"except_items": "hit"}, "growth.except_items: must be a list"),
        ({"except_new_items": 1}, "growth.except_new_items: must be true or false"),
        ({"newcomers": 0.2}, "growth.newcomers: unknown key"),
    ],
)
def test_a_mistaken_key_is_refused_with_what_is_allowed(growth: object, said: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_retraining({"champion": "x", "growth": growth})
    (mistake,) = told.value.mistakes
    assert mistake.startswith(said)


def test_an_exempt_item_that_is_not_there_is_told(tmp_path: Path) -> None:
    shop = Shop.of(tmp_path, World.of(users=150, items=60))
    with pytest.raises(DataError, match=r"no item 'ihit'.*ids of items that are live"):
        shop.retrain(growth=Growth(except_items=("i3", "ihit")))
    assert not (tmp_path / "bundles" / "second").exists()


def test_check_reads_the_key_and_does_nothing(tmp_path: Path) -> None:
    file, out = tmp_path / "r.toml", tmp_path / "second"
    for growth, code, said in (("slack = 2", 0, "fine"), ("slak = 2", 2, "did you mean 'slack'")):
        file.write_text(f'champion = "x"\n[growth]\n{growth}\n')
        told = CliRunner().invoke(app, ["retrain", str(file), "-o", str(out), "--check"])
        assert told.exit_code == code and said in told.output
    assert not list(tmp_path.glob("second*"))


# The page


def test_the_page_says_that_it_may_be_a_hit(tmp_path: Path) -> None:
    world, fakes = day()
    done = Shop.of(tmp_path, world, fakes=fakes).retrain(growth=CAP)
    page = (done.bundle / "report.html").read_text()
    assert done.grown is not None
    numbers = done.grown.items.row(0)[2:]  # of the target
    cells = "".join(f'<td class="num">{n}</td>' for n in numbers)
    assert f'<th scope="row">{TARGET}</th>{cells}' in page
    assert "may be pushed, and it may be a hit" in page and "growth.except_items" in page
    plain = Shop.of(tmp_path / "plain", World.of(users=150, items=60)).retrain()
    assert 'id="growth"' not in (plain.bundle / "report.html").read_text()


def test_the_page_lists_ten_items_and_counts_the_rest() -> None:
    row = {"item_id": "<b>x</b>", "fresh": True, "earlier": 0, "given": 9, "allowed": 4, "cut": 5,
           "cut_before": 2}  # fmt: skip
    facts = {"slack": 2.5, "given": 900, "cut": 60, "cut_before": 2, "exempt": 0, "items": 13,
             "most": [row] * 10}  # fmt: skip
    made = growth_section(facts)
    assert made.count("&lt;b&gt;x&lt;/b&gt; (new in the catalogue)") == 10 and "<b>" not in made
    assert "3 more items lost events" in made and "2.5 standard deviations" in made
    nothing = growth_section(facts | {"most": [], "items": 0, "cut": 0})
    assert "No item was given more" in nothing and "<table" not in nothing
    assert growth_section(None) == ""
