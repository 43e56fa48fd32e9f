"""Guards into a bundle, with a gate that knows the bundle's own model."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hardrank.bundle import add_guards
from hardrank.errors import DataError
from hardrank.guards.pipeline import Pipeline, load_pipeline
from hardrank.guards.shadow import ShadowRanking

__all__ = ["attach_guards", "gated"]


def gated(pipeline: Pipeline, bundle: Path) -> Pipeline:
    """The guards, and last of them `shadow-ranking` with limits read from the bundle's model,
    catalogue and users; one that was there is replaced. Raises `BundleError`, and `DataError`
    for a bundle without users or with fewer than ten items."""
    from hardrank.serve.engine import Engine

    shop = Engine.load(bundle).shop()
    if shop.queries is None or not len(shop.queries):
        raise DataError(f"{bundle}: has no users, whose lists the gate would look at")
    gate = ShadowRanking().fit_on(shop)
    others = tuple(guard for guard in pipeline.guards if guard.kind != gate.kind)
    return replace(pipeline, guards=(*others, gate))


def attach_guards(guards: Path, bundle: Path, out: Path, *, gate: bool = False) -> None:
    """A new bundle `out` with the guards in the folder `guards`, and the gate with `gate`.

    Raises `BundleError` where one of the two is incomplete or altered, or `out` exists, and as
    `gated`.
    """
    if not gate:
        add_guards(bundle, guards, out)
        return
    with TemporaryDirectory() as folder:
        gated(load_pipeline(guards), bundle).save(Path(folder) / "guards")
        add_guards(bundle, Path(folder) / "guards", out)
