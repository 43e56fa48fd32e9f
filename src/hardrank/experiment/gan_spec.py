"""What `hardrank gan train FILE` can say, and every mistake in it at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from hardrank.data.cleaning import Cleaning
from hardrank.data.labels import LabelPolicy
from hardrank.data.sources import Source
from hardrank.data.splits import Splitter
from hardrank.errors import ConfigError
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import expanded, read_toml
from hardrank.generators.interest_gan import PRESETS, InterestGan
from hardrank.generators.interest_vae import InterestVae
from hardrank.types import Count, Share, spec

__all__ = ["GanExperiment", "GeneratorSpec", "load_gan", "parse_gan"]


GeneratorSpec = Annotated[InterestGan | InterestVae, Field(discriminator="kind")]
"""What `[gan]` can spell."""


@spec
class GanExperiment:
    """One generator of user interests, trained on one dataset."""

    name: str
    """Heads the page and names the default folder."""
    seed: int = 0
    """Of weights, batches and samples."""
    data: Source
    """Where users, items and events come from."""
    labels: LabelPolicy | None = None
    """How ratings and kinds of events become positive events; None takes every event."""
    cleaning: Cleaning | None = None
    """Which rows go first; None keeps all."""
    split: Splitter | None = None
    """Only its training part is read; None reads everything."""
    gan: GeneratorSpec | None = None
    """The generator; None for the defaults or the preset. Without `kind` an `interest-gan`."""
    preset: Literal["gan-small"] | None = None
    """A named generator, in place of `gan`."""
    held: Share = 0.1
    """Share of the users that the generator never sees: the pair head is tested on them."""
    samples: Count = 1000
    """Profiles drawn to measure their quality."""

    @model_validator(mode="after")
    def _one_generator(self) -> "GanExperiment":
        if self.gan is not None and self.preset is not None:
            raise ValueError("give gan or preset, not both")
        if self.held >= 0.9:
            raise ValueError("held must be below 0.9: somebody has to be learned from")
        return self

    @property
    def generator(self) -> InterestGan | InterestVae:
        return PRESETS[self.preset] if self.preset else self.gan or InterestGan()


_ADAPTER: TypeAdapter[GanExperiment] = TypeAdapter(GanExperiment)


def load_gan(path: Path) -> GanExperiment:
    """Raises `ConfigError` that lists all mistakes of the file."""
    return parse_gan(read_toml(path), source=str(path))


def parse_gan(raw: Mapping[str, Any], *, source: str = "gan") -> GanExperiment:
    """From nested dictionaries; `$HARDRANK_DATA` is spelled out. Raises `ConfigError`."""
    try:
        said = json.dumps(expanded(_named(raw)), default=str)
        return _ADAPTER.validate_json(said, strict=True)
    except ValidationError as error:
        raise ConfigError(source, mistakes(error, GanExperiment)) from error


def _named(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the kind of the generator: files from before there were two do not say it."""
    gan = raw.get("gan")
    if not isinstance(gan, Mapping) or "kind" in gan:
        return raw
    return {**raw, "gan": {"kind": InterestGan.kind, **gan}}
