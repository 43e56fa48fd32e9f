"""Texts without a label: hidden by share, never split by a label they lack."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardrank.data.labelled import UNLABELLED, Labelled, hide_labels, split_labelled
from hardrank.errors import DataError


def _data(labels: list[int]) -> Labelled:
    texts = tuple(f"text {n}" for n in range(len(labels)))
    return Labelled(texts=texts, labels=np.array(labels), names=("a", "b"))


@settings(deadline=None, max_examples=60)
@given(
    a=st.integers(1, 60), b=st.integers(1, 60),
    share=st.floats(0.01, 1.0), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_share_of_each_class_keeps_its_label(a: int, b: int, share: float, seed: int) -> None:
    """S0-38: no class is left without a label, and nothing else of the data changes."""
    data = _data([0] * a + [1] * b)
    hidden = hide_labels(data, share, np.random.default_rng(seed))
    assert hidden.texts == data.texts and hidden.names == data.names
    for label, count in ((0, a), (1, b)):
        assert (hidden.labels == label).sum() == max(1, round(share * count))
    known = hidden.labels != UNLABELLED
    np.testing.assert_array_equal(hidden.labels[known], data.labels[known])
    again = hide_labels(data, share, np.random.default_rng(seed))
    assert again.fingerprint == hidden.fingerprint
    assert hidden.labelled.texts == tuple(np.array(data.texts)[known].tolist())


def test_which_labels_are_kept_is_drawn() -> None:
    data = _data([0, 1] * 50)
    kept = [hide_labels(data, 0.1, np.random.default_rng(s)).labelled.texts for s in (0, 1)]
    assert kept[0] != kept[1]
    assert data.labelled is data


def test_a_split_by_labels_needs_labels() -> None:
    with pytest.raises(DataError, match="2 texts without a label cannot be split by label"):
        split_labelled(_data([0, 1, -1, 0, -1, 1]), np.random.default_rng(0))
