"""Bundles of a folder by their digest: what the store calls live, and where that lies."""

from pathlib import Path

from hardrank.files import digest_file

__all__ = ["bundles_in", "find_bundle"]

_SUMS = "SHA256SUMS"


def bundles_in(root: Path) -> dict[str, Path]:
    """Digest (SHA-256 of `SHA256SUMS`, as `Engine.load` has it) -> folder, of the folders right
    under `root`; of equal ones the first by name. Empty where `root` is no folder.

    A hidden folder is one that is being written. The files themselves are not looked at:
    loading a bundle does that.
    """
    found: dict[str, Path] = {}
    if root.is_dir():
        for folder in sorted(root.iterdir()):
            if not folder.name.startswith(".") and (folder / _SUMS).is_file():
                found.setdefault(digest_file(folder / _SUMS), folder)
    return found


def find_bundle(root: Path, digest: str) -> Path | None:
    """The folder right under `root` that holds the bundle of this digest."""
    return bundles_in(root).get(digest)
