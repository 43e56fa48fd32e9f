"""A detector of fake reviews after training: scores texts, users, and goes to disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from hardrank.data import Dataset
from hardrank.detection.reviews.copied import mean_by_user
from hardrank.detection.reviews.features import (
    STYLE,
    grams,
    letter_grams,
    style,
    tf_idf,
    word_grams,
)
from hardrank.errors import DataError
from hardrank.files import atomic_folder, write_json
from hardrank.types import Floats

__all__ = ["FittedReviewDetector"]

Doubles = NDArray[np.float64]
_PARTS = {"words": word_grams, "letters": letter_grams}


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedReviewDetector:
    """score = x w + b over TF-IDF of words and of letters, and standardised style, each where
    it was trained with it. Higher is more suspicious; 0 is even odds in the balanced training
    data."""

    vocabularies: Mapping[str, tuple[str, ...]]
    """Of `words` and `letters`; empty where the detector does not read them."""
    idf: Mapping[str, Doubles]
    """The same keys."""
    centre: Doubles | None
    """(20,) mean of each style feature; None where style is not read."""
    spread: Doubles | None
    """(20,) standard deviation; 1 for a constant one."""
    weights: Doubles
    bias: float

    @cached_property
    def _columns(self) -> dict[str, dict[str, int]]:
        return {k: {p: n for n, p in enumerate(v)} for k, v in self.vocabularies.items()}

    def score(self, texts: Sequence[str]) -> Floats:
        """(N,) see the class."""
        out = np.full(len(texts), self.bias)
        start = 0
        for name, columns in self._columns.items():
            end = start + len(columns)
            counts = grams(texts, _PARTS[name], columns)
            out += tf_idf(counts, self.idf[name]) @ self.weights[start:end]
            start = end
        if self.centre is not None and self.spread is not None:
            out += standard(style(texts), self.centre, self.spread) @ self.weights[start:]
        return out.astype(np.float32)

    def reviews(self, dataset: Dataset) -> Floats:
        """(R,) of each row of the reviews. Raises `DataError` for a dataset without any."""
        if dataset.reviews is None:
            raise DataError(f"{dataset.name} has no reviews", remedy="choose another detector")
        return self.score([t or "" for t in dataset.reviews["text"].to_list()])

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) the mean over each user's reviews; NaN for one who wrote none."""
        return mean_by_user(dataset, self.reviews(dataset))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What was learned, less the vocabularies."""
        out = {f"idf.{name}": values for name, values in self.idf.items()}
        if self.centre is not None and self.spread is not None:
            out |= {"style.centre": self.centre, "style.spread": self.spread}
        return {**out, "weights": self.weights, "bias": np.array([self.bias])}

    @classmethod
    def restore(
        cls, arrays: Mapping[str, NDArray[Any]], vocabularies: Mapping[str, Sequence[str]]
    ) -> Self:
        """The inverse of `arrays`. Raises `DataError` where they do not fit together."""
        if unknown := set(vocabularies) - set(_PARTS):
            raise DataError(f"unknown vocabulary '{min(unknown)}'")
        known = {k: tuple(vocabularies[k]) for k in _PARTS if k in vocabularies}
        wanted = {"weights", "bias", *(f"idf.{k}" for k in known)}
        if missing := wanted - set(arrays):
            raise DataError(f"the detector lacks the array '{min(missing)}'")
        idf = {k: np.asarray(arrays[f"idf.{k}"], dtype=np.float64) for k in known}
        centre, spread = arrays.get("style.centre"), arrays.get("style.spread")
        out = cls(
            vocabularies=known, idf=idf, centre=centre, spread=spread,
            weights=np.asarray(arrays["weights"], dtype=np.float64),
            bias=float(arrays["bias"][0]),
        )  # fmt: skip
        size = sum(map(len, known.values())) + (0 if centre is None else len(STYLE))
        fits = all(len(idf[k]) == len(v) for k, v in known.items())
        if not fits or out.weights.shape != (size,):
            raise DataError(f"{len(out.weights)} weights for {size} features")
        return out

    def save(self, folder: Path) -> None:
        """`vocabulary.json` and `weights.safetensors`; the folder appears whole."""
        from safetensors.numpy import save

        words = {k: list(v) for k, v in self.vocabularies.items()}
        arrays = {k: np.ascontiguousarray(v) for k, v in self.arrays().items()}
        with atomic_folder(folder) as draft:
            write_json(draft / "vocabulary.json", words)
            (draft / "weights.safetensors").write_bytes(save(arrays))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises `DataError` where a file is missing or is not what `save` wrote."""
        from pydantic import TypeAdapter
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            words = TypeAdapter(dict[str, list[str]]).validate_json(
                (folder / "vocabulary.json").read_bytes()
            )
            arrays = load((folder / "weights.safetensors").read_bytes())
        except (OSError, ValidationError, SafetensorError) as error:
            raise DataError(
                f"no detector of reviews ({error})", path=folder, remedy="train and save it again"
            ) from error
        return cls.restore(arrays, words)


def standard(values: Doubles, centre: Doubles, spread: Doubles) -> Doubles:
    """(N, 20) with a mean square norm of about 1, as TF-IDF rows have. Cut at five deviations:
    one odd text must not outvote everything else."""
    cut: Doubles = np.clip((values - centre) / spread, -5.0, 5.0)
    return np.asarray(cut / np.sqrt(len(STYLE)), dtype=np.float64)
