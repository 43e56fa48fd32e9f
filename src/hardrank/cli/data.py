"""`hardrank data check|card|fetch`"""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(help="Look at data before training on them.", no_args_is_help=True)


@app.command("check")
def check(path: Path = typer.Argument(help="A data file or folder of a known format.")) -> None:
    """Read everything and name each bad row by file, line and field. Exit code 3 if any."""
    from hardrank.data.check import check as checked

    found = checked(path)
    print("\n".join(found.lines()))
    if not found.ok:
        raise typer.Exit(3)


@app.command("card")
def card(path: Path = typer.Argument(help="A data file or folder of a known format.")) -> None:
    """Print a data card in Markdown."""
    from hardrank.data.card import card as made
    from hardrank.data.sources import guess

    print(made(guess(path).load()))


@app.command("fetch")
def fetch(
    name: str = typer.Argument(help="A public data set, e.g. movielens-100k."),
    out: Path = typer.Option(Path("data"), "--out", "-o", help="Where to put it."),
) -> None:
    """Download a public data set from its publisher and verify its checksum."""
    from hardrank.data.fetch import fetch as fetched

    print(fetched(name, out))
