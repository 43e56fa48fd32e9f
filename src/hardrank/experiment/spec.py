"""What an experiment file can say, and every mistake in it at once."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Len
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from hardrank.attacks import TextAttack
from hardrank.data.cleaning import Cleaning
from hardrank.data.labels import LabelPolicy
from hardrank.data.sources import Source
from hardrank.data.splits import LeaveOneOut, Splitter
from hardrank.errors import ConfigError
from hardrank.hardening import Adversarial
from hardrank.models import Model
from hardrank.perturbations import FGM, PGD, Gaussian, Inner
from hardrank.threats import ThreatModel, label
from hardrank.training import Training
from hardrank.types import Count, Positive, Share, Site, spec

__all__ = ["Cold", "Curve", "Experiment", "Gates", "Trial", "load_experiment", "parse_experiment"]


@spec
class Trial:
    """One threat model and the attacks mounted under it."""

    threat: ThreatModel
    attacks: Annotated[tuple[TextAttack, ...], Len(min_length=1)]
    seen: bool = False
    """Whether hardening trained against this family: then it is no evidence of generality."""

    def labels(self) -> list[str]:
        """Names of the attacks as samples carry them."""
        return [label(attack) for attack in self.attacks]


@spec
class Curve:
    """Robustness of the representation: a metric over growing radii."""

    goal: Literal["promote", "degrade"] = "promote"
    """`promote`: exposure of the targets. `degrade`: NDCG of held-out items."""
    site: Site = "item-vectors"
    inners: Annotated[tuple[Inner, ...], Len(min_length=1)] = (PGD(steps=20), FGM(), Gaussian())
    """Strongest first; the sanity checks compare them."""
    radii: Annotated[tuple[Positive, ...], Len(min_length=5)] = (0.02, 0.05, 0.1, 0.2, 0.5)
    """Shares of the mean norm at the site."""
    unbounded: Positive | None = 20.0
    """One more radius, so large that an attack which works must win; None to leave it out."""


@spec
class Cold:
    """A second training with some items hidden, to see whether they are ranked at all."""

    share: Share = 0.05
    """Of all items; every event of a hidden item is taken out of training and histories."""
    models: tuple[str, ...] = ("text-sequence", "hybrid")
    """Labels of the models to train once more."""


@spec
class Gates:
    """What a claim of robustness has to pass."""

    price: Share = 0.03
    """Largest relative loss of clean NDCG@10, overall, in the tail and for cold items."""
    panel: Count = 256
    """Users through whom an attacker watches rankings."""
    users: Count | None = None
    """Test users that curves are measured on (the first so many in random order); None: all."""
    success: Positive = 0.01
    """Share of eligible users whose list a promoted target must enter to count as a success."""


@spec
class Experiment:
    """`hardrank run FILE`: one dataset, one model to attack and harden, others beside it."""

    name: str
    seeds: Annotated[tuple[int, ...], Len(min_length=1)] = (0,)
    data: Source
    labels: LabelPolicy | None = None
    cleaning: Cleaning | None = None
    split: Splitter = LeaveOneOut()
    model: Model
    """The victim: trained, attacked, hardened, attacked again, bundled."""
    compare: tuple[Model, ...] = ()
    """Further models for the table of clean quality."""
    harden: Adversarial | None = None
    """What the hardened arm minimises; without it there is no hardened arm."""
    finetune: Training = Training(epochs=4, keep="last", patience=0)
    """Both arms go on from the same base for so many epochs with a fresh optimiser."""
    cold: Cold | None = None
    trials: tuple[Trial, ...] = ()
    curves: tuple[Curve, ...] = ()
    gates: Gates = Gates()


_ADAPTER: TypeAdapter[Experiment] = TypeAdapter(Experiment)
_VARIABLE = re.compile(r"\$HARDRANK_DATA\b")


def load_experiment(path: Path) -> Experiment:
    """Raises `ConfigError` that lists all mistakes of the file, `FileNotFoundError` never."""
    if not path.is_file():
        raise ConfigError(str(path), ["no such file"])
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [f"not TOML: {error}"]) from error
    return parse_experiment(raw, source=str(path))


def parse_experiment(raw: Mapping[str, Any], *, source: str = "experiment") -> Experiment:
    """From nested dictionaries. `$HARDRANK_DATA` in any text stands for the data folder: that
    variable if it is set, else `data` or `../shared/data`, whichever is there."""
    try:
        return _ADAPTER.validate_python(_expanded(raw))
    except ValidationError as error:
        raise ConfigError(source, sorted({_mistake(e) for e in error.errors()})) from error


def _expanded(value: Any) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda _: _data_folder(), value)
    if isinstance(value, Mapping):
        return {k: _expanded(v) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [_expanded(v) for v in value]
    return value


def _data_folder() -> str:
    found = os.environ.get("HARDRANK_DATA")
    places = [found] if found else ["data", "../shared/data"]
    return next((p for p in places if Path(p).is_dir()), places[0])


def _mistake(error: ErrorDetails) -> str:
    path = ".".join(str(part) for part in error["loc"])
    return f"{path or 'file'}: {_said(error)}"


def _said(error: ErrorDetails) -> str:
    kind, context, given = error["type"], error.get("ctx", {}), error["input"]
    if kind == "missing":
        return "missing"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return _unknown_key(error)
    if kind == "union_tag_invalid":
        return f"unknown {context['discriminator'].strip(chr(39))} '{context['tag']}'; " + _near(
            context["tag"], re.findall(r"'([^']+)'", context["expected_tags"])
        )
    if kind == "union_tag_not_found":
        return "missing 'kind'"
    bounds = {
        "greater_than": ("above", "gt"),
        "greater_than_equal": ("at least", "ge"),
        "less_than": ("below", "lt"),
        "less_than_equal": ("at most", "le"),
    }
    if kind in bounds:
        word, key = bounds[kind]
        return f"must be {word} {context[key]} (is {given})"
    if kind == "literal_error":
        allowed = re.findall(r"'([^']+)'", context["expected"])
        return f"must be one of {', '.join(allowed)} (is {given!r})"
    return f"{error['msg'].removeprefix('Value error, ')} (is {_short(given)})"


def _unknown_key(error: ErrorDetails) -> str:
    name, known = str(error["loc"][-1]), list(_keys_at(error["loc"][:-1]))
    return f"unknown key; {_near(name, known)}"


def _near(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}allowed: {', '.join(known)}"


def _keys_at(loc: tuple[int | str, ...]) -> Iterator[str]:
    """Keys that the spec at this place of the file knows."""
    places: list[Any] = [Experiment]
    for part in loc:
        if isinstance(part, int):
            continue
        inner = [m for p in places for m in _specs(p) if _kind(m) == part]
        if inner:
            places = inner
            continue
        places = [f.type for p in places for m in _specs(p) for f in fields(m) if f.name == part]
    for place in places:
        for made in _specs(place):
            yield from (f.name for f in fields(made))


def _specs(place: Any) -> Iterator[Any]:
    if is_dataclass(place):
        yield place
    elif get_origin(place) is not None:
        for inner in get_args(place):
            yield from _specs(inner)


def _kind(made: Any) -> str | None:
    return next((f.default for f in fields(made) if f.name == "kind"), None)  # type: ignore[return-value]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
