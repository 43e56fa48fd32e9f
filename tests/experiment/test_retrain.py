"""The lifecycle on planted logs: a day comes in, a challenger is trained, measured, decided on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardrank.attacks.profiles import PROFILE_ATTACKS
from hardrank.bundle import load_bundle, replace_weights, save_bundle
from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset
from hardrank.detection.examples import labelled
from hardrank.detection.supervised import BoostedDetector
from hardrank.errors import BundleError, ConfigError, DataError, Unsupported
from hardrank.experiment.retrain import Retrained, retrain, work_folder
from hardrank.experiment.retrain_log import merged, read_events
from hardrank.experiment.retrain_promote import Refused, promote_bundle
from hardrank.experiment.retrain_spec import Retraining, Screen, parse_retraining
from hardrank.experiment.retrain_split import cut
from hardrank.experiment.retrain_start import begun
from hardrank.files import digest_file
from hardrank.guards.base import admit
from hardrank.models import BprMf, Ease, ItemKnn, LightGcn, Popularity, Sasrec, Tfidf, Wmf
from hardrank.recommender import ModelSpec
from hardrank.serve.bundles import bundles_in, find_bundle
from hardrank.serve.engine import Engine
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.lifecycle import Floors
from hardrank.serve.records import EventIn
from hardrank.serve.store import Store
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles
from hardrank.training import Training

DAY = 1_600_000_000 + 80 * 86_400
"""When the champion was trained: the last fifth of the time is new."""
TARGET = "i197"
SHARE = 0.03


@dataclass(frozen=True, eq=False)
class World:
    """A log cut in two: what the champion knows and what came since."""

    old: Dataset
    new: Dataset

    @classmethod
    def of(cls, seed: int = 0, users: int = 600, items: int = 200, events: int = 14) -> "World":
        """A tenth of the users arrive on the new day, with all that they do."""
        whole = taste_log(users=users, items=items, events=events, seed=seed, ratings=False)
        late = pl.col("user") >= users * 9 // 10
        return cls(
            whole.where((pl.col("time") < DAY) & ~late), whole.where((pl.col("time") >= DAY) | late)
        )

    def arrived(self) -> list[EventIn]:
        users, items = self.new.users["user_id"], self.new.items["item_id"]
        return [
            EventIn(f"e{n}", users[u], items[i], max(t, DAY))
            for n, (u, i, t) in enumerate(self.new.events.select("user", "item", "time").rows())
        ]

    def fakes(self, kind: str, seed: int = 0) -> Sequence[AddProfile]:
        """3 % of the users, who all push one item."""
        number = round(SHARE * self.old.n_users)
        return forged(self.old, kind, TARGET, number, seed=seed).patch.edits  # type: ignore


def forged(log: Dataset, kind: str, target: str, number: int, seed: int = 0, size: int = 30):  # type: ignore[no-untyped-def]
    threat = ThreatModel(
        surface="profiles", goal=Promote(items=(target,)),
        budget=Budget(profiles=number, profile_events=size),
    )  # fmt: skip
    made = next(a for a in PROFILE_ATTACKS if a().kind == kind)
    return play_profiles(made(), threat, log, target=target, seed=seed)


def as_events(fakes: Sequence[AddProfile]) -> list[EventIn]:
    return [
        EventIn(f"f{k}-{n}", fake.user_id, item, DAY + 86_400 * (k % 19) + 1800 * n + k)
        for k, fake in enumerate(fakes)
        for n, item in enumerate(fake.item_ids)
    ]


def champion(folder: Path, world: World, spec: ModelSpec | None = None, seed: int = 0) -> Path:
    spec = spec or ItemKnn()
    model = spec.fit(world.old, RunContext(seed=seed))
    save_bundle(folder, spec, model, world.old, {"name": "first", "synthetic": True})
    return folder


def filled(path: Path, events: Sequence[EventIn]) -> Store:
    store = Store.open(path)
    store.add_events(sorted(events, key=lambda e: e.time))
    return store


@dataclass
class Shop:
    """Everything of one retraining in one folder."""

    folder: Path
    world: World
    store: Store
    first: Path

    @classmethod
    def of(
        cls, folder: Path, world: World, *, fakes: Sequence[AddProfile] = (),
        spec: ModelSpec | None = None,
    ) -> "Shop":  # fmt: skip
        first = champion(folder / "bundles" / "first", world, spec)
        events = [*world.arrived(), *as_events(fakes)]
        return cls(folder, world, filled(folder / "s.db", events), first)

    def retrain(self, name: str = "second", **spec: object) -> Retrained:
        asked = {"screen": Screen(detector="none"), **spec}
        made = Retraining(champion=str(self.first), store="unused", **asked)  # type: ignore[arg-type]
        return retrain(made, self.folder / "bundles" / name, self.store, RunContext())


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A small world, quick to train, without an attack."""
    return Shop.of(tmp_path, World.of(users=150, items=60))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learned from other attacks on other targets than the one that comes."""
    old = World.of().old
    kinds = ("average-profiles", "bandwagon", "popular-fillers")
    logs = [labelled(old, forged(old, k, t, 18)) for k in kinds for t in ("i198", "i199")]
    folder = tmp_path_factory.mktemp("detector")
    BoostedDetector(trees=60).fit(logs, RunContext()).save(folder / "detector")
    return folder


# The poisoned day


@pytest.mark.slow
def test_a_poisoned_day_is_quarantined_and_its_challenger_promoted(
    tmp_path: Path, detector: Path
) -> None:
    """S3-21: nine of ten fake users of an attack that the detector never saw are kept out, the
    target is not listed, and the challenger goes live."""
    world = World.of()
    fakes = world.fakes("segment")
    shop = Shop.of(tmp_path, world, fakes=fakes)
    done = shop.retrain(screen=Screen(detector=str(detector)))
    flagged = set(done.screened.flagged["user_id"])
    names = {fake.user_id for fake in fakes}
    assert len(names & flagged) / len(names) >= 0.9
    assert len(flagged - names) / done.screened.judged <= 0.02
    assert done.verdict.decision.promote, done.verdict.decision.reasons
    assert done.challenger.exposure[TARGET] < 0.01
    bundle = load_bundle(done.bundle)
    assert not names & flagged & set(bundle.histories)
    kept = pl.read_parquet(done.work / "quarantine.parquet")
    assert kept["user_id"].to_list() == done.screened.flagged["user_id"].to_list()
    assert kept["reason"].str.contains("rank").all()
    assert (kept["score"] > done.screened.border).all() and kept["score"].is_sorted(descending=True)


@pytest.mark.parametrize(("kind", "seed"), [("segment", 0), ("popular-fillers", 1)])
def test_without_a_screen_it_is_refused_and_the_target_named(
    tmp_path: Path, kind: str, seed: int
) -> None:
    """S3-21: the monitor names the target item and nothing else."""
    world = World.of(seed)
    done = Shop.of(tmp_path, world, fakes=world.fakes(kind, seed)).retrain()
    assert not done.verdict.decision.promote
    (reason,) = done.verdict.decision.reasons
    assert reason.startswith(f"item '{TARGET}' would be in ")
    assert reason.endswith("without new accounts in 0.0%")
    assert done.verdict.facts["surging"][0]["item_id"] == TARGET
    table = pl.read_parquet(done.work / "exposure.parquet")
    assert table["item_id"][0] == TARGET and table.height == 200
    assert done.champion.exposure[TARGET] == 0.0


@pytest.mark.slow
def test_clean_days_are_not_refused(tmp_path: Path) -> None:
    """None of six clean days: the exposure of what newcomers honestly like is no surge."""
    refused = []
    for seed in range(3):
        for spec in (ItemKnn(), Ease(regularisation=50)):
            place = tmp_path / f"{spec.kind}-{seed}"
            done = Shop.of(place, World.of(seed), spec=spec).retrain(seed=seed)
            if not done.verdict.decision.promote:
                refused.append((spec.kind, seed, done.verdict.decision.reasons))
    assert refused == []


def test_a_new_item_that_everybody_likes_is_no_push(tmp_path: Path) -> None:
    """A launch: the item was in no catalogue, then old and new users alike touch it."""
    world = World.of(users=300, items=90)
    shop = Shop.of(tmp_path, world)
    shop.store.put_items([("hit", {"title": "group 0 thing new"}, admit("test"))])
    users = [f"u{n}" for n in range(0, 300, 3)]
    shop.store.add_events([EventIn(f"h-{u}", u, "hit", DAY + 5) for u in users])
    done = shop.retrain()
    assert done.challenger.exposure["hit"] > 0.1
    assert done.champion.exposure["hit"] == 0.0
    assert done.verdict.decision.promote, done.verdict.decision.reasons


# The decision


def test_a_collapsed_challenger_is_refused_by_quality(shop: Shop) -> None:
    """One score for all items: ties count against it, so its NDCG is 0."""

    class Constant:
        def __init__(self, items: pl.DataFrame) -> None:
            self.items = items

        def score(self, queries, slate):  # type: ignore[no-untyped-def]
            return np.zeros((len(queries), len(slate)), dtype=np.float32)

        def on(self, items: pl.DataFrame) -> "Constant":
            return Constant(items)

        def arrays(self):  # type: ignore[no-untyped-def]
            return {"weights": np.zeros((60, 60), dtype=np.float32)}

    def collapsed(spec: object, train: Dataset, run: RunContext, **_: object) -> Constant:
        return Constant(train.items)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ItemKnn, "fit", collapsed)
        done = shop.retrain()
    assert done.challenger.ndcg == 0.0
    assert any("NDCG@10 0.0000 is under" in r for r in done.verdict.decision.reasons)


def test_five_points_more_success_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3-21: attacks are measured on both, and one that got better refuses the challenger."""
    import hardrank.experiment.retrain as module

    real = module.measured

    def staged(one, asked, *rest):  # type: ignore[no-untyped-def]
        hits = 4 if one.name == "champion" else 5
        outcomes = {f"t{n}": n < hits for n in range(20)}
        return replace(real(one, asked, *rest), attacks={"hotflip": outcomes})

    monkeypatch.setattr(module, "measured", staged)
    done = shop.retrain()
    assert done.verdict.decision.reasons == ("'hotflip' succeeds at 25.0%, before at 20.0%",)
    with pytest.raises(Refused, match="hotflip"):
        promote_bundle(done.bundle, shop.store, who="test", live=done.verdict.champion)
    assert shop.store.bundles() == (done.verdict.champion, None)


