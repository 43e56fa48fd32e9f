"""Numbers that describe a review's text: words and letters it holds, and how it is written."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

__all__ = ["STYLE", "grams", "letter_grams", "style", "tf_idf", "vocabulary", "word_grams"]

Doubles = NDArray[np.float64]
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)?|[!?.,;:]")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_END = re.compile(r"[.!?]+")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_FIRST = _set("i me my mine myself")
_WE = _set("we us our ours ourselves")
_YOU = _set("you your yours")
_THEY = _set("he she they him her them his their it its")
_SUPERLATIVE = _set(
    "best worst most least ever never always absolutely extremely very really totally truly "
    "completely highly definitely"
)
_HEDGE = _set("but however although though while except maybe perhaps somewhat")
_LITTLE = _set("a an the and or of to in on at for with from by as is are was were")

STYLE: tuple[str, ...] = (
    "log words", "letters of a word", "words of a sentence", "different words", "once-only words",
    "I", "we", "you", "others", "strong words", "hedges", "little words", "numbers", "capitals",
    "words in capitals", "exclamation marks", "question marks", "commas", "other marks",
    "repeated pairs of words",
)  # fmt: skip
"""Names of the columns of `style`."""


def word_grams(text: str) -> list[str]:
    """Lower-case words and marks, and pairs of neighbours."""
    words = _TOKEN.findall(text.lower())
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def letter_grams(text: str) -> list[str]:
    """Runs of 3 and 4 characters, with case and marks; blanks are one blank."""
    flat = f" {' '.join(text.split())} "
    return [flat[n : n + size] for size in (3, 4) for n in range(len(flat) - size + 1)]


def vocabulary(
    texts: Sequence[str], cut: Callable[[str], list[str]], *, least: int, most: int
) -> list[str]:
    """The `most` parts found in most texts, of those in at least `least`; alphabetical."""
    found = Counter(part for text in texts for part in set(cut(text)))
    kept = sorted((p for p, n in found.items() if n >= least), key=lambda p: (-found[p], p))
    return sorted(kept[:most])


def grams(
    texts: Iterable[str], cut: Callable[[str], list[str]], columns: dict[str, int]
) -> sparse.csr_matrix:
    """(N, V) counts of the known parts."""
    data: list[int] = []
    rows: list[int] = []
    ends = [0]
    for text in texts:
        counts = Counter(columns[p] for p in cut(text) if p in columns)
        rows += counts.keys()
        data += counts.values()
        ends.append(len(rows))
    shape = (len(ends) - 1, len(columns))
    made = sparse.csr_matrix((np.array(data, dtype=np.float64), rows, ends), shape=shape)
    made.sort_indices()
    return made


def tf_idf(counts: sparse.csr_matrix, idf: Doubles) -> sparse.csr_matrix:
    """(N, V) rows of norm 1: (1 + ln count) * idf."""
    out = counts.copy()
    out.data = (1.0 + np.log(out.data)) * idf[out.indices]
    norms = np.sqrt(np.asarray(out.multiply(out).sum(axis=1)).ravel())
    return sparse.csr_matrix(sparse.diags(1.0 / np.where(norms > 0, norms, 1.0)) @ out)


def style(texts: Sequence[str]) -> Doubles:
    """(N, 20) see `STYLE`; shares lie in [0, 1]. All 0 for a text without a word.

    What deceptive reviews were found to differ in: pronouns, superlatives, length of words
    and sentences, marks (Newman et al., PSPB 2003; Ott et al., ACL 2011, section 5;
    Li et al., ACL 2014, section 5).
    """
    return np.array([_style(t) for t in texts], dtype=np.float64).reshape(len(texts), len(STYLE))


def _style(text: str) -> list[float]:
    spoken = _WORD.findall(text)
    words = [w.lower() for w in spoken]
    n, size = len(words), max(len(text), 1)
    if not n:
        return [0.0] * len(STYLE)
    counts = Counter(words)
    pairs = Counter(pairwise(words))
    ends = max(1, len([s for s in _END.split(text) if s.strip()]))

    def share(of: frozenset[str]) -> float:
        return sum(counts[w] for w in of) / n

    return [
        float(np.log(n)), sum(map(len, words)) / n, n / ends, len(counts) / n,
        sum(c == 1 for c in counts.values()) / n,
        share(_FIRST), share(_WE), share(_YOU), share(_THEY), share(_SUPERLATIVE), share(_HEDGE),
        share(_LITTLE), sum(w.isdigit() for w in words) / n,
        sum(c.isupper() for c in text) / size,
        sum(len(w) > 1 and w.isupper() for w in spoken) / n,
        text.count("!") / size, text.count("?") / size, text.count(",") / size,
        sum(not c.isalnum() and not c.isspace() and c not in "!?,." for c in text) / size,
        1.0 - len(pairs) / max(n - 1, 1) if n > 1 else 0.0,
    ]  # fmt: skip
