"""What the file of `hardrank attack reviews` can say, and every mistake in it at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from hardrank.attacks.reviews import (
    EvasiveReviews,
    LanguageModelReviews,
    ReviewAttackSpec,
    RewrittenReviews,
    TemplateReviews,
)
from hardrank.context import RunContext
from hardrank.data.sources import Source
from hardrank.detection.reviews import NgramReviews, StyleReviews
from hardrank.errors import ConfigError
from hardrank.experiment.fake_reviews import FakeReviews, run_fake_reviews
from hardrank.experiment.fake_reviews_effect import ReviewField
from hardrank.experiment.fake_reviews_measure import ClassifierReviews, ReviewDetector
from hardrank.experiment.fake_reviews_texts import named
from hardrank.experiment.fake_reviews_victims import THREAT, model_name, reads
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import expanded, read_toml
from hardrank.models import Model
from hardrank.models.text_classifier import TextClassifier
from hardrank.models.tfidf import Tfidf
from hardrank.threats.model import ThreatModel
from hardrank.types import spec

__all__ = ["FakeReviewsExperiment", "load_fake_reviews", "parse_fake_reviews", "run_file"]

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
Trained = Annotated[NgramReviews | StyleReviews | TextClassifier, Field(discriminator="kind")]


@spec
class FakeReviewsExperiment:
    """`hardrank attack reviews FILE`: fake reviews are written, shown to a model that reads
    reviews, and looked for by detectors."""

    name: Name
    """Of the run: it names the default run folder."""
    seeds: Annotated[tuple[int, ...], Len(min_length=1)] = (0, 1, 2)
    """Each draws targets, users, and texts to train and test detectors anew, and trains the
    models anew."""
    data: Source
    """A log with reviews, stars and times."""
    deceptive: Path | None = None
    """CSV file of real deceptive reviews with the columns deceptive, hotel, polarity and text;
    None leaves that part out."""
    threat: ThreatModel = THREAT
    """Goal and budget."""
    attacks: Annotated[tuple[ReviewAttackSpec, ...], Len(min_length=1)] = (
        LanguageModelReviews(), RewrittenReviews(), TemplateReviews(), EvasiveReviews(),
    )  # fmt: skip
    """Writers of fake reviews, each kind once; `evasive-reviews` once for each base. What it
    knows are the detectors below and `copied-reviews`."""
    detectors: tuple[Trained, ...] = (NgramReviews(), StyleReviews())
    """Trained detectors, each kind once; `copied-reviews` is always tried."""
    field: ReviewField = ReviewField()
    """How the model is shown reviews."""
    model: Model | None = None
    """Must read the field; None and no `models` for `tfidf` over title and reviews."""
    models: tuple[Model, ...] = ()
    """Several victims in its place. Those that do not read the field are controls: they must
    not move."""

    @property
    def victims(self) -> tuple[Model, ...]:
        """Whom the reviews are shown to."""
        if self.models:
            return self.models
        return (self.model or Tfidf(fields=("title", self.field.name)),)

    @model_validator(mode="after")
    def _fits(self) -> "FakeReviewsExperiment":
        for what, kinds in (("attacks", [named(a) for a in self.attacks]),
                            ("models", [model_name(m) for m in self.models]),
                            ("detectors", [d.kind for d in self.detectors])):  # fmt: skip
            if len(set(kinds)) < len(kinds):
                raise ValueError(f"{what}: each kind once")
        if self.threat.surface != "reviews" or self.threat.budget.reviews is None:
            raise ValueError("threat: surface must be reviews, with budget.reviews")
        if self.threat.goal.kind not in ("promote", "demote"):
            raise ValueError("threat.goal: fake reviews promote or demote")
        if self.model is not None and self.models:
            raise ValueError("models: say model or models, not both")
        if not any(reads(m, self.field) for m in self.victims):
            known = [list(getattr(m, "fields", ())) for m in self.victims]
            what = "models: none reads" if self.models else "model: does not read"
            raise ValueError(f"{what} '{self.field.name}' (they read {known})")
        return self


_ADAPTER: TypeAdapter[FakeReviewsExperiment] = TypeAdapter(FakeReviewsExperiment)


def load_fake_reviews(path: Path) -> FakeReviewsExperiment:
    """Raises `ConfigError` that lists all mistakes of the file."""
    return parse_fake_reviews(read_toml(path), source=str(path))


def parse_fake_reviews(
    raw: Mapping[str, Any], *, source: str = "fake reviews"
) -> FakeReviewsExperiment:
    """From nested dictionaries; see `load_fake_reviews`."""
    text = json.dumps(expanded(raw), default=str)
    try:
        return _ADAPTER.validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError(source, mistakes(error, FakeReviewsExperiment)) from error


def run_file(experiment: FakeReviewsExperiment, run: RunContext) -> FakeReviews:
    """`run_fake_reviews` with what the file says; the outcome goes to `run.folder`."""
    detectors: list[ReviewDetector] = [
        ClassifierReviews(model=d, run=run) if isinstance(d, TextClassifier) else d
        for d in experiment.detectors
    ]
    return run_fake_reviews(
        experiment.data.load(), deceptive=experiment.deceptive, attacks=experiment.attacks,
        detectors=detectors, threat=experiment.threat, models=experiment.victims,
        field=experiment.field, seeds=experiment.seeds, folder=run.folder, run=run,
    )  # fmt: skip
