"""The door: no route but health opens without a key of its role, and no key without limits.

The key is checked before a byte of the body is read. A key that the store confirmed is
believed for some seconds; while the store is away, for some minutes, so that a database that
restarts does not close the shop.
"""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from starlette.requests import Request

from hardrank.serve.answers import Refused
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.limits import Buckets, Quotas
from hardrank.serve.probing import ProbeWatch
from hardrank.serve.records import KeyRow, Role
from hardrank.serve.settings import Settings

__all__ = ["Door"]

_STALE = 300.0
"""Seconds for which a key that was good is believed while the store is away."""
_KEPT = 10_000
_LONGEST = 200
"""Characters of anything that can be a key."""

KeyOf = Callable[[str], Awaitable[KeyRow | None]]


class Door:
    """Who may come in, and how often."""

    def __init__(
        self, settings: Settings, key_of: KeyOf, quotas: Quotas, probes: ProbeWatch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._key_of, self._quotas, self._probes, self._clock = key_of, quotas, probes, clock
        self._block, self._seconds = settings.block_probes, settings.key_seconds
        self._rates = Buckets(settings.rate, settings.burst, clock)
        self._wrong = Buckets(settings.refusals / 60, settings.refusals, clock)
        self._good: OrderedDict[bytes, tuple[KeyRow, float]] = OrderedDict()

    async def enter(self, request: Request, role: Role) -> KeyRow:
        """The key of the request. Raises `Refused`: 401 without a good key, 403 without the
        role, 429 beyond a rate, a quota or while it is held to probe."""
        secret = _secret(request)
        if secret is None:
            raise Refused(401, "give an API key", WWW_Authenticate="Bearer")
        key = await self._key(secret, _address(request))
        if not key.may(role):
            raise Refused(403, f"this needs a key with the role '{role}'")
        if wait := self._rates.wait(key.id):
            raise _later(wait, "too many requests with this key")
        if self._block and (wait := self._probes.probes(key.name)):
            raise _later(wait, "this key tries out wordings; talk to the operator")
        if key.quota is not None and (wait := await self._quotas.wait(key.id, key.quota)):
            raise _later(wait, "the quota of this key is used up for today")
        return key

    async def charge(self, key: KeyRow, units: int) -> None:
        """A request that is the work of several. Raises `Refused` (429) where the key's quota
        has no room for that many; then none was counted."""
        if not units or key.quota is None:
            return
        if wait := await self._quotas.take(key.id, key.quota, units):
            raise _later(wait, "the quota of this key has no room for so many today")

    def wary(self, request: Request) -> None:
        """Raises `Refused` (429) for an address that guesses."""
        if wait := self._wrong.empty(_address(request)):
            raise _later(wait, "too many wrong keys from this address")

    def missed(self, request: Request) -> None:
        """A wrong guess from there."""
        self._wrong.wait(_address(request))

    async def _key(self, secret: str, address: str) -> KeyRow:
        digest, now = hashlib.sha256(secret.encode("utf-8", "replace")).digest(), self._clock()
        known = self._good.get(digest)
        if known is not None and now - known[1] <= self._seconds:
            return known[0]
        # Who was let in before is not locked out by others behind the same proxy.
        if known is None and (wait := self._wrong.empty(address)):
            raise _later(wait, "too many wrong keys from this address")
        try:
            key = await self._key_of(secret)
        except StoreUnavailable:
            if known is None or now - known[1] > _STALE:
                raise
            return known[0]
        if key is None:
            self._good.pop(digest, None)
            self._wrong.wait(address)
            raise Refused(401, "this key does not open anything", WWW_Authenticate="Bearer")
        self._good[digest] = (key, now)
        if len(self._good) > _KEPT:
            self._good.popitem(last=False)
        return key


def _secret(request: Request) -> str | None:
    """`Authorization: Bearer KEY` or `X-API-Key: KEY`."""
    said = request.headers.get("authorization")
    if said is not None:
        kind, _, secret = said.partition(" ")
        found = secret.strip() if kind.lower() == "bearer" else ""
    else:
        found = request.headers.get("x-api-key", "").strip()
    return found if 0 < len(found) <= _LONGEST else None


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _later(seconds: float, why: str) -> Refused:
    return Refused(429, why, Retry_After=str(max(1, math.ceil(seconds))))
