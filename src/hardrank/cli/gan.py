"""`hardrank gan train|sample|distil|inspect|augment|segments|probe`"""

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
    """Train a generator (`kind` says which) and measure its samples. Run again with the same
    folder, it resumes; training that goes wrong stops, says why and keeps the last good
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
    context: typer.Context,
    folders: list[Path] = typer.Argument(
        help="A folder of `gan train`; with --distinct one or several, which take turns."
    ),
    users: int = typer.Option(50, "--users", min=1, help="Profiles to draw."),
    distinct: int = typer.Option(
        None, "--distinct", min=1,
        help="In place of --users: draw until so many are valid and no two nearly the same.",
    ),
    similarity: float = typer.Option(
        0.8, "--similarity", min=0.05, max=1.0,
        help="With --distinct: two are nearly the same from this Jaccard similarity on.",
    ),
    coverage: float = typer.Option(
        0.0, "--coverage", min=0.0, max=1.0,
        help="With --distinct: go on until they hold this share of the catalogue.",
    ),
    limit: int = typer.Option(
        None, "--limit", min=1, help="With --distinct: most draws; default ten times as many."
    ),
    length: int = typer.Option(None, "--length", min=1, help="Items of each; default as real."),
    keep: float = typer.Option(
        None, "--keep", min=0.0, max=1.0,
        help="Edit real profiles and keep this share of their items; default draws freely.",
    ),
    seed: int = typer.Option(0, "--seed", help="The same seed, the same profiles."),
    out: Path = typer.Option(Path("profiles.jsonl"), "--out", "-o", help="A patch, JSON lines."),
) -> None:  # fmt: skip
    """Draw profiles, each for a real user, and write them as edits of the log."""
    from hardrank.experiment.gan import draw_distinct, draw_profiles
    from hardrank.experiment.gan_page import mass_figures

    _refuse_unread(context, distinct is not None)
    if distinct is not None:
        patch, report = draw_distinct(
            folders, distinct, similarity=similarity, coverage=coverage, length=length, keep=keep,
            limit=limit, seed=seed,
        )  # fmt: skip
        patch.save(out)
        for what, value in mass_figures(report):
            print(f"{what}: {value}")
        print(f"{len(patch)} profiles: {out}")
        return
    if len(folders) > 1:
        raise typer.BadParameter("several folders need --distinct")
    patch = draw_profiles(folders[0], users, length=length, keep=keep, seed=seed)
    patch.save(out)
    print(f"{len(patch)} profiles: {out}")


def _refuse_unread(context: typer.Context, distinct: bool) -> None:
    """No option is ignored."""
    unread = ("users",) if distinct else ("similarity", "coverage", "limit")
    for name in unread:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            how = "without" if distinct else "with"
            raise typer.BadParameter(f"--{name} is read {how} --distinct alone")


@app.command("distil")
def distil(
    folder: Path = typer.Argument(help="A folder of `gan train` with an interest-gan."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of the smaller generator."),
    size: int = typer.Option(8, "--size", min=1, help="Of its item vectors."),
    width: int = typer.Option(24, "--width", min=1, help="Of its hidden layers."),
    steps: int = typer.Option(600, "--steps", min=1, help="Of its training."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the outcome."),
) -> None:
    """Train a smaller generator to draw as a trained one does, and measure both."""
    from hardrank.cli.logs import show_logs
    from hardrank.experiment.gan import distil_gan
    from hardrank.experiment.gan_page import figures
    from hardrank.generators.interest_gan import Slim

    show_logs(quiet)
    made = distil_gan(
        folder, out, slim=Slim(size=size, width=width), steps=steps, progress=not quiet
    )
    for what, value in figures(made):
        print(f"{what}: {value}")
    print(f"generator: {out}")


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


@app.command("segments")
def segments(
    source: Path = typer.Argument(help="A file (TOML) with name, [data], or a `gan train` folder."),
    out: Path = typer.Option(None, "--out", "-o", help="Folder; default runs/<name>-segments."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the outcome."),
) -> None:
    """Find segments of users by their interests, say what each likes and what knowing them is
    worth; with [[models]], whether they help to rank."""
    from hardrank.experiment.segments_spec import load_segments

    experiment, raw = load_segments(source)
    if check:
        print(f"{source}: fine")
        return
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.segments import run_segments
    from hardrank.experiment.segments_page import segment_lines

    show_logs(quiet)
    folder = out or Path("runs") / f"{experiment.name}-segments"
    done = run_segments(experiment, raw, RunContext(folder=folder, progress=not quiet))
    for line in segment_lines(done.facts):
        print(line)
    print(f"page: {folder / 'segments.html'}")


@app.command("probe")
def probe(
    file: Path = typer.Argument(help="A file (TOML) with name, [data] and [model]."),
    out: Path = typer.Option(None, "--out", "-o", help="Folder; default runs/<name>-probe."),
    bundle: Path = typer.Option(
        None, "--bundle", help="Ask this bundle in place of [model]; of the same data."
    ),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the outcome."),
) -> None:
    """Draw plausible histories with a generator, find where a recommender fails on them, and
    say of each region how often."""
    from hardrank.experiment.probing_spec import parse_probe
    from hardrank.experiment.spec import read_toml

    raw = read_toml(file)
    experiment = parse_probe(raw, source=str(file))
    if check:
        print(f"{file}: fine")
        return
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.probing import run_probe
    from hardrank.experiment.probing_page import region_lines

    show_logs(quiet)
    folder = out or Path("runs") / f"{experiment.name}-probe"
    run = RunContext(folder=folder, progress=not quiet)
    done = run_probe(experiment, raw, run, bundle=bundle)
    for line in region_lines(done.findings):
        print(line)
    print(f"page: {folder / 'probe.html'}")
