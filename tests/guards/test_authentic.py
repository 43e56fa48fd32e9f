"""S0-25: what stands already is looked at, and what is not authentic is not recommended."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.context import RunContext
from hardrank.data import Dataset, Queries, Slate
from hardrank.data.dataset import EVENT_COLUMNS
from hardrank.data.sources import MovieLens
from hardrank.errors import SchemaError
from hardrank.guards import (
    Authentic,
    CopycatGuard,
    Lesson,
    Listing,
    Normaliser,
    Pipeline,
    Shop,
    Stuffing,
    Verdict,
    admit,
    fit_pipeline,
)
from hardrank.guards.authentic import authenticity, looked
from hardrank.metrics.calibration import (
    Temperature,
    expected_calibration_error,
    temperature,
)
from hardrank.models import Ease, Tfidf
from hardrank.recommender import best, mask_seen
from hardrank.testing import planted_world
from hardrank.testing.guards import planted_lesson

WORLD = planted_world()
QUERIES = WORLD.panel
WHOLE = Slate(items=np.arange(6))
LOOK_ALIKE = str.maketrans("aeocpxyi", "аеосрхуі")


@dataclass(frozen=True)
class Doubts:
    """Scores of words; above a half it holds the listing."""

    scores: tuple[tuple[str, float], ...]

    @property
    def kind(self) -> str:
        return "doubts"

    def inspect(self, listings: list[Listing], shop: Shop) -> list[Verdict]:
        return [self._one(one) for one in listings]

    def _one(self, one: Listing) -> Verdict:
        score = max((s for word, s in self.scores if word in one.text), default=0.0)
        return Verdict("quarantine", "doubts", score, "why") if score > 0.5 else admit("x", score)


def made(**more: Any) -> Authentic:
    guard = Doubts((("moon", 0.9), ("dusty", 0.7), ("copper", 0.4)))
    return Authentic.of(WORLD.victim, guard, counts=WORLD.data.counts, **more)


def test_every_standing_text_has_its_authenticity() -> None:
    """Items: silver lantern, moon river, copper kettle, velvet river, dusty kettle, plain dusty."""
    found = made().authenticity
    assert np.allclose(found, [1, 0.1, 0.6, 1, 0.3, 0.3])
    assert made().listed.tolist() == [True, False, True, True, False, False]
    assert made(least=0.2).listed.tolist() == [True, False, True, True, True, True]
    assert made(least=0.7).listed.tolist() == [True, False, False, True, False, False]
    sources = np.array([0.2, 1, 1, 1, 1, 0.1])
    assert np.allclose(made(sources=sources).authenticity, [0.2, 0.1, 0.6, 1, 0.3, 0.1])


def test_the_verdict_says_on_which_side_of_a_half() -> None:
    @dataclass(frozen=True)
    class Says:
        verdict: Verdict
        kind: str = "says"

        def inspect(self, listings: list[Listing], shop: Shop) -> list[Verdict]:
            return [self.verdict for _ in listings]

    def of(*verdicts: Verdict) -> float:
        guard = Pipeline(tuple(Says(v) for v in verdicts))
        shop = Shop(items=WORLD.data.items)
        return float(authenticity(guard, [Listing("a", {"title": "x"})], shop)[0])

    held = Verdict("quarantine", "a", 0.1, "surely")
    assert of(held) < 0.5 == pytest.approx(of(held))
    assert of(admit("a", 0.8)) == 0.5
    assert of(admit("a", 0.2), admit("b", 0.3)) == pytest.approx(0.7)
    assert of(admit("a", 0.2), Verdict("quarantine", "b", 0.75, "r")) == pytest.approx(0.25)
    assert of() == 1.0


def test_abstaining_lists_no_doubtful_item() -> None:
    """As many as are listed; the others in the model's order, seen ones last."""
    shop = made()
    scores = shop.score(QUERIES, WHOLE)
    assert np.isneginf(scores[:, [1, 4, 5]]).all()
    plain = WORLD.victim.score(QUERIES, WHOLE)
    assert np.array_equal(scores[:, [0, 2, 3]], plain[:, [0, 2, 3]])
    for k in (1, 2, 3, 6):
        top = shop.top(QUERIES, k)
        assert top.shape == (4, min(k, 3))
        assert not np.isin(top, [1, 4, 5]).any()
    assert shop.top(QUERIES, 3)[1].tolist() == [3, 0, 2], "user 1 has seen a and c"


