"""A trained generator as a folder: what all of them write and read alike."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from hardrank.errors import BundleError, DataError
from hardrank.files import atomic, digest_bytes, write_json

__all__ = ["digest", "kept", "recalled"]

Arrays = Mapping[str, NDArray[Any]]
Model = TypeVar("Model")


class Trained(Protocol):
    """A generator that has learned."""

    @property
    def spec(self) -> Any: ...
    @property
    def history(self) -> tuple[dict[str, float], ...]: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name."""
        ...


def digest(arrays: Arrays) -> str:
    """Of all numbers, in the order of their names."""
    return digest_bytes(*(arrays[name].tobytes() for name in sorted(arrays)))


def kept(model: Trained, folder: Path, **more: Sequence[Any]) -> None:
    """Writes `weights.safetensors` and `spec.json`, each atomic; `more` stands in the latter."""
    with atomic(folder / "weights.safetensors") as file:
        file.write(save({k: np.ascontiguousarray(v) for k, v in model.arrays().items()}))
    facts = {"spec": asdict(model.spec), "history": model.history, "warnings": model.warnings}
    write_json(folder / "spec.json", facts | more, default=list)


def recalled(
    folder: Path,
    what: str,
    make: Callable[[dict[str, Any], dict[str, NDArray[Any]]], Model],
    *,
    more: Sequence[str] = (),
) -> tuple[Model, dict[str, Any]]:
    """What `make` builds of the spec's fields and the arrays, and `history` and `warnings`.

    what: of the message; more: names that stand beside those two, empty in folders that lack
    them. Raises `BundleError` where a file is missing, broken or of other dimensions, and where
    another version wrote fields that this one does not know.
    """
    try:
        facts = json.loads((folder / "spec.json").read_text("utf-8"))
        made = make(facts["spec"], load_file(folder / "weights.safetensors"))
        about = {name: tuple(facts[name]) for name in ("history", "warnings")}
        about |= {name: tuple(facts.get(name, ())) for name in more}
    except ValidationError as error:
        raise BundleError(
            f"{folder / 'spec.json'}: {_wrong(error)}; another version of hardrank wrote it: "
            "train the generator again with this version"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, DataError) as error:
        raise BundleError(f"{folder} holds no {what} ({error})") from error
    return made, about


def _wrong(error: ValidationError) -> str:
    """Each field that is no longer as it was, by its path in the file."""
    return ", ".join(
        f"field 'spec.{'.'.join(map(str, e['loc']))}' is "
        + ("unknown" if e["type"] == "unexpected_keyword_argument" else f"wrong ({e['msg']})")
        for e in error.errors()
    )
