"""All guards one after another, and their folder on disk."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from hardrank.errors import BundleError
from hardrank.files import atomic_folder, write_json
from hardrank.guards.base import Guard, Listing, Shop, Verdict, admit, worst
from hardrank.guards.kinds import AnyGuard
from hardrank.guards.lesson import Lesson
from hardrank.guards.reviews import FittedReviewGuard, ReviewGuard

__all__ = ["Pipeline", "fit_pipeline", "load_pipeline"]

_FORMAT = 1
_OF_REVIEWS = "reviews."
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyGuard)
_REVIEWS: TypeAdapter[ReviewGuard] = TypeAdapter(ReviewGuard)
_READ: TypeAdapter[tuple[str, ...] | None] = TypeAdapter(tuple[str, ...] | None)
_LEARNED = (
    "stuffing", "copycat", "adversarial-text", "injection", "change-of-text",
    "encoder-head", "word-reactions", "rare-words", "text-density",
)  # fmt: skip
"""Guards to which a field that they did not learn is strange."""


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Guards in order: what one mends, the next ones read mended."""

    guards: tuple[Guard, ...]
    fields: tuple[str, ...] | None = None
    """What the guards learned to read. A live listing has more (a year, a brand), which is
    strange to a guard of titles; None: those, too."""
    reviews: FittedReviewGuard | None = None
    """Of reviews; listings of items do not pass it."""

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
            read = [self._read(one) for one in now] if guard.kind in _LEARNED else now
            for n, verdict in enumerate(guard.inspect(read, shop)):
                said[n].append(verdict)
                if verdict.fields is not None:
                    now[n] = replace(now[n], fields={**now[n].fields, **verdict.fields})
        return said, now

    def _read(self, one: Listing) -> Listing:
        """As much of a listing as the guards learned to read."""
        if self.fields is None:
            return one
        return replace(
            one, fields=_only(one.fields, self.fields),
            before=None if one.before is None else _only(one.before, self.fields),
        )  # fmt: skip

    def save(self, folder: Path) -> None:
        """`pipeline.json` and `arrays.safetensors`; the folder appears whole or not at all.
        Raises `TypeError` for a guard that is not one of `GUARDS`."""
        from safetensors.numpy import save

        specs, texts, plain = [], dict[str, Any](), dict[str, NDArray[Any]]()
        for n, guard in enumerate(self.guards):
            made = getattr(guard, "spec", guard)
            specs.append(_ADAPTER.dump_python(made, mode="json"))
            _sort(f"{n}.", guard.arrays() if hasattr(guard, "arrays") else {}, texts, plain)
        if self.reviews is not None:
            _sort(_OF_REVIEWS, self.reviews.arrays(), texts, plain)
        with atomic_folder(folder) as draft:
            (draft / "arrays.safetensors").write_bytes(save(plain))
            fields = None if self.fields is None else list(self.fields)
            about = {"format": _FORMAT, "guards": specs, "texts": texts, "fields": fields}
            if self.reviews is not None:
                about["reviews"] = _REVIEWS.dump_python(self.reviews.spec, mode="json")
            write_json(draft / "pipeline.json", about)


def fit_pipeline(
    specs: Sequence[AnyGuard], lesson: Lesson, say: Callable[[str], None] = lambda _: None
) -> Pipeline:
    """Every guard of the specs, fitted on the lesson. Raises as they do."""
    guards: list[Guard] = []
    for made in specs:
        say(made.kind)
        guards.append(made.fit(lesson))
    return Pipeline(tuple(guards), lesson.fields)


def load_pipeline(folder: Path) -> Pipeline:
    """What `save` wrote: equal verdicts to the last bit on the same machine. folder: that, or
    the one of `hardrank guard fit` around it.

    Raises `BundleError` for a folder that does not hold guards.
    """
    from safetensors.numpy import load

    if (folder / "guards" / "pipeline.json").is_file():
        folder = folder / "guards"
    try:
        about = json.loads((folder / "pipeline.json").read_text("utf-8"))
        number, specs, texts = (about[key] for key in ("format", "guards", "texts"))
        if number != _FORMAT:
            raise BundleError(f"{folder}: format {number}, this version reads {_FORMAT}")
        arrays: dict[str, Any] = dict(load((folder / "arrays.safetensors").read_bytes()))
        arrays |= {name: np.asarray(value, dtype=np.str_) for name, value in texts.items()}
        guards = tuple(_restored(n, spec, arrays) for n, spec in enumerate(specs))
        fields = _READ.validate_python(about.get("fields"))
        return Pipeline(guards, fields, _of_reviews(about.get("reviews"), arrays))
    except BundleError:
        raise
    except FileNotFoundError as error:
        name = Path(str(error.filename)).name
        raise BundleError(f"{folder}: {name} is missing; are guards kept here?") from error
    except ValidationError as error:
        raise BundleError(f"{folder}: does not hold guards ({error})") from error
    except Exception as error:  # safetensors raises its own, which not all versions export
        raise BundleError(f"{folder}: does not hold guards ({error!r})") from error


def _sort(
    prefix: str, arrays: Mapping[str, NDArray[Any]], texts: dict[str, Any],
    plain: dict[str, NDArray[Any]],
) -> None:  # fmt: skip
    """Into those of text, which become JSON, and the others."""
    for name, value in arrays.items():
        if value.dtype.kind == "U":
            texts[prefix + name] = value.tolist()
        else:
            plain[prefix + name] = np.ascontiguousarray(value)


def _of_reviews(made: Any, arrays: dict[str, Any]) -> FittedReviewGuard | None:
    if made is None:
        return None
    own = {k.removeprefix(_OF_REVIEWS): v for k, v in arrays.items() if k.startswith(_OF_REVIEWS)}
    return _REVIEWS.validate_python(made).restore(own)


def _restored(n: int, spec: Any, arrays: dict[str, Any]) -> Guard:
    made = _ADAPTER.validate_python(spec)
    own = {k.removeprefix(f"{n}."): v for k, v in arrays.items() if k.startswith(f"{n}.")}
    guard: Guard = made.restore(own) if hasattr(made, "restore") else made
    return guard


def _only(texts: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """In the order of the names: texts are joined in it."""
    return {name: texts[name] for name in names if name in texts}


def _joined(found: list[Verdict], asked: Listing, now: Listing) -> Verdict:
    if not found:
        return admit("none")
    verdict = worst(found)
    return verdict if now.fields == asked.fields else replace(verdict, fields=now.fields)
