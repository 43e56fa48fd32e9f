"""What a hardened arm of an experiment is."""

from typing import Annotated, Any

from annotated_types import Len
from pydantic import Field, StringConstraints, model_validator

from hardrank.attacks import AnyAttack
from hardrank.hardening import (
    APR,
    AWP,
    MART,
    SMART,
    TRADES,
    VAT,
    Adversarial,
    Discrete,
    Free,
    FreeLB,
    GeneralisedCrossEntropy,
    GradientPenalty,
    KLConsistency,
    LogitPairing,
    Mixture,
    PamaCF,
    RDrop,
    Recognition,
    Reweighted,
    ReweightedCrossEntropy,
    SampleMasking,
    TextAugmentation,
    TruncatedCrossEntropy,
    UserAdaptive,
)
from hardrank.models.sequence.influence import Influence
from hardrank.threats import Budget
from hardrank.types import Count, Knowledge, spec

__all__ = ["AnyObjective", "Arm", "ForgeSpec"]

AnyObjective = Annotated[
    Adversarial
    | APR
    | AWP
    | Discrete
    | Free
    | FreeLB
    | GeneralisedCrossEntropy
    | GradientPenalty
    | KLConsistency
    | LogitPairing
    | MART
    | Mixture
    | PamaCF
    | RDrop
    | Recognition
    | Reweighted
    | ReweightedCrossEntropy
    | SampleMasking
    | SMART
    | TextAugmentation
    | TRADES
    | TruncatedCrossEntropy
    | UserAdaptive
    | VAT,
    Field(discriminator="kind"),
]
"""What `harden` and the `objective` of an arm can spell."""

_RESERVED = ("base", "hidden", "control")
_FORGED = ("discrete", "recognition", "text-augmentation")


@spec
class ForgeSpec:
    """Attacks of the suite that write texts for training, against the model as it stands.

    The items that the audit's trials attack are never rewritten here.
    """

    attacks: Annotated[tuple[AnyAttack, ...], Len(min_length=1)]
    """Each rewrites every drawn item."""
    knowledge: Knowledge = "gradients"
    """What the attacks may see of the model."""
    budget: Budget = Budget(words=3, queries=8, whole_text=True)
    """What one text may cost; few queries keep training cheap."""
    items: Count = 64
    """Drawn anew in each round, with or without training events alike: a wrong answer needs
    no label."""
    every: Count = 1
    """Epochs from one round to the next; earlier rounds stay in the pool."""
    panel: Count = 128
    """Users through whose training histories the attacks watch rankings."""


@spec
class Arm:
    """One way of hardening: it goes on from the base as the control does, with the same data,
    seeds and steps, and differs in what is named here."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    """Not `base`, `hidden` or `control`."""
    objective: AnyObjective | None = None
    """What training minimises; None for the model's own loss."""
    influence: Influence | None = None
    """Bounds how far a text alone lifts an item; of a `text-sequence` model."""
    forge: ForgeSpec | None = None
    """Writes the texts of `discrete`, `recognition` and `text-augmentation`."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Arm":
        if self.name in _RESERVED:
            raise ValueError(f"name: {self.name} is not a hardened arm")
        wants = getattr(self.objective, "kind", "") in _FORGED
        if wants != (self.forge is not None):
            raise ValueError(
                f"arm {self.name}: a forge belongs to the objectives {', '.join(_FORGED)}, "
                "and they need one"
            )
        return self

    def parts(self) -> tuple[Any, ...]:
        """What differs from the control."""
        found = (self.objective, self.influence, self.forge)
        return tuple(part for part in found if part is not None)