@pytest.mark.slow
def test_both_are_attacked_on_the_same_targets(tmp_path: Path) -> None:
    """A text model: the suite rewrites titles of the same items on both."""
    raw = {
        "champion": "x",
        "audit": {
            "panel": 16,
            "trials": [
                {
                    "threat": {
                        "goal": {"kind": "promote", "items": "unpopular:4"},
                        "budget": {"words": 2, "queries": 20, "whole_text": True},
                    },
                    "attacks": [{"kind": "copycat"}],
                }
            ],
        },
    }
    audit = parse_retraining(raw).audit
    shop = Shop.of(tmp_path, World.of(users=90, items=45), spec=Tfidf())
    done = shop.retrain(audit=audit)
    assert set(done.champion.attacks) == set(done.challenger.attacks) == {"copycat"}
    files = [done.work / f"matches-{n}.jsonl" for n in ("champion", "challenger")]
    targets = [pl.read_ndjson(f)["target"].to_list() for f in files]
    assert targets[0] == targets[1] and len(targets[0]) == 4


def test_rollback_restores_the_former_digest(shop: Shop) -> None:
    """S3-21: one command back; the decision is bound to the bundle that it was made against."""
    done = shop.retrain(floors=Floors(quality_loss=1.0, exposure_factor=0))
    first = digest_file(shop.first / "SHA256SUMS")
    assert done.verdict.champion == first and done.digest == Engine.load(done.bundle).digest
    assert promote_bundle(done.bundle, shop.store, who="t", live=first) == done.digest
    assert shop.store.bundles() == (done.digest, first)
    assert shop.store.rollback(who="t") == first
    assert shop.store.bundles() == (first, done.digest)
    shop.store.promote("f" * 64, who="somebody else")
    with pytest.raises(Refused, match=f"compared with {first[:12]}, and ffffffffffff is live"):
        promote_bundle(done.bundle, shop.store, who="t")
    promote_bundle(done.bundle, shop.store, who="t", force="it was agreed on")
    note = next(row for row in shop.store.audit_log() if row.action == "promote-forced")
    assert note.subject == done.digest and note.detail["reason"] == "it was agreed on"


