"""The page: one file, no scripts, no network, verdict first."""

import base64
import hashlib
from importlib import resources

from hardrank.reports.evidence import Evidence
from hardrank.reports.markup import Html, join, tag
from hardrank.reports.sections.comparison import comparison_section
from hardrank.reports.sections.costs import costs_section, histories_section
from hardrank.reports.sections.coverage import coverage_section
from hardrank.reports.sections.curves import curves_section
from hardrank.reports.sections.exposure import exposure_section
from hardrank.reports.sections.gates import gates_section
from hardrank.reports.sections.method import method_section, provenance_section
from hardrank.reports.sections.price import price_section
from hardrank.reports.sections.quality import quality_section
from hardrank.reports.sections.significance import significance_section
from hardrank.reports.sections.summary import summary_section
from hardrank.reports.sections.worst import worst_section

__all__ = ["SYNTHETIC", "page"]

SYNTHETIC = (
    "Synthetic data. These numbers come from a generated marketplace and say nothing about a "
    "real one."
)
_SECTIONS = (
    ("comparison", "Comparison", comparison_section),
    ("price", "Who pays", price_section),
    ("curves", "Curves", curves_section),
    ("targets", "Targets", exposure_section),
    ("costs", "Costs", costs_section),
    ("histories", "Histories", histories_section),
    ("cases", "Worst cases", worst_section),
    ("significance", "Significance", significance_section),
    ("gates", "Trust", gates_section),
    ("coverage", "Coverage", coverage_section),
    ("quality", "All models", quality_section),
    ("method", "Method", method_section),
    ("provenance", "Provenance", provenance_section),
)


def page(evidence: Evidence) -> str:
    """A whole HTML document. Its policy forbids scripts, forms and every request, so that
    text which an attacker wrote could do nothing even if it were not escaped."""
    parts = [(key, name, made) for key, name, build in _SECTIONS if (made := build(evidence))]
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in parts]
    body = tag(
        "body",
        tag("a", "Skip to the verdict", href="#verdict", class_="skip"),
        tag("p", tag("b", "Synthetic data."), SYNTHETIC.removeprefix("Synthetic data."),
            class_="banner", role="note") if evidence.facts.synthetic else None,
        _masthead(evidence),
        tag("main", summary_section(evidence),
            tag("nav", tag("ul", links), class_="contents", aria_label="Contents"),
            [made for _, _, made in parts]),
        tag("footer", "Made by Hardrank from findings.json, samples.parquet and run.json."),
    )  # fmt: skip
    return "<!doctype html>\n" + tag("html", _head(evidence), body, lang="en") + "\n"


def _head(evidence: Evidence) -> Html:
    style = resources.files("hardrank.reports").joinpath("page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=Html(policy)),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{evidence.facts.name}: robustness report"),
        tag("style", Html(style)),
    )


def _masthead(evidence: Evidence) -> Html:
    facts = evidence.facts
    seeds = len(facts.seeds)
    parts = [
        f"Model {evidence.model}" if evidence.model else "",
        f"{seeds} seed{'s' if seeds != 1 else ''}" if seeds else "",
        facts.started,
    ]
    line = " · ".join(part for part in parts if part)
    return tag(
        "header",
        tag("p", "Hardrank robustness report", class_="kind"),
        tag("h1", facts.name),
        tag("p", join(line), class_="facts"),
        class_="masthead",
    )
