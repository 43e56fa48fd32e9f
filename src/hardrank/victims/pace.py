"""When to ask, and when to ask again."""

import email.utils
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Pace", "retry_after"]


@dataclass(eq=False, kw_only=True)
class Pace:
    """Keeps requests apart, and waits longer before each further try."""

    per_second: float | None = None
    """Requests that may begin in one second; None for no limit."""
    backoff: float = 0.5
    """Seconds before the second try; doubled for each one after it."""
    longest: float = 300.0
    """Seconds that any single wait may last."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _next: float = 0.0

    def await_turn(self) -> None:
        """Return when the next request may begin."""
        if self.per_second is None:
            return
        now = self.clock()
        if now < self._next:
            self.sleep(self._next - now)
        self._next = max(now, self._next) + 1.0 / self.per_second

    def wait(self, tries: int, asked_for: float | None) -> float | None:
        """Seconds slept before try `tries` + 1; None, at once, where the victim asks for more
        than `longest`. asked_for: its own word, which is honoured."""
        seconds = min(self.longest, self.backoff * 2.0 ** (tries - 1))
        if asked_for is not None:
            if asked_for > self.longest:
                return None
            seconds = asked_for
        self.sleep(seconds)
        return seconds


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds from a `Retry-After` header (RFC 9110, section 10.2.3: seconds or a date);
    None where there is none or it cannot be read. now: unix seconds."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header.strip())
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now)
    except (TypeError, ValueError):
        return None