def test_bundles_are_found_by_their_digest(shop: Shop) -> None:
    root, digest = shop.first.parent, digest_file(shop.first / "SHA256SUMS")
    done = shop.retrain()
    assert bundles_in(root) == {digest: shop.first, done.digest: done.bundle}
    assert find_bundle(root, digest) == shop.first and find_bundle(root, "0" * 64) is None
    assert bundles_in(root / "nothing") == {}


# The log


def test_held_out_events_are_new_and_never_trained_on(shop: Shop) -> None:
    spec = Retraining(champion=str(shop.first), screen=Screen(detector="none"))
    log = merged(spec, load_bundle(shop.first), read_events(shop.store), shop.store, 0)
    parts = cut(log, spec)
    pairs = set(parts.train.events.select("user", "item").rows())
    old = set(log.data.events.filter(pl.Series(~log.new)).select("user", "item").rows())
    asked = list(zip(parts.test.queries.users.tolist(), parts.test.targets.tolist(), strict=True))
    assert asked and not set(asked) & pairs and not set(asked) & old
    stops = zip(parts.valid.queries.users.tolist(), parts.valid.targets.tolist(), strict=True)
    assert not set(stops) & pairs
    events = log.data.events
    times = {(u, i): t for u, i, t in events.select("user", "item", "time").rows()}
    for group in (log.newcomers, ~log.newcomers):
        newest = events.filter(pl.Series(log.new & group[log.owners]))["time"].quantile(0.79)
        theirs = [times[pair] for pair in asked if group[pair[0]]]
        assert newest is not None and theirs and min(theirs) >= newest


