"""Indexes against an oracle that looks at everything, in memory that is never rearranged."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hardrank.errors import DataError
from hardrank.recommender import best
from hardrank.serve.index import ExactIndex, Index, IvfIndex, build_index
from hardrank.serve.locks import ReadWriteLock
from hardrank.serve.rows import _best
from hardrank.types import Floats

D = 5


def vectors(n: int, seed: int = 0, size: int = D) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, size)).astype(np.float32)


def clustered(n: int, size: int, seed: int = 0, spread: float = 0.5, centres: int = 60) -> Floats:
    rng = np.random.default_rng(seed)
    around = np.random.default_rng(99).normal(size=(centres, size))
    points = around[rng.integers(centres, size=n)] + spread * rng.normal(size=(n, size))
    return points.astype(np.float32)


def exact(made: Floats) -> Index:
    index = ExactIndex(made.shape[1])
    index.put_many(np.arange(len(made)), made)
    return index


def ivf(made: Floats) -> Index:
    """Eight cells, all looked into: as right as the exact one, by the other code."""
    return IvfIndex(made, recall=1.0, cells=8, background=False)


BOTH = pytest.mark.parametrize("build", [exact, ivf])
Build = Callable[[Floats], Index]


def naive(
    held: dict[int, Floats], query: Floats, k: int, exclude: set[int]
) -> list[tuple[int, float]]:
    scored = [(r, float(v @ query)) for r, v in held.items() if r not in exclude]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k]


def same(index: Index, held: dict[int, Floats], query: Floats, k: int, exclude: set[int]) -> None:
    rows, scores = index.search(query[None], k, exclude=[sorted(exclude)])
    wanted = naive(held, query, k, exclude)
    n = len(wanted)
    assert (rows[0, n:] == -1).all() and np.isneginf(scores[0, n:]).all()
    assert np.allclose(scores[0, :n], [s for _, s in wanted], atol=1e-4)
    assert set(rows[0, :n].tolist()) <= set(held) - exclude
    assert len(set(rows[0, :n].tolist())) == n
    for row, score in zip(rows[0, :n].tolist(), scores[0, :n].tolist(), strict=True):
        assert float(held[row] @ query) == pytest.approx(score, abs=1e-4)


class Life(RuleBasedStateMachine):
    """Random puts, rewrites, removals and new layouts; every search agrees with the oracle."""

    build: Build

    def __init__(self) -> None:
        super().__init__()
        first = vectors(60)
        self.index = type(self).build(first)
        self.held = dict(enumerate(first))
        self.gone: set[int] = set()

    @rule(row=st.integers(0, 200), seed=st.integers(0, 9))
    def put(self, row: int, seed: int) -> None:
        made = vectors(1, seed)[0]
        self.index.put(row, made)
        self.held[row] = made
        self.gone.discard(row)

    @rule(start=st.integers(0, 150), n=st.integers(1, 50), seed=st.integers(0, 9))
    def put_many(self, start: int, n: int, seed: int) -> None:
        made, rows = vectors(n, seed), np.arange(start, start + n)
        self.index.put_many(rows, made)
        self.held |= dict(zip(rows.tolist(), made, strict=True))
        self.gone -= set(rows.tolist())

    @rule(row=st.integers(0, 200))
    def remove(self, row: int) -> None:
        assert self.index.remove(row) == (row in self.held)
        if self.held.pop(row, None) is not None:
            self.gone.add(row)

    @rule()
    def lay_out_anew(self) -> None:
        if isinstance(self.index, IvfIndex):
            self.index.retrain()

    @rule(seed=st.integers(0, 9), k=st.integers(1, 12), data=st.data())
    def search(self, seed: int, k: int, data: st.DataObject) -> None:
        exclude = data.draw(st.sets(st.integers(0, 200), max_size=80))
        same(self.index, self.held, vectors(1, seed + 100)[0], k, exclude)

    @invariant()
    def what_is_gone_is_gone(self) -> None:
        assert len(self.index) == len(self.held)
        rows, _ = self.index.search(vectors(1, 7), len(self.held) + 3)
        assert set(rows[0].tolist()) - {-1} == set(self.held)
        gone = np.array(sorted(self.gone), dtype=np.int64)
        assert not self.index.take(gone).any()


class ExactLife(Life):
    build = staticmethod(exact)


class IvfLife(Life):
    build = staticmethod(ivf)


TestExactLife = ExactLife.TestCase
TestExactLife.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
TestIvfLife = IvfLife.TestCase
TestIvfLife.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)


@BOTH
def test_ties_go_to_the_lower_row(build: Build) -> None:
    made = np.ones((50, D), dtype=np.float32)
    rows, scores = build(made).search(np.ones((2, D), np.float32), 50)
    assert rows.tolist() == [list(range(50))] * 2
    assert (scores == D).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999), n=st.integers(1, 3000), asked=st.integers(1, 20),
    k=st.integers(1, 60), levels=st.sampled_from([3, 50, 10**6]),
)  # fmt: skip
def test_the_quick_choice_of_the_best_is_that_of_a_full_sort(
    seed: int, n: int, asked: int, k: int, levels: int
) -> None:
    """Ties, rows that may not be listed, and fewer of the others than asked for."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=(n, asked)).astype(np.float32)
    scores[rng.random((n, asked)) < rng.random()] = -np.inf
    rows, values = _best(scores, min(k, n))
    wanted = best(np.ascontiguousarray(scores.T), min(k, n))
    assert np.array_equal(rows, wanted)
    assert np.array_equal(values, np.take_along_axis(scores.T, wanted, axis=1))


