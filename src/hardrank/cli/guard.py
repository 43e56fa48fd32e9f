"""`hardrank guard fit|attach|scan`"""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(help="Stop manipulated item texts before they go live.", no_args_is_help=True)


@app.command("fit")
def fit(
    config: Path = typer.Argument(help="TOML: name, [data], [[attacks]], [[guards]], [reviews]."),
    out: Path = typer.Option(None, "--out", "-o", help="Folder; default runs/<name>."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress, only the outcome."),
) -> None:
    """Let guards learn a clean catalogue and attacks on it; say how many attacks they stop that
    they never saw, at a stated share of false alarms."""
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.guard import fit_guards
    from hardrank.experiment.guard_spec import load_guard_fitting

    spec = load_guard_fitting(config)
    if check:
        print(f"{config}: fine")
        return
    show_logs(quiet)
    folder = out or Path("runs") / spec.name
    done = fit_guards(spec, RunContext(seed=spec.seed, folder=folder, progress=not quiet))
    print("\n".join(done.lines()))
    print(f"guards: {folder / 'guards'}")


@app.command("attach")
def attach(
    guards: Path = typer.Argument(help="Folder of `guard fit`."),
    bundle: Path = typer.Argument(help="Bundle folder; it stays as it is."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of the new bundle."),
    gate: bool = typer.Option(
        False, "--gate", help="Add `shadow-ranking`, with limits read from the bundle's model."
    ),
) -> None:
    """Put guards into a bundle: `hardrank serve` then holds its listings to them, and a swap
    to another bundle swaps its guards with it."""
    from hardrank.experiment.guard_gate import attach_guards

    attach_guards(guards, bundle, out, gate=gate)
    print(f"bundle: {out}")


@app.command("scan")
def scan(
    guards: Path = typer.Argument(help="Folder of `guard fit`."),
    items: Path = typer.Argument(help="CSV or JSON lines: item_id, texts, events, before."),
    out: Path = typer.Option(..., "--out", "-o", help="JSON lines, a verdict a listing."),
    most: int = typer.Option(10, "--top", "-k", min=0, help="Verdicts to print."),
) -> None:
    """Look through listings and say of each whether it may go live, mended or not, and why."""
    from hardrank.experiment.guard import scan_listings
    from hardrank.experiment.guard_listings import read_listings, write_verdicts

    listings = read_listings(items)
    said = scan_listings(guards, listings)
    write_verdicts(out, listings, said)
    against = [(one, v) for one, v in zip(listings, said, strict=True) if v.action != "admit"]
    print(f"{len(against)} of {len(listings)} listings are stopped or mended")
    for one, verdict in against[:most]:
        print(f"  {one.item_id}  {verdict.action}  {verdict.guard}  {verdict.reason}")
    print(f"verdicts: {out}")
