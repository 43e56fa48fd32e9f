"""`hardrank compare RUN RUN ...`"""

from pathlib import Path

import typer

__all__ = ["compare"]


def compare(
    runs: list[Path] = typer.Argument(help="Folders of finished runs."),
    out: Path = typer.Option(
        Path("runs/comparison"), "--out", "-o", help="Where compare.json and compare.html go."
    ),
    versus: str = typer.Option(
        "", "--versus", help="Subject that differences are taken against; default a control."
    ),
    anyway: bool = typer.Option(
        False, "--anyway", help="Show runs that cannot be compared in separate blocks."
    ),
) -> None:
    """Put the subjects of several runs into one table, with paired differences.

    Refuses runs of other data, protocol, k or targets, and names what differs.
    """
    from hardrank.experiment.compare import compare as compared
    from hardrank.experiment.compare import compare_json
    from hardrank.experiment.compare_show import compare_page, compare_text
    from hardrank.files import write_json, write_text

    blocks, apart = compared(runs, anyway=anyway, versus=versus)
    for difference in apart:
        print(f"not comparable: {difference}")
    print(compare_text(blocks))
    write_json(out / "compare.json", compare_json(blocks, apart))
    write_text(out / "compare.html", compare_page(blocks, apart))
    print(f"report: {out / 'compare.html'}")
