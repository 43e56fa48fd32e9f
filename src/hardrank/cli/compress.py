"""`hardrank compress BUNDLE`"""

from pathlib import Path
from typing import Any

import typer

__all__ = ["compress"]


def compress(
    bundle: Path = typer.Argument(help="The bundle folder of a model that reads item texts."),
    out: Path = typer.Option(..., "--out", "-o", help="The new bundle folder."),
    form: str = typer.Option("int8", help="int8 or fp32: weights of the ONNX encoder."),
    data: Path = typer.Option(
        None, "--data", help="The experiment file of the bundle: held-out queries come from it."
    ),
    attacks: list[str] = typer.Option(
        ["copycat", "greedy-words"],
        "--attack",
        "-a",
        help="A black-box attack of `hardrank attack list`, or a TOML table; may be given often.",
    ),
    items: str = typer.Option("unpopular:50", help="Targets: ids with commas, or a selection."),
    k: int = typer.Option(10, "--top", "-k", min=1, help="Length of the lists that matter."),
    field: str = typer.Option("title", help="Column of the item table that is attacked."),
    words: int = typer.Option(3, min=0, help="Words edited in one text."),
    queries: int = typer.Option(200, min=0, help="Queries for each target."),
    panel: int = typer.Option(256, min=1, help="Users through whom the attacker watches."),
    users: int = typer.Option(5000, min=1, help="Most users that NDCG@10 is measured on."),
    seed: int = typer.Option(0, help="Of users, targets, panel and attacks."),
    accept: bool = typer.Option(False, "--accept", help="Write it even beyond the limits."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress."),
) -> None:
    """Let the text encoder of a bundle run from ONNX, in int8; measure what that costs.

    Size, speed, NDCG@10 and the success of attacks are measured on both bundles. Exit code 1,
    and no new bundle, where int8 is above 40 % of the size, NDCG@10 falls by more than 1 % or
    an attack succeeds more than 2 points more often.

    Example: hardrank compress runs/demo/bundle -o runs/demo/small --data demo.toml
    """
    from hardrank.context import RunContext
    from hardrank.errors import ConfigError
    from hardrank.experiment.attack_trial import trial_of
    from hardrank.experiment.compress import compress_bundle

    if form not in ("int8", "fp32"):
        raise ConfigError("compress", [f"--form {form}: must be one of int8, fp32"])
    trial = trial_of(
        attacks, goal="promote", items=items, k=k, surface="item-text", knowledge="scores",
        field=field, budget={"words": words, "queries": queries, "whole_text": True}, users=1,
    )  # fmt: skip
    done = compress_bundle(
        bundle, out, trial, RunContext(seed=seed, progress=not quiet),
        form="int8" if form == "int8" else "fp32",
        holdout=_held_out(data, bundle), users=users, panel=panel, accept=accept,
    )  # fmt: skip
    print("\n".join(done.measured.lines()))
    for refusal in done.refusals:
        print(f"beyond the limits: {refusal}")
    if not done.written:
        print(f"not written (--accept writes it all the same); figures: {done.record}")
        raise typer.Exit(1)
    print(f"bundle: {out}; figures: {done.record}")


def _held_out(data: Path | None, bundle: Path) -> Any:
    if data is None:
        return None
    import tempfile

    from hardrank.bundle import load_bundle
    from hardrank.experiment.compress import held_out

    with tempfile.TemporaryDirectory() as name:
        return held_out(data, load_bundle(bundle), Path(name))
