"""Word dropout: masked copies of a text, and how far an edit can move what is made of them.

Theorem (coupling). Let mask(x) keep each word of the text x independently with probability
p, and let x' come from x by r word edits (insert, delete, substitute; words as
`hardrank.wording` has them). Then for every function f of a text with values in [0, 1]

    |E f(mask(x')) - E f(mask(x))| <= reach(p, r) = 1 - (1 - p)^r

Proof. The edits leave a matching, in order, of equal words of x and x'. What is left over in
both falls into at most r groups: a deleted word, an inserted word, a substituted pair. Flip
one coin for each matched pair and each group: each text alone is then masked as it should be.
With probability at least (1 - p)^r all coins of the groups say "drop"; then the same matched
words are kept of both texts, so the masked texts are equal and so is f. Else the two values
of f differ by at most 1.

The bound is met: x empty, x' of r words, f(t) = 1 where t has a word. It is the text form of
Ye et al. (SAFER), ACL 2020, arXiv:2005.14424, and Zeng et al. (RanMASK), Computational
Linguistics 49(2), 2023, arXiv:2105.03743. Both cover substitutions at places known
beforehand; dropping words (instead of putting a mark there) covers insertion and deletion too.
RanMASK masks a fixed number of words; independent coins need no length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.types import Floats
from hardrank.wording import split

__all__ = ["Copies", "bits", "copies", "joined", "own_bits", "patterns", "reach"]

Bits = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Copies:
    """Distinct masked copies of a text."""

    texts: tuple[str, ...]
    """(N,)"""
    shares: Floats
    """(N,) of the draws that gave each; they sum to 1."""


def reach(keep: float, words: int) -> float:
    """How far `words` word edits move the mean of a function in [0, 1] at most."""
    return float(1.0 - (1.0 - keep) ** words)


def joined(words: Sequence[str]) -> str:
    """A text of these words, and of these alone: `split(joined(words)) == words`.

    A blank stands only where two words would run into one, so Chinese and Japanese stay as
    they are written. A masked copy may depend on nothing but its words, or moving a blank
    would be an edit for free.
    """
    out: list[str] = []
    for word in words:
        if out and _run_together(out[-1][-1], word[0]):
            out.append(" ")
        out.append(word)
    return "".join(out)


@lru_cache(maxsize=1 << 16)
def _run_together(left: str, right: str) -> bool:
    """Whether a word that ends so and one that begins so would be read as one."""
    return len(split(left + right)) == 1


def bits(words: int, keep: float, draws: int, rng: np.random.Generator) -> Bits:
    """(draws, words) True where a word is kept."""
    return rng.random((draws, words)) < keep


def own_bits(text: str, keep: float, draws: int, seed: int) -> Bits:
    """The same for the same words, whatever else is masked: the draws of a seed and a text."""
    words = split(text)
    rng = np.random.default_rng(derive(seed, "masks", joined(words)))
    return bits(len(words), keep, draws, rng)


def patterns(kept: Bits) -> tuple[Bits, Floats]:
    """Distinct rows of (draws, words), and the share of the draws that each has."""
    if not kept.shape[1]:
        return kept[:1], np.ones(1, dtype=np.float32)
    rows, counts = np.unique(kept, axis=0, return_counts=True)
    return rows, (counts / len(kept)).astype(np.float32)


def copies(text: str, kept: Bits) -> Copies:
    """The masked copies that the rows of `kept` make of `text`, each distinct text once."""
    words = split(text)
    rows, shares = patterns(kept)
    found: dict[str, float] = {}
    for row, share in zip(rows, shares.tolist(), strict=True):
        made = joined([word for word, there in zip(words, row, strict=True) if there])
        found[made] = found.get(made, 0.0) + share
    return Copies(tuple(found), np.array(list(found.values()), dtype=np.float32))
