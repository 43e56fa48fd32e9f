"""`hardrank attack list|show|run|replay|poison|reviews`"""

from pathlib import Path
from typing import Any

import typer

__all__ = ["app"]

app = typer.Typer(
    help="What attacks there are; mount them, replay their patches.", no_args_is_help=True
)


@app.command("list")
def list_() -> None:
    """One line for each attack: kind, what it has to see, what it writes, what it does."""
    from hardrank.attacks.roll import ROLL

    made: Any = ROLL
    rows = [(a.kind, a.needs, ",".join(a.surfaces), _text(a).splitlines()[0]) for a in made]
    heads = ("kind", "sees", "writes", "what it does")
    widths = [max(len(r[c]) for r in [heads, *rows]) for c in range(3)]
    for row in [heads, *rows]:
        cells = [cell.ljust(w) for cell, w in zip(row, [*widths, 0], strict=True)]
        print("  ".join(cells).rstrip())


@app.command("show")
def show(kind: str = typer.Argument(help="As in `hardrank attack list`.")) -> None:
    """Source and method of an attack, and its hyperparameters as an experiment spells them."""
    from hardrank.attacks.roll import ROLL
    from hardrank.errors import ConfigError

    every: Any = ROLL
    known: dict[str, Any] = {made.kind: made for made in every}
    if kind not in known:
        raise ConfigError("attack show", [f"unknown kind '{kind}'; allowed: {', '.join(known)}"])
    found = known[kind]
    surfaces, goals = ", ".join(found.surfaces), ", ".join(found.goals)
    uses = getattr(found, "uses", found.needs)  # fake users and reviewers never see the victim
    seen = found.needs if found.needs == uses else f"{found.needs} to {uses}"
    print(f"{kind}: sees {seen}, writes {surfaces}, goals {goals}\n")
    print(_text(found))
    for name, field in found.__pydantic_fields__.items():
        if name != "kind":
            print(f"\n{name} = {_toml(field.default)}\n    {_joined(field.description)}")


