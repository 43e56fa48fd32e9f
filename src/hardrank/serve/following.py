"""The bundle that the store calls live: a running service goes over to it by itself.

`hardrank promote`, `hardrank rollback` and `POST /v1/bundle` only write a digest into the
store. Every service on that store looks for a folder with this digest beside the bundle that it
was started with, and swaps.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING

from hardrank.errors import HardrankError
from hardrank.serve.bundles import find_bundle
from hardrank.serve.errors import Conflict, StoreError, Untold
from hardrank.serve.logs import LOGGER, tell
from hardrank.serve.monitors import Alarm

if TYPE_CHECKING:
    from hardrank.serve.service import Service

__all__ = ["KIND", "Following", "Promotion"]

KIND = "bundle"
"""Of the alarm for a promoted bundle that cannot be served."""
_Tried = tuple[str, Path | None, int]


@dataclass(frozen=True, slots=True)
class Promotion:
    """A swap by hand, and what was live before it: in this process, and by the store."""

    who: str
    before: str
    stood: str | None
    digest: str = ""
    """Of the new bundle."""


class Following:
    """Looks every `follow_seconds`; a bundle that is missing or refused is tried again when
    another one is promoted or when its folder appears or is written anew."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._root = Path(service.settings.bundle).resolve().parent
        self._failed: _Tried | None = None
        self._owed: Promotion | None = None
        """What the store is still to be told of."""

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = self._service.settings.follow_seconds
        while pause:
            await asyncio.sleep(pause)
            try:
                await self.look()
            except StoreError as error:
                tell("not-followed", level=logging.WARNING, kind=type(error).__name__)
            except Exception:
                LOGGER.exception("not-followed")

    async def look(self) -> bool:
        """Whether it swapped. Raises `StoreError`."""
        service = self._service
        async with service.swapping:
            await self._pay()
            wanted = await self.promoted()
            if wanted is None or wanted == service.live.digest:
                self._settle()
                return False
            tried = await self._found(wanted)
            if tried == self._failed:
                return False
            return await self._swap(tried)

    async def promotion(self, who: str) -> Promotion:
        """Before a swap by hand. Raises `StoreError`: then none is begun."""
        return Promotion(who, self._service.live.digest, await self.promoted())

    async def promote(self, promotion: Promotion) -> None:
        """What answers now is live, and the store knows. Raises `Untold`; then every look tells
        it first, and nothing is followed before, unless another bundle was promoted meanwhile."""
        done = replace(promotion, digest=self._service.live.digest)
        owed, self._owed = self._owed, None
        try:
            await self._tell(done)
        except StoreError as error:
            self._owed, name = done, done.digest[:12]
            tell("bundle-not-promoted", level=logging.ERROR, bundle=name)
            why = f"bundle {name} serves, but the store could not be told that it is live"
            alarm = Alarm(KIND, name, 1.0, 0.0, self._service.watching.clock(), why)
            await asyncio.to_thread(self._service.watching.ring, alarm)
            raise Untold(why) from error
        if owed is not None:
            self._service.watching.settle(KIND)
        self._settle()

    async def _pay(self) -> None:
        """Raises `StoreError` while the store cannot be told."""
        if self._owed is None:
            return
        try:
            await self._tell(self._owed, expected=self._owed.stood)
        except Conflict:
            tell("promoted-meanwhile", level=logging.WARNING, bundle=self._owed.digest[:12])
        self._owed = None
        self._service.watching.settle(KIND)

    async def _tell(self, done: Promotion, expected: str | EllipsisType | None = ...) -> None:
        before = done.before or None  # so that there is one to roll back to
        store = self._service.store
        await self._service.on_store(
            partial(store.promote, done.digest, who=done.who, expected=expected, before=before)
        )

    async def promoted(self) -> str | None:
        """Digest of the bundle that the store calls live. Raises `StoreError`."""
        live, _ = await self._service.on_store(self._service.store.bundles)
        return live

    async def first(self) -> Path | None:
        """The promoted bundle, to start with, where it lies beside the one of the settings."""
        wanted = await self.promoted()
        if wanted is None:
            return None
        tried = await self._found(wanted)
        if tried[1] is None:
            why = "is not beside the one that was started with"
            await asyncio.to_thread(self.complain, tried, why)
        return tried[1]

    async def _found(self, digest: str) -> _Tried:
        def look() -> _Tried:
            folder = find_bundle(self._root, digest)
            stamp = 0 if folder is None else (folder / "SHA256SUMS").stat().st_mtime_ns
            return digest, folder, stamp

        return await asyncio.to_thread(look)

    async def refused(self) -> None:
        """The promoted bundle could not be loaded when the service started."""
        wanted = await self.promoted()
        if wanted is not None:
            await asyncio.to_thread(self.complain, await self._found(wanted), "was refused")

    def complain(self, tried: _Tried, why: str) -> None:
        """The old one serves on, and somebody is told."""
        self._settle()
        self._failed, digest = tried, tried[0]
        tell("bundle-not-followed", level=logging.ERROR, bundle=digest[:12], why=why)
        message = f"the promoted bundle {digest[:12]} {why}; another one serves"
        now = self._service.watching.clock()
        self._service.watching.ring(Alarm(KIND, digest[:12], 1.0, 0.0, now, message))

    async def _swap(self, tried: _Tried) -> bool:
        digest, folder, _ = tried
        if folder is None:
            await asyncio.to_thread(self.complain, tried, "is not beside the one served")
            return False
        try:
            await self._service.swap(folder)
        except StoreError:
            raise
        except (HardrankError, OSError):
            await asyncio.to_thread(self.complain, tried, "was refused")
            return False
        tell("followed", bundle=digest[:12])
        self._settle()
        return True

    def _settle(self) -> None:
        if self._failed is not None:
            self._service.watching.settle(KIND)
        self._failed = None
