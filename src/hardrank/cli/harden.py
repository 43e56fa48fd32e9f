"""`hardrank harden FILE`"""

from pathlib import Path

import typer

__all__ = ["harden"]


def harden(
    file: Path = typer.Argument(help="An experiment file (TOML) with a [loop] table."),
    rounds: int = typer.Option(
        None, "--rounds", min=1, help="Rounds of training at most; default loop.rounds."
    ),
    out: Path = typer.Option(None, "--out", "-o", help="Run folder; default runs/<name>-loop."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the outcome."),
) -> None:
    """Attack, train against the weakest spot, attack again on fresh targets of validation
    users; write recommended.toml for `hardrank run`. Exit code 1 if no round helped or a
    check failed.

    Run again with the same folder, it resumes; with more --rounds, it goes on.
    """
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.closed_loop import run_loop
    from hardrank.experiment.closed_loop_spec import load_loop

    loaded = load_loop(file)
    if check:
        print(f"{file}: fine")
        return
    show_logs(quiet)
    folder = out or Path("runs") / f"{loaded.experiment.name}-loop"
    run = RunContext(seed=loaded.seeds[0], folder=folder, progress=not quiet)
    done = run_loop(loaded, run, rounds=rounds)
    for found in done.rounds:
        print(f"round {found.number} {'kept' if found.kept else 'discarded'}: {found.why}")
    print(f"stopped: {done.stopped}")
    if done.file is None:
        print("no round helped: plain training stays the best")
        print(f"report: {done.page}")
        raise typer.Exit(1)
    print(f"round {done.best.number} is recommended; on targets that no round attacked:")
    for each in done.checks:
        print(f"  {'passed' if each.passed else 'FAILED'}: {each.name}: {each.found}")
    for line in done.game.lines() if done.game else ():
        print(f"  {line}")
    print(f"report: {done.page}")
    print(f"experiment: {done.file}")
    if not all(each.passed for each in done.checks):
        raise typer.Exit(1)
