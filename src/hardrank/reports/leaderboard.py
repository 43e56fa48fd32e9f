"""The leaderboard: one table for each dataset and threat model, entries in doubt below."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from hardrank.files import digest_bytes
from hardrank.reports.document import document
from hardrank.reports.layout import note, scroll, section
from hardrank.reports.markup import Child, Html, tag
from hardrank.reports.numbers import Spell, decimal, interval, percent, relative

__all__ = ["Board", "Number", "Place", "leaderboard_page"]

_COLUMNS = (
    ("Model", "name"), ("Exposure gain", "gain"), ("Control's gain", "control"),
    ("Removed", "removed"), ("NDCG@10", "clean"), ("Price", "price"), ("Price, tail", "tail"),
    ("Seeds", "seeds"), ("State", "state"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Number:
    """One figure of a place."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True, kw_only=True)
class Place:
    """One model on one board."""

    name: str
    subject: str
    citation: str
    gain: Number
    """Exposure gain of each target's strongest attack, mean over targets."""
    control: Number
    removed: Number
    clean: Number
    price: Number
    tail: Number
    seeds: int
    reasons: tuple[str, ...] = ()
    """Why it is unreliable; empty where it is not."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """Entries that were attacked alike on the same data."""

    dataset: str
    fingerprint: str
    synthetic: bool
    threat: str
    attacks: tuple[str, ...]
    protocol: str
    places: tuple[Place, ...]

    @property
    def ordered(self) -> list[Place]:
        """Least exposure gain first; without a number last; in doubt below all others."""
        far = float("inf")
        return sorted(
            self.places,
            key=lambda p: (bool(p.reasons), far if p.gain.value is None else p.gain.value, p.name),
        )

    @property
    def data(self) -> str:
        return f"{self.dataset} ({self.fingerprint[:8]})" + (" synthetic" * self.synthetic)


def leaderboard_page(title: str, boards: Sequence[Board]) -> str:
    """A whole HTML document: one file, sortable and filtered by a script of its own, and whole
    without it."""
    places = sum(len(board.places) for board in boards)
    facts = f"{places} places on {len(boards)} board{'s' if len(boards) != 1 else ''}"
    here = resources.files("hardrank.reports")
    return document(
        title, "Hardrank leaderboard", facts, _filters(boards), [_board(b) for b in boards],
        _method(), synthetic=bool(boards) and all(board.synthetic for board in boards),
        style=here.joinpath("leaderboard.css").read_text("utf-8"),
        script=here.joinpath("leaderboard.js").read_text("utf-8"),
        footer="Made by Hardrank from reviewable entries; each is computed again from its run's "
        "samples by: hardrank leaderboard verify ENTRY RUN",
    )  # fmt: skip


def _filters(boards: Sequence[Board]) -> Html:
    """Shown by the script, since without it they could do nothing."""
    choices = (
        ("dataset", "Data", [board.data for board in boards]),
        ("threat", "Threat model", [board.threat for board in boards]),
    )
    made = [
        tag("label", tag("span", words), tag(
            "select", tag("option", "all", value=""),
            [tag("option", each, value=_key(each)) for each in dict.fromkeys(values)],
            data_filter=name,
        ))
        for name, words, values in choices
    ]  # fmt: skip
    return tag("div", made, class_="filters", hidden="")


def _key(*texts: str) -> str:
    return digest_bytes(*(text.encode() for text in texts))[:12]


def _board(board: Board) -> Html:
    key = _key(board.data, board.threat, *board.attacks, board.protocol)
    made = section(
        f"board-{key}", board.data, board.threat,
        note(f"Attacks: {', '.join(board.attacks)}. Protocol: {board.protocol}."),
        _table(board), _doubts(board),
    )  # fmt: skip
    return tag("div", made, class_="board", data_dataset=_key(board.data),
               data_threat=_key(board.threat))  # fmt: skip


def _table(board: Board) -> Html:
    head = [
        tag("th", tag("button", words, type="button"), scope="col",
            aria_sort="ascending" if name == "gain" else "none")
        for words, name in _COLUMNS
    ]  # fmt: skip
    caption = "Least exposure gain first; unreliable entries below. Brackets are 95 % intervals."
    made = tag(
        "table", tag("caption", caption), tag("thead", tag("tr", head)),
        tag("tbody", [_place(place) for place in board.ordered]), class_="numbers sortable",
    )  # fmt: skip
    return scroll(f"{board.data}: {board.threat}", made)


def _place(place: Place) -> Html:
    doubt = bool(place.reasons)
    state: Child = tag("span", "unreliable", class_="flag bad") if doubt else "reliable"
    return tag(
        "tr",
        tag("th", place.name, tag("span", place.subject, class_="small"),
            tag("span", place.citation, class_="small"), scope="row", data_v=place.name),
        _cell(place.gain, percent, True), _cell(place.control, percent),
        _cell(place.removed, relative), _cell(place.clean, decimal),
        _cell(place.price, relative), _cell(place.tail, relative),
        tag("td", place.seeds, class_="num", data_v=place.seeds),
        tag("td", state, data_v=int(doubt)),
        class_="doubt" if doubt else None, data_doubt=int(doubt),
    )  # fmt: skip


def _cell(number: Number, spell: Spell, lead: bool = False) -> Html:
    if number.value is None:
        return tag("td", tag("span", "–", class_="small"), class_="num", data_v="")
    around = interval(number.low, number.high, spell)
    value = tag("strong" if lead else "span", spell(number.value), class_="value")
    small = tag("span", around, class_="small range") if around else None
    return tag("td", value, small, class_="num", data_v=number.value, title=f"n = {number.n}")


def _doubts(board: Board) -> list[Html]:
    return [
        tag("p", tag("b", place.name), ": ", "; ".join(place.reasons), class_="note doubts")
        for place in board.ordered
        if place.reasons
    ]


def _method() -> Html:
    words = (
        "Exposure gain is the share of users whose top k holds a target after its strongest "
        "attack, less the share before, mean over targets and seeds. Removed is 1 - gain over the "
        "control's gain. Price is the relative loss of clean NDCG@10 against the control, which "
        "had the same data, steps and seeds and no adversary. Boards are not to be compared with "
        "each other: data, targets or attacks differ. An entry is unreliable where one of its "
        "numbers failed a check, or with fewer than three seeds."
    )
    return section("reading", "How to read it", words)
