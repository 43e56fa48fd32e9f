"""Edits that honest sellers make, simulated: no catalogue records them."""

import numpy as np

from hardrank.wording import spans

__all__ = ["honest_edit"]


def honest_edit(text: str, other: str, rng: np.random.Generator) -> str:
    """One of: the last words left out, a word dropped, another item's last words added (size,
    colour, brand stand there), parts between commas in another order, other capitals, and
    nothing at all. Without them whatever changed a text would pass for an attack."""
    words = [text[start:end] for start, end in spans(text)]
    kind = int(rng.integers(6))
    if kind == 0 and len(words) > 3:
        return text[: spans(text)[-int(rng.integers(1, 3)) - 1][1]].rstrip(" ,-.(")
    if kind == 1 and len(words) > 3:
        start, end = spans(text)[int(rng.integers(len(words)))]
        return " ".join((text[:start] + text[end:]).split())
    if kind == 2 and (theirs := spans(other)):
        return f"{text}, {other[theirs[-min(int(rng.integers(1, 4)), len(theirs))][0] :]}"
    if kind == 3 and ", " in text:
        parts = text.split(", ")
        return ", ".join(parts[n] for n in rng.permutation(len(parts)))
    if kind == 4:
        return text.title() if rng.integers(2) else text.lower()
    return text
