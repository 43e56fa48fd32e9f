"""What is wrong with an experiment file, said to the person who wrote it."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

__all__ = ["kind_of", "mistakes", "specs_in"]

_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_WANTED = {
    "bool": "true or false",
    "dataclass": "a table, such as { kind = ... }",
    "dataclass_exact": "a table, such as { kind = ... }",
    "dict": "a table, such as { kind = ... }",
    "float": "a number",
    "int": "a whole number",
    "list": "a list, such as [1, 2]",
    "model_attributes": "a table, such as { kind = ... }",
    "path": "text with a path",
    "string": "text in quotes",
    "tuple": "a list, such as [1, 2]",
}
"""Start of pydantic's error type -> what TOML should have there."""


def mistakes(error: ValidationError, root: type) -> list[str]:
    """One line for each mistake, sorted: `path: what is wrong; what is allowed`.

    root: the spec that was validated; its keys are what is suggested and listed.
    """
    found = {_mistake(e, root) for e in error.errors() if not _echo(e)}
    return sorted(found)


def specs_in(place: Any) -> Iterator[type]:
    """The specs that an annotation names: itself, or the members of a union or a tuple."""
    if is_dataclass(place) and isinstance(place, type):
        yield place
    elif get_origin(place) is not None:
        for inner in get_args(place):
            yield from specs_in(inner)


def kind_of(made: Any) -> str | None:
    """How TOML spells a spec; None for one that has no `kind`."""
    return next((str(f.default) for f in fields(made) if f.name == "kind"), None)


def _echo(error: ErrorDetails) -> bool:
    """A list is called too short because its entries are wrong, which is said of each."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _mistake(error: ErrorDetails, root: type) -> str:
    path = ".".join(str(part) for part in error["loc"])
    return f"{path or 'file'}: {_said(error, root)}"


def _said(error: ErrorDetails, root: type) -> str:
    kind, context, given = error["type"], error.get("ctx", {}), error["input"]
    if kind == "missing":
        return "missing"
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"unknown key; {_near_key(error['loc'], root)}"
    if kind == "union_tag_invalid":
        name, known = context["tag"], re.findall(r"'([^']+)'", context["expected_tags"])
        return f"unknown {context['discriminator'].strip(chr(39))} '{name}'; {_near(name, known)}"
    if kind == "union_tag_not_found":
        kinds = [k for made in _specs_at(error["loc"], root) if (k := kind_of(made))]
        return f"missing 'kind'; allowed: {', '.join(kinds)}"
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"must be {word} {context[key]:g} (is {given})"
    if kind == "literal_error":
        allowed = re.findall(r"'([^']+)'", context["expected"])
        return f"must be one of {', '.join(allowed)} (is {_short(given)})"
    if kind == "too_short":
        least = context["min_length"]
        return f"needs at least {least} {'entry' if least == 1 else 'entries'} (has {len(given)})"
    wanted = _WANTED.get(kind.removesuffix("_type").removesuffix("_parsing"))
    if wanted or kind == "int_from_float":
        return f"must be {wanted or 'a whole number'} (is {_short(given)})"
    return f"{error['msg'].removeprefix('Value error, ')} (is {_short(given)})"


def _near_key(loc: tuple[int | str, ...], root: type) -> str:
    """The likeliest key here, else the same key one table further down, and all keys."""
    here = _specs_at(loc[:-1], root)
    known = list(dict.fromkeys(f.name for made in here for f in fields(made)))
    below = [
        f"{outer.name}.{inner.name}"
        for made in here
        for outer in fields(made)
        for inside in specs_in(outer.type)
        for inner in fields(inside)
    ]
    tails = list(dict.fromkeys(key.partition(".")[2] for key in below))
    name = str(loc[-1])
    if not difflib.get_close_matches(name, known, n=1):
        close = difflib.get_close_matches(name, tails, n=1, cutoff=0.8)
        found = [key for key in below if close and key.endswith(f".{close[0]}")]
        if found:
            return f"did you mean '{found[0]}'? allowed: {', '.join(known)}"
    return _near(name, known)


def _near(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}allowed: {', '.join(known)}"


def _specs_at(loc: tuple[int | str, ...], root: type) -> list[type]:
    """The specs that may stand at this place of the file."""
    places: list[Any] = [root]
    for part in loc:
        if isinstance(part, int):
            continue
        here = [made for place in places for made in specs_in(place)]
        chosen = [made for made in here if kind_of(made) == part]
        places = chosen or [f.type for made in here for f in fields(made) if f.name == part]
    return [made for place in places for made in specs_in(place)]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
