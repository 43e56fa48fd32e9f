"""HTML and SVG without injection: whatever is not `Html` already is escaped.

Item titles are written by the attackers whom the report is about, so nothing that came
from data reaches the page except through `tag` or `escape`.
"""

import html
import unicodedata
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Child", "Html", "escape", "join", "tag", "visible"]

_VOID = {"br", "meta", "hr", "col"}
_KEPT = {"\n", "\t"}


class Html(str):
    """Markup that is safe to place as it is. Only this module makes it from data."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Iterable[Child] | None"


def visible(text: str) -> str:
    """Text in which no character hides: control, format (zero-width, right-to-left
    override), private and unassigned ones are spelt as `‹U+200B›`. They are how titles
    are made to look like what they are not, and some are not allowed in XML at all.
    """
    return "".join(_spelt(char) for char in text)


def _spelt(char: str) -> str:
    if char in _KEPT or unicodedata.category(char)[0] != "C":
        return char
    return f"‹U+{ord(char):04X}›"


def escape(text: str) -> Html:
    """Any text, as text: safe inside an element and inside a quoted attribute."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(visible(text), quote=True))


def join(children: Child) -> Html:
    """Children one after another; None is nothing, numbers are written as they are."""
    if children is None:
        return Html("")
    if isinstance(children, str):
        return escape(children)
    if isinstance(children, int | float):
        return Html(str(children))
    return Html("".join(join(child) for child in children))


def tag(element: str, /, *children: Child, **attributes: str | int | float | None) -> Html:
    """`<name attributes>children</name>`.

    `class_` is spelt `class`, other underscores become hyphens; an attribute that is None
    is left out.
    """
    spelt = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if element in _VOID:
        return Html(f"<{element}{spelt}>")
    return Html(f"<{element}{spelt}>{join(children)}</{element}>")
