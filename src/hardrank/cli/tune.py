"""`hardrank tune FILE`"""

from pathlib import Path

import typer

__all__ = ["tune"]


def tune(
    file: Path = typer.Argument(help="An experiment file (TOML) with a [tune] table."),
    trials: int = typer.Option(
        None, "--trials", min=1, help="Configurations to train; default tune.points."
    ),
    out: Path = typer.Option(None, "--out", "-o", help="Run folder; default runs/<name>-tune."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the outcome."),
) -> None:
    """Search for the most robust [harden] that keeps price and floors on validation events;
    write recommended.toml for `hardrank run`. Exit code 1 if no configuration keeps them.

    Run again with the same folder, it resumes; with more --trials, it goes on.
    """
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.tune import run_tuning
    from hardrank.experiment.tune_spec import load_tuning

    loaded = load_tuning(file)
    if check:
        print(f"{file}: fine")
        return
    show_logs(quiet)
    folder = out or Path("runs") / f"{loaded.experiment.name}-tune"
    run = RunContext(seed=loaded.experiment.seeds[0], folder=folder, progress=not quiet)
    done = run_tuning(loaded, run, points=trials)
    best, control = done.recommended, done.control
    if best is None:
        found = done.binding.says() if done.binding else "no point could be measured"
        print(f"no configuration keeps every limit; binding: {found}")
        for point in (p for p in done.points if p.error):
            print(f"point {point.number}: {point.error}")
        print(f"report: {done.page}")
        raise typer.Exit(1)
    print(f"point {best.number} of {len(done.points)} is recommended")
    for name, value in best.settings.items():
        print(f"  {name} = {value}")
    print(f"NDCG@10 {best.clean:.4f} (control {_shown(control.clean)})")
    print(f"exposure gain {best.robust:.4f} (control {_shown(control.robust)})")
    print(f"report: {done.page}")
    print(f"experiment: {done.file}")


def _shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
