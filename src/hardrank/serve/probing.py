"""Who tries out wordings: near-identical versions of one listing, submitted and looked at.

A black-box attack on a ranking asks the same question hundreds of times: it writes a listing
a little otherwise, looks at where it stands, and keeps what helped. PRADA (Juuti et al.,
EuroS&P 2019, arXiv:1805.02628) finds model thieves by how close their queries lie to each
other; here nearness is that of the texts of one item, and a version counts only where the
same party looked at rankings since the last one. A key either reads or writes, so keys of one
name are one party. A shop that mends a spelling does that once
or twice; a feed that rewrites a catalogue does not look between two versions of one item.
"""

import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["ProbeWatch"]

_NEAR = 0.5
"""Share of letter triples that two versions have in common, above which they are near."""
_ITEMS = 1_000
"""Listings remembered of each key, and keys remembered."""


@dataclass
class _Trail:
    """One listing in the hands of one key."""

    last: frozenset[int] = frozenset()
    digest: bytes = b""
    looks: int = 0
    """The key's looks when the last version came."""
    steps: deque[float] = field(default_factory=deque)
    """When each near version came that was looked at."""


class ProbeWatch:
    """Counts, for each key and listing, near versions with a look in between."""

    def __init__(
        self, versions: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """versions: within `seconds`, beyond which the key is said to probe."""
        self._versions, self._seconds, self._clock = versions, seconds, clock
        self._looks: OrderedDict[str, int] = OrderedDict()
        self._trails: OrderedDict[str, OrderedDict[str, _Trail]] = OrderedDict()
        self._flagged: dict[str, float] = {}

    def looked(self, key: str) -> None:
        """The key saw a ranking or a score."""
        self._looks[key] = self._looks.get(key, 0) + 1
        self._looks.move_to_end(key)
        if len(self._looks) > _ITEMS:
            self._looks.popitem(last=False)

    def wrote(self, key: str, item_id: str, fields: Mapping[str, str]) -> bool:
        """Whether with this version of the listing the key is said to probe, for the first
        time or after its last flag lapsed."""
        trail, now = self._trail(key, item_id), self._clock()
        text = "\x1f".join(fields[name] for name in sorted(fields))
        digest, grams = hashlib.sha256(text.encode("utf-8", "replace")).digest(), _grams(text)
        looks = self._looks.get(key, 0)
        looked, fresh = looks > trail.looks, digest != trail.digest
        if trail.digest and fresh and looked and _near(grams, trail.last):
            trail.steps.append(now)
        trail.last, trail.digest, trail.looks = grams, digest, looks
        while trail.steps and trail.steps[0] < now - self._seconds:
            trail.steps.popleft()
        if len(trail.steps) < self._versions or self.probes(key) > 0:
            return False
        self._flagged[key] = now
        trail.steps.clear()
        return True

    def probes(self, key: str) -> float:
        """Seconds for which the key is still held to probe; 0 where it is not."""
        since = self._flagged.get(key)
        if since is None:
            return 0.0
        left = since + self._seconds - self._clock()
        if left <= 0:
            del self._flagged[key]
        return max(0.0, left)

    def _trail(self, key: str, item_id: str) -> _Trail:
        trails = self._trails.setdefault(key, OrderedDict())
        self._trails.move_to_end(key)
        if len(self._trails) > _ITEMS:
            self._trails.popitem(last=False)
        trail = trails.setdefault(item_id, _Trail(looks=self._looks.get(key, 0)))
        trails.move_to_end(item_id)
        if len(trails) > _ITEMS:
            trails.popitem(last=False)
        return trail


def _grams(text: str) -> frozenset[int]:
    text = f"  {text[:2_000].lower()}  "
    return frozenset(hash(text[n : n + 3]) for n in range(len(text) - 2))


def _near(a: frozenset[int], b: frozenset[int]) -> bool:
    return len(a & b) >= _NEAR * max(1, min(len(a), len(b)))
