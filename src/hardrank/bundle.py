"""A bundle: a folder that holds a trained recommender and nothing that runs.

    bundle/
      spec.json             format, model spec, provenance
      weights.safetensors   everything learned
      items.parquet         the catalogue
      histories.parquet     user_id, item_ids: whom it can answer by name
      report.html           the audit, if there was one
      SHA256SUMS            digests of all of the above

Loading runs no code from it, and refuses a file whose digest differs.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import safe_open
from safetensors.numpy import save

from hardrank.context import RunContext
from hardrank.data import Dataset, Queries, Slate
from hardrank.errors import BundleError, DataError
from hardrank.files import atomic_folder, digest_file, write_json, write_table, write_text
from hardrank.models import MODELS, Model
from hardrank.recommender import ModelSpec, Recommender

__all__ = ["Bundle", "load_arrays", "load_bundle", "save_arrays", "save_bundle"]

FORMAT = 1
_SUMS = "SHA256SUMS"


@dataclass(frozen=True, eq=False, kw_only=True)
class Bundle:
    """A loaded bundle: the recommender and what it can be asked by name."""

    recommender: Recommender
    spec: ModelSpec
    histories: Mapping[str, list[str]]
    """user id -> item ids, oldest first; users in the order of the dataset's rows."""
    about: Mapping[str, Any]
    """Name, seed, versions, dataset fingerprint, `synthetic`, protocol."""

    def recommend(self, user_id: str, k: int = 10) -> pl.DataFrame:
        """The catalogue rows of the K best unseen items with their `score`, best first.
        Raises `DataError` for an unknown user."""
        if user_id not in self.histories:
            raise DataError(
                f"unknown user '{user_id}'", remedy="ask with a history of item ids or titles"
            )
        rows, row = self._rows, list(self.histories).index(user_id)
        history = [rows[item] for item in self.histories[user_id]]
        return self._best(Queries.of([history], users=[row]), k)

    def recommend_after(self, history: list[str], k: int = 10) -> pl.DataFrame:
        """The same for anyone with this history: item ids or exact titles, oldest first.
        Raises `DataError` for one that is neither; the error names the closest titles."""
        rows = self._rows
        return self._best(Queries.of([[rows[self._known(h)] for h in history]]), k)

    def _best(self, queries: Queries, k: int) -> pl.DataFrame:
        ranks = self.recommender.top(queries, k)[0]
        ranks = ranks[ranks >= 0]
        scores = self.recommender.score(queries, Slate(items=ranks))[0]
        found: pl.DataFrame = self.recommender.items[ranks]
        return found.with_columns(score=pl.Series(scores))

    @property
    def _rows(self) -> dict[str, int]:
        return {i: n for n, i in enumerate(self.recommender.items["item_id"])}

    def _known(self, name: str) -> str:
        items = self.recommender.items
        for column in ("item_id", "title"):  # a film may be called like another one's id
            found = items.filter(pl.col(column) == name)
            if found.height:
                return str(found["item_id"][0])
        import difflib

        close = difflib.get_close_matches(name, items["title"].to_list(), n=3, cutoff=0.3)
        raise DataError(f"no item has the id or title '{name}'", remedy=f"did you mean {close}?")


def save_bundle(
    folder: Path | str,
    spec: ModelSpec,
    recommender: Recommender,
    data: Dataset,
    about: Mapping[str, Any],
    *,
    report: str | None = None,
) -> None:
    """Write all files, then the digests; the folder appears whole or not at all."""
    with atomic_folder(Path(folder)) as draft:
        model = TypeAdapter(type(spec)).dump_python(spec, mode="json")
        write_json(draft / "spec.json", {"format": FORMAT, "model": model, "about": dict(about)})
        save_arrays(draft / "weights.safetensors", recommender.arrays())
        write_table(draft / "items.parquet", recommender.items)
        write_table(draft / "histories.parquet", _histories(data))
        if report is not None:
            write_text(draft / "report.html", report)
        names = sorted(p.name for p in draft.iterdir())
        write_text(draft / _SUMS, "".join(f"{digest_file(draft / n)}  {n}\n" for n in names))


