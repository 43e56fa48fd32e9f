"""Trust in users, items and sellers, kept up from verdicts and detector scores."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hardrank.errors import BundleError, DataError
from hardrank.guards.base import Action, Verdict
from hardrank.types import Count, Floats, Positive, Share, spec

__all__ = ["TrustBook", "TrustScores"]

_DAY = 86_400.0
_BAD: dict[Action, float] = {"admit": 0.0, "mend": 0.5, "quarantine": 1.0}
"""What a verdict says of whoever wrote: guards' scores have no common scale, actions do."""


@spec
class TrustScores:
    """Beta reputation with forgetting.

    Jøsang and Ismail, Bled eCommerce 2002, sections 3.1 and 3.4: with g good and b bad
    evidence, each halved every `half_life`,
    trust = (prior * strength + g) / (strength + g + b).
    Here evidence comes in shares: a verdict or a probability of fraud p adds p to b, 1 - p to g.
    """

    kind: Literal["trust-scores"] = "trust-scores"
    half_life: Positive = 30.0
    """Days after which evidence counts half."""
    prior: Share = 0.8
    """Trust in somebody of whom nothing is known."""
    strength: Positive = 4.0
    """Pieces of evidence that the prior is worth."""
    most: Count = 100_000
    """Names remembered; the one that nothing was heard of for longest is forgotten first."""

    def start(self) -> "TrustBook":
        """An empty book."""
        return TrustBook(self)

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> "TrustBook":
        """The inverse of `TrustBook.arrays`. Raises `BundleError` where they do not fit."""
        if missing := {"names", "evidence"} - set(arrays):
            raise BundleError(f"{self.kind}: the array '{min(missing)}' is missing")
        names, evidence = arrays["names"].tolist(), np.asarray(arrays["evidence"], np.float64)
        if evidence.shape != (len(names), 3) or not np.isfinite(evidence).all():
            raise BundleError(f"{self.kind}: {len(names)} names, evidence {evidence.shape}")
        known = OrderedDict(zip(names, map(_Evidence, *evidence.T.tolist()), strict=True))
        return TrustBook(self, known)


@dataclass(slots=True)
class _Evidence:
    good: float
    bad: float
    time: float
    """Up to when it is decayed; unix seconds."""


@dataclass(eq=False)
class TrustBook:
    """Who is trusted how far. One book for users, another for items or sellers.

    Every step takes the same time, however many names there are. Not for two threads at once.
    """

    spec: TrustScores
    _known: OrderedDict[str, _Evidence] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._known)

    def of(self, name: str, time: float) -> float:
        """Trust in [0, 1] at `time` (unix seconds); the prior for somebody unknown."""
        strength, prior = self.spec.strength, self.spec.prior
        known = self._known.get(name)
        if known is None:
            return prior
        kept = self._kept(known, time)
        good, bad = known.good * kept, known.bad * kept
        return (prior * strength + good) / (strength + good + bad)

    def add(self, name: str, fraud: float, time: float, weight: float = 1.0) -> None:
        """Evidence of so much fraud, a share, worth `weight` verdicts. Raises `DataError` for
        a share outside [0, 1] or a weight below 0."""
        if not 0 <= fraud <= 1 or not 0 <= weight < float("inf"):
            raise DataError(f"'{name}': fraud {fraud} with weight {weight}", remedy="use a share")
        known = self._known.pop(name, None) or _Evidence(0.0, 0.0, time)
        kept = self._kept(known, time)
        known.good = known.good * kept + weight * (1 - fraud)
        known.bad = known.bad * kept + weight * fraud
        known.time = max(known.time, time)
        self._known[name] = known
        if len(self._known) > self.spec.most:
            self._known.popitem(last=False)

    def record(self, name: str, verdict: Verdict, time: float, weight: float = 1.0) -> None:
        """A verdict on something that `name` wrote or did: admitted is good, quarantined bad,
        mended half of each."""
        self.add(name, _BAD[verdict.action], time, weight)

    def refresh(
        self, names: Sequence[str], fraud: Floats, time: float, weight: float = 1.0
    ) -> None:
        """A detector's batch. fraud: (len(names),) probabilities, such as
        `detection.calibrated` gives; NaN for a name that was not judged, which changes nothing.
        Raises `DataError` for another length or range."""
        p = np.asarray(fraud, dtype=np.float64)
        judged = ~np.isnan(p)
        if p.shape != (len(names),) or not ((p[judged] >= 0) & (p[judged] <= 1)).all():
            raise DataError(f"expected {len(names)} probabilities in [0, 1], one for each name")
        for row in np.flatnonzero(judged).tolist():
            self.add(names[row], float(p[row]), time, weight)

    def forget(self, name: str) -> bool:
        """Erase a name; whether there was anything to erase."""
        return self._known.pop(name, None) is not None

    def weights(self, time: float) -> dict[str, float]:
        """name -> trust of all names known: what `data.trust.write_trust` writes and
        `data.filtering.down_weight` reads."""
        return {name: self.of(name, time) for name in self._known}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`names` (N,) and `evidence` (N, 3): good, bad, unix seconds; oldest first."""
        rows = [(e.good, e.bad, e.time) for e in self._known.values()]
        return {
            "names": np.array(list(self._known), dtype=np.str_),
            "evidence": np.array(rows, dtype=np.float64).reshape(len(rows), 3),
        }

    def _kept(self, known: _Evidence, time: float) -> float:
        age = max(time - known.time, 0.0) / _DAY
        return float(0.5 ** (age / self.spec.half_life))
