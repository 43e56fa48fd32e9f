"""`hardrank detect fit|scan`"""

from pathlib import Path
from typing import Any

import typer

__all__ = ["app"]

app = typer.Typer(help="Find fake users and the items they push.", no_args_is_help=True)


@app.command("fit")
def fit(
    config: Path = typer.Argument(help="TOML: name, [data], [[attacks]], [detector]."),
    out: Path = typer.Option(None, "--out", "-o", help="Folder; default runs/<name>."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the outcome."),
) -> None:
    """Mount attacks on a clean log and let a detector learn from them; say how well it finds
    attacks that it never saw, on users that it never saw."""
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.detect import fit_detector
    from hardrank.experiment.detect_spec import load_fitting

    spec = load_fitting(config)
    if check:
        print(f"{config}: fine")
        return
    show_logs(quiet)
    folder = out or Path("runs") / spec.name
    done = fit_detector(spec, RunContext(seed=spec.seed, folder=folder, progress=not quiet))
    print("\n".join(done.lines()))
    print(f"detector: {folder / 'detector'}")


@app.command("scan")
def scan(
    detector: str = typer.Argument(help="Folder of `detect fit`, or a kind such as pca-select."),
    data: Path = typer.Option(..., "--data", help="TOML with the [data] to look through."),
    out: Path = typer.Option(..., "--out", "-o", help="Where users, items and trust are written."),
    share: float = typer.Option(
        None, "--share", min=0.0, max=0.33, help="Flag this share of users; default by threshold."
    ),
    most: int = typer.Option(10, "--top", "-k", min=0, help="Users and items to print."),
) -> None:
    """Score the users of a log and name the most suspicious ones, the items that they share,
    and why. trust.parquet lets training trust the flagged users less."""
    from hardrank.context import RunContext
    from hardrank.experiment.detect import detector_of, scan_log
    from hardrank.experiment.detect_spec import load_scan

    ready, source = detector_of(detector), load_scan(data)
    log = source.data.load()
    found = scan_log(ready, log, RunContext(folder=out), share=share)
    flagged, silent = found.users.filter(found.users["flagged"]), log.n_users - found.users.height
    more = f"; {silent} more could not be judged" if silent else ""
    print(f"{flagged.height} of {found.users.height} users are flagged{more}")
    _say(flagged.head(most), lambda r: f"  {r['user_id']}  {r['score']:.4f}  {r['reasons']}")
    items = found.items.filter(found.items["suspicion"] > 0)
    print(f"{items.height} items are rated by more of them than by chance")
    _say(
        items.head(most),
        lambda r: f"  {r['item_id']}  {r['suspicious_raters']} of {r['raters']} raters",
    )
    print(f"users, items and trust: {out}")


def _say(rows: Any, line: Any) -> None:
    for row in rows.iter_rows(named=True):
        print(line(row))
