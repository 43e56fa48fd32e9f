"""Bundles: what is saved is what is loaded and served, and nothing else is believed."""

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from hardrank.bundle import FORMAT, Bundle, load_arrays, load_bundle, save_arrays, save_bundle
from hardrank.context import RunContext
from hardrank.data import Dataset, Queries
from hardrank.errors import BundleError, DataError
from hardrank.files import digest_file
from hardrank.models import (
    MODELS,
    Blend,
    BprMf,
    Ease,
    Hybrid,
    ItemKnn,
    KnnTfidf,
    LightGcn,
    Popularity,
    RatingMf,
    Sasrec,
    Smoothed,
    TextSequence,
    Tfidf,
    Trusted,
    Wmf,
)
from hardrank.models.common import whole
from hardrank.recommender import Recommender, best, mask_seen
from hardrank.testing import dataset, toy_market
from hardrank.training import Training

TRAINING = Training(epochs=1, batch_size=32, patience=0)
SMALL: dict[str, Any] = {"size": 8, "length": 6, "training": TRAINING}
TEXT: dict[str, Any] = {**SMALL, "whiten": 8, "max_tokens": 16}
SPECS: dict[str, Any] = {
    made.kind: made
    for made in (
        Popularity(), ItemKnn(), Tfidf(), KnnTfidf(), BprMf(size=8, epochs=1, batch_size=32),
        LightGcn(size=8, epochs=1), Ease(), Wmf(factors=4, sweeps=2),
        RatingMf(factors=4, sweeps=2),
        Sasrec(**SMALL), TextSequence(**TEXT), Hybrid(**TEXT),
        Blend(first=Sasrec(**SMALL), second=Tfidf(), weight=0.3),
        Smoothed(base=Tfidf(), masks=4),
        Trusted(base=Smoothed(base=Tfidf(), masks=4), column="item_id", trust={"d": 0.4}),
    )
}  # fmt: skip
FILES = ("spec.json", "weights.safetensors", "items.parquet", "histories.parquet", "report.html")
ABOUT = {"name": "toy", "seed": 0, "synthetic": True}


@dataclass(frozen=True)
class Saved:
    spec: Any
    model: Recommender
    folder: Path


def rated_market() -> Dataset:
    """The toy market, for models that need ratings as well."""
    market = toy_market()
    rating = (pl.col("item") % 5 + 1).cast(pl.Float32)
    return replace(market, events=market.events.with_columns(rating=rating))


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARDRANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Saved]:
    made: dict[str, Saved] = {}

    def save(kind: str) -> Saved:
        if kind not in made:
            folder = tmp_path_factory.mktemp("bundles") / kind
            model = SPECS[kind].fit(rated_market(), RunContext())
            save_bundle(folder, SPECS[kind], model, rated_market(), ABOUT, report="<html></html>")
            made[kind] = Saved(SPECS[kind], model, folder)
        return made[kind]

    return save


@pytest.fixture
def bundle(saved: Callable[[str], Saved], tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(saved("tfidf").folder, tmp_path / "bundle"))


def resign(folder: Path) -> None:
    """New digests, as somebody would make who wants an altered bundle believed."""
    names = sorted(p.name for p in folder.iterdir() if p.name != "SHA256SUMS")
    text = "".join(f"{digest_file(folder / n)}  {n}\n" for n in names)
    (folder / "SHA256SUMS").write_text(text)


