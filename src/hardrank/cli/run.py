"""`hardrank run EXPERIMENT.toml`"""

from pathlib import Path

import typer

__all__ = ["run"]


def run(
    experiment: Path = typer.Argument(help="An experiment file (TOML)."),
    out: Path = typer.Option(None, "--out", "-o", help="Run folder; default runs/<name>."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the verdict."),
) -> None:
    """Train, attack, harden, attack again; write a report and a bundle.

    Run again with the same folder, it resumes where it stopped.
    """
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment import ClassifierExperiment, load_experiment, run_experiment
    from hardrank.reports import summary_table

    loaded = load_experiment(experiment)
    if check:
        print(f"{experiment}: fine")
        return
    show_logs(quiet)
    folder = out or Path("runs") / loaded.name
    result = run_experiment(
        loaded, RunContext(seed=loaded.seeds[0], folder=folder, progress=not quiet)
    )
    victim = loaded.classifier if isinstance(loaded, ClassifierExperiment) else loaded.model
    print(summary_table(result.findings, model=victim.kind))
    print(f"report: {result.report}")
    if result.bundle:
        print(f"bundle: {result.bundle}")
