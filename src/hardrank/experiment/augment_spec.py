"""What `hardrank gan augment FILE` can say, and every mistake in it at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from hardrank.data.cleaning import Cleaning
from hardrank.data.labels import LabelPolicy
from hardrank.data.sources import Source
from hardrank.data.splits import LeaveOneOut, Splitter
from hardrank.errors import ConfigError
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import expanded, read_toml
from hardrank.generators.augment import Place
from hardrank.generators.interest_gan import InterestGan
from hardrank.models import BprMf, LightGcn, Model
from hardrank.models.bpr.negatives import GeneratedNegatives, HardNegatives
from hardrank.types import Count, Share, spec

__all__ = ["AugmentExperiment", "Behaviour", "load_augmentation", "parse_augmentation"]

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
Weight = Annotated[float, Gt(0), Le(1)]


@spec
class Behaviour:
    """Test histories that a generator tampers with, and training on such histories."""

    keep: Annotated[float, Ge(0), Lt(1)] = 0.8
    """Share of a history's items that the attacker has to leave as they are, at least."""
    tries: Count = 4
    """Edits of one history; the attacker takes the one that hides the held-out item most, or
    none of them."""
    users: Count = 1000
    """Test users who are attacked, at most; drawn once for all seeds."""
    weight: Weight = 1.0
    """Of an event of a tampered copy in training."""


@spec
class AugmentExperiment:
    """`hardrank gan augment FILE`: does a generator of interests help users with few events,
    and does training on histories that it tampered with help against such histories?"""

    name: Name
    """Of the run: it heads the report and names the default folder."""
    seeds: Annotated[tuple[int, ...], Len(min_length=1)] = (0, 1, 2)
    """Of generators, draws and models; an arm is compared with others of its own seed."""
    data: Source
    """Where users, items and events come from."""
    labels: LabelPolicy | None = None
    """How ratings and kinds of events become positive events; None takes every event."""
    cleaning: Cleaning | None = None
    """Which rows go before anything is split; None keeps all."""
    split: Splitter = LeaveOneOut()
    """The generator and the models read its training part."""
    models: Annotated[tuple[Model, ...], Len(min_length=1)]
    """Each is trained with and without generated events. Tampered histories are met by models
    that read histories; one that ranks from a user's own vector does not notice them."""
    generator: InterestGan = InterestGan()
    """Trained once a seed; once more, by another seed, for the attacker on histories."""
    fewer_than: Annotated[int, Ge(2)] = 5
    """A sparse user has at least one and fewer than so many training events."""
    add: Count = 5
    """Generated events of each sparse user."""
    weight: Weight = 0.5
    """Of a generated event, for models that read weights."""
    place: Place = "before-last"
    """Where generated events stand in a history."""
    thinned: Share = 0.0
    """Share of the users of whom only the last `fewer_than` - 1 training events are left, for
    logs without sparse users; all arms, and all histories, are of the log that is left."""
    behaviour: Behaviour | None = None
    """Attack on histories, and the arms against it; None leaves both out."""
    negatives: Annotated[GeneratedNegatives | HardNegatives, Field(discriminator="kind")] | None = (
        None
    )
    """Hard negatives of pairwise models (`bpr-mf`, `light-gcn`), and as many by popularity; None
    leaves both arms out. `generated` draws from `generator`."""

    @model_validator(mode="after")
    def _has_pairs(self) -> "AugmentExperiment":
        if self.negatives is None:
            return self
        pairwise = [m for m in self.models if isinstance(m, BprMf | LightGcn)]
        if not pairwise:
            raise ValueError("negatives: no model compares pairs; add bpr-mf or light-gcn")
        if any(m.negatives.kind != "uniform-items" for m in pairwise):
            raise ValueError("negatives: the models themselves are the control; theirs are uniform")
        if isinstance(self.negatives, GeneratedNegatives) and (
            self.negatives.generator != InterestGan()
        ):
            raise ValueError("negatives.generator: the run's `generator` is taken; write it there")
        return self

    def labelled(self) -> dict[str, Model]:
        """Models by label: the kind, and a number from the second one of a kind on."""
        found: dict[str, Model] = {}
        for model in self.models:
            same = sum(other.kind == model.kind for other in found.values())
            found[model.kind if not same else f"{model.kind}-{same + 1}"] = model
        return found


_ADAPTER: TypeAdapter[AugmentExperiment] = TypeAdapter(AugmentExperiment)


def load_augmentation(path: Path) -> AugmentExperiment:
    """Raises `ConfigError` that lists all mistakes of the file."""
    return parse_augmentation(read_toml(path), source=str(path))


def parse_augmentation(
    raw: Mapping[str, Any], *, source: str = "augmentation"
) -> AugmentExperiment:
    """From nested dictionaries; see `load_augmentation`."""
    try:
        return _ADAPTER.validate_json(json.dumps(expanded(raw), default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(source, mistakes(error, AugmentExperiment)) from error
