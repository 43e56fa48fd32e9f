"""A strict reader of pages: what is open must be closed, and what a browser would fetch."""

from html.parser import HTMLParser
from xml.etree import ElementTree

VOID = {"meta", "br", "hr", "col", "img", "link", "input"}


class Page(HTMLParser):
    """Raises AssertionError where tags do not nest; collects elements, text, SVG sources."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        """What a person reads: without style and SVG descriptions."""
        hidden = {"style", "title", "desc"}
        return " ".join(" ".join(d for t, d in self.texts if t not in hidden).split())

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] for _, attrs in self.elements if name in attrs]


def drawings(source: str) -> list[ElementTree.Element]:
    """Every `<svg>` of a page, parsed as XML (raises on what is not well-formed)."""
    parts = source.split("<svg ")[1:]
    return [ElementTree.fromstring("<svg " + p.split("</svg>")[0] + "</svg>") for p in parts]
