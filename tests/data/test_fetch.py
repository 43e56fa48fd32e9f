"""Fetching: from a server on this machine, with a checksum, altered, cut off and offline."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hardrank.data.fetch import PUBLIC, fetch
from hardrank.data.sources import SOURCES, Goodbooks, MovieLens
from hardrank.errors import DataError

FIXTURES = Path(__file__).parent / "fixtures"
ZIP = "datasets/movielens/ml-100k.zip"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The folder that the server serves."""
    folder = tmp_path / "site"
    archive = folder / ZIP
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("u.data", "u.item", "u.user"):
            file.write(FIXTURES / "movielens-100k" / name, f"ml-100k/{name}")
    _publish_md5(archive)
    books = folder / "zygmuntz/goodbooks-10k/master"
    books.mkdir(parents=True)
    for name in ("ratings.csv", "books.csv"):
        (books / name).write_bytes((FIXTURES / "goodbooks" / name).read_bytes())
    return folder


def _publish_md5(archive: Path) -> None:
    digest = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    Path(f"{archive}.md5").write_text(f"MD5 ({archive.name}) = {digest}\n")


@pytest.fixture
def server(site: Path) -> Iterator[str]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_fetched_set_can_be_read(server: str, tmp_path: Path) -> None:
    place = fetch("movielens-100k", tmp_path, mirror=server)
    assert place == tmp_path / "movielens-100k/unpacked/ml-100k"
    assert MovieLens(path=place).load().n_events == 20
    books = fetch("goodbooks", tmp_path, mirror=server)
    assert Goodbooks(path=books).load().n_events == 5


def test_what_is_there_is_verified_and_not_downloaded_again(
    server: str, site: Path, tmp_path: Path
) -> None:
    place = fetch("movielens-100k", tmp_path, mirror=server)
    (site / ZIP).unlink()
    assert fetch("movielens-100k", tmp_path, mirror=server) == place
    archive = tmp_path / "movielens-100k/ml-100k.zip"
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"ml-100k\.zip: SHA-256 .* differs from the recorded"):
        fetch("movielens-100k", tmp_path, mirror=server)


def test_altered_download_is_refused_and_removed(server: str, site: Path, tmp_path: Path) -> None:
    (site / ZIP).write_bytes((site / ZIP).read_bytes() + b"x")
    with pytest.raises(DataError, match=r"MD5 .* differs from the publisher's"):
        fetch("movielens-100k", tmp_path, mirror=server)
    assert not (tmp_path / "movielens-100k/ml-100k.zip").exists()
    assert not (tmp_path / "movielens-100k/unpacked").exists()


def test_without_published_digest_the_first_download_is_trusted(
    server: str, site: Path, tmp_path: Path
) -> None:
    fetch("goodbooks", tmp_path, mirror=server)
    recorded = (tmp_path / "goodbooks/digests.json").read_text()
    assert hashlib.sha256((FIXTURES / "goodbooks/books.csv").read_bytes()).hexdigest() in recorded
    (tmp_path / "goodbooks/books.csv").unlink()
    (site / "zygmuntz/goodbooks-10k/master/books.csv").write_text("book_id,title,authors\n")
    with pytest.raises(DataError, match=r"books\.csv: SHA-256 .* differs from the recorded"):
        fetch("goodbooks", tmp_path, mirror=server)


def test_offline_says_what_to_put_where(tmp_path: Path) -> None:
    wanted = tmp_path / "movielens-100k/ml-100k.zip"
    with pytest.raises(DataError) as caught:
        fetch("movielens-100k", tmp_path, mirror="http://127.0.0.1:9")
    assert "http://127.0.0.1:9/datasets/movielens/ml-100k.zip" in str(caught.value)
    assert f"put it at {wanted}" in str(caught.value)
    assert not wanted.exists()


def test_a_file_put_there_by_hand_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "goodbooks"
    folder.mkdir()
    for name in ("ratings.csv", "books.csv"):
        (folder / name).write_bytes((FIXTURES / "goodbooks" / name).read_bytes())
    assert fetch("goodbooks", tmp_path, mirror="http://127.0.0.1:9") == folder


def test_an_archive_that_leads_out_is_refused(server: str, site: Path, tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("../../evil.txt", "x")
    (site / ZIP).write_bytes(out.getvalue())
    _publish_md5(site / ZIP)
    with pytest.raises(DataError, match="leads out of the folder"):
        fetch("movielens-100k", tmp_path, mirror=server)
    assert not list(tmp_path.rglob("evil.txt"))


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no public set 'netflix'; choose from: movielens-100k"):
        fetch("netflix", tmp_path)


def test_every_public_set_has_a_reader() -> None:
    kinds = {source.__dataclass_fields__["kind"].default for source in SOURCES}
    assert {public.kind for public in PUBLIC.values()} <= kinds
    assert all(a.startswith("http") for public in PUBLIC.values() for a in public.files)
