"""`hardrank retrain FILE`"""

from pathlib import Path

import typer

__all__ = ["retrain"]


def retrain(
    config: Path = typer.Argument(help="TOML: champion, and what differs from the defaults."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of the challenger's new bundle."),
    store: str = typer.Option(None, "--store", help="Database; else HARDRANK_SERVE_STORE, FILE."),
    promote: bool = typer.Option(False, "--promote", help="Put it online if it is decided for."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the outcome."),
) -> None:
    """Train a challenger on what the service took in, keep suspicious users out, and measure it
    against the champion. Exit code 1 when it is refused. Run again with the same folder, it
    resumes."""
    from hardrank.experiment.retrain_spec import load_retraining

    spec = load_retraining(config)
    if check:
        print(f"{config}: fine")
        return
    from hardrank.cli.logs import show_logs
    from hardrank.cli.promote import open_store
    from hardrank.context import RunContext
    from hardrank.experiment.retrain import retrain as run
    from hardrank.experiment.retrain_promote import promote_bundle

    show_logs(quiet)
    with open_store(store, spec.store) as opened:
        done = run(spec, out, opened, RunContext(seed=spec.seed, progress=not quiet))
        print("\n".join(done.lines()))
        print(f"bundle: {done.bundle}")
        print(f"quarantined users, exposure of every item: {done.work}")
        if not done.verdict.decision.promote:
            raise typer.Exit(1)
        if promote:
            live = promote_bundle(out, opened, who="retrain", live=done.verdict.champion)
            print(f"live: {live}")
