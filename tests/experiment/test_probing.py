"""`gan probe`: planted weak spots are found, numbers come from the samples, nothing is invented."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.audits.regions import MEASURE, clustered_rate, found, measured, overall
from hardrank.context import RunContext
from hardrank.data import Queries, Slate
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.errors import ConfigError, DataError, SchemaError
from hardrank.experiment.probing import probed, run_probe, verdict_of
from hardrank.experiment.probing_draws import category_shares
from hardrank.experiment.probing_page import probe_page, region_lines
from hardrank.experiment.probing_repair import judged_repair, repair, users_inside
from hardrank.experiment.probing_spec import ProbeExperiment, parse_probe
from hardrank.files import digest_bytes
from hardrank.generators.augment import Proposer
from hardrank.generators.bags import Bags
from hardrank.generators.interest_gan import InterestGan
from hardrank.metrics.intervals import wilson
from hardrank.models import ItemKnn, Popularity
from hardrank.models.common import top_of
from hardrank.recommender import Recommender
from hardrank.testing.logs import GROUPS, taste_log
from hardrank.types import Ranks, Scores

WEAK = 1
"""The planted group whose histories are ranked badly."""
Rates = list[tuple[float | None, float | None]]
DATA = {"kind": "marketplace", "users": 60, "items": 60, "median_events": 6}


@pytest.fixture(scope="module")
def split() -> Split:
    return LeaveOneOut().split(taste_log(users=150, items=60, events=14, seed=2))


@pytest.fixture(scope="module")
def proposer(split: Split) -> Proposer:
    gan = InterestGan(
        size=8, noise=4, width=16, steps=40, warmup=20, every=10, batch_size=32, average=0.9
    )
    return gan.fit(split.train, RunContext(seed=3))


@pytest.fixture(scope="module")
def knn(split: Split) -> Recommender:
    return ItemKnn().fit(split.train, RunContext())


def group_of(history: np.ndarray[Any, Any]) -> int:
    return int(np.bincount(history % GROUPS, minlength=GROUPS).argmax())


@dataclass(frozen=True, eq=False)
class WeakTopic:
    """Good, but for histories of one topic: those are ranked by a hash of the history."""

    base: Recommender

    @property
    def items(self) -> pl.DataFrame:
        return self.base.items

    def score(self, queries: Queries, slate: Slate) -> Scores:
        made = np.array(self.base.score(queries, slate), dtype=np.float32)
        for q in range(len(queries)):
            history = np.sort(queries.history(q))
            if len(history) and group_of(history) == WEAK:
                seed = int(digest_bytes(history.tobytes())[:12], 16)
                rng = np.random.default_rng(seed)
                made[q] = rng.random(self.items.height, dtype=np.float32)[slate.items]
        return made

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> "WeakTopic":
        return WeakTopic(self.base.on(items))

    def arrays(self) -> dict[str, Any]:
        return self.base.arrays()


def spec(**more: Any) -> ProbeExperiment:
    about = {"keep": 0.8, "users": 150, "draws": 6, "k": 10, "seed": 7} | more
    return parse_probe({"name": "small", "data": DATA} | about)


@pytest.mark.parametrize("failure", ["changes", "misses"])
def test_a_planted_weak_topic_is_in_the_top_two(
    split: Split, proposer: Proposer, knn: Recommender, failure: str
) -> None:
    """S2-03: five regions or more, with rate, examples and sensitivity; one of the worst two is
    the planted topic, whose draws fail more than all draws for certain."""
    made = probed(WeakTopic(knn), proposer, split, spec(failure=failure))
    regions = made.findings["regions"]
    assert len(regions) >= 5
    groups = np.array([group_of(made.drawn.histories.history(n)) for n in range(len(made.samples))])
    weak = []
    for region in regions[:2]:
        inside = (made.samples["region"] == region["region"] - 1).to_numpy()
        weak.append(float((groups[inside] == WEAK).mean()))
    best = int(np.argmax(weak))
    assert weak[best] > 0.8
    assert regions[best]["low"] > made.findings["overall"]["rate"]
    assert regions[best]["examples"] and regions[best]["sensitivity"] > 0
    heads = {t["title"].split()[1] for t in regions[best]["typical"][:3]}
    assert heads == {str(WEAK)}
    assert "fail more for certain" in made.findings["verdict"]


def test_the_weak_topic_is_no_artefact_of_the_log(
    split: Split, proposer: Proposer, knn: Recommender
) -> None:
    """Without the plant the same topic's draws do not fail more than others'."""
    made = probed(knn, proposer, split, spec())
    groups = np.array([group_of(made.drawn.histories.history(n)) for n in range(len(made.samples))])
    failed = made.samples["failed"].to_numpy()
    assert failed[groups == WEAK].mean() < failed.mean() + 0.15


def test_numbers_come_from_the_samples_of_the_other_half(
    split: Split, proposer: Proposer, knn: Recommender
) -> None:
    """S0-08: rates are recomputed from the stored table by counting."""
    made = probed(knn, proposer, split, spec(failure="leaves", k=20))
    samples, regions = made.samples, made.findings["regions"]
    users = samples.group_by("user").agg(pl.col("half").n_unique())
    assert users["half"].max() == 1
    again = measured(samples, len(regions))
    for region, numbers in zip(regions, again, strict=True):
        assert {k: region[k] for k in numbers} == numbers
        rows = samples.filter(
            (pl.col("half") == MEASURE) & pl.col("eligible")
            & (pl.col("region") == region["region"] - 1)
        )  # fmt: skip
        assert region["draws"] == rows.height and region["failures"] == rows["failed"].sum()
        for example in region["examples"]:
            row = rows.filter(
                (pl.col("user_id") == example["user_id"]) & (pl.col("draw") == example["draw"])
            )
            assert row["failed"].all() and row["rank_before"][0] <= 20 < row["rank_after"][0]
    assert overall(samples) == made.findings["overall"]
    kept = samples.filter(pl.col("eligible"))
    assert (kept["failed"] == (kept["rank_after"] > 20)).all()
    lengths = np.array(
        [len(np.unique(made.drawn.histories.history(n))) for n in range(len(samples))]
    )
    assert (samples["changed"].to_numpy() <= np.floor(0.2 * lengths + 1e-9)).all()


def test_same_seed_same_result(split: Split, proposer: Proposer, knn: Recommender) -> None:
    few = {"users": 40, "draws": 3}
    one, two = (probed(knn, proposer, split, spec(**few)) for _ in range(2))
    assert one.findings == two.findings and one.samples.equals(two.samples)
    other = probed(knn, proposer, split, spec(seed=8, **few))
    assert not other.samples["rbo"].equals(one.samples["rbo"])


def test_nothing_fails_where_nothing_can(split: Split, proposer: Proposer) -> None:
    """S2-03: a recommender that reads no history has no failure, and the report says so."""
    constant = Popularity().fit(split.train, RunContext())
    made = probed(constant, proposer, split, spec())
    assert made.findings["regions"] == [] and made.findings["overall"]["failures"] == 0
    assert made.findings["verdict"].startswith("No failure in ")
    assert "at most" in region_lines(made.findings)[0]
    assert "No failure in" in probe_page({"name": "x", "model": "popularity"} | made.findings)


def test_nobody_to_begin_with(split: Split, proposer: Proposer) -> None:
    """All scores equal: ties count against it, no held-out item is in a list."""

    @dataclass(frozen=True, eq=False)
    class Same(WeakTopic):
        def score(self, queries: Queries, slate: Slate) -> Scores:
            return np.zeros((len(queries), len(slate)), dtype=np.float32)

    base = Popularity().fit(split.train, RunContext())
    made = probed(Same(base), proposer, split, spec(failure="leaves"))
    assert made.findings["verdict"].startswith("No draw could fail")
    assert made.findings["overall"]["rate"] is None and made.findings["regions"] == []


def test_rates_know_that_draws_of_one_user_are_alike() -> None:
    """By hand: four users of five draws who agree with themselves count as four draws."""
    owners = np.repeat(np.arange(4), 5)
    failed = np.repeat([True, True, False, False], 5)
    made = clustered_rate(failed, owners)
    # v = 4/3 * 4 * 2.5^2 / 400 = 1/12, binomial 1/80: deff 20/3, 20 / deff = 3
    assert (made.low, made.high) == (wilson(1.5, 3).low, wilson(1.5, 3).high)
    assert made.value == 0.5
    apart = clustered_rate(np.array([True, False] * 10), np.arange(20))
    assert (apart.low, apart.high) == (wilson(9.5, 19).low, wilson(9.5, 19).high)
    never = clustered_rate(np.zeros(20, dtype=bool), owners)
    assert (never.value, never.high) == (0.0, wilson(0, 4).high)
    assert np.isnan(clustered_rate(np.zeros(0, dtype=bool), owners[:0]).value)


def test_regions_by_eye() -> None:
    """Failures in five corners, all others in the middle: five balls that hold them."""
    rng = np.random.default_rng(0)
    corners = np.array([[10, 0], [-10, 0], [0, 10], [0, -10], [10, 10]], dtype=np.float32)
    bad = np.concatenate([c + rng.normal(0, 0.3, (20, 2)) for c in corners])
    fine = np.concatenate([rng.normal(0, 1, (100, 2)), corners[4] + rng.normal(0, 0.3, (20, 2))])
    points = np.concatenate([bad, fine]).astype(np.float32)
    failed = np.repeat([True, False], [100, 120])
    shapes = found(points, failed, np.arange(220), rng, least=5, most=8)
    assert len(shapes) == 5
    assert np.abs(shapes.centres[-1] - corners[4]).max() < 0.5  # half of its draws are fine
    placed = shapes.placed(points)
    assert (placed[100:200] == -1).all() and (placed[:100] >= 0).mean() >= 0.88
    none = found(points, np.zeros(220, dtype=bool), np.arange(220), rng)
    assert len(none) == 0 and (none.placed(points) == -1).all()


def test_the_verdict_by_hand() -> None:
    whole = {"draws": 100, "users": 20, "failures": 10, "rate": 0.1, "low": 0.06, "high": 0.2}
    region = {"region": 1, "rate": 0.5, "low": 0.3, "high": 0.7}
    assert "1 of 1 regions fail more for certain; region 1 in 50.0%" in verdict_of(whole, [region])
    unsure = verdict_of(whole, [region | {"low": 0.19}])
    assert unsure.endswith("No region fails more than the whole for certain.")
    assert verdict_of(whole | {"failures": 0}, []).startswith("No failure in 100 draws of 20")


def test_shares_of_categories_by_hand() -> None:
    items = pl.DataFrame({"item_id": list("abc"), "kind": ["x|y", "x", None]})
    bags = Bags.of(Queries.of([[0, 1, 2], [2], []]), 3)
    shares = category_shares(items, "kind", bags)
    assert {k: v.tolist() for k, v in shares.items()} == {
        "x": pytest.approx([2 / 3, 0, 0]), "y": pytest.approx([1 / 3, 0, 0])
    }  # fmt: skip
    with pytest.raises(SchemaError, match="no column 'colour'"):
        category_shares(items, "colour", bags)


def test_the_folder_holds_everything(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raw: dict[str, Any] = {
        "name": "shop", "data": DATA, "model": {"kind": "item-knn"}, "draws": 3, "keep": 0.5,
        "category": "title", "separator": " ",
        "generator": {"size": 4, "noise": 4, "width": 8, "steps": 10, "warmup": 4, "every": 5,
                      "batch_size": 16},
    }  # fmt: skip
    made = run_probe(parse_probe(raw), raw, RunContext(folder=tmp_path))
    kept = json.loads((tmp_path / "findings.json").read_text("utf-8"))
    assert kept == json.loads(json.dumps(made.findings)) and kept["synthetic"] is True
    table = pl.read_parquet(tmp_path / "samples.parquet")
    assert table.equals(made.samples) and "field:log length" in table.columns
    page = (tmp_path / "probe.html").read_text("utf-8")
    assert "Where a recommender fails" in page and "<script" not in page
    for both in (raw, {k: v for k, v in raw.items() if k != "model"}):
        bundle = tmp_path if "model" in both else None
        with pytest.raises(ConfigError, match="and not both"):
            run_probe(parse_probe(both), both, RunContext(folder=tmp_path), bundle=bundle)


@pytest.mark.parametrize(
    ("rates", "passed", "why"),
    [
        ([(0.5, 0.35), (0.1, 0.13)], True, "-30%"),
        ([(0.5, 0.36), (0.1, 0.1)], False, "less than -30%"),
        ([(0.5, 0.2), (0.1, 0.14)], False, "region 2 fails 4.0 points more"),
        ([(0.0, 0.0), (0.1, 0.1)], False, "did not fail on fresh draws"),
        ([(0.5, None), (0.1, 0.1)], False, "no fresh draw in a repaired region"),
        ([(0.5, 0.2), (None, 0.1)], True, "points, 1 without a fresh draw"),
        ([], False, "no fresh draw in a repaired region"),
    ],
)
def test_a_repair_by_hand(
    rates: list[tuple[float | None, float | None]], passed: bool, why: str
) -> None:
    """S2-24: worst region -30 % relative, no other up by more than 3 points."""
    before, after = (
        [{"region": n + 1, "rate": pair[side]} for n, pair in enumerate(rates)] for side in (0, 1)
    )
    held, said = judged_repair(before, after)
    assert held is passed and why in said


@dataclass(frozen=True, eq=False)
class Steadied:
    """Stands for a model that learns from copies: the planted topic is cured if enough of the
    log's copies are of it."""

    base: Recommender
    real: int
    kind: str = "steadied"

    def fit(self, train: Any, run: RunContext, **_: Any) -> Recommender:
        copies = train.histories().take(np.arange(self.real, train.n_users))
        groups = [group_of(copies.history(q)) for q in range(len(copies))]
        assert groups, "nobody was copied"
        cured = np.mean(np.array(groups) == WEAK) > 0.8
        return self.base if cured else WeakTopic(self.base)


