"""`hardrank gan train|sample|inspect|augment`"""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(help="Generators of user interests: train, draw, look.", no_args_is_help=True)


@app.command("train")
def train(
    file: Path = typer.Argument(help="A file (TOML) with name, [data] and [gan]."),
    out: Path = typer.Option(None, "--out", "-o", help="Folder; default runs/<name>-gan."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the outcome."),
) -> None:
    """Train generator and discriminator by turns, and measure the samples. Run again with the
    same folder, it resumes; training that goes wrong stops, says why and keeps the last good
    round."""
    from hardrank.experiment.gan_spec import load_gan
    from hardrank.experiment.spec import read_toml

    experiment = load_gan(file)
    if check:
        print(f"{file}: fine")
        return
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.gan import train_gan
    from hardrank.experiment.gan_page import figures

    show_logs(quiet)
    folder = out or Path("runs") / f"{experiment.name}-gan"
    run = RunContext(seed=experiment.seed, folder=folder, progress=not quiet)
    trained = train_gan(experiment, read_toml(file), run)
    for what, value in figures(trained):
        print(f"{what}: {value}")
    print(f"generator: {folder}")


@app.command("sample")
def sample(
    folder: Path = typer.Argument(help="A folder of `gan train`."),
    users: int = typer.Option(50, "--users", min=1, help="Profiles to draw."),
    length: int = typer.Option(None, "--length", min=1, help="Items of each; default as real."),
    keep: float = typer.Option(
        None, "--keep", min=0.0, max=1.0,
        help="Edit real profiles and keep this share of their items; default draws freely.",
    ),
    seed: int = typer.Option(0, "--seed", help="The same seed, the same profiles."),
    out: Path = typer.Option(Path("profiles.jsonl"), "--out", "-o", help="A patch, JSON lines."),
) -> None:  # fmt: skip
    """Draw profiles, each for a real user, and write them as edits of the log."""
    from hardrank.experiment.gan import draw_profiles

    patch = draw_profiles(folder, users, length=length, keep=keep, seed=seed)
    patch.save(out)
    print(f"{len(patch)} profiles: {out}")


@app.command("inspect")
def inspect(
    folder: Path = typer.Argument(help="A folder of `gan train`."),
    out: Path = typer.Option(None, "--out", "-o", help="The page; default in the folder."),
) -> None:
    """Print sample quality and health, and write a page with the losses of both players and
    real beside generated profiles."""
    from hardrank.experiment.gan import open_gan
    from hardrank.experiment.gan_page import figures, gan_page
    from hardrank.files import write_text

    trained = open_gan(folder)
    for what, value in figures(trained):
        print(f"{what}: {value}")
    path = out or folder / "inspect.html"
    write_text(path, gan_page(trained))
    print(f"page: {path}")


@app.command("augment")
def augment(
    file: Path = typer.Argument(help="A file (TOML) with name, [data] and [[models]]."),
    out: Path = typer.Option(None, "--out", "-o", help="Folder; default runs/<name>-augment."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the outcome."),
) -> None:
    """Train models with and without generated events, and say whether users with few events
    gain. Run again with the same folder, it resumes."""
    from hardrank.experiment.augment_spec import load_augmentation

    experiment = load_augmentation(file)
    if check:
        print(f"{file}: fine")
        return
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.augment import run_augmentation

    show_logs(quiet)
    folder = out or Path("runs") / f"{experiment.name}-augment"
    done = run_augmentation(experiment, RunContext(folder=folder, progress=not quiet))
    for verdict in done.verdicts:
        print(verdict.line())
    print(f"table: {folder / 'augmentation.md'}")