def test_the_log_is_merged_by_time_with_the_catalogue_that_stands(tmp_path: Path) -> None:
    """Erased users, deleted items and events of unknown items are not there; new items and
    rewritten texts are; each user has each item once."""
    shop = Shop.of(tmp_path, World.of(users=60, items=45))
    store, first = shop.store, load_bundle(shop.first)
    before = first.recommender.items.height
    texts = first.recommender.items["title"][3]
    store.put_items([("i3", {"title": texts}, admit("bundle"))])
    store.put_items(
        [("i3", {"title": "rewritten"}, admit("t")), ("new", {"title": "fresh"}, admit("t"))]
    )
    store.put_items([("i4", {"title": "x"}, admit("t"))])
    store.delete_item("i4")
    store.add_events(
        [
            EventIn("a", "u0", "new", DAY + 9), EventIn("b", "u0", "ghost", DAY + 9),
            EventIn("c", "u0", "new", DAY + 10), EventIn("d", "late", "i3", DAY + 1),
            EventIn("z", "late", "i5", DAY + 2, weight=0.0),
        ]
    )  # fmt: skip
    store.erase_user("u1")
    log = merged(Retraining(champion="x"), first, read_events(store), store, 0)
    data = log.data
    assert data.n_items == before  # one gone, one come
    assert data.items["item_id"].to_list()[-1] == "new" and "i4" not in data.item_rows
    assert data.items["title"][data.item_rows["i3"]] == "rewritten"
    assert "u1" not in data.user_rows and log.dropped >= 1
    assert data.events.select("user", "item").is_duplicated().sum() == 0
    mine = log.data.event_items[data.offsets[data.user_rows["u0"]] :][:50]
    assert data.item_rows["new"] in mine
    late = data.user_rows["late"]
    assert data.offsets[late + 1] - data.offsets[late] == 1
    assert (np.diff(log.sequence)[np.diff(log.owners) == 0] >= 0).mean() > 0.9