def respell(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "spec.json"
    spec = json.loads(path.read_text("utf-8"))
    change(spec)
    path.write_text(json.dumps(spec), "utf-8")
    resign(folder)


def test_every_member_of_the_registry_is_here() -> None:
    assert {type(made) for made in SPECS.values()} == set(MODELS)


@pytest.mark.parametrize("kind", SPECS)
def test_loaded_is_saved(kind: str, saved: Callable[[str], Saved]) -> None:
    """Bit-equal arrays and scores, equal lists, equal spec."""
    before, queries = saved(kind), Queries.of([[1, 2], [5], [], [8, 3, 1, 0, 4, 7, 9]])
    after = load_bundle(before.folder)
    assert after.spec == before.spec and dict(after.about) == ABOUT
    ours, theirs = before.model.arrays(), after.recommender.arrays()
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert array.dtype == theirs[name].dtype and array.shape == theirs[name].shape, name
        assert np.array_equal(array, theirs[name]), name
    slate = whole(before.model.items)
    assert np.array_equal(
        before.model.score(queries, slate), after.recommender.score(queries, slate)
    )
    assert np.array_equal(before.model.top(queries, 7), after.recommender.top(queries, 7))
    assert after.recommender.items.equals(before.model.items)


@pytest.mark.parametrize("kind", SPECS)
def test_what_is_served_is_what_was_evaluated(kind: str, saved: Callable[[str], Saved]) -> None:
    """By user: the top of that user's row in the scores that the audit ranks."""
    before, data = saved(kind), toy_market()
    served, queries = load_bundle(before.folder), data.histories()
    scores = mask_seen(before.model.score(queries, whole(data.items)).copy(), queries)
    for user in (0, 3, 29):
        found = served.recommend(data.users["user_id"][user], k=5)
        ids = data.items["item_id"][best(scores[user : user + 1], 5)[0]]
        assert found["item_id"].to_list() == ids.to_list()
        expected = np.sort(scores[user])[::-1][:5]
        assert np.allclose(found["score"].to_numpy(), expected, rtol=1e-4, atol=1e-5)
        assert found.columns == [*data.items.columns, "score"]


def test_recommending_by_history(saved: Callable[[str], Saved]) -> None:
    data, served = toy_market(), load_bundle(saved("item-knn").folder)
    history = data.items["item_id"][data.histories().history(4)].to_list()
    by_user = served.recommend("u4", k=3)
    assert served.recommend_after(history, k=3).equals(by_user)
    titles = [data.items["title"][data.item_rows[i]] for i in history]
    assert served.recommend_after(titles, k=3).equals(by_user)
    assert served.recommend_after([], k=100).height == data.n_items
    assert not set(served.recommend_after(history, k=100)["item_id"]) & set(history)
    with pytest.raises(DataError, match="unknown user 'nobody'"):
        served.recommend("nobody")
    with pytest.raises(DataError, match=r"did you mean.*hair"):
        served.recommend_after(["hair shampoo curl model0"])


def test_an_id_is_not_mistaken_for_a_title(tmp_path: Path) -> None:
    """A film may be called 'b' while another one's id is 'b'."""
    data = dataset(["b", "red tea", "blue cup", "green hat"], [[1, 2], [1, 2], [0, 3]])
    model = ItemKnn().fit(data, RunContext())
    save_bundle(tmp_path / "bundle", ItemKnn(), model, data, {})
    served = load_bundle(tmp_path / "bundle")
    assert served.recommend_after(["b"], k=1)["title"].to_list() == ["blue cup"]
    assert served.recommend_after(["red tea"], k=1)["title"].to_list() == ["blue cup"]


@pytest.mark.parametrize("name", [*FILES, "SHA256SUMS"])
def test_one_altered_byte_is_refused(name: str, bundle: Path) -> None:
    path = bundle / name
    good = path.read_bytes()
    for place in {0, len(good) // 3, len(good) // 2, len(good) - 1}:
        for flip in (0x01, 0x80):
            bad = bytearray(good)
            bad[place] ^= flip
            path.write_bytes(bytes(bad))
            with pytest.raises(BundleError) as error:
                load_bundle(bundle)
            assert "bundle" in str(error.value)
    path.write_bytes(good)
    load_bundle(bundle)


def test_no_byte_of_the_list_of_digests_is_idle(bundle: Path) -> None:
    """Each of its bytes, and ends of lines that only look like some."""
    path = bundle / "SHA256SUMS"
    good = path.read_bytes()
    for place in range(len(good)):
        for byte in (good[place] ^ 1, 0x0B, 0x0D, 0x20, 0x41):
            if byte != good[place]:
                path.write_bytes(good[:place] + bytes([byte]) + good[place + 1 :])
                with pytest.raises(BundleError):
                    load_bundle(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name: str, bundle: Path) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle)


@pytest.mark.parametrize("name", FILES[:-1])
def test_a_file_missing_from_the_list_is_named(name: str, bundle: Path) -> None:
    (bundle / name).unlink()
    resign(bundle)
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle)


def test_what_is_no_bundle_is_said(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BundleError, match="is this a bundle"):
            load_bundle(folder)


def test_a_list_of_digests_cannot_point_outside(bundle: Path) -> None:
    outside = bundle.parent / "secret"
    outside.write_text("x")
    with (bundle / "SHA256SUMS").open("a") as file:
        file.write(f"{digest_file(outside)}  ../secret\n")
    with pytest.raises(BundleError, match="secret"):
        load_bundle(bundle)


def test_a_key_of_a_newer_version_is_named_in_a_warning(bundle: Path) -> None:
    respell(bundle, lambda spec: spec["model"].update(sharpness=3))
    with pytest.warns(UserWarning, match="newer version; ignored: .*sharpness"):
        loaded = load_bundle(bundle)
    assert loaded.spec == Tfidf()


