"""Robust density estimation: is a text where this catalogue's texts are?"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Le, Lt
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.guards.base import Listing, Shop, Verdict
from hardrank.guards.encoded import vectors
from hardrank.guards.lesson import Lesson, clean_border, judged
from hardrank.types import Count, Positive, spec

__all__ = ["FittedTextDensity", "Gaussian", "KernelAxes", "TextDensity"]

Doubles = NDArray[np.float64]
_KEPT = 1e-9
"""Axes of less than this share of the largest variance are noise of the arithmetic."""


@dataclass(frozen=True, eq=False)
class KernelAxes:
    """Principal axes in the space of the kernel exp(-width |a - b|^2) (Schoelkopf et al., 1998)."""

    anchors: Doubles
    """(M, D) texts that the axes were learned from."""
    weights: Doubles
    """(M, P)"""
    means: Doubles
    """(M,) mean kernel value of each anchor with all of them."""
    width: float

    @classmethod
    def fit(cls, x: Doubles, most: int, width: float) -> "KernelAxes":
        """x: (M, D); at most `most` axes, those of largest variance first."""
        table = _kernel(x, x, width)
        means = table.mean(axis=0)
        centred = table - means - means[:, None] + means.mean()
        values, axes = np.linalg.eigh(centred)
        values, axes = values[::-1][:most], axes[:, ::-1][:, :most]
        kept = values > _KEPT * values[0]
        return cls(x, axes[:, kept] / np.sqrt(values[kept]), means, width)

    def __call__(self, x: Doubles) -> Doubles:
        """(N, P) places of (N, D) vectors."""
        table = _kernel(x, self.anchors, self.width)
        centred = table - table.mean(axis=1, keepdims=True) - self.means + self.means.mean()
        return np.asarray(centred @ self.weights)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean and covariance that outliers do not pull."""

    mean: Doubles
    """(P,)"""
    precision: Doubles
    """(P, P) inverse of the covariance."""

    @classmethod
    def fit(cls, x: Doubles, kept: float, seed: int) -> "Gaussian":
        """Minimum covariance determinant: of the share `kept` of (M, P) rows whose covariance
        has the least determinant (Rousseeuw, 1984; fast: Rousseeuw and Van Driessen, 1999)."""
        from sklearn.covariance import MinCovDet

        with warnings.catch_warnings():
            # a start whose determinant rises is left for the next one
            warnings.simplefilter("ignore", RuntimeWarning)
            found = MinCovDet(support_fraction=kept, random_state=seed % 2**32).fit(x)
        return cls(found.location_, found.get_precision())

    def distances(self, x: Doubles) -> Doubles:
        """(N,) squared Mahalanobis distances of (N, P)."""
        off = x - self.mean
        return np.asarray(np.maximum(np.einsum("np,pq,nq->n", off, self.precision, off), 0.0))

    def surprise(self, x: Doubles) -> Doubles:
        """(N,) negative log density: (d^2 + P log(2 pi) - log det precision) / 2."""
        _, log_det = np.linalg.slogdet(self.precision)
        return np.asarray((self.distances(x) + len(self.mean) * np.log(2 * np.pi) - log_det) / 2)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedTextDensity:
    """Squared Mahalanobis distance from the catalogue: the negative log density, less what is
    the same for all texts, times two."""

    spec: "TextDensity"
    axes: KernelAxes
    gaussian: Gaussian
    threshold: float

    @property
    def kind(self) -> str:
        return self.spec.kind

    def raw(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N,) quarantined is who is above `threshold`."""
        if not listings:
            return np.zeros(0)
        found = vectors(self.spec.encoder, [one.text for one in listings])
        return self.gaussian.distances(self.axes(found))

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        reason = "its meaning lies where hardly any text of this catalogue is"
        return judged(self.kind, self.raw(listings, shop), self.threshold, reason)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "anchors": self.axes.anchors, "weights": self.axes.weights,
            "means": self.axes.means, "width": np.asarray([self.axes.width]),
            "mean": self.gaussian.mean, "precision": self.gaussian.precision,
            "border": np.asarray([self.threshold]),
        }  # fmt: skip


@spec
class TextDensity:
    """Hold texts of low density among the catalogue's texts, as a sentence encoder sees them.

    RDE: Yoo et al., ACL Findings 2022, section 3: kernel PCA of the encoder's features, and a
    Gaussian for each class whose covariance is a minimum covariance determinant. Here there
    are no classes: one Gaussian for the whole catalogue. It learns from no attack.
    """

    kind: Literal["text-density"] = "text-density"
    encoder: str = "minilm"
    """`minilm` (installed with the package), or a folder with a Hugging Face encoder."""
    size: Count = 100
    """Most axes of the kernel PCA; never more than a fifth of the texts."""
    width: Positive = 0.5
    """Of the kernel exp(-width |a - b|^2), for vectors of length 1."""
    kept: Annotated[float, Gt(0.5), Le(1)] = 0.75
    """Share of the texts whose covariance counts."""
    rows: Count = 1000
    """Most texts to learn from; all of them are kept."""
    false_alarms: Annotated[float, Gt(0), Lt(1)] = 0.01
    """Share of clean listings, held out, and of honest edits of them, that may be stopped."""

    def fit(self, lesson: Lesson) -> FittedTextDensity:
        """From the lesson's catalogue. Raises as the encoder does when it cannot be loaded."""
        texts, (learned, _) = lesson.texts, lesson.rows()
        chosen = learned[:: -(-len(learned) // self.rows)]
        # a double would have a kernel value of 1 and count twice
        known = list(dict.fromkeys(texts[row] for row in chosen))
        x = vectors(self.encoder, known, keep=True)
        axes = KernelAxes.fit(x, min(self.size, max(len(x) // 5, 1)), self.width)
        gaussian = Gaussian.fit(axes(x), self.kept, derive(lesson.seed, self.kind))
        draft = FittedTextDensity(spec=self, axes=axes, gaussian=gaussian, threshold=1.0)
        threshold = clean_border(draft.raw, lesson, self.false_alarms)
        return FittedTextDensity(spec=self, axes=axes, gaussian=gaussian, threshold=threshold)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedTextDensity:
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        axes = KernelAxes(
            arrays["anchors"], arrays["weights"], arrays["means"], float(arrays["width"][0])
        )
        return FittedTextDensity(
            spec=self, axes=axes, gaussian=Gaussian(arrays["mean"], arrays["precision"]),
            threshold=float(arrays["border"][0]),
        )  # fmt: skip


def _kernel(a: Doubles, b: Doubles, width: float) -> Doubles:
    """(N, M)"""
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.exp(-width * np.maximum(square, 0.0)))