@BOTH
@given(seed=st.integers(0, 20), share=st.sampled_from([0.0, 0.05, 0.4, 0.9]), k=st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_only_allowed_rows_are_found(build: Build, seed: int, share: float, k: int) -> None:
    made = vectors(80, 3)
    allowed = np.random.default_rng(seed).random(70) < share  # ten rows it does not reach
    held = {r: made[r] for r in np.flatnonzero(allowed).tolist()}
    query = vectors(1, seed)[0]
    rows, _ = build(made).search(query[None], k, exclude=[[1, 2, 3, 500, -4]], allowed=allowed)
    wanted = [r for r, _ in naive(held, query, k, {1, 2, 3})]
    assert rows[0].tolist() == wanted + [-1] * (k - len(wanted))


def test_cells_obey_a_mask_too_large_to_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardrank.serve.ivf._SCAN", 10)
    made = vectors(200, 3)
    allowed = np.arange(200) % 3 == 0
    held = {r: made[r] for r in range(0, 200, 3)}
    for seed in range(5):
        query = vectors(1, seed + 50)[0]
        rows, _ = ivf(made).search(query[None], 7, exclude=[[0, 3]], allowed=allowed)
        assert rows[0].tolist() == [r for r, _ in naive(held, query, 7, {0, 3})]


@BOTH
def test_vectors_that_would_spoil_the_table_are_refused(build: Build) -> None:
    index = build(vectors(40))
    with pytest.raises(DataError, match="not finite"):
        index.put(0, np.full(D, np.nan, np.float32))
    with pytest.raises(DataError, match="have 5 numbers"):
        index.search(np.zeros((1, D + 1), np.float32), 3)
    with pytest.raises(DataError, match="count from 0"):
        index.put(-1, np.zeros(D, np.float32))
    with pytest.raises(DataError, match="twice"):
        index.put_many(np.array([3, 3]), vectors(2))
    assert np.array_equal(index.take(np.arange(40)), vectors(40))


def test_an_empty_index_finds_nothing() -> None:
    rows, scores = ExactIndex(D).search(vectors(2), 3)
    assert (rows == -1).all() and np.isneginf(scores).all()
    with pytest.raises(DataError, match="ExactIndex"):
        IvfIndex(np.zeros((0, D), np.float32))
    index = ivf(vectors(3))
    for row in range(3):
        index.remove(row)
    assert (index.search(vectors(1), 2)[0] == -1).all()


def test_the_kind_follows_from_the_size() -> None:
    made = vectors(300)
    assert isinstance(build_index(made, exact_up_to=300), ExactIndex)
    assert isinstance(build_index(made, exact_up_to=299), IvfIndex)


def test_recall_is_measured_and_reached_with_few_cells() -> None:
    """The probes are chosen on one sample; other queries of the kind get the recall, too."""
    made = clustered(6_000, 16)
    index = IvfIndex(made, sample=clustered(600, 16, seed=1), k=10)
    fresh = clustered(400, 16, seed=2)
    assert index.probes < 60, "of 150 cells"
    measured = index.recall(fresh, 10)
    rows, _ = index.search(fresh, 10)
    true, _ = exact(made).search(fresh, 10)
    by_hand = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, true, strict=True)])
    assert measured == pytest.approx(by_hand)
    assert measured >= 0.98


