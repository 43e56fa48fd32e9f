"""A detector that reads the order and the texts of a profile, after LoRec's calibrator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.detection.calibrator_network import (
    Profiles,
    of_arrays,
    profiles_of,
    scored,
    weights_of,
)
from hardrank.detection.calibrator_reading import CHANNELS, TextReader, read_profiles
from hardrank.detection.calibrator_training import lesson_of, trained
from hardrank.detection.examples import LabelledLog
from hardrank.detection.keep import keep
from hardrank.detection.learned_from import columns_of
from hardrank.detection.supervised import threshold_on
from hardrank.errors import DataError
from hardrank.types import Count, Dropout, Floats, Ints, NonNegative, Positive, Share, spec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Calibrator", "FittedCalibrator"]

Doubles = NDArray[np.float64]


@spec
class Calibrator:
    """A recurrent network over the events of a profile: their items' texts, and how each event
    sits in the log.

    The calibrator of LoRec (Zhang et al., SIGIR 2024, arXiv:2401.17723, section 4): a
    sequential classifier of users that learns simulated fraudsters, y = 1, against the log's
    own users, y = 0, of whom nobody knows that they are honest. So besides the cross-entropy
    there is the entropy of the log's users, which moves each of them to one side:

        mean over users of w (BCE(p, y) + entropy * [y = 0] H(p)),
        H(p) = -p ln p - (1 - p) ln(1 - p)

    Its p gives the user's weight in the recommender's loss (`data.trust.trust_of`). Ours: w
    balances real users with fakes and attack families with each other, where LoRec has 1;
    texts are read by a small encoder, not by a large language model that is asked about each
    user; in place of the recommender's item vectors, whose axes differ from log to log, stand
    log-odds of pairs of items in the log at hand, the judged user left out; it is trained once,
    not along with the recommender. Wherever a training fake has an item that its attack pushes,
    the text of another item stands, so that no known target gives him away.
    """

    kind: Literal["calibrator"] = "calibrator"
    encoder: str = "minilm"
    """`minilm` (installed with the package), or a folder with a Hugging Face encoder."""
    fields: tuple[str, ...] = ("title",)
    """Columns of the item table that are read; none for a log without texts."""
    max_tokens: Count = 64
    """Tokens of an item's text that the encoder reads."""
    size: Count = 32
    """Of a projected text and of the states."""
    length: Count = 100
    """Newest events of a profile that are read; how each sits in the profile is known of the
    whole."""
    steps: Count = 300
    """Of training, however many examples there are."""
    batch_size: Count = 64
    """Profiles in a step."""
    learning_rate: Positive = 0.005
    """Highest one; it rises to there and falls again."""
    dropout: Dropout = 0.1
    """Of what the states read, and of what the answer is read from."""
    entropy: NonNegative = 0.5
    """Weight of the entropy of real users; 0 is plain cross-entropy."""
    held_out: Annotated[float, Gt(0), Lt(1)] = 0.25
    """Share of the real users who are not trained on: they set the threshold."""
    false_alarms: Share = 0.01
    """Share of those users who may be above the threshold."""
    rows: Count = 4_000
    """Most profiles of real users to learn from, the same number from each log."""

    def fit(self, examples: Sequence[LabelledLog], run: RunContext) -> "FittedCalibrator":
        """Raises `DataError` when the examples have no fake user, or too few real ones, and
        `SchemaError` for a field that the items do not have."""
        reader = self._reader(run.cache)
        network = trained(lesson_of(examples, reader, self, run), self, run)
        made = FittedCalibrator(
            spec=self, network=network, digest=reader.digest, threshold=np.inf, cache=run.cache
        )
        border = threshold_on(
            [made(log.dataset) for log in examples], examples,
            held_out=self.held_out, false_alarms=self.false_alarms, seed=run.seed,
        )  # fmt: skip
        return FittedCalibrator(
            spec=self, network=network, digest=made.digest, threshold=border, cache=run.cache,
            columns=columns_of(log.dataset for log in examples),
        )  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> "FittedCalibrator":
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        return FittedCalibrator(
            spec=self, network=of_arrays(arrays, self.dropout),
            digest=str(arrays["encoder"][0]), threshold=float(arrays["border"][0]),
            columns=tuple(arrays["columns"].tolist()) if "columns" in arrays else (),
        )  # fmt: skip

    def _reader(self, cache: Path | None) -> TextReader:
        return TextReader(self.encoder, self.fields, self.max_tokens, cache)


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedCalibrator:
    """Says of each user of any log how likely he is fake, among as many fakes as real users."""

    spec: Calibrator
    network: "nn.ModuleDict"
    digest: str
    """Of the encoder that it learned with; empty where it reads no text."""
    threshold: float
    """Who is above is flagged: set on real users who were not trained on."""
    cache: Path | None = None
    """Of encoded texts; None for the user's cache folder."""
    columns: tuple[str, ...] = ()
    """See `FittedDetector.columns`."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) in [0, 1]; NaN for a user without events. Raises `SchemaError` for a log whose
        items lack a field that is read, `DataError` when the encoder is not the one that was
        learned with."""
        out = np.full(dataset.n_users, np.nan, dtype=np.float32)
        known = np.flatnonzero(np.diff(dataset.offsets) > 0)
        if len(known):
            odds = scored(self.network, self._profiles(dataset, known))
            out[known] = 0.5 * (1 + np.tanh(odds / 2))
        return out

    def reasons(self, dataset: Dataset, users: Ints, most: int = 3) -> list[list[str]]:
        """For each of `users` what raises his score most: by how much the log-odds would fall
        if nothing were known of one channel in any of his events. Only what raises it."""
        whole = self._profiles(dataset, np.asarray(users, dtype=np.int64))
        plain = scored(self.network, whole)
        without = {name: _blanked(whole, n) for n, name in enumerate(CHANNELS)}
        if "text" in self.network:
            without["texts"] = _textless(whole)
        names = list(without)
        gains = plain[:, None] - np.stack(
            [scored(self.network, other) for other in without.values()], axis=1
        )
        return [
            [
                f"{names[n]} ({gain[n]:.1f})"
                for n in np.argsort(-gain, kind="stable")[:most]
                if gain[n] > 0
            ]
            for gain in gains
        ]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, by name."""
        return {
            **weights_of(self.network),
            "border": np.asarray([self.threshold]),
            "encoder": np.asarray([self.digest], dtype=np.str_),
            "columns": np.asarray(self.columns, dtype=np.str_),
        }

    def save(self, folder: Path) -> None:
        """`spec.json` and `arrays.safetensors`; the folder appears whole or not at all."""
        keep(folder, self.spec, self.arrays())

    def _profiles(self, dataset: Dataset, users: Ints) -> Profiles:
        reader = self.spec._reader(self.cache)
        if reader.digest != self.digest:
            raise DataError(
                f"the encoder '{self.spec.encoder}' is not the one that the calibrator learned "
                "with",
                remedy="put that encoder back, or fit the calibrator again",
            )
        return profiles_of(read_profiles(dataset, reader), users, self.spec.length)


def _blanked(profiles: Profiles, channel: int) -> Profiles:
    channels = profiles.channels.copy()
    channels[:, channel] = 0.0
    return Profiles(
        channels=channels, items=profiles.items, offsets=profiles.offsets, texts=profiles.texts
    )


def _textless(profiles: Profiles) -> Profiles:
    return Profiles(
        channels=profiles.channels, items=profiles.items, offsets=profiles.offsets,
        texts=np.zeros_like(profiles.texts),
    )  # fmt: skip
