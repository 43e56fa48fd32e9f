"""`hardrank audit FILE --victim WHO`"""

from pathlib import Path
from typing import Any

import typer

__all__ = ["audit"]


def audit(
    file: Path = typer.Argument(help="An audit file (TOML): data, attacks, thresholds."),
    victim: str = typer.Option(
        None,
        "--victim",
        metavar="WHO",
        help="module:callable, a URL, or the folder of a bundle; goes before the file's [victim].",
    ),
    out: Path = typer.Option(None, "--out", "-o", help="Run folder; default runs/<name>."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the verdict."),
) -> None:
    """Attack somebody's recommender as it stands; write a report. Exit code 1 if a threshold
    of `fail_if` holds.

    Run again with the same folder, it resumes, and asks for nothing that was answered.
    """
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.audit_spec import load_audit
    from hardrank.experiment.audit_victim import label_of, run_audit
    from hardrank.reports import summary_table

    loaded = load_audit(file, victim)
    if check:
        print(f"{file}: fine")
        return
    show_logs(quiet)
    folder = out or Path("runs") / loaded.name
    run = RunContext(seed=loaded.seeds[0], folder=folder, progress=not quiet)
    result = run_audit(loaded, run, beside=[Path.cwd(), file.parent])
    print(summary_table(result.findings, model=label_of(loaded)))
    if result.rulings:
        print("\n".join(["", *_table(result.rulings)]))
    print(f"report: {result.report}")
    if result.failed:
        raise typer.Exit(1)


def _table(rulings: list[Any]) -> list[str]:
    """Every threshold with what it was held against."""
    rows = [("", "threshold", "attack", "found")] + [
        ("FAILED" if r.fails else "ok" if not r.reason else "-", r.threshold, r.trial, _found(r))
        for r in rulings
    ]
    widths = [max(len(row[c]) for row in rows) for c in range(3)]
    return ["  ".join(_padded(row, widths)).rstrip() for row in rows]


def _padded(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)]


def _found(ruling: Any) -> str:
    """The number that decided, with its interval."""
    if ruling.reason:
        return str(ruling.reason)
    if ruling.low is None or ruling.high is None:
        return f"{ruling.value:.4g}"
    shown = f"{ruling.value:.4g} [{ruling.low:.4g}, {ruling.high:.4g}]"
    return shown if ruling.bound == "value" else f"{shown}, held against {ruling.bound}"
