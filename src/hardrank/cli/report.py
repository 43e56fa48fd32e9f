"""`hardrank report render|verify RUN`"""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(help="Make or verify the report of a run.", no_args_is_help=True)


@app.command("render")
def render(run: Path = typer.Argument(help="A run folder.")) -> None:
    """Write report.html and report.md again from the run's findings."""
    from hardrank.reports import render as rendered

    print(rendered(run))


@app.command("verify")
def verify(run: Path = typer.Argument(help="A run folder.")) -> None:
    """Recompute every number of findings.json from samples.parquet. Exit code 1 if any differs."""
    from hardrank.audits.verify import read_findings
    from hardrank.audits.verify import verify as verified

    wrong = verified(run)
    for mismatch in wrong:
        print(mismatch)
    total = len(read_findings(run / "findings.json"))
    print(f"{total - len(wrong)} of {total} numbers recomputed and equal")
    if wrong:
        raise typer.Exit(1)
