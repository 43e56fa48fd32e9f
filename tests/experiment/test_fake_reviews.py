"""Fake reviews from both sides: splits without leaks, real data, cost and gain in one row."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hardrank.attacks.reviews import (
    EvasiveReviews,
    LanguageModelReviews,
    RewrittenReviews,
    TemplateReviews,
)
from hardrank.cli.attack import app
from hardrank.context import RunContext
from hardrank.data.labelled import Labelled
from hardrank.data.review_texts import with_review_field
from hardrank.data.sources import AmazonReviews
from hardrank.detection.reviews import CopiedReviews, NgramReviews, StyleReviews
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.fake_reviews import FakeReviews, run_fake_reviews, show
from hardrank.experiment.fake_reviews_deceptive import (
    Deceptive,
    deceptive_splits,
    judge_on_deceptive,
)
from hardrank.experiment.fake_reviews_effect import (
    ReviewField,
    Shown,
    Writing,
    shown,
    write_reviews,
)
from hardrank.experiment.fake_reviews_generated import judge_on_generated, prepare
from hardrank.experiment.fake_reviews_measure import ClassifierReviews, Scored, judge
from hardrank.experiment.fake_reviews_pool import pooled_effects
from hardrank.experiment.fake_reviews_spec import (
    load_fake_reviews,
    parse_fake_reviews,
    run_file,
)
from hardrank.experiment.fake_reviews_texts import Panel, named
from hardrank.experiment.fake_reviews_victims import measure_effect, model_name
from hardrank.models.item_knn import ItemKnn
from hardrank.models.tfidf import Tfidf
from hardrank.testing.logs import taste_log
from hardrank.testing.reviews import reviewed_log
from hardrank.threats.model import Budget, Demote, Promote, ThreatModel

DATA = reviewed_log()
THREAT = ThreatModel(
    goal=Promote(items="unpopular:3"), surface="reviews", budget=Budget(reviews=3, words=25)
)
ATTACKS: list[Any] = [LanguageModelReviews(), RewrittenReviews(synonyms=0), TemplateReviews()]


def _toy() -> Deceptive:
    texts = [f"text {n} of a hotel" for n in range(64)]
    texts[63] = "TEXT  0 of a hotel"
    hotels = tuple(f"h{n // 8}" for n in range(64))
    labels = (np.arange(64) % 2).astype(np.int64)
    reviews = Labelled(
        texts=tuple(texts), labels=labels, names=("truthful", "deceptive"), groups=hotels
    )
    return Deceptive(reviews, tuple("positive" if n % 4 < 2 else "negative" for n in range(64)))


@pytest.mark.parametrize("seed", range(5))
def test_no_hotel_is_on_both_sides(seed: int) -> None:
    data = _toy()
    hotels, polarity = np.array(data.reviews.groups), np.array(data.polarity)
    found = {name: (train, test) for name, train, test in deceptive_splits(data, seed)}
    assert list(found) == ["random", "by-hotel", "positive-to-negative", "negative-to-positive"]
    for name, (train, test) in found.items():
        assert not set(train.tolist()) & set(test.tolist())
        folded = {" ".join(data.reviews.texts[r].casefold().split()) for r in train}
        assert not folded & {" ".join(data.reviews.texts[r].casefold().split()) for r in test}
        if name != "random":
            assert not set(hotels[train]) & set(hotels[test])
            assert len(set(hotels[test])) == 2
    train, test = found["positive-to-negative"]
    assert set(polarity[train]) == {"positive"} and set(polarity[test]) == {"negative"}
    train, test = found["negative-to-positive"]
    assert set(polarity[train]) == {"negative"} and set(polarity[test]) == {"positive"}


def test_a_judgement_has_the_mean_and_an_interval_of_groups() -> None:
    right = Scored(
        np.array([0, 1, 2, 3], np.float32), np.array([0, 0, 1, 1], bool), ("a", "a", "a", "a")
    )
    wrong = Scored(-right.scores, right.fake, right.groups)
    found = judge([right, wrong], np.random.default_rng(0), draws=200)
    assert found.auroc.value == 0.5 and found.n == 8
    assert (found.auroc.low, found.auroc.high) == (0.0, 1.0), "seeds are drawn, too"
    assert found.recall.value == 0.5
    sure = judge([right], np.random.default_rng(0), draws=50)
    assert (sure.auroc.low, sure.auroc.value, sure.auroc.high) == (1, 1, 1)
    torn = Scored(right.scores, right.fake, ("a", "a", "b", "b"))
    odd = judge([torn], np.random.default_rng(0), draws=200)
    assert odd.auroc.low == -np.inf, "draws without a class are no evidence"
    json.dumps(odd.to_json(), allow_nan=False)


class _Even:
    """A classifier that finds every text with an odd number of letters likely fake."""

    labels = ("truthful", "deceptive")

    def fit(self, train: Labelled, run: RunContext) -> "_Even":
        return self

    def probabilities(self, texts: Any) -> Any:
        p = np.array([0.9 if len(t) % 2 else 0.25 for t in texts])
        return np.stack([1 - p, p], axis=1).astype(np.float32)

    def arrays(self) -> dict[str, Any]:
        return {}


def test_a_classifier_is_a_detector_by_its_log_odds() -> None:
    detector = ClassifierReviews(model=_Even())  # type: ignore[arg-type]
    scores = detector.fit(_toy().reviews, fake="deceptive").score(["odd", "even"])
    np.testing.assert_allclose(scores, [np.log(9), -np.log(3)], rtol=1e-5)
    assert ClassifierReviews().kind == "text-classifier"


@pytest.mark.slow
def test_real_deceptive_reviews_are_found(data_folder: Path) -> None:
    """C7 on Ott et al.: far above chance between hotels; style alone less; across polarity
    (and sources) less than within."""
    path = data_folder / "attacked-text" / "deceptive-opinion" / "deceptive-opinion.csv"
    data = Deceptive.load(path)
    assert len(data.reviews) == 1600 and len(set(data.reviews.groups or ())) == 20
    assert sorted(set(data.polarity)) == ["negative", "positive"]
    found = judge_on_deceptive(
        data, [NgramReviews(), StyleReviews()], seeds=(0,), draws=100,
        protocols=("by-hotel", "positive-to-negative"),
    )  # fmt: skip
    hotels, across = (found["ngram-reviews", p].auroc for p in ("by-hotel", "positive-to-negative"))
    assert hotels.value > 0.9 and hotels.low > 0.85
    assert 0.7 < across.value < hotels.value
    assert 0.65 < found["style-reviews", "by-hotel"].auroc.value < hotels.value


def test_generators_never_read_what_is_tested() -> None:
    scene = prepare(DATA, ATTACKS, THREAT, seed=0, targets=4)
    assert set(scene.fake_train) == set(scene.fake_test) == {a.kind for a in ATTACKS}
    trained = set(scene.real_train.items).union(*(t.items for t in scene.fake_train.values()))
    tested = set(scene.real_test.items).union(*(t.items for t in scene.fake_test.values()))
    assert not trained & tested
    assert DATA.reviews is not None
    rows = DATA.reviews["item"].to_list()
    names = DATA.items["item_id"].to_list()
    assert scene.data.reviews is not None
    open_items = set(names) - _held(tested)
    assert scene.data.reviews.height == sum(1 for r in rows if names[r] in open_items)
    assert not set(scene.real_fresh.items) & tested and scene.real_fresh.texts
    assert all(len(t.split()) <= 25 for t in (*scene.real_train.texts, *scene.real_test.texts))
    with pytest.raises(DataError, match="too few items"):
        prepare(DATA, ATTACKS, THREAT, seed=0, targets=20)


def _held(tested: set[str]) -> set[str]:
    from hardrank.context import derive

    order = np.random.default_rng(derive(0, "fake-reviews", "items")).permutation(DATA.n_items)
    held = {str(DATA.items["item_id"][int(n)]) for n in order[: DATA.n_items // 4]}
    assert tested <= held
    return held


def test_one_generator_is_left_out() -> None:
    found = judge_on_generated(
        DATA, ATTACKS, [StyleReviews()], THREAT, seeds=(0, 1), targets=4, draws=20
    )
    kinds = [a.kind for a in ATTACKS]
    assert set(found) == {
        *((k, "style-reviews", t) for k in kinds for t in ("known", "left-out")),
        *((k, "copied-reviews", "left-out") for k in kinds),
    }
    left = found["template-reviews", "style-reviews", "left-out"]
    assert found["template-reviews", "style-reviews", "known"].auroc.value > left.auroc.value
    alone = judge_on_generated(
        DATA, ATTACKS[2:], [StyleReviews()], THREAT, seeds=(0,), targets=4, draws=20,
        copied=CopiedReviews(run=3),
    )  # fmt: skip
    assert {key[2] for key in alone if key[1] == "style-reviews"} == {"known"}


def test_reviews_move_a_model_that_reads_them() -> None:
    """S1-08: cost and gain of each generator, beside the control of moved reviews."""
    found = measure_effect(DATA, ATTACKS, THREAT, field=ReviewField(most=3, words=25), k=5)
    assert [e.attack for e in found] == ["moved-reviews", *(a.kind for a in ATTACKS)]
    for effect in found:
        assert (effect.targets, effect.reviews) == (3, 3.0) and 0 < effect.words <= 75
        assert effect.gain.value == pytest.approx(effect.er_after - effect.er_before)
        assert json.dumps(effect.to_json(), allow_nan=False)
    assert found[0].over_control.value == 0
    again = measure_effect(DATA, ATTACKS, THREAT, field=ReviewField(most=3, words=25), k=5)
    assert [e.gain for e in again] == [e.gain for e in found]


def test_the_gain_is_that_of_the_changed_catalogue() -> None:
    """The slow way round: the model over the whole patched catalogue ranks the target so."""
    from hardrank.threats.reviews import play_reviews

    field, attack = ReviewField(most=3, words=25), TemplateReviews()
    clean = with_review_field(DATA, most=3, words=25)
    model = Tfidf(fields=("title", "reviews")).fit(clean, RunContext())
    queries = DATA.histories()
    target = "i28"
    writing = write_reviews([attack], DATA, THREAT, targets=[target], field=field)[1]
    found = shown(writing, model, queries, field="reviews", k=5)
    match = play_reviews(attack, THREAT, DATA, target=target)
    patched = with_review_field(DATA.apply(match.patch), most=3, words=25)
    row = DATA.item_rows[target]
    free = [q for q in range(len(queries)) if row not in queries.history(q)]
    for catalogue, share in ((clean, found.er_before[0]), (patched, found.er_after[0])):
        top = model.on(catalogue.items).top(queries, 5)
        assert np.mean([row in top[q] for q in free]) == pytest.approx(share)


def test_fake_reviews_do_nothing_to_models_that_read_none() -> None:
    """S1-08: the control of the whole apparatus; a target scored as another item would move."""
    models = [ItemKnn(), Tfidf(fields=("title",)), Tfidf(fields=("title", "reviews"))]
    found = measure_effect(DATA, ATTACKS[2:], THREAT, models=models, seeds=(0, 1), k=5)
    assert [e.model for e in found[::2]] == [model_name(m) for m in models]
    for effect in found[:4]:
        assert not effect.reads and effect.largest_gain == 0 == effect.largest_shift
        assert (effect.gain.low, effect.gain.high) == (0, 0)
    assert all(e.reads and e.largest_shift > 0 for e in found[4:])
    told = FakeReviews(effects=tuple(found), generated={}, deceptive={})
    assert [c["unmoved"] for c in told.to_json()["controls"]] == [True, True]
    page = show(told)
    assert page.count("It reads no reviews: no exposure changed") == 2
    wrong = [replace(e, reads=False) for e in found]
    assert "YET AN EXPOSURE CHANGED" in show(replace(told, effects=tuple(wrong)))


def test_seeds_and_targets_are_pooled() -> None:
    """Every seed has targets of its own, its values are kept, and the interval spans them."""
    seeds = (0, 1, 2)
    field = ReviewField(most=3, words=25)
    found = measure_effect(DATA, ATTACKS[2:], THREAT, field=field, k=5, seeds=seeds)[1]
    assert found.targets == 9 and [s.seed for s in found.by_seed] == list(seeds)
    assert len({tuple(s.gains) for s in found.by_seed}) > 1, "targets are drawn anew"
    for one in found.by_seed:
        assert one.gain == pytest.approx(np.mean(list(one.gains.values())))
        alone = measure_effect(DATA, ATTACKS[2:], THREAT, field=field, k=5, seeds=(one.seed,))[1]
        assert alone.by_seed == (one,)
    assert found.gain.value == pytest.approx(np.mean([s.gain for s in found.by_seed]))
    assert found.gain.low <= found.gain.value <= found.gain.high
    told = found.to_json()["by_seed"]
    assert [t["seed"] for t in told] == [0, 1, 2] and len(told[0]["gains"]) == 3


def test_an_interval_draws_seeds() -> None:
    """Seeds that agree within and differ between: targets alone would give a sure answer."""

    def row(attack: str, gain: float, names: tuple[str, ...]) -> Any:
        n = len(names)
        writing = Writing(
            attack=attack, targets=names, rows=np.arange(n), texts=("",) * n,
            reviews=np.ones(n), words=np.ones(n), seconds=np.ones(n),
        )  # fmt: skip
        flat = np.zeros(n)
        return Shown(
            writing=writing, er_before=flat, er_after=flat + gain, rank_before=flat,
            rank_after=flat, shift=flat,
        )  # fmt: skip

    rows = {
        seed: [row("moved-reviews", 0.0, names), row("x", gain, names)]
        for seed, gain, names in ((0, 0.0, ("a", "b")), (1, 0.5, ("a", "b")))
    }
    found = pooled_effects(rows, model="m", reads=True, ndcg=0.1)[1]
    assert (found.gain.value, found.gain.low, found.gain.high) == (0.25, 0.0, 0.5)
    assert found.largest_gain == 0.5 and found.over_control == found.gain
    sure = pooled_effects({0: rows[1], 1: rows[1]}, model="m", reads=True, ndcg=0.1)[1]
    assert (sure.gain.low, sure.gain.high) == (0.5, 0.5)


def test_a_panel_is_as_strict_as_its_strictest_member() -> None:
    class Letters:
        def __init__(self, letter: str, scale: float) -> None:
            self.letter, self.scale = letter, scale

        def score(self, texts: Any) -> Any:
            return np.array([self.scale * t.count(self.letter) for t in texts], np.float32)

    real = ["ab", "", "aabb", "ab"]
    members = (Letters("a", 1), Letters("b", 100))
    panel = Panel.of({m.letter: (m, m.score(real)) for m in members})
    deviation = np.sqrt(0.5)
    np.testing.assert_allclose(
        panel.score(["aaa", "bbb", "abb", ""]), np.array([2, 2, 1, -1]) / deviation, rtol=1e-6
    )


def test_an_adaptive_writer_is_judged_by_the_detectors_that_it_knows() -> None:
    """It is found less than its base by every detector, and the shop learns from it."""
    evasive = EvasiveReviews(base=TemplateReviews())
    found = judge_on_generated(
        DATA, [*ATTACKS[1:], evasive], [StyleReviews()], THREAT, seeds=(0,), targets=4, draws=20
    )
    name = named(evasive)
    assert name == "evasive-reviews (template-reviews)"
    assert {key for key in found if key[0] == name} == {
        (name, "style-reviews", "adaptive"),
        (name, "copied-reviews", "adaptive"),
        (name, "style-reviews", "retrained"),
    }
    plain = found["template-reviews", "style-reviews", "known"].auroc.value
    known = found[name, "style-reviews", "adaptive"].auroc.value
    assert known < plain
    alone = judge_on_generated(
        DATA, [evasive], [StyleReviews()], THREAT, seeds=(0,), targets=4, draws=20
    )
    assert ("template-reviews", "style-reviews", "known") in alone, "the shop knows the base"


def test_an_adaptive_writer_is_shown_to_models_too() -> None:
    evasive = EvasiveReviews(base=TemplateReviews())
    attacks = [TemplateReviews(), evasive]
    found = measure_effect(DATA, attacks, THREAT, detectors=[StyleReviews()], k=5)
    assert [e.attack for e in found] == ["moved-reviews", "template-reviews", named(evasive)]
    assert found[2].reviews == 3 and found[2].by_seed[0].gains != found[1].by_seed[0].gains


def test_blame_is_measured_the_same_way() -> None:
    threat = ThreatModel(goal=Demote(items="popular:3"), surface="reviews", budget=THREAT.budget)
    found = measure_effect(DATA, ATTACKS[2:], threat, k=5)
    assert found[1].er_before > 0


def test_the_whole_run_is_written(tmp_path: Path) -> None:
    wide = ThreatModel(goal=Promote(items="unpopular:3"), surface="reviews", budget=THREAT.budget)
    found = run_fake_reviews(
        reviewed_log(items=90), attacks=ATTACKS[1:], detectors=[StyleReviews()], threat=wide,
        seeds=(0,), folder=tmp_path,
    )  # fmt: skip
    told = json.loads((tmp_path / "fake-reviews.json").read_text())
    assert [e["attack"] for e in told["effects"]] == [
        "moved-reviews", "rewritten-reviews", "template-reviews",
    ]  # fmt: skip
    assert told["deceptive"] == []
    row = next(j for j in told["generated"] if j["trained"] == "left-out")
    assert {"auroc", "average_precision", "recall_at_1_percent_fpr"} <= set(row)
    page = (tmp_path / "fake-reviews.md").read_text()
    assert page == show(found) and "## tfidf over title, reviews" in page
    line = next(n for n in page.splitlines() if n.startswith("| template-reviews | 3.0 |"))
    assert line.count("|") == 13 and "-reviews) | " in line, "cost, gain and AUROC in one row"
    with pytest.raises(DataError, match="has no reviews"):
        run_fake_reviews(taste_log(), attacks=ATTACKS[1:])


def test_the_example_is_a_file_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDRANK_DATA", str(tmp_path))
    example = Path(__file__).parents[2] / "examples" / "reviews" / "fake-reviews.toml"
    loaded = load_fake_reviews(example)
    assert [named(a) for a in loaded.attacks] == [
        "template-reviews", "language-model-reviews", "rewritten-reviews",
        "evasive-reviews (language-model-reviews)", "evasive-reviews (template-reviews)",
    ]  # fmt: skip
    assert [m.kind for m in loaded.victims] == ["tfidf", "text-sequence", "item-knn"]
    asked: dict[str, Any] = {}
    monkeypatch.setattr(AmazonReviews, "load", lambda self: DATA)
    monkeypatch.setattr(
        "hardrank.experiment.fake_reviews_spec.run_fake_reviews",
        lambda data, **said: asked.update(said, data=data),
    )
    run_file(loaded, RunContext(folder=tmp_path))
    assert asked["data"] is DATA and asked["folder"] == tmp_path
    assert asked["models"] == loaded.models
    assert asked["threat"].budget == Budget(reviews=5, words=60)
    assert asked["deceptive"] == (
        tmp_path / "attacked-text" / "deceptive-opinion" / "deceptive-opinion.csv"
    )


def test_every_mistake_of_a_file_is_told() -> None:
    good: dict[str, Any] = {"name": "x", "data": {"kind": "amazon-reviews", "path": "x"}}
    assert [m.kind for m in parse_fake_reviews(good).victims] == ["tfidf"]
    reading = {"kind": "tfidf", "fields": ["title", "reviews"]}
    one = parse_fake_reviews(good | {"model": reading})
    assert one.victims == parse_fake_reviews(good | {"models": [reading]}).victims
    renamed = parse_fake_reviews(good | {"field": {"name": "said"}})
    assert [model_name(m) for m in renamed.victims] == ["tfidf over title, said"]
    knn = {"kind": "item-knn"}
    for change, said in (
        ({"atacks": []}, "unknown key"),
        ({"field": {"name": "said"}, "model": reading}, "model: does not read 'said'"),
        ({"models": [knn]}, "models: none reads 'reviews'"),
        ({"models": [reading, knn, knn]}, "models: each kind once"),
        ({"model": reading, "models": [reading]}, "model or models, not both"),
        ({"attacks": [{"kind": "evasive-reviews"}] * 2}, "attacks: each kind once"),
        ({"attacks": [{"kind": "template-reviews"}] * 2}, "attacks: each kind once"),
        ({"threat": {"goal": {"kind": "promote"}, "budget": {"words": 3}}}, "must be reviews"),
    ):
        with pytest.raises(ConfigError, match=said):
            parse_fake_reviews(good | change)


def test_the_command_checks_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "fake.toml"
    file.write_text(
        'name = "x"\nseeds = [0]\ndetectors = [{ kind = "style-reviews" }]\n'
        'attacks = [{ kind = "template-reviews" }]\n[data]\nkind = "amazon-reviews"\npath = "x"\n'
        '[threat]\nsurface = "reviews"\ngoal = { kind = "promote", items = "unpopular:3" }\n'
        "budget = { reviews = 3, words = 25 }\n"
    )
    monkeypatch.setattr(AmazonReviews, "load", lambda self: reviewed_log(items=90))
    checked = CliRunner().invoke(app, ["reviews", str(file), "--check"])
    assert checked.exit_code == 0 and "fine" in checked.output
    done = CliRunner().invoke(app, ["reviews", str(file), "-o", str(tmp_path / "out"), "-q"])
    assert done.exit_code == 0, done.output
    assert "| template-reviews | 3.0 |" in done.output
    assert (tmp_path / "out" / "fake-reviews.json").is_file()


ROOT = Path(__file__).parents[2]


def test_the_page_quotes_the_kept_figures() -> None:
    """Every interval of gains and of detection in the page stands in the kept result."""
    kept = json.loads((ROOT / "benchmarks" / "results" / "fake_reviews.json").read_text())
    found, page = kept["figures"], (ROOT / "docs" / "fake-reviews.md").read_text()
    assert len(kept["seeds"]) >= 3 and found["controls"]
    assert all(c["unmoved"] and c["largest_shift"] == 0 for c in found["controls"])
    for effect in found["effects"]:
        assert [s["seed"] for s in effect["by_seed"]] == kept["seeds"]
        if effect["reads"]:
            assert _quoted(effect["gain"]) in page, (effect["model"], effect["attack"])
            assert effect["attack"] == "moved-reviews" or _quoted(effect["over_control"]) in page
    best: dict[tuple[str, str], Any] = {}
    for row in found["generated"]:
        key = (row["generator"], row["trained"])
        best[key] = max(row, best.get(key, row), key=lambda r: r["auroc"][0])
    plain = {"template-reviews", "language-model-reviews", "rewritten-reviews"}
    assert {(g, t) for g in plain for t in ("known", "left-out")} <= set(best)
    for row in best.values():
        for name in ("auroc", "average_precision", "recall_at_1_percent_fpr"):
            assert _quoted(row[name]) in page, row
    for row in found["deceptive"]:
        assert _quoted(row["auroc"]) in page, row


def _quoted(interval: list[float]) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*interval)
