"""`gan augment`: arms, groups, attack and verdicts, on logs where the answer is known."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.audits import samples as table
from hardrank.audits.measure import recompute
from hardrank.context import RunContext
from hardrank.data import Dataset, Queries
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.errors import ConfigError, DataError
from hardrank.experiment import augment as command
from hardrank.experiment.augment import Augmentation, run_augmentation
from hardrank.experiment.augment_findings import augment_findings, tables, verdicts
from hardrank.experiment.augment_logs import behaviour_attack, thinned
from hardrank.experiment.augment_negatives import false_negatives
from hardrank.experiment.augment_spec import Behaviour, parse_augmentation
from hardrank.models import ItemKnn
from hardrank.testing.logs import taste_log
from hardrank.types import Ints

GAN = {"size": 4, "noise": 4, "width": 8, "steps": 20, "warmup": 5, "every": 10, "batch_size": 16}


def written(path: Path, data: Dataset) -> None:
    events = data.events.with_columns(
        user_id=data.users["user_id"].gather(data.events["user"]),
        item_id=data.items["item_id"].gather(data.events["item"]),
    )
    events.select("user_id", "item_id", "rating", "time").write_csv(path)


def experiment(folder: Path, **more: Any) -> Any:
    columns = {"time": "time", "rating": "rating"}
    raw = {
        "name": "small", "seeds": [0, 1],
        "data": {"kind": "table", "path": str(folder / "log.csv"), "columns": columns},
        "models": [{"kind": "item-knn"}, {"kind": "bpr-mf", "size": 4, "epochs": 2}],
        "generator": GAN, **more,
    }  # fmt: skip
    return parse_augmentation(raw)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    written(folder / "log.csv", taste_log(users=90, items=40, events=7))
    return folder


@pytest.fixture(scope="module")
def done(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Augmentation:
    made = experiment(shop, behaviour={"users": 40, "tries": 2, "keep": 0.5})
    return run_augmentation(made, RunContext(folder=tmp_path_factory.mktemp("run")))


def test_every_arm_is_measured_on_the_same_real_users(done: Augmentation) -> None:
    """S2-13: tampered and generated users are never counted; sparse ones are a group."""
    samples = table.load(done.folder / "samples.parquet")
    clean = samples.filter(pl.col("audit") == "utility")
    subjects = set(clean["subject"])
    arms = {s.rpartition("/")[2] for s in subjects}
    assert arms == {
        "control", "augmented", "augmented-at-random", "interest-adversarial",
        "adversarial-at-random",
    }  # fmt: skip
    people = clean.group_by("subject", "seed").agg(pl.col("sample").sort(), pl.col("group"))
    assert people["sample"].n_unique() == 1 and people.height == 2 * len(subjects)
    assert all(name.startswith("u") for name in people["sample"][0])
    assert set(clean["group"]) == {"sparse", "other"}


def test_findings_can_be_computed_again(done: Augmentation) -> None:
    samples = table.load(done.folder / "samples.parquet")
    assert len(done.findings) > 50
    for finding in done.findings:
        assert recompute(samples, finding) == finding
    kept = json.loads((done.folder / "findings.json").read_text("utf-8"))
    assert len(kept) == len(done.findings)
    metrics = {f.metric for f in done.findings if f.subject.endswith("/augmented")}
    assert "difference(ndcg@10) to augmented-at-random" in metrics


def test_the_table_says_all(done: Augmentation) -> None:
    text = (done.folder / "augmentation.md").read_text("utf-8")
    for model in ("item-knn", "bpr-mf"):
        for question in ("sparse users", "histories under attack"):
            assert any(
                line.startswith(f"- {model}, {question}: ") and ("gain (" in line)
                for line in text.splitlines()
            )
    assert len(done.verdicts) == 4
    assert json.loads((done.folder / "run.json").read_text("utf-8"))["verdicts"]


def test_an_attacker_never_helps(done: Augmentation) -> None:
    """S4-08: no rank under attack is better than the clean one, and the budget is kept. A model
    of the user's own vector does not notice its history."""
    samples = table.load(done.folder / "samples.parquet")
    rows = samples.filter(pl.col("audit") == "behaviour")
    keys = ["subject", "seed", "sample"]
    clean = rows.filter(pl.col("trial") == "clean").select(*keys, pl.col("rank").alias("before"))
    both = rows.filter(pl.col("trial") != "clean").join(clean, on=keys)
    assert (both["rank"] >= both["before"]).all()
    moved = both.filter(pl.col("rank") > pl.col("before"))
    assert (moved["events"] > 0).all()
    assert set(moved["subject"].str.split("/").list.first()) == {"item-knn"}


