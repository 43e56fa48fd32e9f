"""Words of a text and the tokens they are made of."""

from dataclasses import dataclass

import numpy as np

from hardrank import wording
from hardrank.recommender import TextGradient
from hardrank.types import Floats

__all__ = ["WordAlignment", "align", "word_gradient"]


@dataclass(frozen=True)
class WordAlignment:
    """W words of a text, as `hardrank.wording` splits it, and where its tokens lie."""

    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    """(start, end) character offsets of each word."""
    tokens: tuple[tuple[int, ...], ...]
    """Token positions of each word; empty where the text was cut off before it."""


def align(text: str, offsets: list[tuple[int, int]]) -> WordAlignment:
    """Give each token to the word that holds its last character (byte-level tokenizers put
    the space before a word into its first token). offsets: (T,) of (start, end), (0, 0) for
    special tokens."""
    spans = wording.spans(text)
    words = tuple(text[start:end] for start, end in spans)
    tokens: list[list[int]] = [[] for _ in words]
    starts = np.asarray([s for s, _ in spans], dtype=np.int64)
    for position, (start, stop) in enumerate(offsets):
        at = int(np.searchsorted(starts, stop - 1, side="right")) - 1
        if stop > start and at >= 0 and stop - 1 < spans[at][1]:
            tokens[at].append(position)
    return WordAlignment(words, tuple(spans), tuple(tuple(t) for t in tokens))


def word_gradient(alignment: WordAlignment, gradient: Floats, embeddings: Floats) -> TextGradient:
    """From tokens to words: the mean gradient of a word's tokens and the sum of their
    embeddings, so that their product is the first-order share of the word in the loss when
    its tokens pull the same way. Words that were cut off get zeros.

    gradient, embeddings: (T, D) of the tokens.
    """
    size = gradient.shape[1]
    out = np.zeros((2, len(alignment.words), size), dtype=np.float32)
    for row, tokens in enumerate(alignment.tokens):
        if tokens:
            out[0, row] = gradient[list(tokens)].mean(axis=0)
            out[1, row] = embeddings[list(tokens)].sum(axis=0)
    return TextGradient(words=alignment.words, gradient=out[0], current=out[1])