def test_the_next_retraining_measures_on_what_is_new_to_its_champion(shop: Shop) -> None:
    """Histories of the bundle stay those of the log (the service adds the store's events), and
    what a champion has read is not new any more."""
    done = shop.retrain(floors=Floors(quality_loss=1.0, exposure_factor=0))
    second = load_bundle(done.bundle)
    first = load_bundle(shop.first)
    assert {u: h for u, h in second.histories.items() if h} == {
        u: h for u, h in first.histories.items() if h
    }
    again = Retraining(champion=str(done.bundle), screen=Screen(detector="none"))
    out = shop.folder / "bundles" / "third"
    with pytest.raises(DataError, match="nothing to learn"):
        retrain(again, out, shop.store, RunContext())
    shop.store.add_events([EventIn(f"n{n}", f"u{n}", f"i{n + 20}", DAY * 2) for n in range(30)])
    third = retrain(again, out, shop.store, RunContext())
    assert 0 < third.challenger.queries <= 6


def test_a_known_user_loses_only_what_the_store_brought(tmp_path: Path) -> None:
    """An account that was taken over keeps its past; `admit` lets somebody in again."""
    shop = Shop.of(tmp_path, World.of(users=150, items=60))
    done = shop.retrain(screen=Screen(detector="duplicates", flagged=0.2))
    taken = done.screened.flagged.filter(pl.col("known"))
    assert taken.height
    log = done.screened.log
    user = taken["user_id"][0]
    events = log.sequence[log.owners == log.data.user_rows[user]]
    assert (events == 0).all() and len(events)
    kept = shop.retrain("third", screen=Screen(detector="duplicates", flagged=0.2, admit=(user,)))
    assert user not in kept.screened.flagged["user_id"].to_list()


# Warm starts


@pytest.mark.parametrize(
    ("spec", "rows"),
    [
        (BprMf(size=8, epochs=2), ("users", "factors")),
        (LightGcn(size=8, epochs=2), ("first_users", "first_items")),
        (Wmf(factors=8), ("vectors",)),
        (Sasrec(size=8, length=8, training=Training(epochs=1)), ("network/tower.ids",)),
    ],
)
def test_rows_that_stay_begin_where_the_champion_stands(
    tmp_path: Path, spec: ModelSpec, rows: tuple[str, ...]
) -> None:
    world = World.of(users=60, items=45)
    first = load_bundle(champion(tmp_path / "b", world, spec))
    some = pl.Series("title", ["new", *world.old.items["title"][1:]])
    grown = replace(
        world.old,
        items=pl.concat([world.old.items.with_columns(some),
                         pl.DataFrame({"item_id": ["extra"], "title": ["extra"]})]),
        users=pl.concat([world.old.users, pl.DataFrame({"user_id": ["late"]})]),
    )  # fmt: skip
    extra = pl.DataFrame(
        {"user": [60], "item": [45], "time": [DAY], "rating": [None], "weight": [1.0]},
        schema=grown.events.schema,
    )
    grown = replace(grown, events=pl.concat([grown.events, extra]))
    start = begun(spec, first, grown, RunContext(), warm=True)
    assert start.start is not None and "champion's weights" in start.said
    had, now = first.recommender.arrays(), start.start.arrays()
    for name in rows:
        assert now[name].shape[0] == had[name].shape[0] + 1
        assert np.array_equal(now[name][:-1], had[name])
        assert np.abs(now[name][-1]).sum() > 0
    assert spec.fit(grown, RunContext(), start=start.start) is not None


def test_a_model_that_cannot_go_on_says_so(tmp_path: Path) -> None:
    world = World.of(users=60, items=45)
    first = load_bundle(champion(tmp_path / "b", world))
    said = [
        begun(spec, first, world.old, RunContext(), warm=warm).said
        for spec, warm in ((ItemKnn(), True), (ItemKnn(), False), (Popularity(), True))
    ]
    assert said == [
        "afresh: 'item-knn' has no weights to go on from",
        "afresh, as asked for",
        "afresh: the champion is another 'item-knn'",
    ]


# Faults


def test_an_empty_store_is_told(tmp_path: Path) -> None:
    shop = Shop.of(tmp_path, World.of(users=60, items=45))
    shop.store = Store.open(tmp_path / "empty.db")
    with pytest.raises(DataError, match="nothing to learn"):
        shop.retrain()
    assert not (tmp_path / "bundles" / "second").exists()


