"""`hardrank leaderboard add|build|verify`"""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(
    help="Reviewable entries from runs, and a page from entries.", no_args_is_help=True
)


@app.command("add")
def add(
    run: Path = typer.Argument(help="The folder of a finished run."),
    citation: str = typer.Option(..., "--citation", help="Where the method is described."),
    entry: Path = typer.Option(..., "--entry", help="Folder that the entry is written into."),
    name: str = typer.Option("", "--name", help="Of the model; default the run's name."),
    dataset: str = typer.Option("", "--dataset", help="Of the data; default its source's kind."),
    arm: str = typer.Option("", "--arm", help="Hardened arm, where the run has several."),
) -> None:
    """Write the entry of a run: figures with intervals, threat models, seeds, flags, and the
    digest of the samples they come from. Refuses a run without a control."""
    from hardrank.experiment.leaderboard import add_entry
    from hardrank.experiment.leaderboard_spec import read_entry

    path = add_entry(entry, run, citation=citation, name=name, dataset=dataset, arm=arm)
    for reason in read_entry(path).reasons:
        print(f"unreliable: {reason}")
    print(f"entry: {path}")


@app.command("build")
def build(
    folder: Path = typer.Argument(help="A folder of entries."),
    out: Path = typer.Option(Path("leaderboard.html"), "--out", "-o", help="The page."),
    title: str = typer.Option("Leaderboard", "--title", help="Heads the page."),
) -> None:
    """Check every entry and build one self-contained page. Exit code 2 where an entry is wrong;
    every mistake is named with file, field and remedy."""
    from hardrank.experiment.leaderboard import read_entries
    from hardrank.experiment.leaderboard_boards import boards
    from hardrank.files import write_text
    from hardrank.reports.leaderboard import leaderboard_page

    entries = read_entries(folder)
    write_text(out, leaderboard_page(title, boards(entries)))
    print(f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}: {out}")


@app.command("verify")
def verify(
    entry: Path = typer.Argument(help="An entry (JSON)."),
    run: Path = typer.Argument(help="The folder of the run that it was made from."),
) -> None:
    """Compute every figure of an entry again from the run's samples. Exit code 1 if any part
    differs."""
    from hardrank.experiment.leaderboard import verify_entry

    wrong = verify_entry(entry, run)
    for difference in wrong:
        print(difference)
    if wrong:
        raise typer.Exit(1)
    print(f"{entry}: every figure recomputed and equal")
