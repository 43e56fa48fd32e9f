"""Labels of attacks in few characters: what tells an attack from its likes; the rest in full
where a reader asks for it. Only for display: what findings are keyed by stays whole."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from hardrank.reports.markup import Html, join, tag

__all__ = ["Label", "apart", "label_html", "labels", "legend_of"]

_LONGEST = 52
"""Characters of the options of an attack."""
_VALUE = 24
"""Characters of one option's value."""
_MORE = "…"
_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, kw_only=True)
class Label:
    """How one attack is called on a page. `full` is its label in the findings."""

    full: str
    name: str
    options: str = ""
    tail: str = ""
    """What follows the options: `(adaptive)`, `[ranks]`."""
    alone: bool = True
    """No other label of the page has its name and tail."""

    @property
    def text(self) -> str:
        """`few-profiles(profiles=4) (adaptive)`: for a chart, a sentence, a terminal."""
        options = f"({self.options})" if self.options else ""
        return f"{self.name}{options}{f' {self.tail}' if self.tail else ''}"

    @property
    def spoken(self) -> str:
        """For a sentence: without options where the name alone tells."""
        tail = f" {self.tail}" if self.tail else ""
        return f"{self.name}{tail}" if self.alone else self.text

    @property
    def whole(self) -> bool:
        """Whether nothing was left out."""
        return self.text == self.full


def labels(trials: Iterable[str]) -> dict[str, Label]:
    """Trial -> its label, of at most some 60 characters, no two alike: short options stay, of
    long ones those that tell it from others of its name."""
    cut = {trial: _parts(trial) for trial in trials}
    made = {}
    for trial, (name, options, tail) in cut.items():
        likes = [o for t, (n, o, e) in cut.items() if t != trial and (n, e) == (name, tail)]
        made[trial] = Label(
            full=trial, name=name, options=_brief(options, likes), tail=tail, alone=not likes
        )
    return _told_apart(made)


def label_html(label: Label) -> Html:
    """The name, its options small behind it; the whole label as a hint where it is shortened."""
    options = " ".join(part for part in (label.options, label.tail) if part)
    shown = join([label.name, " ", tag("span", options, class_="options")] if options
                 else label.name)  # fmt: skip
    return shown if label.whole else tag("span", shown, class_="cut", title=label.full)


def legend_of(found: Iterable[Label]) -> Html | None:
    """The shortened labels in full, folded away; nothing where none is shortened."""
    cut = [label for label in found if not label.whole]
    if not cut:
        return None
    rows = [tag("div", tag("dt", label.text), tag("dd", label.full)) for label in cut]
    return tag("details", tag("summary", "Shortened names of attacks in full"),
               tag("dl", rows, class_="terms whole"))  # fmt: skip


def _parts(trial: str) -> tuple[str, str, str]:
    """Name, options without their brackets, what follows."""
    found = re.match(r"[\w.+-]+", trial)
    if not found:
        return trial or "unnamed attack", "", ""
    name, rest = found[0], trial[found.end() :]
    if not rest.startswith("("):
        return name, "", rest.strip()
    end = _closing(rest)
    return name, rest[1:end], rest[end + 1 :].strip()


def _closing(text: str) -> int:
    """Place of the bracket that closes the first one; the end where none does."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0:
            return place
    return len(text)


def apart(text: str) -> list[str]:
    """The parts of a list: cut at commas outside all brackets."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [part for part in (*parts, text[start:].strip()) if part]


def _brief(options: str, likes: list[str]) -> str:
    if len(options) <= _LONGEST:
        return options
    parts = apart(options)
    shown = ", ".join(map(_option, parts))
    if len(shown) <= _LONGEST:
        return shown
    others = [set(apart(like)) for like in likes]
    own = [_option(p) for p in parts if not all(p in o for o in others) or not others]
    kept: list[str] = []
    for option in own:
        if len(", ".join([*kept, option])) <= _LONGEST - 3:
            kept.append(option)
    return ", ".join([*kept, _MORE])


def _option(part: str) -> str:
    name, equals, value = part.partition("=")
    return f"{name}{equals}{_value(value)}" if equals else _value(part)


def _value(value: str) -> str:
    """As it is, or of a nested attack its kind, of several the first and how many more."""
    if len(value) <= _VALUE:
        return value
    inside = value[1 : _closing(value)] if value[:1] in _PAIRS else value
    kinds = [_kind(part) for part in apart(inside)]
    more = f" +{len(kinds) - 1}" if len(kinds) > 1 else ""
    return f"{kinds[0][:_VALUE]}{more}" if kinds else _MORE


def _kind(part: str) -> str:
    """`CraftedProfiles(kind='crafted-profiles', ...)` -> `crafted-profiles`."""
    named = re.match(r"\w+\(kind='([\w.+-]+)'", part)
    plain = re.match(r"[\w.+-]+", part)
    return named[1] if named else plain[0] if plain else _MORE


def _told_apart(made: dict[str, Label]) -> dict[str, Label]:
    """Those that still read alike are numbered."""
    alike: dict[str, list[str]] = {}
    for trial, label in made.items():
        alike.setdefault(label.text, []).append(trial)
    for same in alike.values():
        for number, trial in enumerate(same if len(same) > 1 else (), 1):
            old = made[trial]
            options = ", ".join(part for part in (old.options, f"no. {number}") if part)
            made[trial] = replace(old, options=options, alone=False)
    return made