def load_bundle(folder: Path | str, run: RunContext | None = None) -> Bundle:
    """Raises `BundleError` when a file is missing or altered, or the format is newer."""
    folder, run = Path(folder), run or RunContext()
    _check(folder)
    described = _described(folder)
    spec = _spec(folder, described["model"])
    items = pl.read_parquet(folder / "items.parquet")
    histories = pl.read_parquet(folder / "histories.parquet")
    return Bundle(
        recommender=spec.restore(load_arrays(folder / "weights.safetensors"), items, run),
        spec=spec,
        histories=dict(zip(histories["user_id"], histories["item_ids"].to_list(), strict=True)),
        about=described["about"],
    )


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Safetensors; arrays of text as the bytes of a JSON list, named in the metadata."""
    texts = [name for name, value in arrays.items() if value.dtype.kind == "U"]
    plain = {
        name: np.frombuffer(json.dumps(value.tolist()).encode(), dtype=np.uint8)
        if name in texts
        else np.ascontiguousarray(value).reshape(value.shape)  # a scalar stays one
        for name, value in arrays.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save(plain, {"texts": json.dumps(texts)}))


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Raises `BundleError` on a file that is no safetensors file."""
    try:
        with safe_open(path, "np") as file:
            texts = json.loads((file.metadata() or {}).get("texts", "[]"))
            out = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for name in texts:
            out[name] = np.array(json.loads(bytes(out[name])), dtype=np.str_)
    except Exception as error:  # safetensors raises its own, which is not exported by all versions
        raise BundleError(f"{path}: not readable as safetensors ({error})") from error
    return out


def _histories(data: Dataset) -> pl.DataFrame:
    ids = data.items["item_id"].to_numpy()[data.event_items].tolist()
    cuts = data.offsets.tolist()
    rows = [ids[a:b] for a, b in pairwise(cuts)]
    return pl.DataFrame(
        {"user_id": data.users["user_id"], "item_ids": rows},
        schema={"user_id": pl.Utf8, "item_ids": pl.List(pl.Utf8)},
    )


def _check(folder: Path) -> None:
    sums = folder / _SUMS
    if not sums.is_file():
        raise BundleError(f"{folder}: no {_SUMS}; is this a bundle?")
    try:  # as bytes: reading text would take other characters for ends of lines, too
        lines = sums.read_bytes().decode("ascii").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise BundleError(f"{sums}: is not a list of digests") from error
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name, digest in listed.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise BundleError(f"{folder}: {name!r} is missing")
        if digest_file(path) != digest:
            raise BundleError(f"{path}: was altered (its digest differs from {_SUMS})")
    for needed in ("spec.json", "weights.safetensors", "items.parquet", "histories.parquet"):
        if needed not in listed:
            raise BundleError(f"{folder}: {needed} is missing from {_SUMS}")


def _described(folder: Path) -> dict[str, Any]:
    """What `spec.json` holds."""
    try:
        described: dict[str, Any] = json.loads((folder / "spec.json").read_bytes())
        number, model, about = (described[key] for key in ("format", "model", "about"))
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{folder}: spec.json does not describe a bundle ({error!r})") from error
    if not (isinstance(number, int) and isinstance(model, dict) and isinstance(about, dict)):
        raise BundleError(f"{folder}: spec.json does not describe a bundle")
    if number > FORMAT:
        raise BundleError(
            f"{folder}: format {number} is newer than {FORMAT}; update hardrank to read it"
        )
    return described


def _spec(folder: Path, described: dict[str, Any]) -> ModelSpec:
    """Keys that this version does not know are named in a warning and left out."""
    known = {str(made.__dataclass_fields__["kind"].default): made for made in MODELS}
    kind = described.get("kind")
    if kind not in known:
        raise BundleError(f"{folder}: unknown model kind '{kind}'; known: {', '.join(known)}")
    named = {f.name for f in fields(known[kind])}
    if unknown := sorted(set(described) - named):
        warnings.warn(f"{folder}: from a newer version; ignored: {unknown}", stacklevel=3)
    try:
        model: ModelSpec = TypeAdapter(Model).validate_python(
            {k: v for k, v in described.items() if k in named}
        )
    except ValidationError as error:
        raise BundleError(f"{folder}: spec.json does not describe a model: {error}") from error
    return model
