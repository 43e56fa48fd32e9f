"""How much a rewritten text gives itself away, by judges that no victim shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from hardrank.audits.judge import CharacterJudge
from hardrank.audits.latent_judge import LatentJudge
from hardrank.data import Dataset
from hardrank.language.ngram import NgramLM

__all__ = ["Stealth"]


@dataclass(frozen=True, eq=False)
class Stealth:
    """Fitted on the catalogue's original texts alone; each judge when it is first asked."""

    items: pl.DataFrame
    column: str = "title"

    @classmethod
    def of(cls, world: Dataset, column: str = "title") -> "Stealth":
        """The same judges as last time for the same catalogue: they take seconds to fit."""
        key = (world.fingerprint, column)
        if key not in _LAST:
            _LAST.clear()
            _LAST[key] = cls(world.items, column)
        return _LAST[key]

    def columns(self, before: Sequence[str], after: Sequence[str]) -> dict[str, list[float]]:
        """`similarity` (characters), `cosine` (latent) and `perplexity` (log10 of after
        over before) of each pair, as columns of a samples table."""
        old, new = list(before), list(after)
        return {
            "similarity": [float(s) for s in self.judge(old, new)],
            "cosine": [float(s) for s in self.latent(old, new)],
            "perplexity": [float(r) for r in np.log10(self.fluency.perplexity_ratio(old, new))],
        }

    @cached_property
    def judge(self) -> CharacterJudge:
        return CharacterJudge.fit(self._titles)

    @cached_property
    def latent(self) -> LatentJudge:
        extra = [c for c in ("description", "categories", "brand") if c in self.items.columns]
        rest = [self.items[c].cast(pl.Utf8).fill_null("").to_list() for c in extra]
        return LatentJudge.fit(" ".join(parts) for parts in zip(self._titles, *rest, strict=True))

    @cached_property
    def fluency(self) -> NgramLM:
        return NgramLM.fit(self._titles)

    @property
    def _titles(self) -> list[str]:
        return self.items[self.column].fill_null("").to_list()


_LAST: dict[tuple[str, str], Stealth] = {}