def test_a_newer_format_is_refused(bundle: Path) -> None:
    respell(bundle, lambda spec: spec.update(format=FORMAT + 1))
    with pytest.raises(BundleError, match=f"format {FORMAT + 1} is newer than {FORMAT}"):
        load_bundle(bundle)


SPOILT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no model": lambda spec: spec.pop("model"),
    "no format": lambda spec: spec.pop("format"),
    "format in words": lambda spec: spec.update(format="one"),
    "model in words": lambda spec: spec.update(model="tfidf"),
    "unknown kind": lambda spec: spec["model"].update(kind="oracle"),
    "no kind": lambda spec: spec["model"].pop("kind"),
    "wrong value": lambda spec: spec["model"].update(fields=3),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spec_that_says_nothing_is_refused(what: str, bundle: Path) -> None:
    respell(bundle, SPOILT[what])
    with pytest.raises(BundleError):
        load_bundle(bundle)


class Trap:
    """Unpickling it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_loading_runs_nothing(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No unpickler is called; code beside the weights stays where it lies; a pickle in the
    place of the weights is refused, with right digests and all."""
    mark = tmp_path / "ran"
    (bundle / "__init__.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    (bundle / "model.py").write_text(f"open({str(mark)!r}, 'w').close()\n")

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("an unpickler was called")

    with monkeypatch.context() as patch:
        for place, name in ((pickle, "load"), (pickle, "loads"), (torch, "load"), (np, "load")):
            patch.setattr(place, name, forbidden)
        load_bundle(bundle)
    (bundle / "weights.safetensors").write_bytes(pickle.dumps(Trap(mark)))
    resign(bundle)
    with pytest.raises(BundleError, match="not readable as safetensors"):
        load_bundle(bundle)
    assert not mark.exists()
    pickle.loads((bundle / "weights.safetensors").read_bytes())
    assert mark.exists(), "the trap works"


def test_half_a_bundle_never_appears(tmp_path: Path, saved: Callable[[str], Saved]) -> None:
    """A save that fails leaves the bundle that was there."""
    made = saved("popularity")
    folder = Path(shutil.copytree(made.folder, tmp_path / "bundle"))
    with pytest.raises(TypeError):
        save_bundle(folder, made.spec, made.model, toy_market(), {"name": object()})
    assert isinstance(load_bundle(folder), Bundle)
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("size", [1 << 27, 1 << 40, (1 << 64) - 1])
def test_a_header_that_would_fill_memory_is_refused(size: int, tmp_path: Path) -> None:
    """The first eight bytes say how long the header is: up to 2^64, whatever the file holds."""
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(size.to_bytes(8, "little") + b"{")
        file.truncate(min(size, (1 << 27) + 16) + 8)  # a hole: no disk is used
    with pytest.raises(BundleError, match="not readable as safetensors"):
        load_arrays(path)


def test_arrays_round_trip(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "words": np.array(["red", "", "ütf 茶", "a\x1fb\nc", "  "]),
        "none": np.array([], dtype=np.str_),
        "blank": np.array([""]),
        "table": np.array([["a", "b"], ["c", "d"]]),
        "matrix": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
        "number": np.array(0.25),
        "truth": np.array([True, False]),
        "rows": np.array([-1, 2**40]),
        "empty": np.zeros((0, 4), dtype=np.float32),
    }
    save_arrays(tmp_path / "a.safetensors", arrays)
    found = load_arrays(tmp_path / "a.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].shape == array.shape and found[name].dtype.kind == array.dtype.kind, name
        assert np.array_equal(found[name], array), name


def test_histories_are_whole_and_in_order(saved: Callable[[str], Saved]) -> None:
    data: Dataset = toy_market()
    histories = load_bundle(saved("popularity").folder).histories
    assert list(histories) == data.users["user_id"].to_list()
    for user, row in data.user_rows.items():
        ids = data.items["item_id"][data.histories().history(row)]
        assert histories[user] == ids.to_list()


def test_a_user_without_events_is_served(tmp_path: Path) -> None:
    data = dataset(["red tea", "blue cup", "green hat"], [[0, 1], []])
    model = Popularity().fit(data, RunContext())
    save_bundle(tmp_path / "bundle", Popularity(), model, data, {})
    served = load_bundle(tmp_path / "bundle")
    assert served.histories["u1"] == []
    assert served.recommend("u1", k=2)["item_id"].to_list() == ["a", "b"]
    assert isinstance(served.recommend("u1"), pl.DataFrame)
