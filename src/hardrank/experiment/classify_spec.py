"""What an experiment file with a `[classifier]` says."""

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import model_validator

from hardrank.data.labelled import LabelledTexts
from hardrank.hardening import Adversarial
from hardrank.models.text_classifier import TextClassifier
from hardrank.perturbations import FGM, PGD, Gaussian, Inner
from hardrank.training import Training
from hardrank.types import Count, Positive, Share, spec

__all__ = ["ClassifierExperiment", "ClassifierGates", "FlipCurve"]

_SITES = ("text-vectors", "token-embeddings")


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
    harden: Adversarial | None = None
    """What the hardened arm minimises; without it there is no hardened arm."""
    finetune: Training = Training(
        epochs=20,
        batch_size=64,
        learning_rate=5e-3,
        weight_decay=0.1,
        keep="last",
        patience=0,
        precision="float32",
    )
    """Both arms go on from the same base for so many epochs with a fresh optimiser."""
    curves: tuple[FlipCurve, ...] = (FlipCurve(),)
    """Attacks on representations, over growing radii."""
    gates: ClassifierGates = ClassifierGates()
    """Limits and sizes of the checks."""

    @model_validator(mode="after")
    def _hardens_where_it_can(self) -> "ClassifierExperiment":
        if self.harden is not None and self.harden.site not in _SITES:
            raise ValueError(f"harden.site must be one of {', '.join(_SITES)}")
        return self
