"""Reports: from a run's findings and samples to one page, one Markdown file, one table."""

from collections.abc import Sequence
from pathlib import Path

from hardrank.findings import Finding

__all__ = ["render", "summary_table"]


def render(run_folder: Path) -> Path:
    """Write `report.html` and `report.md` beside the findings they show; gives the page.

    Reads `findings.json`, `samples.parquet` and `run.json` (see
    `hardrank.reports.evidence.RunFacts` for its keys). Both files are written whole or not
    at all. Raises `SchemaError` where a file is wrong or a hardened arm has no control.
    """
    from hardrank.files import write_text
    from hardrank.reports.evidence import load_evidence
    from hardrank.reports.markdown import markdown
    from hardrank.reports.page import page

    evidence = load_evidence(run_folder)
    html, text = page(evidence), markdown(evidence)
    write_text(run_folder / "report.md", text)
    write_text(run_folder / "report.html", html)
    return run_folder / "report.html"


def summary_table(findings: Sequence[Finding], *, model: str = "") -> str:
    """See `hardrank.reports.terminal.summary_table`."""
    from hardrank.reports.terminal import summary_table as made

    return made(findings, model=model)
