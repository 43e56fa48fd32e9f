"""What the file of `hardrank attack reviews` can say, and every mistake in it at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Len
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from hardrank.attacks.reviews import (
    LanguageModelReviews,
    ReviewAttackSpec,
    RewrittenReviews,
    TemplateReviews,
)
from hardrank.context import RunContext
from hardrank.data.sources import Source
from hardrank.detection.reviews import NgramReviews, StyleReviews
from hardrank.errors import ConfigError
from hardrank.experiment.fake_reviews import THREAT, FakeReviews, run_fake_reviews
from hardrank.experiment.fake_reviews_effect import ReviewField
from hardrank.experiment.fake_reviews_measure import ClassifierReviews, ReviewDetector
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
    """Of the detectors' splits; the first is also that of the model and the targets."""
    data: Source
    """A log with reviews, stars and times."""
    deceptive: Path | None = None
    """CSV file of real deceptive reviews with the columns deceptive, hotel, polarity and text;
    None leaves that part out."""
    threat: ThreatModel = THREAT
    """Goal and budget."""
    attacks: Annotated[tuple[ReviewAttackSpec, ...], Len(min_length=1)] = (
        LanguageModelReviews(), RewrittenReviews(), TemplateReviews(),
    )  # fmt: skip
    """Writers of fake reviews, each kind once."""
    detectors: tuple[Trained, ...] = (NgramReviews(), StyleReviews())
    """Trained detectors, each kind once; `copied-reviews` is always tried."""
    field: ReviewField = ReviewField()
    """How the model is shown reviews."""
    model: Model = Tfidf(fields=("title", "reviews"))
    """Must read the field."""

    @model_validator(mode="after")
    def _fits(self) -> "FakeReviewsExperiment":
        for what, kinds in (("attacks", [a.kind for a in self.attacks]),
                            ("detectors", [d.kind for d in self.detectors])):  # fmt: skip
            if len(set(kinds)) < len(kinds):
                raise ValueError(f"{what}: each kind once")
        if self.threat.surface != "reviews" or self.threat.budget.reviews is None:
            raise ValueError("threat: surface must be reviews, with budget.reviews")
        if self.threat.goal.kind not in ("promote", "demote"):
            raise ValueError("threat.goal: fake reviews promote or demote")
        read = getattr(self.model, "fields", ())
        if self.field.name not in read:
            raise ValueError(f"model: does not read '{self.field.name}' (reads {list(read)})")
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
        detectors=detectors, threat=experiment.threat, model=experiment.model,
        field=experiment.field, seeds=experiment.seeds, folder=run.folder, run=run,
    )  # fmt: skip
