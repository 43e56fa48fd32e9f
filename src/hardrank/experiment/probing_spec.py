"""What `hardrank gan probe FILE` can say, and every mistake in it at once."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Len, Lt
from pydantic import TypeAdapter, ValidationError

from hardrank.data.cleaning import Cleaning
from hardrank.data.labels import LabelPolicy
from hardrank.data.sources import Source
from hardrank.data.splits import LeaveOneOut, Splitter
from hardrank.errors import ConfigError
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import expanded
from hardrank.generators.interest_gan import InterestGan
from hardrank.generators.patterns import LatentSegments
from hardrank.models import Model
from hardrank.types import Count, Share, spec

__all__ = ["ProbeExperiment", "RegionRepair", "parse_probe"]


@spec
class RegionRepair:
    """Train again with tampered copies of the users whose histories lie in the worst regions,
    and ask once more."""

    regions: Count = 1
    """Worst ones, by the finding half, that are repaired."""
    weight: Annotated[float, Gt(0), Le(1)] = 1.0
    """Of an event of a copy."""


@spec
class ProbeExperiment:
    """`hardrank gan probe FILE`: where in the space of plausible histories does a recommender
    fail?"""

    name: str
    """Heads the page and names the default folder."""
    seed: int = 0
    """Of the generator, the model, draws and clusters."""
    data: Source
    """Where users, items and events come from."""
    labels: LabelPolicy | None = None
    """How ratings and kinds of events become positive events; None takes every event."""
    cleaning: Cleaning | None = None
    """Which rows go first; None keeps all."""
    split: Splitter = LeaveOneOut()
    """Generator and model read its training part; histories of its test part are edited."""
    model: Model | None = None
    """Who is asked; None where the command names a bundle."""
    generator: InterestGan = InterestGan()
    """Who draws the histories."""
    keep: Annotated[float, Ge(0), Lt(1)] = 0.8
    """Share of a history's items that stay, at least."""
    users: Count = 500
    """Test users whose histories are edited, at most."""
    draws: Count = 8
    """Edits of each history."""
    k: Count = 10
    """Length of the list that counts."""
    failure: Literal["changes", "leaves", "misses"] = "changes"
    """`changes`: the list's overlap with the one before (RBO) is below `overlap`. `leaves`: the
    held-out item was in the list and is not any more; only such users are asked. `misses`: it
    is not in the list, whatever was before."""
    overlap: Share = 0.5
    """Threshold of `changes`; 1 the same list, 0 nothing in common."""
    latent: LatentSegments = LatentSegments(encoder="svd")
    """What makes vectors of drawn histories, by which failures are clustered."""
    category: str | None = None
    """Column of the items with their categories; shares of the commonest twelve in a history
    count among the fields by which failures are clustered. None leaves them out."""
    separator: Annotated[str, Len(min_length=1)] = "|"
    """Stands between the categories of one item; a blank for `movielens`."""
    regions: Annotated[int, Ge(1), Le(30)] = 5
    """At least so many, where failures allow."""
    most: Annotated[int, Ge(1), Le(30)] = 10
    """At most so many."""
    repair: RegionRepair | None = None
    """What is done about the worst regions; None only looks."""


_ADAPTER: TypeAdapter[ProbeExperiment] = TypeAdapter(ProbeExperiment)


def parse_probe(raw: Mapping[str, Any], *, source: str = "probe") -> ProbeExperiment:
    """From nested dictionaries; `$HARDRANK_DATA` is spelled out. Raises `ConfigError`."""
    try:
        return _ADAPTER.validate_json(json.dumps(expanded(raw), default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(source, mistakes(error, ProbeExperiment)) from error