def test_recall_below_one_is_seen() -> None:
    made = clustered(6_000, 16)
    index = IvfIndex(made, sample=clustered(600, 16, seed=1), k=10)
    index.probes = 1
    assert 0.05 < index.recall(clustered(200, 16, seed=2), 10) < 0.95


def test_item_biases_of_all_sizes_are_searched() -> None:
    """A bias is one dimension more, and a query's 1 meets it."""
    bias = np.random.default_rng(1).gamma(1.0, 2.0, size=(6_000, 1))
    made = np.hstack([clustered(6_000, 16), bias]).astype(np.float32)
    queries = np.hstack([clustered(900, 16, seed=1), np.ones((900, 1))]).astype(np.float32)
    index = IvfIndex(made, sample=queries[:500], k=10)
    assert index.recall(queries[500:], 10) >= 0.97
    assert index.probes < 120


def test_cells_are_laid_out_anew_when_it_has_doubled() -> None:
    """New items come from where the first ones were not; recall holds by a new layout."""
    made = clustered(1_000, 8, centres=20)
    index = IvfIndex(made, k=10, background=False)
    before = index._made
    for n in range(998):
        index.put(1_000 + n, made[n] + 10)
    index.remove(5)
    assert index._made is before
    index.put(1_998, made[998] + 10)
    assert index._made is not before
    assert index._made.nlist > before.nlist
    assert index.recall(made[:300] + 10, 10) >= 0.97
    assert 5 not in index.search(made[5:6], 1_998)[0]


def test_writes_during_a_new_layout_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made = vectors(400)
    index = IvfIndex(made, recall=1.0, background=False)
    inside, go = threading.Event(), threading.Event()
    plain = IvfIndex._made_of

    def slowly(self: IvfIndex, rows: object, those: object) -> object:
        inside.set()
        assert go.wait(10)
        return plain(self, rows, those)  # type: ignore[arg-type]

    monkeypatch.setattr(IvfIndex, "_made_of", slowly)
    thread = threading.Thread(target=index.retrain)
    thread.start()
    assert inside.wait(10)
    index.remove(3)
    index.put(7, 100 * made[0])
    index.put(900, 200 * made[0])
    assert index.search(made[:1], 2)[0].tolist() == [[900, 7]], "at once, in the old layout"
    old = index._made
    go.set()
    thread.join(10)
    assert index._made is not old
    assert index.search(made[:1], 2)[0].tolist() == [[900, 7]]
    rows, _ = index.search(made[3:4], 401)
    assert 3 not in rows and sorted(rows[0].tolist())[1:] == sorted({*range(400), 900} - {3})


@BOTH
def test_readers_never_see_half_a_write(build: Build) -> None:
    """A writer sets row 0 to all ones or all twos; any mixture would score in between."""
    index = build(np.ones((20, 256), np.float32))
    stop, seen, wrong = threading.Event(), set[float](), []
    query, only = np.ones((1, 256), np.float32), np.arange(20) == 0

    def read() -> None:
        while not stop.is_set():
            rows, scores = index.search(query, 1, allowed=only)
            seen.add(float(scores[0, 0]))
            if rows[0, 0] != 0:
                wrong.append(rows)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    end = time.monotonic() + 1.0
    writes = 0
    while time.monotonic() < end:
        index.put(0, np.full(256, 1.0 + writes % 2, np.float32))
        writes += 1
    stop.set()
    for reader in readers:
        reader.join(10)
    assert not wrong and seen == {256.0, 512.0}
    assert writes > 20, "readers do not starve the writer"


def test_a_writer_is_alone_and_nobody_starves() -> None:
    lock, stop, reading = ReadWriteLock(), threading.Event(), set[int]()
    most, turns, wrong = [0], [0, 0], []

    def read() -> None:
        while not stop.is_set():
            with lock.read():
                reading.add(threading.get_ident())
                most[0] = max(most[0], len(reading))
                time.sleep(0.001)
                reading.discard(threading.get_ident())
            turns[0] += 1

    def write() -> None:
        while not stop.is_set():
            with lock.write():
                wrong.extend(reading)
                time.sleep(0.0005)
                wrong.extend(reading)
                turns[1] += 1

    threads = [threading.Thread(target=read) for _ in range(4)]
    threads += [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert not wrong
    assert min(turns) > 20
    assert most[0] > 1, "readers share"
