"""The contract of readers: files in, a `Dataset` or a `DataError` out, nothing else."""

import tempfile
from pathlib import Path

from hardrank.data import Dataset
from hardrank.errors import DataError
from hardrank.testing.refusal import refused

__all__ = ["ReaderContract"]

_BAD = {
    "empty": b"",
    "not UTF-8": b"\xff\xfe\x80 caf\xe9\n",
    "not the format": b"{\"broken\": \n,,,\t::\n",
}  # fmt: skip


class ReaderContract:
    """Subclass it as `class TestMine(ReaderContract)` with `write` and `read`."""

    def write(self, folder: Path) -> None:
        """Put a small, correct set of files of the format into `folder`."""
        raise NotImplementedError

    def read(self, folder: Path) -> Dataset:
        """Read what `write` wrote."""
        raise NotImplementedError

    def test_reads_the_same_twice(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            self.write(Path(name))
            before = _contents(Path(name))
            first, second = self.read(Path(name)), self.read(Path(name))
            assert first.fingerprint == second.fingerprint
            assert first.n_users and first.n_items and first.n_events
            assert _contents(Path(name)) == before, "reading changed the files"

    def test_nothing_there_is_a_data_error(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "nothing"
            refused(DataError, lambda: self.read(folder), "a missing folder was read")

    def test_spoilt_files_are_data_errors(self) -> None:
        """Each file in turn is emptied, filled with bytes that are no UTF-8, and with text
        that is not the format: a `DataError` or, where the file may be done without or its
        bad rows are quarantined, a dataset; never another exception."""
        with tempfile.TemporaryDirectory() as name:
            self.write(Path(name))
            good = _contents(Path(name))
            for path in good:
                for what, content in _BAD.items():
                    path.write_bytes(content)
                    try:
                        self.read(Path(name))
                    except DataError as error:
                        assert str(error).strip(), f"{path.name}, {what}: an empty message"
                    finally:
                        path.write_bytes(good[path])


def _contents(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