def test_a_store_that_is_away_leaves_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("s.db: is away")

    monkeypatch.setattr(shop.store, "events_since", away)
    with pytest.raises(StoreUnavailable):
        shop.retrain()
    assert [p.name for p in (shop.folder / "bundles").iterdir() if p.name == "second"] == []


def test_events_of_unknown_items_alone_are_nothing_to_learn(tmp_path: Path) -> None:
    shop = Shop.of(tmp_path, World.of(users=60, items=45))
    shop.store = filled(tmp_path / "g.db", [EventIn("a", "u0", "ghost", DAY)])
    with pytest.raises(DataError, match="nothing to learn"):
        shop.retrain()


def test_a_champion_that_was_altered_is_refused(shop: Shop) -> None:
    weights = shop.first / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(BundleError, match="was altered"):
        shop.retrain()


def test_a_decision_cannot_be_edited(shop: Shop) -> None:
    """It stands in `spec.json`, which the digests of the bundle cover."""
    done = shop.retrain(floors=Floors(quality=1.0))
    path = done.bundle / "spec.json"
    path.write_text(path.read_text().replace('"promote": false', '"promote": true'))
    with pytest.raises(BundleError, match="was altered"):
        promote_bundle(done.bundle, shop.store, who="t")


def test_killed_in_training_and_run_again_it_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on from the last epoch, reads no event that came in between, and ends with the
    weights of a run that nobody disturbed."""
    import hardrank.training.loop as loop

    spec = Sasrec(size=8, length=8, training=Training(epochs=4, patience=0))
    world = World.of(users=60, items=45)
    calm = Shop.of(tmp_path / "calm", world, spec=spec)
    floors = Floors(quality_loss=1.0, quality_worst=1.0, exposure_factor=0)
    undisturbed = calm.retrain(floors=floors)
    shop = Shop.of(tmp_path / "killed", world, spec=spec)
    real, saved = loop.save_checkpoint, []

    def killed(*arguments: object) -> None:
        real(*arguments)  # type: ignore[arg-type]
        saved.append(1)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        shop.retrain(floors=floors)
    assert not (shop.folder / "bundles" / "second").exists()
    shop.store.add_events([EventIn("meanwhile", "u0", "i1", DAY * 2)])
    done = shop.retrain(floors=floors)
    assert len(saved) == 4  # two epochs were left
    a, b = (load_bundle(d.bundle).recommender.arrays() for d in (undisturbed, done))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_a_bundle_is_never_written_over(shop: Shop) -> None:
    with pytest.raises(ConfigError, match="is there already"):
        shop.retrain("first")


def test_a_folder_that_cannot_be_written_is_told_before_training(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop.folder / "file").write_text("")
    monkeypatch.setattr(ItemKnn, "fit", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(OSError):
        retrain(
            Retraining(champion=str(shop.first)), shop.folder / "file" / "second", shop.store,
            RunContext(),
        )  # fmt: skip


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -0.1, "much"])
def test_a_floor_that_is_no_number_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match="quality_loss"):
        parse_retraining({"champion": "x", "floors": {"quality_loss": bad}})


def test_all_mistakes_of_a_file_are_told_at_once() -> None:
    raw = {
        "held_out": 1.0, "floor": {}, "screen": {"flaged": 0.1}, "since": -1,
        "audit": {"panel": 0},
    }  # fmt: skip
    with pytest.raises(ConfigError) as told:
        parse_retraining(raw, source="r.toml")
    said = "\n".join(told.value.mistakes)
    assert len(told.value.mistakes) == 6
    for part in (
        "champion: missing", "did you mean 'floors'", "did you mean 'flagged'",
        "held_out: must be below 1", "since: must be at least 0", "audit.panel",
    ):  # fmt: skip
        assert part in said


def test_objectives_that_need_a_forge_and_other_surfaces_are_refused() -> None:
    with pytest.raises(ConfigError, match="rewrites texts as it trains"):
        parse_retraining({"champion": "x", "objective": {"kind": "discrete"}})
    trial = {
        "threat": {
            "surface": "history", "goal": {"kind": "promote"}, "budget": {"events": 2},
        },
        "attacks": [{"kind": "greedy-words"}],
    }  # fmt: skip
    with pytest.raises(ConfigError, match="surface must be 'item-text'"):
        parse_retraining({"champion": "x", "audit": {"trials": [trial]}})


def test_training_options_belong_to_sequence_models(shop: Shop) -> None:
    with pytest.raises(Unsupported, match="has its own fields"):
        shop.retrain(training=Training(epochs=1))


def test_the_bundle_names_no_user_and_no_store(shop: Shop) -> None:
    done = shop.retrain(screen=Screen(detector="duplicates", flagged=0.2))
    text = (done.bundle / "spec.json").read_text()
    assert done.screened.flagged.height
    assert "unused" not in text  # the store's address
    assert not [u for u in done.screened.flagged["user_id"] if f'"{u}"' in text]
    assert work_folder(done.bundle) == done.work


# What somebody tries


def test_whom_a_former_retraining_kept_out_is_new_to_the_next(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion read the store up to a number, but learned nothing from quarantined users:
    let in at last, they are new accounts to the check of exposure, not old ones."""
    shop.store.add_events(
        [EventIn(f"t{u}-{n}", f"twin{u}", f"i{n}", DAY + n) for u in range(4) for n in range(12)]
    )

    def seen(log: Dataset) -> np.ndarray:  # type: ignore[type-arg]
        twins = log.users["user_id"].str.starts_with("twin").to_numpy()
        return np.where(np.diff(log.offsets) > 0, twins, np.nan)

    monkeypatch.setattr("hardrank.experiment.retrain_screen.detector_of", lambda _: seen)
    done = shop.retrain(
        screen=Screen(detector="duplicates"), floors=Floors(quality_loss=1.0, exposure_factor=0)
    )
    second = load_bundle(done.bundle)
    out = set(done.screened.flagged.filter(~pl.col("known"))["user_id"])
    assert out == {f"twin{u}" for u in range(4)} and not out & set(second.histories)
    spec = Retraining(champion=str(done.bundle), screen=Screen(detector="none"))
    known = second.about["retraining"]["read"]
    log = merged(spec, second, read_events(shop.store), shop.store, known)
    names = log.data.users["user_id"].gather(log.owners)
    assert set(names.filter(pl.Series(log.fresh))) == out
    assert not set(names.filter(pl.Series(~log.new))) & out
    assert cut(log, spec).test.queries.users.size  # and there is something to learn again