def test_run_again_it_measures_nothing(
    done: Augmentation, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(command, "_asked", refuse)
    made = experiment(shop, behaviour={"users": 40, "tries": 2, "keep": 0.5})
    again = run_augmentation(made, RunContext(folder=done.folder))
    assert again.findings == done.findings


def rows(subject: str, ranks: list[int], **more: Any) -> pl.DataFrame:
    people = [f"u{n}" for n in range(len(ranks))]
    about = {"subject": subject, "seed": 0, "audit": "utility", "trial": "clean",
             "sample": people, "group": "sparse", "rank": ranks}  # fmt: skip
    return table.samples(about | more)


@pytest.mark.parametrize(
    ("augmented", "random", "gain", "why"),
    [
        (1, 11, True, "+58.5%"),
        (1, 1, False, "as many events by popularity do as well"),
        (2, 2, False, "not above 0 for certain"),
        (11, 2, False, "not above 0 for certain"),
    ],
)
def test_the_verdict_by_hand(augmented: int, random: int, gain: bool, why: str) -> None:
    """S2-13: twenty users at rank 2 (NDCG 0.631) who come to rank 1 gain 58.5 %."""
    made = table.gather(
        rows(f"m/{arm}", [rank] * 20)
        for arm, rank in (("control", 2), ("augmented", augmented), ("augmented-at-random", random))
    )
    (answer,) = verdicts(augment_findings(made, ""))
    assert answer.gain is gain and why in answer.why
    assert f"m, sparse users: {'gain' if gain else 'no gain'} (" in tables([], [answer])


@pytest.mark.parametrize(
    ("control", "defended", "random", "gain", "why"),
    [
        (4, 3, 4, True, "+16.1%"),
        (4, 3, 3, False, "as many events by popularity do as well"),
        (2, 1, 4, False, "the attack does the control no harm"),
    ],
)
def test_the_verdict_under_attack_by_hand(
    control: int, defended: int, random: int, gain: bool, why: str
) -> None:
    """S4-08: rank 2 before the attack; NDCG 0.431 at rank 4 and 0.5 at rank 3. A control that
    the attack does not reach leaves nothing to gain, though the defended arm is better."""
    made = []
    arms = {"control": control, "interest-adversarial": defended, "adversarial-at-random": random}
    for arm, rank in arms.items():
        for trial, at in (("clean", 2), ("interest-edits", rank)):
            about = {"audit": "behaviour", "trial": trial, "group": None, "events": 1}
            made.append(rows(f"m/{arm}", [at] * 20, **about))
    (answer,) = verdicts(augment_findings(table.gather(made), ""))
    assert answer.question == "histories under attack"
    assert answer.gain is gain and why in answer.why


@pytest.mark.parametrize(
    ("control", "hard", "random", "answer", "why"),
    [
        (2, 1, 3, "gain", "+58.5%"),
        (2, 1, 1, "no gain", "as many events by popularity do as well"),
        (2, 2, 2, "no gain", "not above 0 for certain"),
        (1, 2, 2, "loss", "not above 0 for certain"),
    ],
)
def test_the_verdict_on_hard_negatives_by_hand(
    control: int, hard: int, random: int, answer: str, why: str
) -> None:
    """S2-08: all test users count, whatever their group; certain harm is a loss in words."""
    arms = {"control": control, "hard-negatives": hard, "hard-negatives-at-random": random}
    made = table.gather(
        rows(f"m/{arm}", [rank] * 20, group=["sparse", "other"] * 10) for arm, rank in arms.items()
    )
    found = augment_findings(made, "")
    (told,) = verdicts(found)
    assert told.question == "hard negatives" and why in told.why
    assert told.line().startswith(f"m, hard negatives: {answer} (")
    metrics = {f.metric for f in found if f.subject == "m/hard-negatives"}
    assert "difference(ndcg@10) to hard-negatives-at-random" in metrics


def test_hard_negatives_under_attack_by_hand() -> None:
    """S2-08: rank 2 before the attack, 4 after it, 3 with hard negatives: +16.1 %."""
    arms = {"control": 4, "hard-negatives": 3, "hard-negatives-at-random": 4}
    made = []
    for arm, rank in arms.items():
        for trial, at in (("clean", 2), ("interest-edits", rank)):
            about = {"audit": "behaviour", "trial": trial, "group": None, "events": 1}
            made.append(rows(f"m/{arm}", [at] * 20, **about))
    (told,) = verdicts(augment_findings(table.gather(made), ""))
    assert told.line().startswith("m, hard negatives, histories under attack: gain (+16.1%")


def test_the_arms_of_hard_negatives(shop: Path, tmp_path: Path) -> None:
    """S2-08: pairwise models alone have them; the run keeps the role of each arm and how many
    negatives were the held-out item."""
    more: dict[str, Any] = {
        "negatives": {"kind": "generated", "proposals": 8},
        "seeds": [0],
        "behaviour": {"users": 9},
    }
    made = experiment(shop, **more)
    done = run_augmentation(made, RunContext(folder=tmp_path))
    samples = table.load(done.folder / "samples.parquet")
    subjects = {s for s in samples["subject"] if "hard-negatives" in s}
    assert subjects == {"bpr-mf/hard-negatives", "bpr-mf/hard-negatives-at-random"}
    kept = json.loads((done.folder / "run.json").read_text("utf-8"))
    assert kept["config"]["negatives"]["kind"] == "generated"
    role = "negatives of pairwise comparisons, never an item that the user has"
    assert kept["roles"]["hard-negatives"] == kept["roles"]["hard-negatives-at-random"] == role
    assert kept["roles"]["control"] == "nothing generated"
    assert set(kept["roles"]) == {s.rpartition("/")[2] for s in samples["subject"]}
    false = samples.filter(pl.col("audit") == "false-negatives")
    assert set(false["subject"]) == {"bpr-mf/control", *subjects}
    assert false["value"].is_between(0, 1).all() and false["value"].is_not_null().all()
    text = (done.folder / "augmentation.md").read_text("utf-8")
    assert "- bpr-mf, hard negatives: " in text
    assert "| bpr-mf/hard-negatives (90) |" in text.partition("negatives that are")[2]
    assert [v.question for v in done.verdicts if "negatives" in v.question] == [
        "hard negatives", "hard negatives, histories under attack",
    ]  # fmt: skip
    for finding in done.findings:
        if finding.audit == "false-negatives":
            assert recompute(samples, finding) == finding
    assert len(list((tmp_path / "generators").iterdir())) == 2  # the arm's is that of the run


class Draws:
    """Items 7 and 9, whoever asks."""

    def sampler(self, triples: Any, run: Any) -> Any:
        return lambda users, rng: np.tile([7, 9], (len(users), 1))


def test_false_negatives_by_hand() -> None:
    """S2-08: of items 7 and 9 the model chooses 9, which is the held-out item of one of two
    users; a user without training events is not asked."""
    log = taste_log(users=3, items=12, events=3)
    queries = Queries.of([[0], [0], [0]], [0, 1, 2])
    test = replace(
        LeaveOneOut(min_events=3).split(taste_log(users=9, items=12, events=6)).test,
        queries=queries, targets=np.array([9, 7, 9]),
    )  # fmt: skip
    train = log.where(log.events["user"] != 2)
    found = false_negatives(
        OneScore(log.items), Draws(), train, test, subject="m/x", seed=0,  # type: ignore[arg-type]
        run=RunContext(),
    )  # fmt: skip
    assert found["value"].to_list() == [1.0, 0.0] and found["sample"].to_list() == ["0", "1"]


def test_arms_of_hard_negatives_that_cannot_be_are_refused(shop: Path) -> None:
    """S2-08: before anything is read."""
    hard = {"kind": "hard", "candidates": 4}
    for why, more in (
        ("no model compares pairs", {"models": [{"kind": "item-knn"}], "negatives": hard}),
        ("theirs are uniform", {"models": [{"kind": "bpr-mf", "negatives": hard}],
                                "negatives": hard}),
        ("`generator` is taken", {"negatives": {"kind": "generated", "generator": GAN}}),
        ("allowed: generated, hard", {"negatives": {"kind": "popular"}}),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=why):
            experiment(shop, **more)
    assert experiment(shop, negatives=hard).negatives.candidates == 4


def test_the_example_of_the_page_is_right() -> None:
    """docs/augmentation.md: the file that it shows is one that the command takes."""
    page = Path(__file__).resolve().parents[2] / "docs" / "augmentation.md"
    found = next(t for t in page.read_text("utf-8").split("```") if "[data]" in t)
    made = parse_augmentation(tomllib.loads(found))
    assert made.negatives is not None and made.negatives.kind == "generated"
    assert made.behaviour is not None and [m.kind for m in made.models] == ["bpr-mf", "sasrec"]


def test_a_small_gain_is_none() -> None:
    """Thirty of a hundred users rise from rank 9 to 8, certainly above 0: 0.3 * 4.8 %."""
    ranks = {"control": [9] * 100, "augmented": [8] * 30 + [9] * 70, "augmented-at-random": [11]}
    ranks["augmented-at-random"] *= 100
    made = table.gather(rows(f"m/{arm}", r) for arm, r in ranks.items())
    (answer,) = verdicts(augment_findings(made, ""))
    assert not answer.gain and answer.why == "+1.4%, less than 3%"


class OneScore:
    """Item i's score is its number where the history holds item 0, else its negative."""

    def __init__(self, items: pl.DataFrame) -> None:
        self.items = items

    def score(self, queries: Queries, slate: Any) -> Any:
        has = np.array([0 in queries.history(q) for q in range(len(queries))])
        return np.where(has[:, None], 1, -1) * slate.items.astype(np.float32)


class Drops:
    """Replaces item 0 by item 1 at the first try, and by item 2 at the second."""

    def __init__(self) -> None:
        self.calls = 0

    def sample(self, conditions: Queries, rng: Any, *, length: Any = None, keep: Any = None) -> Any:
        self.calls += 1
        out = []
        for q in range(len(conditions)):
            own: Ints = conditions.history(q).copy()
            own[own == 0] = self.calls
            out.append(own)
        return out


def test_the_worst_edit_counts() -> None:
    """Item 5 of 6 is first where the history holds item 0; without it, it is last of the three
    that neither history holds. A history without item 0 cannot be made worse."""
    log = taste_log(users=9, items=6, events=2)
    test = replace(
        LeaveOneOut(min_events=3).split(taste_log(users=9, items=12, events=6)).test,
        queries=Queries.of([[0, 3], [3, 4]], [0, 1]), targets=np.array([5, 5]),
    )  # fmt: skip
    made = behaviour_attack(
        OneScore(log.items), test, Drops(), np.random.default_rng(0),  # type: ignore[arg-type]
        about=Behaviour(keep=0.5, tries=2), subject="m/control", seed=0, trial="t",
    )  # fmt: skip
    assert made["rank"].to_list() == [3.0, 4.0]
    assert made["events"].to_list() == [1, 0]
    assert made["audit"].to_list() == ["behaviour"] * 2


def test_thinned_users_lose_their_oldest_events_everywhere() -> None:
    split: Split = LeaveOneOut().split(taste_log(users=30, items=40, events=10))
    made = thinned(split, 0.5, 4, np.random.default_rng(0))
    before, after = np.diff(split.train.offsets), np.diff(made.train.offsets)
    assert (after[after != before] == 4).all()
    assert (after != before).sum() == (before > 4).sum() // 2 > 10
    for part, old in ((made.valid, split.valid), (made.test, split.test)):
        assert part.targets.tolist() == old.targets.tolist()
        for q, user in enumerate(part.queries.users.tolist()):
            lost = before[user] - after[user]
            assert part.queries.history(q).tolist() == old.queries.history(q)[lost:].tolist()
    whole = made.train.histories()
    assert all(
        whole.history(u).tolist() == split.train.histories().history(u)[-after[u] :].tolist()
        for u in range(30)
    )


def test_a_log_without_sparse_users_is_refused(tmp_path: Path) -> None:
    """S2-13: with the remedy, before anything is trained."""
    written(tmp_path / "log.csv", taste_log(users=30, items=40, events=20))
    with pytest.raises(DataError, match=r"fewer than 5 training events; thin some users"):
        run_augmentation(experiment(tmp_path), RunContext(folder=tmp_path / "run"))
    made = experiment(tmp_path, thinned=0.5, models=[{"kind": "popularity"}], seeds=[0])
    done = run_augmentation(made, RunContext(folder=tmp_path / "run"))
    assert {f.n for f in done.findings if f.group == "sparse"} == {15}


def test_every_mistake_of_a_file_is_named(shop: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment(shop, fewer_than=1, weight=1.5, place="last", behaviour={"keep": 1.0})
    said = str(caught.value)
    assert all(name in said for name in ("fewer_than", "weight", "place", "behaviour.keep"))


def test_two_models_of_a_kind_are_told_apart(shop: Path) -> None:
    made = experiment(shop, models=[{"kind": "item-knn"}, {"kind": "item-knn", "decay": 0.5}])
    assert list(made.labelled()) == ["item-knn", "item-knn-2"]
    assert made.labelled()["item-knn-2"] == ItemKnn(decay=0.5)