def test_the_worst_region_drives_the_repair(
    split: Split, proposer: Proposer, knn: Recommender
) -> None:
    """S2-24: copies are of the worst region's users; fresh draws of both models, the same."""
    weak, about = WeakTopic(knn), spec(repair={"regions": 1})
    made = probed(weak, proposer, split, about)
    args = (split, about, made, RunContext())
    model: Any = Steadied(knn, split.train.n_users)
    done = repair(model, weak, (proposer, proposer), *args)
    assert done["copies"] == len(users_inside(split.train, about, made, 1)) > 0
    worst, after = done["before"][0], done["after"][0]
    assert worst["draws"] == after["draws"] and after["rate"] < 0.7 * worst["rate"]
    assert done["passed"], done["why"]
    page = probe_page({"name": "x", "model": "m"} | made.findings | {"repair": done})
    assert "Held: region 1" in page
    idle = repair(_Idle(weak), weak, (proposer, proposer), *args)
    assert not idle["passed"] and idle["before"] == idle["after"]


@dataclass(frozen=True, eq=False)
class _Idle:
    """Learns nothing."""

    base: Any
    kind: str = "idle"

    def fit(self, train: Any, run: RunContext, **_: Any) -> Any:
        return self.base

    def restore(self, *_: Any) -> Any:
        raise NotImplementedError


def test_too_few_users_are_refused(proposer: Proposer, knn: Recommender, split: Split) -> None:
    lonely = Split(
        train=split.train, valid=split.valid, test=split.test.take(np.array([0])),
        protocol=split.protocol,
    )  # fmt: skip
    with pytest.raises(DataError, match="two are needed"):
        probed(knn, proposer, lonely, spec())
