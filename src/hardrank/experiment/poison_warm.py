"""Victims that go on from their clean model, as a shop that retrains every night does."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hardrank.bundle import Bundle
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.experiment.retrain_start import begun
from hardrank.models import Model
from hardrank.recommender import Recommender
from hardrank.types import Count, spec

__all__ = ["Warm", "begins", "said", "shorter"]

_STEPS = ("sasrec", "text-sequence", "hybrid")
_PAIRS = ("bpr-mf", "light-gcn")
_SWEEPS = ("wmf", "rating-mf")
WARM_KINDS = (*_STEPS, *_PAIRS, *_SWEEPS)
"""Kinds that have weights to go on from and passes to be counted."""


@spec
class Warm:
    """Victims go on from their clean model instead of beginning afresh on each poisoned log.

    The clean model is of the same arm and seed. What a victim shows before the attack is then
    of as many further passes over the clean log: the difference holds no extra training. The
    last pass counts, and validation stops nothing. Kinds that have nothing to go on from are
    trained anew, and every number says which it was.
    """

    epochs: Count = 4
    """Further passes over the log; half-steps for users and items of a factorisation."""
    of: tuple[str, ...] = ()
    """Kinds of the victims that go on; empty for all that can: `sasrec`, `text-sequence`,
    `hybrid`, `bpr-mf`, `light-gcn`, `wmf` and `rating-mf`."""

    def takes(self, model: Model) -> bool:
        """Whether a victim of this kind goes on."""
        return model.kind in WARM_KINDS and (not self.of or model.kind in self.of)

    def mistake(self, models: Sequence[Model]) -> str:
        """What makes no sense beside these victims; empty if nothing."""
        if strange := [kind for kind in self.of if kind not in WARM_KINDS]:
            return f"'{strange[0]}' has nothing to go on from; of {', '.join(WARM_KINDS)}"
        if not any(self.takes(model) for model in models):
            return f"none of the models goes on; {', '.join(WARM_KINDS)} can"
        return ""


def said(warm: Warm | None, model: Model) -> str:
    """How a victim is trained on each poisoned log, in words."""
    if warm is None or not warm.takes(model):
        return "trained anew on each poisoned log"
    what = "sweep" if model.kind in _SWEEPS else "epoch"
    many = f"{warm.epochs} {what}{'s' if warm.epochs > 1 else ''}"
    return (
        f"trained on from the clean model for {many} on each poisoned log, and for as many on "
        "the clean log where it shows what was before"
    )


def shorter(model: Model, epochs: int) -> Model:
    """The spec of the further passes alone: so many, all of them, and the last one counts."""
    changes: dict[str, Any]
    if model.kind in _STEPS:
        training = model.training  # type: ignore[union-attr]
        changes = {"training": replace(
            training, epochs=epochs, patience=0, every=epochs, keep="last",
        )}  # fmt: skip
    else:
        changes = {"sweeps" if model.kind in _SWEEPS else "epochs": epochs}
    return replace(model, **changes)


def begins(
    model: Model, clean: Recommender, before: Dataset, log: Dataset, run: RunContext
) -> Recommender:
    """The clean model's weights laid out for the users and items of `log`; before: the log that
    it was trained on."""
    if model.kind in _SWEEPS:
        return clean  # its users follow from its items, which every log shares
    users = {name: list[str]() for name in before.users["user_id"].to_list()}
    champion = Bundle(recommender=clean, spec=model, histories=users, about={})
    start = begun(model, champion, log, run, warm=True).start
    assert start is not None, "a kind that goes on has weights to go on from"
    return start
