"""Public datasets from their publishers, checked against a digest."""

import hashlib
import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hardrank.errors import DataError
from hardrank.files import atomic, atomic_folder, digest_file, write_json

__all__ = ["PUBLIC", "PublicSet", "fetch"]

_RECORD = "digests.json"
_TIMEOUT = 60.0
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PublicSet:
    """Where a dataset is published and under which terms."""

    title: str
    files: tuple[str, ...]
    """URLs."""
    kind: str
    """The reader for it."""
    terms: str
    published_md5: bool = False
    """The publisher puts `<url>.md5` beside each file."""
    place: str = ""
    """What of the unpacked archive is given to the reader: a path in the folder."""


_GROUPLENS = "https://files.grouplens.org/datasets/movielens/"
_GOODBOOKS = "https://raw.githubusercontent.com/zygmuntz/goodbooks-10k/master/"
_SNAP = "http://snap.stanford.edu/data/amazon/productGraph/categoryFiles/"
_S3REC = "https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/master/data/"


def _movielens(edition: str) -> PublicSet:
    return PublicSet(
        title=f"MovieLens {edition}",
        files=(f"{_GROUPLENS}ml-{edition}.zip",),
        kind="movielens",
        terms="research use, see its README (GroupLens)",
        published_md5=True,
        place=f"ml-{edition}",
    )


def _amazon(category: str) -> PublicSet:
    names = (f"reviews_{category}_5.json.gz", f"meta_{category}.json.gz")
    return PublicSet(
        title=f"Amazon reviews 2014, {category.replace('_', ' ')}, 5-core",
        files=tuple(_SNAP + n for n in names),
        kind="amazon-reviews",
        terms="research use (McAuley lab)",
        place=names[0],
    )


PUBLIC: Mapping[str, PublicSet] = {
    "movielens-100k": _movielens("100k"),
    "movielens-1m": _movielens("1m"),
    "movielens-latest-small": _movielens("latest-small"),
    "goodbooks": PublicSet(
        title="Goodbooks-10k",
        files=(_GOODBOOKS + "ratings.csv", _GOODBOOKS + "books.csv"),
        kind="goodbooks",
        terms="CC BY-SA 4.0",
    ),
    "online-retail": PublicSet(
        title="UCI Online Retail",
        files=("https://archive.ics.uci.edu/static/public/352/online+retail.zip",),
        kind="online-retail",
        terms="CC BY 4.0 (Chen, UCI)",
        place="Online Retail.xlsx",
    ),
    "amazon-beauty-2014": _amazon("Beauty"),
    "amazon-musical-instruments-2014": _amazon("Musical_Instruments"),
    "s3rec-beauty": PublicSet(
        title="Amazon Beauty in the numbering of S3-Rec",
        files=(_S3REC + "Beauty.txt",),
        kind="sequences",
        terms="research use (McAuley lab)",
        place="Beauty.txt",
    ),
}


def fetch(name: str, folder: Path, *, mirror: str | None = None) -> Path:
    """The path to give to the reader of the set `name`, downloaded into `folder/name`.

    Where the publisher gives an MD5 the download must match it. Where it gives none, the
    SHA-256 of the first download is recorded in `digests.json` and every later one must
    match that: trust on first use, which does not show a file that was altered before.
    Files that are there are verified, not downloaded again; archives are unpacked beside.
    `mirror` replaces scheme and host of the publisher's addresses.

    Raises `DataError` for an unknown name, a digest that differs, or no connection; the
    message then says which file to put where by hand.
    """
    if name not in PUBLIC:
        raise DataError(f"no public set '{name}'", remedy=f"choose from: {', '.join(PUBLIC)}")
    public, target = PUBLIC[name], folder / name
    record = target / _RECORD
    known: dict[str, str] = json.loads(record.read_text("utf-8")) if record.is_file() else {}
    for address in public.files:
        url = _at(mirror, address)
        path = target / urllib.parse.unquote_plus(urllib.parse.urlsplit(url).path.split("/")[-1])
        if not path.is_file():
            _download(url, path, public)
        _verify(url, path, known, published_md5=public.published_md5)
        write_json(record, known)
        if path.suffix == ".zip":
            _unpack(path, target / "unpacked")
    unpacked = any(address.endswith(".zip") for address in public.files)
    return (target / "unpacked" if unpacked else target) / public.place


def _at(mirror: str | None, address: str) -> str:
    if mirror is None:
        return address
    return mirror.rstrip("/") + urllib.parse.urlsplit(address).path


def _download(url: str, path: Path, public: PublicSet) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as reply, atomic(path) as file:
            length = reply.headers.get("Content-Length")
            shutil.copyfileobj(reply, file, _CHUNK)
            if length is not None and file.tell() != int(length):
                raise DataError(f"{url} broke off after {file.tell():,} of {int(length):,} bytes")
    except (OSError, urllib.error.URLError) as error:
        raise DataError(
            f"cannot download {public.title} from {url} ({error})",
            remedy=f"get it by hand and put it at {path}, then run this again",
        ) from error


def _verify(url: str, path: Path, known: dict[str, str], *, published_md5: bool) -> None:
    """Compare with the record, else with the publisher's MD5; record the SHA-256."""
    found = digest_file(path)
    if path.name in known:
        if known[path.name] != found:
            raise DataError(
                f"SHA-256 {found[:12]}... differs from the recorded {known[path.name][:12]}...",
                path=path, remedy="delete the file to fetch it again",
            )  # fmt: skip
        return
    if published_md5:
        _compare_md5(url + ".md5", path)
    known[path.name] = found


def _compare_md5(url: str, path: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as reply:
            text = reply.read(4096).decode("utf-8", "replace")
    except (OSError, urllib.error.URLError) as error:
        raise DataError(
            f"cannot read the publisher's checksum {url} ({error})", path=path,
            remedy="try again with a connection; the file is kept",
        ) from error  # fmt: skip
    published = re.search(r"\b[0-9a-f]{32}\b", text.lower())
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if published is None or published[0] != found:
        path.unlink()
        raise DataError(
            f"MD5 {found} differs from the publisher's "
            f"{published[0] if published else '(none in the file)'}",
            path=path, remedy="the file was removed; fetch it again",
        )  # fmt: skip


def _unpack(archive: Path, folder: Path) -> None:
    """All files of the archive, or nothing; names that lead out of the folder are refused."""
    if folder.is_dir():
        return
    try:
        with zipfile.ZipFile(archive) as file, atomic_folder(folder) as draft:
            for member in file.namelist():
                if not (draft / member).resolve().is_relative_to(draft.resolve()):
                    raise DataError(f"member '{member}' leads out of the folder", path=archive)
            file.extractall(draft)
    except zipfile.BadZipFile as error:
        raise DataError(f"is no zip archive ({error})", path=archive) from error
