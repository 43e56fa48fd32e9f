"""The command line: parse, call, print. Nothing heavy is imported before a command runs."""

import sys

import typer

from hardrank.cli import data, recommend, report, run
from hardrank.errors import HardrankError

__all__ = ["app", "main"]

app = typer.Typer(
    name="hardrank",
    help="Train, attack, harden and audit recommenders that read item text.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("recommend")(recommend.recommend)
app.add_typer(data.app, name="data")
app.add_typer(report.app, name="report")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from hardrank import __version__

        print(f"hardrank {__version__}")
        raise typer.Exit


def main() -> None:
    """Errors meant for users become one message on stderr and their exit code."""
    try:
        app()
    except HardrankError as error:
        print(f"hardrank: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(141)
    except OSError as error:  # a full disk, a missing folder, a file that may not be read
        print(f"hardrank: {error}", file=sys.stderr)
        sys.exit(4)