@app.command("run")
def run(
    bundle: Path = typer.Argument(help="The bundle folder of the recommender to attack."),
    attacks: list[str] = typer.Option(
        ["copycat"],
        "--attack",
        "-a",
        help="A kind of `hardrank attack list`, or a TOML table: "
        "'{ kind = \"greedy-words\", vocabulary = 30 }'. May be given often.",
    ),
    goal: str = typer.Option("promote", help="promote, demote or degrade."),
    items: str = typer.Option(
        "", help="Targets: item ids with commas, or a selection (rare:20:2-5)."
    ),
    k: int = typer.Option(10, "--top", "-k", min=1, help="Length of the lists that matter."),
    surface: str = typer.Option("item-text", help="item-text or history."),
    knowledge: str = typer.Option("scores", help="ranks, scores or gradients."),
    field: str = typer.Option("title", help="Column of the item table that is written."),
    words: int = typer.Option(3, min=0, help="Words edited in one text."),
    queries: int = typer.Option(500, min=0, help="Queries for each target."),
    events: int = typer.Option(3, min=0, help="Events changed in one history."),
    similarity: float = typer.Option(None, help="Least similarity to the original, 0 to 1."),
    whole_text: bool = typer.Option(True, help="Let attacks made for it replace the whole text."),
    users: int = typer.Option(100, min=1, help="Users whose histories are attacked."),
    panel: int = typer.Option(256, min=1, help="Users through whom the attacker watches."),
    seed: int = typer.Option(0, help="Of targets, panel and attacks."),
    out: Path = typer.Option(None, "--out", "-o", help="Keep matches, samples and findings here."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress."),
) -> None:
    """Attack a trained recommender. Run again with the same folder, it resumes.

    Example: hardrank attack run runs/demo/bundle -a copycat -a greedy-words --words 3 -o runs/mine
    """
    from hardrank.bundle import load_bundle
    from hardrank.context import RunContext
    from hardrank.experiment.attack_bundle import attack_bundle
    from hardrank.experiment.attack_trial import trial_of

    budget = {"words": words, "queries": queries, "events": events, "similarity": similarity,
              "whole_text": whole_text}  # fmt: skip
    trial = trial_of(
        attacks, goal=goal, items=items, k=k, surface=surface, knowledge=knowledge, field=field,
        budget=budget, users=users,
    )  # fmt: skip
    context = RunContext(seed=seed, folder=out, progress=not quiet)
    _say(attack_bundle(load_bundle(bundle), trial, context, panel=panel), out)


@app.command("replay")
def replay(
    matches: Path = typer.Argument(help="matches.jsonl of an attack."),
    bundle: Path = typer.Argument(help="The bundle folder of another recommender."),
    out: Path = typer.Option(None, "--out", "-o", help="Keep samples and findings here."),
) -> None:
    """What patches that were crafted on one recommender do to another (transfer)."""
    from hardrank.bundle import load_bundle
    from hardrank.context import RunContext
    from hardrank.errors import DataError
    from hardrank.experiment.attack_bundle import replay_matches
    from hardrank.threats import MatchLog

    found = list(MatchLog(matches))
    if not found:
        raise DataError("holds no match", path=matches, remedy="give a matches.jsonl of a run")
    _say(replay_matches(load_bundle(bundle), found, RunContext(folder=out)), out)


@app.command("poison")
def poison(
    experiment: Path = typer.Argument(help="What is poisoned, how and for whom (TOML)."),
    out: Path = typer.Option(None, "--out", "-o", help="Run folder; default runs/<name>."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress."),
) -> None:
    """Add fake users to a log, train the victims again, ask the real users what they see.

    Run again with the same folder, it resumes where it stopped.

    Example: hardrank attack poison examples/poisoning/poisoning.toml -o runs/poisoning
    """
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.poison import run_poisoning
    from hardrank.experiment.poison_spec import load_poisoning
    from hardrank.experiment.poison_table import poison_tables

    loaded = load_poisoning(experiment)
    if check:
        print(f"{experiment}: fine")
        return
    show_logs(quiet)
    folder = out or Path("runs") / loaded.name
    result = run_poisoning(
        loaded, RunContext(seed=loaded.seeds[0], folder=folder, progress=not quiet)
    )
    for line in poison_tables(result.findings, k=loaded.ks[-1]):
        print(line)
    print(f"report: {result.report}")


@app.command("reviews")
def reviews(
    experiment: Path = typer.Argument(help="Data, writers, detectors and the model (TOML)."),
    out: Path = typer.Option(None, "--out", "-o", help="Run folder; default runs/<name>."),
    check: bool = typer.Option(False, "--check", help="Read the file, say what is wrong, stop."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress."),
) -> None:
    """Write fake reviews, show them to a model that reads reviews, let detectors find them.

    Example: hardrank attack reviews examples/reviews/fake-reviews.toml -o runs/fake-reviews
    """
    from hardrank.cli.logs import show_logs
    from hardrank.context import RunContext
    from hardrank.experiment.fake_reviews import show as table
    from hardrank.experiment.fake_reviews_spec import load_fake_reviews, run_file

    loaded = load_fake_reviews(experiment)
    if check:
        print(f"{experiment}: fine")
        return
    show_logs(quiet)
    folder = out or Path("runs") / loaded.name
    context = RunContext(seed=loaded.seeds[0], folder=folder, progress=not quiet)
    print(table(run_file(loaded, context)))
    print(f"written: {folder / 'fake-reviews.json'} and .md")


def _say(attacked: Any, out: Path | None) -> None:
    from hardrank.experiment.attack_trial import outcome_table

    for line in outcome_table(attacked):
        print(line)
    if out:
        print(f"matches, samples and findings: {out}")


def _text(made: Any) -> str:
    import inspect

    return inspect.getdoc(made) or ""


def _toml(value: object) -> str:
    from pydantic import TypeAdapter

    return TypeAdapter(type(value)).dump_json(value).decode()


def _joined(text: str | None) -> str:
    return " ".join((text or "").split())