def test_who_came_just_before_a_retraining_is_new_to_the_next(tmp_path: Path) -> None:
    """A campaign in the newest events is held out, so nothing learns from it and its challenger
    goes live, which has read it all. The next retraining learns from it, and names the target."""
    world = World.of()
    late = [replace(e, time=e.time + 90 * 86_400) for e in as_events(world.fakes("segment"))]
    shop = Shop.of(tmp_path, world)
    shop.store.add_events(late)
    done = shop.retrain(held_out=0.45)
    assert done.verdict.decision.promote and done.challenger.exposure[TARGET] == 0.0
    honest = [EventIn(f"n{n}", f"u{n}", f"i{n % 40}", DAY * 2 + n) for n in range(150)]
    shop.store.add_events(honest)
    spec = Retraining(champion=str(done.bundle), screen=Screen(detector="none"))
    again = retrain(spec, shop.folder / "bundles" / "third", shop.store, RunContext())
    (reason,) = [r for r in again.verdict.decision.reasons if r.startswith("item")]
    assert reason.startswith(f"item '{TARGET}' would be in ")


def test_another_store_is_not_taken_for_the_one_that_was_read(shop: Shop) -> None:
    """A store that was restored from a backup counts on from there: other events have the
    numbers that the champion has read."""
    done = shop.retrain(floors=Floors(quality_loss=1.0, exposure_factor=0))
    read = load_bundle(done.bundle).about["retraining"]["read"]
    again = Retraining(champion=str(done.bundle), screen=Screen(detector="none"))
    rows = [EventIn(f"o{n}", f"u{n % 90}", f"i{n % 50}", DAY + n) for n in range(read + 20)]
    for name, some in (("empty", rows[:0]), ("other", rows)):
        other = Store.open(shop.folder / f"{name}.db", clock=lambda: DAY * 2)
        if some:
            other.add_events(some)
        with pytest.raises(DataError, match=f"another store, up to event {read}"):
            retrain(again, shop.folder / "bundles" / name, other, RunContext())