def test_demoted_items_stand_behind_all_others_in_their_order() -> None:
    shop = made(below="demote")
    scores = shop.score(QUERIES, WHOLE)
    listed, doubtful = [0, 2, 3], [1, 4, 5]
    assert np.isfinite(scores).all()
    assert (scores[:, doubtful].max(axis=1) < scores[:, listed].min(axis=1)).all()
    plain = WORLD.victim.score(QUERIES, WHOLE)
    assert np.array_equal(
        np.argsort(scores[:, doubtful], axis=1, kind="stable"),
        np.argsort(plain[:, doubtful], axis=1, kind="stable"),
    )
    for k in range(1, 7):
        assert np.array_equal(shop.top(QUERIES, k), best(mask_seen(scores.copy(), QUERIES), k)), k
    part = shop.score(QUERIES.take(np.array([2])), Slate(items=np.array([4, 0])))
    assert np.array_equal(part, scores[2:3, [4, 0]])


def test_order_survives_demotion_of_any_score() -> None:
    """Float32 keeps it from 1e-3 to 1e6, of either sign."""
    from hardrank.guards.authentic import _demoted

    some = np.logspace(-3, 6, 400, dtype=np.float32)
    found = _demoted(np.concatenate([-some[::-1], [0.0], some]))
    assert (np.diff(found.astype(np.float64)) > 0).all()
    assert found.max() < -1e12


def test_a_rewritten_text_is_looked_at_again() -> None:
    shop = made()
    slate = Slate(items=np.array([0, 1, 1, 3]), texts=("moon", "velvet", "moon river", "velvet"))
    assert np.allclose(shop.of_slate(slate), [0.1, 1, 0.1, 1])
    scores = shop.score(QUERIES, slate)
    assert np.isneginf(scores[:, [0, 2]]).all()
    assert np.array_equal(scores[:, [1, 3]], WORLD.victim.score(QUERIES, slate)[:, [1, 3]])
    asleep = made(sources=np.array([1, 0.3, 1, 1, 1, 1]))
    assert np.allclose(asleep.of_slate(slate), [0.1, 0.3, 0.1, 1])


def test_a_rewritten_catalogue_is_looked_at_where_it_changed() -> None:
    texts = ["moon lantern", "river", *WORLD.data.items["title"][2:]]
    live = made().on(WORLD.data.items.with_columns(title=pl.Series(texts)))
    assert live.listed.tolist() == [False, True, True, True, False, False]
    assert live.items["title"][1] == "river"
    again = made().on(WORLD.data.items)
    assert np.array_equal(again.authenticity, made().authenticity)


def test_trust_is_relevance_times_authenticity() -> None:
    """S0-25"""
    shop, heat = made(), Temperature(2.0, -1.0)
    plain = WORLD.victim.score(QUERIES, WHOLE).astype(np.float64)
    expected = 1 / (1 + np.exp(1.0 - plain / 2.0)) * np.array([1, 0.1, 0.6, 1, 0.3, 0.3])
    assert np.allclose(shop.trust(QUERIES, WHOLE, heat), expected, atol=1e-6)


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="least"):
        made(least=1.2)
    with pytest.raises(ValueError, match="sources"):
        made(sources=np.ones(5))
    with pytest.raises(SchemaError, match="no field 'brand'"):
        made(fields=("brand",))


@dataclass(frozen=True)
class Copies:
    """Holds what says exactly what another item with events says."""

    kind: str = "copies"

    def inspect(self, listings: list[Listing], shop: Shop) -> list[Verdict]:
        said = zip(*(shop.items[c].to_list() for c in ("item_id", "title")), shop.counts.tolist(),
                   strict=True)  # fmt: skip
        known = [(item, title) for item, title, events in said if events]
        return [
            Verdict("quarantine", self.kind, 0.9, "a copy")
            if any(i != one.item_id and t == one.fields["title"] for i, t in known)
            else admit(self.kind)
            for one in listings
        ]


