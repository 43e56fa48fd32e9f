"""What an experiment file with a `[classifier]` says."""

from typing import Annotated, Literal

from annotated_types import Gt, Le, Len
from pydantic import StringConstraints, model_validator

from hardrank.data.labelled import LabelledTexts
from hardrank.experiment.arm_spec import AnyObjective
from hardrank.experiment.roles import UNHARDENED
from hardrank.hardening import AWP
from hardrank.models.text_classifier import TextClassifier
from hardrank.perturbations import FGM, PGD, Gaussian, Inner
from hardrank.training import Training
from hardrank.types import Count, Positive, Share, spec

__all__ = ["ClassifierArm", "ClassifierExperiment", "ClassifierGates", "FlipCurve"]
__all__ += ["perturbed"]

_SITES = ("text-vectors", "token-embeddings")
_LATENT = "hidden-states"


@spec
class FlipCurve:
    """Accuracy of the classifier as a perturbation of its inner vectors grows."""

    site: Literal["text-vectors", "token-embeddings"] = "text-vectors"
    """Where the perturbation is added."""
    loss: Literal["listwise", "margin"] | None = None
    """What the attacker climbs; None for `listwise`, the cross-entropy of the true label.
    `margin`: the other label's logit less its own."""
    inners: Annotated[tuple[Inner, ...], Len(min_length=1)] = (
        PGD(steps=20),
        FGM(),
        Gaussian(draws=20),
    )
    """Strongest first; the sanity checks compare them."""
    radii: Annotated[tuple[Positive, ...], Len(min_length=5)] = (0.02, 0.05, 0.1, 0.2, 0.5)
    """Shares of the mean norm at the site."""
    claim: Positive = 0.1
    """The one of `radii` that the verdict speaks of."""
    unbounded: Positive | None = 20.0
    """One more radius, so large that an attack which works must win; None to leave it out."""
    texts: Count | None = None
    """Test texts that are perturbed (the first so many in random order); None: all. At
    `token-embeddings` each step is a pass through the whole encoder."""

    @model_validator(mode="after")
    def _claims_what_it_measures(self) -> "FlipCurve":
        if self.claim not in self.radii:
            radii = ", ".join(f"{r:g}" for r in self.radii)
            raise ValueError(f"claim must be one of the radii: {radii}")
        return self

    @model_validator(mode="after")
    def _can_tell_inners_apart(self) -> "FlipCurve":
        kinds = [inner.kind for inner in self.inners]
        if len(set(kinds)) < len(kinds):
            raise ValueError("inners must differ in kind: samples carry it as their name")
        return self

    def label(self, inner: Inner) -> str:
        """Name of the trial, as samples carry it."""
        return inner.kind if self.loss is None else f"{inner.kind}-{self.loss}"


@spec
class ClassifierGates:
    """What a claim of robustness has to pass."""

    points: Share = 0.02
    """Largest loss of clean AUC, in points of AUC."""
    texts: Count = 64
    """Test texts that the gradient checks look at; 8 of them at `token-embeddings`."""


@spec
class ClassifierArm:
    """One way of hardening: it goes on from the base as the control does, with the same texts,
    seeds and steps, and differs in the objective."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    """Not `base`, `hidden` or `control`."""
    objective: AnyObjective
    """What training minimises."""

    @model_validator(mode="after")
    def _is_hardened(self) -> "ClassifierArm":
        if self.name in UNHARDENED:
            raise ValueError(f"name: {self.name} is not a hardened arm")
        return self


@spec
class ClassifierExperiment:
    """`hardrank run FILE` with a `[classifier]`: labelled texts, one classifier of two classes
    to attack and harden, and two baselines without an encoder beside it."""

    name: str
    """Of the run: it heads the report and names the default run folder."""
    seeds: Annotated[tuple[int, ...], Len(min_length=1)] = (0,)
    """Of training. All seeds share one split, so that their test texts are the same."""
    data: LabelledTexts
    """Where texts and their labels come from."""
    classifier: TextClassifier
    """The victim: trained, attacked, hardened, attacked again."""
    labelled_share: Annotated[float, Gt(0), Le(1)] = 1.0
    """Share of the training texts of each class that keep their labels, drawn anew for each
    seed. The others are trained on without: the loss passes over them, and only an objective
    that compares predictions with each other, such as `vat`, learns from them. The baselines
    see the labelled texts of the first seed."""
    harden: AnyObjective | None = None
    """What the arm `hardened` minimises: short for one of `arms` with this objective."""
    arms: tuple[ClassifierArm, ...] = ()
    """Hardened arms, each compared with one control."""
    finetune: Training = Training(
        epochs=20,
        batch_size=64,
        learning_rate=5e-3,
        weight_decay=0.1,
        keep="last",
        patience=0,
        precision="float32",
    )
    """All arms go on from the same base for so many epochs with a fresh optimiser."""
    curves: tuple[FlipCurve, ...] = (FlipCurve(),)
    """Attacks on representations, over growing radii."""
    gates: ClassifierGates = ClassifierGates()
    """Limits and sizes of the checks."""

    @model_validator(mode="after")
    def _hardens_where_it_can(self) -> "ClassifierExperiment":
        sites = _SITES if self.classifier.unfreeze < 1 else (*_SITES, _LATENT)
        for arm in self.hardenings():
            if strange := perturbed(arm.objective) - set(sites):
                where = "harden" if arm.objective is self.harden else f"arm {arm.name}: objective"
                known = ", ".join(sites)
                raise ValueError(f"{where}.site must be one of {known}, not {min(strange)}")
        return self

    @model_validator(mode="after")
    def _arms_told_apart(self) -> "ClassifierExperiment":
        names = [arm.name for arm in self.hardenings()]
        if len(set(names)) < len(names):
            raise ValueError(f"arms: names must differ (are {', '.join(names)})")
        return self

    def hardenings(self) -> tuple[ClassifierArm, ...]:
        """`arms`, with `harden` first where it is given."""
        short = (ClassifierArm(name="hardened", objective=self.harden),) if self.harden else ()
        return (*short, *self.arms)


def perturbed(objective: AnyObjective) -> set[str]:
    """The sites at which an objective perturbs; none where it moves weights or dropout alone."""
    if isinstance(objective, AWP) and objective.inner is None:
        return set()
    one, several = getattr(objective, "site", None), getattr(objective, "sites", ())
    return {*several, *([one] if one else [])}
