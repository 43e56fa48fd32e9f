"""Finished work is kept with a fingerprint of what it came from, and never trusted without."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.audits import samples as table
from hardrank.context import RunContext
from hardrank.errors import BundleError
from hardrank.experiment.arms import labels
from hardrank.experiment.stages import kept_model, kept_samples, key_of
from hardrank.models import Hybrid, Popularity, Sasrec
from hardrank.models.common import whole
from hardrank.recommender import Recommender
from hardrank.testing import toy_market

DATA, RUN = toy_market(), RunContext()


def rows(value: float) -> pl.DataFrame:
    return table.samples({"subject": ["m/base"], "seed": [0], "audit": ["gate"], "value": [value]})


class Counted:
    """A callable that counts its calls."""

    def __init__(self, made: Any) -> None:
        self.made, self.calls = made, 0

    def __call__(self) -> Any:
        self.calls += 1
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


def kept(folder: Path, key: str, fit: Counted) -> Recommender:
    return kept_model(folder, key, Popularity(), DATA.items, RUN, fit)


def popularity() -> Counted:
    return Counted(Popularity().fit(DATA, RUN))


def test_keys_tell_specs_seeds_and_data_apart() -> None:
    spec, other = Sasrec(size=8), Sasrec(size=16)
    assert key_of(spec, 0, "data") == key_of(Sasrec(size=8), 0, "data")
    different = {
        key_of(spec, 0, "data"), key_of(other, 0, "data"), key_of(spec, 1, "data"),
        key_of(spec, 0, "other"), key_of(spec, 0, "data", None), key_of(spec, 0),
        key_of(spec, "0", "data"), key_of("ab", "c"), key_of("a", "bc"),
        key_of(replace(spec, training=replace(spec.training, epochs=1)), 0, "data"),
    }  # fmt: skip
    assert len(different) == 10


def test_samples_of_the_same_key_are_made_once(tmp_path: Path) -> None:
    first, second = Counted(rows(1.0)), Counted(rows(2.0))
    made = kept_samples(tmp_path / "stage", "key", first)
    again = kept_samples(tmp_path / "stage", "key", second)
    assert (first.calls, second.calls) == (1, 0)
    assert again.equals(made) and again.schema == made.schema
    fresh = kept_samples(tmp_path / "stage", "other key", second)
    assert second.calls == 1 and fresh["value"].to_list() == [2.0]
    assert kept_samples(tmp_path / "stage", "other key", first)["value"].to_list() == [2.0]


def test_a_model_of_the_same_key_is_restored(tmp_path: Path) -> None:
    first, second = popularity(), popularity()
    made = kept(tmp_path / "stage", "key", first)
    again = kept(tmp_path / "stage", "key", second)
    assert (first.calls, second.calls) == (1, 0)
    queries = DATA.histories()
    slate = whole(DATA.items)
    assert np.array_equal(made.score(queries, slate), again.score(queries, slate))
    kept(tmp_path / "stage", "other", second)
    assert second.calls == 1


@pytest.mark.parametrize("make", [kept_samples, kept])
def test_a_failed_stage_keeps_nothing_and_spoils_nothing(make: Any, tmp_path: Path) -> None:
    """C3: what was kept before is still there under its own key."""
    good = Counted(rows(1.0)) if make is kept_samples else popularity()
    folder, broken = tmp_path / "stage", Counted(RuntimeError("the power failed"))
    with pytest.raises(RuntimeError, match="power"):
        make(folder, "key", broken)
    assert not folder.exists()
    make(folder, "key", good)
    with pytest.raises(RuntimeError, match="power"):
        make(folder, "other key", broken)
    make(folder, "key", good)
    assert good.calls == 1
    assert [p.name for p in tmp_path.iterdir()] == ["stage"]


@pytest.mark.parametrize("make", [kept_samples, kept])
def test_a_stage_without_its_key_is_done_again(make: Any, tmp_path: Path) -> None:
    good = Counted(rows(1.0)) if make is kept_samples else popularity()
    make(tmp_path / "stage", "key", good)
    (tmp_path / "stage" / "key").write_text("ke")
    make(tmp_path / "stage", "key", good)
    assert good.calls == 2
    (tmp_path / "stage" / "key").unlink()
    make(tmp_path / "stage", "key", good)
    assert good.calls == 3


def test_spoilt_weights_are_said_not_served(tmp_path: Path) -> None:
    kept(tmp_path / "stage", "key", popularity())
    (tmp_path / "stage" / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(BundleError, match=r"weights\.safetensors"):
        kept(tmp_path / "stage", "key", popularity())


def test_each_model_of_a_run_has_a_name_of_its_own() -> None:
    specs = [Sasrec(), Hybrid(), Sasrec(size=8), Popularity(), Sasrec(size=16), Hybrid(size=8)]
    assert labels(specs) == [
        "sasrec", "hybrid", "sasrec-2", "popularity", "sasrec-3", "hybrid-2"
    ]  # fmt: skip
