"""Answers that may be given again: same request, same user's past, same catalogue, same bundle."""

from collections import OrderedDict

__all__ = ["Remembered"]

_LONGEST = 4_096
"""Bytes of a request beyond which its answer is not kept."""

_ROOM = 1 << 27
"""Bytes of all answers: lists of 200 with reasons are long."""

Stamp = tuple[object, ...]


class Remembered:
    """Bodies of requests -> bodies of answers, with what they depended on."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[bytes, tuple[str | None, Stamp, bytes]] = OrderedDict()
        self._bytes = 0

    def user_of(self, request: bytes) -> tuple[bool, str | None]:
        """Whether there is an answer, and whose past it depends on."""
        found = self._kept.get(request)
        return (False, None) if found is None else (True, found[0])

    def get(self, request: bytes, stamp: Stamp) -> bytes | None:
        """The answer, if it was made under the same stamp."""
        found = self._kept.get(request)
        if found is None:
            return None
        if found[1] != stamp:
            self._bytes -= len(self._kept.pop(request)[2])
            return None
        self._kept.move_to_end(request)
        return found[2]

    def put(self, request: bytes, user_id: str | None, stamp: Stamp, answer: bytes) -> None:
        if self._size == 0 or len(request) > _LONGEST:
            return
        if request in self._kept:
            self._bytes -= len(self._kept.pop(request)[2])
        self._kept[request] = (user_id, stamp, answer)
        self._bytes += len(answer)
        while len(self._kept) > self._size or self._bytes > _ROOM:
            self._bytes -= len(self._kept.popitem(last=False)[1][2])

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0
