"""What the store raises on purpose.

HardrankError
└── StoreError          the database cannot be used as it is; the message says why
    ├── StoreUnavailable  it is away, busy or restarting: the same call works later
    ├── StoreFull         the disk takes no more; nothing of the call was kept
    ├── StoreCorrupted    the file is damaged, or is no database
    ├── StoreTooNew       a newer Hardrank wrote its schema
    ├── NotFound          no such item, review case or key
    ├── Conflict          somebody decided already
    └── Untold            another bundle serves, and the store does not know
    DataError
    └── CatalogueFull       no new items
"""

from hardrank.errors import DataError, HardrankError

__all__ = [
    "CatalogueFull",
    "Conflict",
    "NotFound",
    "StoreCorrupted",
    "StoreError",
    "StoreFull",
    "StoreTooNew",
    "StoreUnavailable",
    "Untold",
]


class StoreError(HardrankError):
    """The database of the service cannot be used as it is."""

    exit_code = 4


class StoreUnavailable(StoreError):
    """The database is away, busy or restarting. The same call may succeed later."""

    def __init__(self, message: str, *, again: bool = True) -> None:
        """`again`: False where a commit was cut off and nobody knows whether it succeeded."""
        self.again = again
        super().__init__(message)


class StoreFull(StoreError):
    """The disk takes no more. Nothing of the call was kept; reading still works."""


class StoreCorrupted(StoreError):
    """The database file is damaged, or is no database at all."""


class StoreTooNew(StoreError):
    """The schema was written by a newer Hardrank. Nothing was changed."""


class NotFound(StoreError):
    """There is no such item, quarantine case or key."""


class Conflict(StoreError):
    """The case was decided already."""


class Untold(StoreError):
    """Another bundle serves here, and the store could not be told that it is live."""


class CatalogueFull(DataError):
    """There are as many items as may be: no new ones are taken."""
