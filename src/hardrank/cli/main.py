"""The command line: parse, call, print. Nothing heavy is imported before a command runs."""

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from hardrank.cli import (
    attack,
    audit,
    compare,
    compress,
    data,
    detect,
    doctor,
    gan,
    guard,
    harden,
    keys,
    leaderboard,
    promote,
    recommend,
    report,
    retrain,
    run,
    serve,
    tune,
)
from hardrank.errors import HardrankError

__all__ = ["app", "main"]

INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""
BROKEN_PIPE = 141
"""128 + SIGPIPE: whoever read our output has seen enough."""
SYSTEM = 4
"""The machine said no: a full disk, a file that may not be read."""

RESUMES = (
    "run", "audit", "tune", "harden", "retrain", "attack poison", "gan train", "gan augment",
)  # fmt: skip


class Commands(TyperGroup):
    """Errors meant for users become one message on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        said = list(ctx.args)  # what stands behind the first word; gone once it is invoked
        try:
            return super().invoke(ctx)
        except HardrankError as error:
            ctx.exit(_said(str(error), error.exit_code))
        except KeyboardInterrupt:
            words = (str(ctx.invoked_subcommand), f"{ctx.invoked_subcommand} {''.join(said[:1])}")
            again = ": run again to resume" if any(w in RESUMES for w in words) else ""
            ctx.exit(_said(f"interrupted{again}", INTERRUPTED))
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(BROKEN_PIPE)
        except OSError as error:
            ctx.exit(_said(_system(error), SYSTEM))


app = typer.Typer(
    name="hardrank",
    help="Train, attack, harden and audit recommenders that read item text.",
    epilog="Exit codes: 0 fine, 1 failed or differs, 2 wrong experiment file or options, "
    "3 wrong data, 4 the system or a victim refused (disk, network), 130 interrupted.",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.run)
app.command("audit")(audit.audit)
app.command("tune")(tune.tune)
app.command("harden")(harden.harden)
app.command("compare")(compare.compare)
app.command("recommend")(recommend.recommend)
app.command("compress")(compress.compress)
app.add_typer(data.app, name="data")
app.add_typer(report.app, name="report")
app.add_typer(attack.app, name="attack")
app.add_typer(detect.app, name="detect")
app.add_typer(leaderboard.app, name="leaderboard")
app.add_typer(gan.app, name="gan")
app.add_typer(guard.app, name="guard")
app.command("serve")(serve.serve)
app.command("retrain")(retrain.retrain)
app.command("promote")(promote.promote)
app.command("rollback")(promote.rollback)
app.add_typer(keys.app, name="keys")
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from hardrank import __version__

        print(f"hardrank {__version__}")
        raise typer.Exit


def main() -> None:
    """The entry point `hardrank`."""
    app()


def _said(message: str, code: int) -> int:
    print(f"hardrank: {message}", file=sys.stderr)
    return code


def _system(error: OSError) -> str:
    import errno

    name = error.filename2 or error.filename  # of a renaming, the file that was to be written
    what = f"{name}: {error.strerror}" if name else str(error)
    remedies = {
        errno.ENOSPC: "free some space and run again; nothing half-written was left",
        errno.EDQUOT: "free some space and run again; nothing half-written was left",
        errno.EFBIG: "files may not grow so large here (ulimit -f); nothing half-written was left",
        errno.EACCES: "check the permissions, or choose another folder",
        errno.EROFS: "choose a folder that can be written",
        errno.ENOENT: "check the path",
        errno.EISDIR: "that is a folder: name a file",
        errno.ENOTDIR: "a file stands where a folder should: choose another path",
        errno.EEXIST: "a file stands where a folder should: choose another path",
        errno.EMFILE: "allow more open files (ulimit -n)",
    }
    remedy = remedies.get(error.errno or 0)
    return f"{what}; {remedy}" if remedy else what


if __name__ == "__main__":
    main()
