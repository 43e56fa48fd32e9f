"""The table of hardening objectives in a document, from their classes and a count of passes.

python -m hardrank.experiment.objective_cards docs/hardening.md

writes it between the two marks of that file and leaves the rest as it is.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hardrank.errors import DataError
from hardrank.experiment.arm_spec import AnyObjective
from hardrank.experiment.objective_advice import ADVICE
from hardrank.experiment.objective_passes import needs_rows, passes
from hardrank.files import write_text

__all__ = ["objectives", "table", "within"]

_BEGIN, _END = "<!-- objectives: begin -->", "<!-- objectives: end -->"
_HEAD = "| objective | changes | where | needs | passes | cost | source | take it | leave it |"


def objectives() -> tuple[Any, ...]:
    """Every class that `objective` of an arm can spell."""
    return get_args(get_args(AnyObjective)[0])


def table() -> str:
    """One row an objective, by kind."""
    made = sorted(objectives(), key=lambda objective: str(objective.kind))
    return "\n".join([_HEAD, "|" + "---|" * _HEAD.count(" | ") + "---|", *map(_row, made)])


def within(text: str) -> str:
    """The document with the table in its place. Raises `DataError` without the marks."""
    if text.count(_BEGIN) != 1 or text.count(_END) != 1 or text.find(_END) < text.find(_BEGIN):
        raise DataError(f"put {_BEGIN} and {_END} where the table belongs, once each")
    before, _, rest = text.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{table()}\n{_END}{rest.partition(_END)[2]}"


def _row(made: Any) -> str:
    advice = ADVICE[made.kind]
    cells = (
        f"[`{made.kind}`](experiment.md#{made.kind})", advice.changes, _where(made),
        "; ".join(_needs(made)) or "nothing more", *_cost(made), _source(made), advice.take,
        advice.leave,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _where(made: Any) -> str:
    """The sites it can be told to perturb, the default first."""
    hints = get_type_hints(made)
    given: dict[str, Any] = {f.name: getattr(f.default, "default", f.default) for f in fields(made)}
    if "site" in given:
        default = given["site"]
        rest = [site for site in get_args(hints["site"]) if site != default]
        return f"`{default}`, {'any other' if len(rest) > 2 else _spelt(rest)}"
    if "sites" in given:
        default = given["sites"]
        rest = [s for s in get_args(get_args(hints["sites"])[0]) if s not in default]
        return f"{_spelt(default, ' and ')}; any of these, {_spelt(rest)}"
    return ADVICE[made.kind].where


def _needs(made: Any) -> Iterator[str]:
    yield from (f"`{f.name}`" for f in fields(made) if _required(f))
    if needs_rows(made):
        yield "rows of scores"
    if ADVICE[made.kind].needs:
        yield ADVICE[made.kind].needs


def _required(field: Any) -> bool:
    default = getattr(field.default, "default", field.default)
    return default is MISSING or repr(default) == "PydanticUndefined"


def _cost(made: Any) -> Iterator[str]:
    one, three = (passes(made, steps=steps) for steps in (1, 3))
    both = (one,) if one == three else (one, three)
    yield " to ".join(f"{p.forward}/{p.backward}" for p in both)
    yield " to ".join(f"{p.factor:.1f}" for p in both)


def _source(made: Any) -> str:
    named = ADVICE[made.kind].source
    found = re.search(r"arXiv:(\d{4}\.\d{5})", inspect.getdoc(made) or "")
    return f"[{named}](https://arxiv.org/abs/{found[1]})" if found and named else named or "–"


def _spelt(sites: Any, between: str = ", ") -> str:
    return between.join(f"`{site}`" for site in sites)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    write_text(page, within(page.read_text("utf-8")))
