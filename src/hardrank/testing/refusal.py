"""One assertion that all contracts use."""

from collections.abc import Callable
from typing import Any

__all__ = ["refused"]


def refused(error: type[Exception], call: Callable[[], Any], why: str) -> None:
    """`call` has to raise `error`; any other exception goes through."""
    try:
        call()
    except error:
        return
    raise AssertionError(f"{why}: no {error.__name__} was raised")
