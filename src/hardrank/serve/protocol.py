"""HTTP with an end to patience: heads of requests that never end, in length or in time.

uvicorn's fast parser takes a head of any length, and waits for it for ever: a few thousand
idle connections, or one that sends a header of a gigabyte, would stop the service.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["patient"]

HEAD = 65_536
"""Bytes of a request line with its headers."""
_LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


def patient(arrival: float) -> type[HttpToolsProtocol]:
    """A protocol for uvicorn whose clients have `arrival` seconds for the head of a request."""
    return type("Patient", (_Patient,), {"arrival": arrival})


class _Patient(HttpToolsProtocol):
    arrival = 60.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head, self._in_head = 0, True
        self._late: asyncio.TimerHandle | None = None
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._idle:
            self._wait()  # half a head, or a body that nobody reads
        if self._in_head and self._head > HEAD:
            self._close(_LARGE)

    def on_message_begin(self) -> None:
        self._head, self._in_head = 0, True
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop()
        super().on_headers_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """The answer is plain HTTP; two log lines for each such request say nothing more."""

    @property
    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.arrival, self._too_late)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        if self._idle:
            self._close(_LATE)
        else:  # a request before it is being answered still
            self._wait()

    def _close(self, said: bytes) -> None:
        self._stop()
        if not self.transport.is_closing():
            if self._in_head and self._idle:
                self.transport.write(said)
            self.transport.close()
