"""`hardrank attack list|show`"""

from typing import Any

import typer

__all__ = ["app"]

app = typer.Typer(help="What attacks there are and what they need.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """One line for each attack: kind, what it has to see, what it writes, what it does."""
    from hardrank.attacks import ATTACKS

    made: list[Any] = list(ATTACKS)
    rows = [(a.kind, a.needs, ", ".join(a.surfaces), _text(a).splitlines()[0]) for a in made]
    heads = ("kind", "sees", "writes", "what it does")
    widths = [max(len(r[c]) for r in [heads, *rows]) for c in range(3)]
    for row in [heads, *rows]:
        cells = [cell.ljust(w) for cell, w in zip(row, [*widths, 0], strict=True)]
        print("  ".join(cells).rstrip())


@app.command("show")
def show(kind: str = typer.Argument(help="As in `hardrank attack list`.")) -> None:
    """Source and method of an attack, and its hyperparameters as an experiment spells them."""
    from hardrank.attacks import ATTACKS
    from hardrank.errors import ConfigError

    known: dict[str, Any] = {a.kind: a for a in ATTACKS}  # type: ignore[attr-defined]
    if kind not in known:
        raise ConfigError("attack show", [f"unknown kind '{kind}'; allowed: {', '.join(known)}"])
    found = known[kind]
    surfaces, goals = ", ".join(found.surfaces), ", ".join(found.goals)
    seen = found.needs if found.needs == found.uses else f"{found.needs} to {found.uses}"
    print(f"{kind}: sees {seen}, writes {surfaces}, goals {goals}\n")
    print(_text(found))
    for name, field in found.__pydantic_fields__.items():
        if name != "kind":
            print(f"\n{name} = {_toml(field.default)}\n    {_joined(field.description)}")


def _text(made: Any) -> str:
    import inspect

    return inspect.getdoc(made) or ""


def _toml(value: object) -> str:
    import json

    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _joined(text: str | None) -> str:
    return " ".join((text or "").split())
