"""The shell of a page that is not a run's report: head, masthead, main, footer."""

import base64
import hashlib
from importlib import resources

from hardrank.reports.markup import Child, Html, tag

__all__ = ["document"]

_SYNTHETIC = "These numbers come from a generated marketplace and say nothing about a real one."


def document(
    title: str,
    kind: str,
    facts: str,
    *body: Child,
    synthetic: bool = False,
    style: str = "",
    script: str = "",
    footer: str = "Made by Hardrank.",
) -> str:
    """A whole HTML document, one file. Its policy forbids every request and every script but
    this one, by its digest: text that an attacker wrote could do nothing even if it were not
    escaped.

    kind: what the page is, over its title. style: beside the reports' style sheet.
    """
    banner = tag("p", tag("b", "Synthetic data. "), _SYNTHETIC, class_="banner", role="note")
    head = tag(
        "header", tag("p", kind, class_="kind"), tag("h1", title), tag("p", facts, class_="facts"),
        class_="masthead",
    )  # fmt: skip
    made = tag(
        "body", banner if synthetic else None, head, tag("main", *body), tag("footer", footer),
        tag("script", Html(script)) if script else None,
    )  # fmt: skip
    page = tag("html", _head(f"{title}: {kind}", style, script), made, lang="en")
    return f"<!doctype html>\n{page}\n"


def _head(title: str, style: str, script: str) -> Html:
    sheet = resources.files("hardrank.reports").joinpath("page.css").read_text("utf-8") + style
    policy = f"default-src 'none'; style-src {_digest(sheet)}; base-uri 'none'; form-action 'none'"
    if script:
        policy += f"; script-src {_digest(script)}"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=Html(policy)),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Html(sheet)),
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
