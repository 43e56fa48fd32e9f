"""All guards one after another, and their folder on disk."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from hardrank.errors import BundleError
from hardrank.files import atomic_folder, write_json
from hardrank.guards.base import Guard, Listing, Shop, Verdict, admit, worst
from hardrank.guards.kinds import AnyGuard
from hardrank.guards.lesson import Lesson

__all__ = ["Pipeline", "fit_pipeline", "load_pipeline"]

_FORMAT = 1
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyGuard)


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Guards in order: what one mends, the next ones read mended."""

    guards: tuple[Guard, ...]

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        """The worst verdict of each listing, in order; see `worst`. Texts that a guard mended
        stand in its `fields`, for quarantined listings too; spans are of the text that the
        guard in question read."""
        said, now = self.walk(listings, shop)
        return [
            _joined(found, one, after)
            for found, one, after in zip(said, listings, now, strict=True)
        ]

    def walk(
        self, listings: Sequence[Listing], shop: Shop
    ) -> tuple[list[list[Verdict]], list[Listing]]:
        """What every guard said, listing by listing; and the listings as the last one read them."""
        now, said = list(listings), [list[Verdict]() for _ in listings]
        for guard in self.guards:
            for n, verdict in enumerate(guard.inspect(now, shop)):
                said[n].append(verdict)
                if verdict.fields is not None:
                    now[n] = replace(now[n], fields=verdict.fields)
        return said, now

    def save(self, folder: Path) -> None:
        """`pipeline.json` and `arrays.safetensors`; the folder appears whole or not at all.
        Raises `TypeError` for a guard that is not one of `GUARDS`."""
        from safetensors.numpy import save

        specs, texts, plain = [], {}, {}
        for n, guard in enumerate(self.guards):
            made = getattr(guard, "spec", guard)
            specs.append(_ADAPTER.dump_python(made, mode="json"))
            arrays = guard.arrays() if hasattr(guard, "arrays") else {}
            for name, value in arrays.items():
                if value.dtype.kind == "U":
                    texts[f"{n}.{name}"] = value.tolist()
                else:
                    plain[f"{n}.{name}"] = np.ascontiguousarray(value)
        with atomic_folder(folder) as draft:
            (draft / "arrays.safetensors").write_bytes(save(plain))
            about = {"format": _FORMAT, "guards": specs, "texts": texts}
            write_json(draft / "pipeline.json", about)


def fit_pipeline(
    specs: Sequence[AnyGuard], lesson: Lesson, say: Callable[[str], None] = lambda _: None
) -> Pipeline:
    """Every guard of the specs, fitted on the lesson. Raises as they do."""
    guards: list[Guard] = []
    for made in specs:
        say(made.kind)
        guards.append(made.fit(lesson))
    return Pipeline(tuple(guards))


def load_pipeline(folder: Path) -> Pipeline:
    """What `save` wrote: equal verdicts to the last bit on the same machine.

    Raises `BundleError` for a folder that does not hold guards.
    """
    from safetensors.numpy import load

    try:
        about = json.loads((folder / "pipeline.json").read_text("utf-8"))
        number, specs, texts = (about[key] for key in ("format", "guards", "texts"))
        if number != _FORMAT:
            raise BundleError(f"{folder}: format {number}, this version reads {_FORMAT}")
        arrays: dict[str, Any] = dict(load((folder / "arrays.safetensors").read_bytes()))
        arrays |= {name: np.asarray(value, dtype=np.str_) for name, value in texts.items()}
        return Pipeline(tuple(_restored(n, spec, arrays) for n, spec in enumerate(specs)))
    except BundleError:
        raise
    except FileNotFoundError as error:
        name = Path(str(error.filename)).name
        raise BundleError(f"{folder}: {name} is missing; are guards kept here?") from error
    except ValidationError as error:
        raise BundleError(f"{folder}: does not hold guards ({error})") from error
    except Exception as error:  # safetensors raises its own, which not all versions export
        raise BundleError(f"{folder}: does not hold guards ({error!r})") from error


def _restored(n: int, spec: Any, arrays: dict[str, Any]) -> Guard:
    made = _ADAPTER.validate_python(spec)
    own = {k.removeprefix(f"{n}."): v for k, v in arrays.items() if k.startswith(f"{n}.")}
    guard: Guard = made.restore(own) if hasattr(made, "restore") else made
    return guard


def _joined(found: list[Verdict], asked: Listing, now: Listing) -> Verdict:
    if not found:
        return admit("none")
    verdict = worst(found)
    return verdict if now.fields == asked.fields else replace(verdict, fields=now.fields)
