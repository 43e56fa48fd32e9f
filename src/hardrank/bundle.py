"""A bundle: a folder that holds a trained recommender and nothing that runs.

    bundle/
      spec.json             format, model spec, provenance
      weights.safetensors   everything learned
      encoder.onnx          a compressed text encoder, where there is one
      items.parquet         the catalogue
      histories.parquet     user_id, item_ids: whom it can answer by name
      report.html           the audit, if there was one
      guards/               guards of item texts, if there are any
      SHA256SUMS            digests of all of the above

Loading runs no code from it, and refuses a file whose digest differs.
"""

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from hardrank.guards.pipeline import Pipeline

__all__ = [
    "Bundle",
    "add_guards",
    "load_arrays",
    "load_bundle",
    "load_guards",
    "replace_weights",
    "save_arrays",
    "save_bundle",
]

FORMAT = 1
_SUMS = "SHA256SUMS"
_GUARDS = "guards"
_GRAPH = ".onnx"
_SLASH = "--"
"""Stands for the / of an array's name in the name of a file."""


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
    guards: "Pipeline | None" = None,
) -> None:
    """Write all files, then the digests; the folder appears whole or not at all. guards: of
    item texts, to travel along (see `add_guards`)."""
    with atomic_folder(Path(folder)) as draft:
        model = TypeAdapter(type(spec)).dump_python(spec, mode="json")
        write_json(draft / "spec.json", {"format": FORMAT, "model": model, "about": dict(about)})
        _save_weights(draft, recommender.arrays())
        write_table(draft / "items.parquet", recommender.items)
        write_table(draft / "histories.parquet", _histories(data))
        if report is not None:
            write_text(draft / "report.html", report)
        if guards is not None:
            guards.save(draft / _GUARDS)
        _sum_up(draft)


def load_bundle(folder: Path | str, run: RunContext | None = None) -> Bundle:
    """Raises `BundleError` when a file is missing or altered, or the format is newer."""
    folder, run = Path(folder), run or RunContext()
    listed = _check(folder)
    described = _described(folder)
    spec = _spec(folder, described["model"])
    items = pl.read_parquet(folder / "items.parquet")
    histories = pl.read_parquet(folder / "histories.parquet")
    return Bundle(
        recommender=spec.restore(_load_weights(folder, listed), items, run),
        spec=spec,
        histories=dict(zip(histories["user_id"], histories["item_ids"].to_list(), strict=True)),
        about=described["about"],
    )


def add_guards(bundle: Path | str, guards: Path | str, out: Path | str) -> None:
    """A new bundle folder `out`: all of `bundle`, and the guards of `hardrank guard fit` or
    `Pipeline.save` in the place of those that it had. It appears whole or not at all.

    Raises `BundleError` where one of the two is incomplete or altered, or `out` exists.
    """
    from hardrank.guards.pipeline import load_pipeline

    bundle, out = Path(bundle), Path(out)
    if out.exists():
        raise BundleError(f"{out}: exists already; name another folder")
    listed = _check(bundle)
    pipeline = load_pipeline(Path(guards))
    with atomic_folder(out) as draft:
        for name in listed:
            if not name.startswith(f"{_GUARDS}/"):
                shutil.copyfile(bundle / name, draft / name)
        pipeline.save(draft / _GUARDS)
        _sum_up(draft)


def replace_weights(
    bundle: Path | str, out: Path | str, recommender: Recommender, notes: Mapping[str, Any]
) -> None:
    """A new bundle folder `out`: all of `bundle` with the arrays of `recommender`, which has
    its spec and catalogue, and without the report, which was about another one. `notes` are
    added as JSON files by name. It appears whole or not at all.

    Raises `BundleError` where `bundle` is incomplete or altered, or `out` exists.
    """
    bundle, out = Path(bundle), Path(out)
    if out.exists():
        raise BundleError(f"{out}: exists already; name another folder")
    listed = _check(bundle)
    with atomic_folder(out) as draft:
        for name in listed:
            if name not in ("weights.safetensors", "report.html") and not name.endswith(_GRAPH):
                (draft / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(bundle / name, draft / name)
        _save_weights(draft, recommender.arrays())
        for name, value in notes.items():
            write_json(draft / name, value)
        _sum_up(draft)


def load_guards(folder: Path | str) -> "Pipeline | None":
    """The guards that travel in a bundle; None where it has none. Raises `BundleError` where
    they are altered or cannot be read."""
    folder = Path(folder)
    if f"{_GUARDS}/pipeline.json" not in _check(folder):
        return None
    from hardrank.guards.pipeline import load_pipeline

    return load_pipeline(folder / _GUARDS)


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


def _save_weights(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """ONNX graphs as files of their own, which other programs can read; the rest together."""
    graphs = {name: value for name, value in arrays.items() if name.endswith(_GRAPH)}
    for name, value in graphs.items():
        (folder / name.replace("/", _SLASH)).write_bytes(value.tobytes())
    rest = {name: value for name, value in arrays.items() if name not in graphs}
    save_arrays(folder / "weights.safetensors", rest)


def _load_weights(folder: Path, listed: list[str]) -> dict[str, NDArray[Any]]:
    """With the graphs that a digest covers, and no other."""
    graphs = {
        name.replace(_SLASH, "/"): np.frombuffer((folder / name).read_bytes(), dtype=np.uint8)
        for name in listed
        if name.endswith(_GRAPH)
    }
    return load_arrays(folder / "weights.safetensors") | graphs


def _histories(data: Dataset) -> pl.DataFrame:
    ids = data.items["item_id"].to_numpy()[data.event_items].tolist()
    cuts = data.offsets.tolist()
    rows = [ids[a:b] for a, b in pairwise(cuts)]
    return pl.DataFrame(
        {"user_id": data.users["user_id"], "item_ids": rows},
        schema={"user_id": pl.Utf8, "item_ids": pl.List(pl.Utf8)},
    )


def _sum_up(folder: Path) -> None:
    """Write the digests of all files."""
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    write_text(folder / _SUMS, "".join(f"{digest_file(folder / n)}  {n}\n" for n in files))


def _check(folder: Path) -> list[str]:
    """Names of the files, all intact. Guards that no digest covers are refused: a service
    would believe them."""
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
        if not _inside(name) or not path.is_file():
            raise BundleError(f"{folder}: {name!r} is missing")
        if digest_file(path) != digest:
            raise BundleError(f"{path}: was altered (its digest differs from {_SUMS})")
    for needed in ("spec.json", "weights.safetensors", "items.parquet", "histories.parquet"):
        if needed not in listed:
            raise BundleError(f"{folder}: {needed} is missing from {_SUMS}")
    for path in (folder / _GUARDS).glob("*"):
        if f"{_GUARDS}/{path.name}" not in listed:
            raise BundleError(f"{path}: is not in {_SUMS}")
    return list(listed)


def _inside(name: str) -> bool:
    """Of the bundle's folder itself or of its guards: no path leads out."""
    last = name.removeprefix(f"{_GUARDS}/")
    return Path(last).name == last


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
