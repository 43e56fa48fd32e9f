"""What `hardrank gan segments FILE` can say, and every mistake in it at once."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hardrank.data.cleaning import Cleaning
from hardrank.data.labels import LabelPolicy
from hardrank.data.sources import Source
from hardrank.data.splits import LeaveOneOut, Splitter
from hardrank.errors import BundleError, ConfigError
from hardrank.experiment.mistakes import mistakes
from hardrank.experiment.spec import expanded, read_toml
from hardrank.generators.patterns import LatentSegments
from hardrank.models import Model
from hardrank.types import spec

__all__ = ["SegmentExperiment", "load_segments", "parse_segments"]

_SHARED = ("name", "seed", "data", "labels", "cleaning", "split")
"""Keys that the file of a generator has, too."""


@spec
class SegmentExperiment:
    """Segments of the users of one log."""

    name: str
    """Heads the page and names the default folder."""
    seed: int = 0
    """Of training, groups, halves and models."""
    data: Source
    """Where users, items and events come from."""
    labels: LabelPolicy | None = None
    """How ratings and kinds of events become positive events; None takes every event."""
    cleaning: Cleaning | None = None
    """Which rows go first; None keeps all."""
    split: Splitter = LeaveOneOut()
    """Segments are learned from its training part."""
    segments: LatentSegments = LatentSegments()
    """How they are found. The same with `encoder = "svd"` stands beside it on the page."""
    models: tuple[Model, ...] = ()
    """Each is measured with and without what a user's segment likes."""


_ADAPTER: TypeAdapter[SegmentExperiment] = TypeAdapter(SegmentExperiment)


def load_segments(path: Path) -> tuple[SegmentExperiment, Mapping[str, Any]]:
    """From a TOML file, or from a folder of `gan train`: its data, and segments by default.
    What it says stands beside it.

    Raises `ConfigError` that lists all mistakes, `BundleError` for a folder of something else.
    """
    if not path.is_dir():
        raw = read_toml(path)
        return parse_segments(raw, source=str(path)), raw
    try:
        whole = dict(json.loads((path / "experiment.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(
            f"{path} holds no trained generator ({error}); name a folder of `hardrank gan train`, "
            "or a file"
        ) from error
    raw = {k: whole[k] for k in _SHARED if k in whole}
    return parse_segments(raw, source=str(path / "experiment.json")), raw


def parse_segments(raw: Mapping[str, Any], *, source: str = "segments") -> SegmentExperiment:
    """From nested dictionaries; `$HARDRANK_DATA` is spelled out. Raises `ConfigError`."""
    try:
        return _ADAPTER.validate_json(json.dumps(expanded(raw), default=str), strict=True)
    except ValidationError as error:
        raise ConfigError(source, mistakes(error, SegmentExperiment)) from error