def test_an_event_from_the_future_is_as_old_as_its_arrival(tmp_path: Path) -> None:
    """Else whoever sends it chooses what quality is measured on."""
    world = World.of(users=150, items=60)
    first = champion(tmp_path / "first", world)
    store = Store.open(tmp_path / "s.db", clock=lambda: DAY + 100)
    store.add_events([EventIn("a", "new", "i1", 1 << 39), EventIn("b", "other", "i2", DAY)])
    spec = Retraining(champion=str(first))
    log = merged(spec, load_bundle(first), read_events(store), store, 0)
    times = log.data.events["time"].to_numpy()[log.sequence > 0]
    assert sorted(times.tolist()) == [DAY, DAY + 100]


def test_a_decision_does_not_cover_what_compression_lost(shop: Shop) -> None:
    """A compressed bundle has the decision on the one it was made from in its `spec.json`."""
    done = shop.retrain(floors=Floors(quality_loss=1.0, exposure_factor=0))
    made = load_bundle(done.bundle).recommender
    worse, fine = shop.folder / "bundles" / "worse", shop.folder / "bundles" / "fine"
    replace_weights(done.bundle, worse, made, {"compression.json": {"refusals": ["NDCG@10: 5%"]}})
    replace_weights(done.bundle, fine, made, {"compression.json": {"refusals": []}})
    first = done.verdict.champion
    with pytest.raises(Refused, match=r"compressed beyond the limits: NDCG@10: 5%"):
        promote_bundle(worse, shop.store, who="t", live=first)
    promote_bundle(fine, shop.store, who="t", live=first)
    odd = shop.folder / "bundles" / "odd"
    replace_weights(done.bundle, odd, made, {"compression.json": {}})
    with pytest.raises(BundleError, match=r"compression\.json: cannot be read"):
        promote_bundle(odd, shop.store, who="t")


def test_a_first_promotion_can_be_taken_back(shop: Shop) -> None:
    """The decision says which bundle served before, where no promotion did."""
    done = shop.retrain(floors=Floors(quality_loss=1.0, exposure_factor=0))
    promote_bundle(done.bundle, shop.store, who="t")
    assert shop.store.bundles() == (done.digest, done.verdict.champion)
    assert shop.store.rollback(who="t") == done.verdict.champion


def test_a_bundle_that_another_one_wrote_meanwhile_stays(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hardrank.experiment.retrain as module

    out = shop.folder / "bundles" / "second"
    real = module._written

    def late(*rest: object) -> None:
        out.mkdir()
        (out / "theirs").write_text("kept")
        real(*rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_written", late)
    with pytest.raises(ConfigError, match="is there already"):
        shop.retrain()
    assert [p.name for p in out.iterdir()] == ["theirs"]
    assert (work_folder(out) / "exposure.parquet").is_file()


def test_the_bundle_shows_what_was_found(tmp_path: Path) -> None:
    """One page without a request and without a user, as the console shows it."""
    world = World.of()
    done = Shop.of(tmp_path, world, fakes=world.fakes("segment")).retrain()
    page = (done.bundle / "report.html").read_text()
    assert "report.html" in (done.bundle / "SHA256SUMS").read_text()
    assert "Refused" in page and f"item &#x27;{TARGET}&#x27; would be in" in page
    assert f"{done.challenger.ndcg:.4f}" in page and f"{done.champion.ndcg:.4f}" in page
    assert page.count('class="mark hardened"') == 1  # the item that is named, and no other
    assert f'<td class="num">{done.screened.judged}</td>' in page
    assert "default-src &#x27;none&#x27;" in page and "<script" not in page
    users = [*world.old.users["user_id"], *(f.user_id for f in world.fakes("segment"))]
    assert not [u for u in users if f">{u}<" in page or f'"{u}' in page or f";{u}&" in page]
