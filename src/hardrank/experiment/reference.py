"""The reference of the experiment file, written from the specs themselves.

python -m hardrank.experiment.reference > docs/experiment.md
"""

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hardrank.experiment.classify_spec import ClassifierExperiment
from hardrank.experiment.mistakes import kind_of, specs_in
from hardrank.experiment.spec import Experiment

__all__ = ["described", "reference"]

_HEAD = """# The experiment file

One TOML file says all of a run: `hardrank run FILE`. `hardrank run FILE --check` reads it and
lists every mistake at once with its path, what is allowed and the likeliest correction; the
exit code is then 2. No key is ever ignored. What is left out has the default below; a value of
`none` is spelled by leaving the key out. `$HARDRANK_DATA` in any text stands for the folder of
that environment variable, else `data` or `../shared/data`, whichever is there. Where a table
has a `kind`, the kind decides which other keys it has.

This page is written from the specs: `python -m hardrank.experiment.reference > docs/experiment.md`.
"""
_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_SIGNS = {"Gt": (">", "gt"), "Ge": (">=", "ge"), "Lt": ("<", "lt"), "Le": ("<=", "le")}


def described() -> list[type]:
    """Every spec that an experiment file can spell, each once, outermost first."""
    found: list[type] = []
    waiting: list[type] = [Experiment, ClassifierExperiment]
    while waiting:
        made = waiting.pop(0)
        if made not in found:
            found.append(made)
            waiting += [inner for f in fields(made) for inner in specs_in(f.type)]
    return found


def reference() -> str:
    """`docs/experiment.md`."""
    return "\n".join([_HEAD, *(line for made in described() for line in _section(made))])


def _section(made: Any) -> Iterator[str]:
    kind = kind_of(made)
    yield f"## `{_title(made)}`\n"
    yield f"{_joined(inspect.getdoc(made))}\n"
    if kind:
        yield f'`kind = "{kind}"`\n'
    rows = [f for f in fields(made) if f.name != "kind"]
    if not rows:
        return
    hints = get_type_hints(made, include_extras=True)
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    for f in rows:
        cells = (f"`{f.name}`", _values(hints[f.name]), _default(f), _about(made, f.name))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _about(made: Any, name: str) -> str:
    """The docstring under the attribute, where it was first written."""
    inherited = (getattr(base, "__pydantic_fields__", {}).get(name) for base in made.__mro__)
    return _joined(next((f.description for f in inherited if f and f.description), ""))


def _title(made: Any) -> str:
    return kind_of(made) or ("experiment" if made is Experiment else made.__name__.lower())


def _values(hint: Any) -> str:
    """What TOML may have there, for people."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = ", ".join(b for note in inner[1:] for b in _bounds(note))
        return f"{_values(inner[0])} {bounds}".rstrip()
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        named = [_values(i) for i in inner if i is not type(None)]
        return " or ".join(dict.fromkeys(named))
    if origin is tuple:
        return f"list of {_values(inner[0])}"
    if origin is dict:
        return f"table of {_values(inner[1])}"
    if is_dataclass(hint):
        name = _title(hint)
        return f"[`{name}`](#{name})"
    return _NAMES.get(hint, "path" if getattr(hint, "__name__", "") == "Path" else str(hint))


def _bounds(note: Any) -> Iterator[str]:
    if (name := type(note).__name__) in _SIGNS:
        sign, key = _SIGNS[name]
        yield f"{sign} {getattr(note, key):g}"
    if name == "Len" and note.min_length:
        yield f"(at least {note.min_length})"


def _default(field: Any) -> str:
    """As TOML spells it; a table with its kind and what differs from that kind's defaults."""
    value = field.default
    inner = getattr(value, "default", None)  # a pydantic field descriptor
    factory = getattr(value, "default_factory", None)
    if factory is not None:
        value = factory()
    elif type(value).__name__ == "FieldInfo":
        value = MISSING if repr(inner) == "PydanticUndefined" else inner
    if field.default_factory is not MISSING:
        value = field.default_factory()
    return "required" if value is MISSING else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    if is_dataclass(value):
        said = [
            f"{f.name} = {_toml(getattr(value, f.name))}"
            for f in fields(value)
            if f.name == "kind" or getattr(value, f.name) != f.default
        ]
        return "{ " + ", ".join(said) + " }" if said else "{ }"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _joined(text: str | None) -> str:
    """Paragraphs stay apart, indented formulas stay as they are."""
    paragraphs = (text or "").split("\n\n")
    return "\n\n".join(p if p.startswith("    ") else " ".join(p.split()) for p in paragraphs)


if __name__ == "__main__":
    print(reference(), end="")
