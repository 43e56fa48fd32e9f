"""The folder of a fitted detector: `spec.json` and `arrays.safetensors`. Nothing is pickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hardrank.errors import BundleError
from hardrank.files import atomic_folder, write_json

__all__ = ["keep", "kept"]

_FORMAT = 1


def keep(folder: Path, spec: Any, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write both files; arrays of text go into `spec.json`. The folder appears whole."""
    from safetensors.numpy import save

    texts = {name: value.tolist() for name, value in arrays.items() if value.dtype.kind == "U"}
    plain = {n: np.ascontiguousarray(v) for n, v in arrays.items() if n not in texts}
    described = TypeAdapter(type(spec)).dump_python(spec, mode="json")
    with atomic_folder(folder) as draft:
        (draft / "arrays.safetensors").write_bytes(save(plain))
        write_json(draft / "spec.json", {"format": _FORMAT, "detector": described, "texts": texts})


def kept(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The detector's spec as JSON has it, and its arrays.

    Raises `BundleError` when a file is missing or is not what `keep` writes.
    """
    from safetensors.numpy import load

    try:
        described = json.loads((folder / "spec.json").read_text("utf-8"))
        number, spec, texts = (described[key] for key in ("format", "detector", "texts"))
        arrays = load((folder / "arrays.safetensors").read_bytes())
    except FileNotFoundError as error:
        name = Path(str(error.filename)).name
        raise BundleError(f"{folder}: {name} is missing; is this a fitted detector?") from error
    except Exception as error:  # safetensors raises its own, which not all versions export
        raise BundleError(f"{folder}: does not hold a fitted detector ({error!r})") from error
    if number != _FORMAT:
        raise BundleError(f"{folder}: format {number}, this version reads {_FORMAT}")
    return spec, arrays | {n: np.asarray(v, dtype=np.str_) for n, v in texts.items()}
