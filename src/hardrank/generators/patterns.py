"""Latent patterns of a log: users in segments by their interests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from scipy import sparse

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Queries
from hardrank.errors import DataError
from hardrank.generators.bags import Bags
from hardrank.generators.clusters import Groups, grouped
from hardrank.generators.latent import Encoder, canonical, fit_encoder, restored_encoder
from hardrank.types import Count, Dropout, Floats, Ints, Natural, NonNegative, Positive, spec

__all__ = ["LatentSegments", "SegmentModel"]

_LEAST = 4
"""Users with an event, at least."""


@spec
class LatentSegments:
    """Segments of users: vectors of their profiles, and groups of those.

    `autoencoder` is an adversarial autoencoder (Makhzani et al. 2015, arXiv:1511.05644, section
    2) over sets of items: an encoder with one hidden layer, a decoder with the multinomial
    likelihood of Liang et al., WWW 2018, arXiv:1802.05814, equation 2, and a discriminator that
    pushes the codes towards a standard normal prior. Items are hidden at random from the
    encoder, so that it reads interests and does not copy. `svd` is the plain way: truncated SVD
    of the normalised log, profiles as unit vectors. Only which items a profile holds is read;
    the order of users, events and ids changes nothing.
    """

    kind: Literal["latent-segments"] = "latent-segments"
    encoder: Literal["autoencoder", "svd"] = "autoencoder"
    size: Count = 8
    """Of a user's vector."""
    width: Count = 64
    """Of the hidden layers; `autoencoder` only, as all below up to `hidden`."""
    epochs: Natural = 60
    batch_size: Count = 64
    """Users per step."""
    learning_rate: Positive = 2e-3
    """Of Adam, for all three networks."""
    adversarial: NonNegative = 0.1
    """Weight of the discriminator's verdict on the codes; 0 leaves a plain autoencoder."""
    hidden: Dropout = 0.5
    """Share of a profile's items that the encoder does not get to see in training."""
    segments: Annotated[int, Ge(1)] | None = None
    """How many; None for the number that held users bear out, from 2 to `most`."""
    most: Annotated[int, Ge(2)] = 10

    def fit(self, train: Dataset, run: RunContext) -> "SegmentModel":
        """Raises `DataError` where fewer than four users have an event."""
        return self.fit_profiles(train.histories(), train.n_items, run.seed)

    def fit_profiles(self, profiles: Queries, n_items: int, seed: int) -> "SegmentModel":
        """The same from histories alone; empty ones are left out."""
        matrix = Bags.of(profiles, n_items).matrix
        matrix = matrix[np.flatnonzero(np.diff(matrix.indptr))]
        if matrix.shape[0] < _LEAST:
            raise DataError(f"{matrix.shape[0]} users with events; {_LEAST} are needed")
        matrix = matrix[canonical(matrix)]
        matrix.sort_indices()
        encoder = fit_encoder(self, matrix, derive(seed, "latent"))
        points = encoder.latent(matrix)
        rng = np.random.default_rng(derive(seed, "groups"))
        groups = grouped(points, rng, number=self.segments, most=self.most)
        return SegmentModel(spec=self, encoder=encoder, groups=groups, n_items=n_items)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> "SegmentModel":
        """The inverse of `SegmentModel.arrays`. Raises `DataError` for other dimensions."""
        inner = {
            k.removeprefix("encoder/"): v for k, v in arrays.items() if k.startswith("encoder/")
        }
        try:
            groups = Groups(centres=np.asarray(arrays["centres"], dtype=np.float64))
            encoder = restored_encoder(self, inner)
            n_items = len(inner["vectors" if self.encoder == "svd" else "decode.bias"])
        except (KeyError, RuntimeError) as error:
            first = str(error).split("\n")[0]
            raise DataError(f"the arrays do not fit the spec: {first}") from error
        return SegmentModel(spec=self, encoder=encoder, groups=groups, n_items=n_items)


@dataclass(frozen=True, eq=False, kw_only=True)
class SegmentModel:
    """Made by `LatentSegments.fit`. Places anybody's history, seen in training or not."""

    spec: LatentSegments
    encoder: Encoder
    groups: Groups
    n_items: int

    def __len__(self) -> int:
        return len(self.groups)

    def latent(self, histories: Queries) -> Floats:
        """(Q, D) vector of each history; that of an empty one says nothing. Raises `DataError`
        for an item beyond the catalogue."""
        return self.encoder.latent(self._matrix(histories))

    def assign(self, histories: Queries) -> Ints:
        """(Q,) segment of each history, 0 the largest in training; -1 for an empty one."""
        matrix = self._matrix(histories)
        found = self.groups.assign(self.encoder.latent(matrix))
        found[np.diff(matrix.indptr) == 0] = -1
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name."""
        inner = {f"encoder/{k}": v for k, v in self.encoder.arrays().items()}
        return inner | {"centres": self.groups.centres}

    def _matrix(self, histories: Queries) -> sparse.csr_matrix:
        made = Bags.of(histories, self.n_items).matrix
        made.sort_indices()
        return made
