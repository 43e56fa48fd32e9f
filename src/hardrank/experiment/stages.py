"""Finished work is not done again: a stage is kept with a fingerprint of all it came from."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import polars as pl
from numpy.typing import NDArray

from hardrank.audits import samples as table
from hardrank.bundle import load_arrays, save_arrays
from hardrank.context import RunContext
from hardrank.files import atomic_folder, digest_bytes, write_text
from hardrank.recommender import ModelSpec, Recommender

__all__ = ["kept", "kept_model", "kept_samples", "key_of"]

_KEY = "key"
Arrays = Mapping[str, NDArray[Any]]


class _HasArrays(Protocol):
    def arrays(self) -> dict[str, NDArray[Any]]: ...


M = TypeVar("M", bound=_HasArrays)


def key_of(*parts: object) -> str:
    """Fingerprint of a stage's inputs; specs are frozen, so their `repr` says all."""
    return digest_bytes(*(repr(p).encode() for p in parts))


def kept_model(
    folder: Path,
    key: str,
    spec: ModelSpec,
    items: pl.DataFrame,
    run: RunContext,
    fit: Callable[[], Recommender],
) -> Recommender:
    """The model of that key from `folder`, or a new one, which is then kept there."""
    return kept(folder, key, lambda arrays: spec.restore(arrays, items, run), fit)


def kept(folder: Path, key: str, restore: Callable[[Arrays], M], fit: Callable[[], M]) -> M:
    """Whatever has `arrays()`, restored from `folder` if its key is there, else made anew."""
    weights = folder / "weights.safetensors"
    if _matches(folder, key):
        return restore(load_arrays(weights))
    made = fit()
    with atomic_folder(folder) as draft:
        save_arrays(draft / weights.name, made.arrays())
        write_text(draft / _KEY, key)
    return made


def kept_samples(folder: Path, key: str, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """The samples of that key from `folder`, or new ones, which are then kept there."""
    path = folder / "samples.parquet"
    if _matches(folder, key):
        return table.load(path)
    made = make()
    with atomic_folder(folder) as draft:
        table.save(made, draft / path.name)
        write_text(draft / _KEY, key)
    return made


def _matches(folder: Path, key: str) -> bool:
    kept = folder / _KEY
    return kept.is_file() and kept.read_text("utf-8") == key
