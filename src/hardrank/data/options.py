"""What every reader of files can be told."""

import codecs
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from hardrank.data.build import UnknownItems
from hardrank.data.quarantine import Quarantine
from hardrank.types import Share, spec

__all__ = ["CatalogueSource", "Encoding", "FileSource"]


def _encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError as error:
        raise ValueError(f"unknown encoding {name!r}; e.g. utf-8, latin-1, gbk") from error


Encoding = Annotated[str, AfterValidator(_encoding)]


@spec
class FileSource:
    """Options shared by the readers of files."""

    encoding: Encoding | None = None
    """Of all text files; None for the one the format is published in."""
    quarantine: Path | None = None
    """Folder that gets `quarantine.jsonl` with the bad rows; None only counts them."""
    max_bad: Share = 0.1
    """Share of the rows of a file that may be bad; with more the file is refused."""

    def aside(self) -> Quarantine:
        return Quarantine(self.quarantine, self.max_bad)


@spec
class CatalogueSource(FileSource):
    """Options of the readers of a log with an item file."""

    unknown_items: UnknownItems = "quarantine"
    """Events of items that the item file lacks: set aside, or kept with an empty title."""