@pytest.mark.parametrize(("first", "second", "held"), [
    (200, 0, [False, True]), (200, 3, [False, True]), (4, 3, [False, True]),
    (3, 2, [False, False]), (3, 200, [True, False]), (0, 0, [False, False]),
])  # fmt: skip
def test_an_original_is_not_held_for_its_copies(first: int, second: int, held: list[bool]) -> None:
    """Of two, the one with fewer binary digits of events is the copy; of equals neither is."""
    lesson = planted_lesson()
    texts = ["one text", *lesson.texts[1:-1], "one text"]
    counts = np.array([first, *[1] * (len(texts) - 2), second])
    shop = Shop(items=lesson.shop.items.with_columns(title=pl.Series(texts)), counts=counts)
    listings = [
        Listing(f"i{n}", {"title": texts[n]}, events=int(counts[n])) for n in (0, len(texts) - 1)
    ]
    found = looked(Copies(), listings, shop)
    assert [v.action == "quarantine" for _, v in found] == held
    assert [share < 0.5 for share, _ in found] == held


# What leaves the lists, and what it costs


def fakes_of(titles: list[str], popular: list[int], each: int, seed: int) -> list[tuple[str, str]]:
    """(family, text): bestsellers copied, behind one another, in look-alike letters, stuffed;
    and `keywords`, five words of bestsellers behind an own title, which is hardest to see."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(each):
        a, b, *more = (titles[popular[n]] for n in rng.permutation(len(popular))[:8])
        own = titles[int(rng.integers(len(titles)))]
        words = [str(rng.choice(text.split())) for text in more[:5]]
        out += [
            ("copy", a), ("append", f"{a} {b}"), ("homoglyph", b.translate(LOOK_ALIKE)),
            ("stuffing", " ".join(more)), ("repetition", " ".join([b] * 4)),
            ("keywords", " ".join([own, *words])),
        ]  # fmt: skip
    return out


@dataclass(frozen=True)
class Result:
    """Of fakes that stood in somebody's top 10, the share that left all, by family; and the
    share of clean items that are not listed any more."""

    left: dict[str, tuple[int, int]]
    removed: float

    def share(self, *but: str) -> float:
        some = [pair for family, pair in self.left.items() if family not in but]
        return sum(b for _, b in some) / sum(a for a, _ in some)


def planted(
    data: Dataset, lesson: Lesson, fakes: list[tuple[str, str]], share: float = 0.004
) -> Result:
    """Fakes are inserted as items with one event each (of a user of their own)."""
    ids = [f"fake{n}" for n in range(len(fakes))]
    more = pl.DataFrame({"item_id": ids, "title": [text for _, text in fakes]})
    events = pl.DataFrame(
        [(data.n_users, data.n_items + n, None, None, 1.0) for n in range(len(fakes))],
        schema=EVENT_COLUMNS, orient="row",
    )  # fmt: skip
    whole = replace(
        data,
        users=pl.concat([data.users.select("user_id"), pl.DataFrame({"user_id": ["seller"]})]),
        items=pl.concat([data.items, more], how="diagonal"),
        events=pl.concat([data.events, events]),
    )
    guard = fit_pipeline([Normaliser(), Stuffing(), CopycatGuard(false_alarms=share)], lesson)
    victim = Tfidf().fit(whole, RunContext(seed=0))
    shop = Authentic.of(victim, guard, counts=whole.counts)
    queries = whole.histories().take(np.arange(data.n_users))
    before, after = (set(np.unique(m.top(queries, 10)).tolist()) for m in (victim, shop))
    left = dict[str, tuple[int, int]]()
    for n, (family, _) in enumerate(fakes):
        row = data.n_items + n
        was, gone = left.get(family, (0, 0))
        if row in before:
            left[family] = (was + 1, gone + (row not in after))
    return Result(left, float((~shop.listed[: data.n_items]).mean()))


def test_planted_fakes_leave_the_top_10() -> None:
    """S0-25: of 150 planted fakes four in five of those listed leave all lists, and at most 2 %
    of 240 clean items do. Users like one kind of product, whose title says so."""
    lesson = planted_lesson()
    titles = lesson.texts
    rng = np.random.default_rng(3)
    kinds = np.asarray([text.split()[3] for text in titles])
    histories = []
    for n in range(60):
        own = np.flatnonzero(kinds == sorted(set(kinds))[n % 8])
        histories.append(rng.choice(own, size=6, replace=False).tolist())
    events = pl.DataFrame(
        [(u, i, t, None, 1.0) for u, h in enumerate(histories) for t, i in enumerate(h)],
        schema=EVENT_COLUMNS, orient="row",
    )  # fmt: skip
    users = pl.DataFrame({"user_id": [f"u{n}" for n in range(60)]})
    data = Dataset(
        name="planted", users=users, items=lesson.shop.items, events=events, synthetic=True
    )
    lesson = replace(lesson, shop=Shop(items=data.items, counts=data.counts))
    popular = np.argsort(-data.counts, kind="stable")[:60].tolist()
    result = planted(data, lesson, fakes_of(titles, popular, 25, 0))
    assert sum(was for was, _ in result.left.values()) >= 60
    assert result.share() >= 0.8
    assert result.removed <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 3, 7])
def test_planted_fakes_on_ml_100k(data_folder: Path, seed: int) -> None:
    """S0-25: of the fakes listed four in five leave all top-10 lists, and at most 2 % of the 1,682
    films are removed, with a guard against copies whose border 3 % of unseen films may cross:
    originals are acquitted, so fewer are held. Of `keywords` about half leave. At a border
    of 0.1 %, as for new listings, it is 70 % to 90 %, for 0.1 % to 0.7 % of the films."""
    data = MovieLens(path=data_folder / "ml-100k" / "raw").load()
    lesson = Lesson(shop=Shop(items=data.items, counts=data.counts), seed=seed)
    popular = np.argsort(-data.counts, kind="stable")[:200].tolist()
    fakes = fakes_of(data.items["title"].to_list(), popular, 30, seed)
    result = planted(data, lesson, fakes, 0.03)
    assert sum(was for was, _ in result.left.values()) >= 150
    assert result.share() >= 0.8
    assert result.share("keywords") >= 0.95
    assert 0.3 <= result.share(*(set(result.left) - {"keywords"})) <= 0.8, "docs/guards.md"
    assert result.removed <= 0.02
    mild = planted(data, lesson, fakes, 0.001)
    assert mild.share() >= 0.65
    assert mild.removed <= 0.01


@pytest.mark.slow
def test_relevance_is_calibrated_on_ml_100k(data_folder: Path) -> None:
    """S0-25: ECE of at most 0.05 for the items of top-10 lists (TF-IDF 0.001, EASE 0.019), on
    users that the temperature was not fitted on; relevant is what the user chose in the last
    fifth of his history."""
    data = MovieLens(path=data_folder / "ml-100k" / "raw").load()
    whole = data.histories()
    cut = [whole.history(q)[: -(-len(whole.history(q)) * 4 // 5)] for q in range(len(whole))]
    later = [set(whole.history(q)) - set(cut[q]) for q in range(len(whole))]
    train = replace(
        data,
        events=pl.DataFrame(
            [(u, int(i), t, None, 1.0) for u, h in enumerate(cut) for t, i in enumerate(h)],
            schema=EVENT_COLUMNS, orient="row",
        ),
    )  # fmt: skip
    for spec in (Tfidf(), Ease()):
        model = spec.fit(train, RunContext(seed=0))
        queries = Queries.of([h.tolist() for h in cut])
        top = model.top(queries, 10)
        every = model.score(queries, Slate(items=np.arange(data.n_items)))
        scores = np.take_along_axis(every, top, axis=1)
        hits = np.asarray([[int(i in later[q]) for i in row] for q, row in enumerate(top.tolist())])
        even, odd = np.arange(0, len(top), 2), np.arange(1, len(top), 2)
        heat = temperature(scores[even].ravel(), hits[even].ravel())
        got = heat.probabilities(scores[odd].ravel())
        found = expected_calibration_error(got, hits[odd].ravel())
        assert found <= 0.05, spec.kind
        raw = Temperature(1.0, 0.0).probabilities(scores[odd].ravel())
        assert expected_calibration_error(raw, hits[odd].ravel()) > 0.3, "what scores say"
