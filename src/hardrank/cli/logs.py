"""Readable log lines on stderr."""

import logging
import time

__all__ = ["show_logs"]


class _Elapsed(logging.Formatter):
    def __init__(self) -> None:
        super().__init__()
        self.begun = time.time()

    def format(self, record: logging.LogRecord) -> str:
        minutes, seconds = divmod(int(record.created - self.begun), 60)
        return f"{minutes:3d}:{seconds:02d}  {record.getMessage()}"


def show_logs(quiet: bool) -> None:
    """Minutes and seconds since the start, then the message."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Elapsed())
    logger = logging.getLogger("hardrank")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
