"""A disk that fills, a killed process and Ctrl-C: nothing half-written is left."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hardrank.bundle import load_bundle
from hardrank.files import write_json

Call = Callable[..., Any]

SAVE = """
import sys
from pathlib import Path
from hardrank.bundle import save_bundle
from hardrank.context import RunContext
from hardrank.data.sources import Marketplace
from hardrank.models import ItemKnn
data = Marketplace(users=60, items=80, median_events=6).load()
model = ItemKnn().fit(data, RunContext())
"""
SAVE_NOW = "save_bundle(Path(sys.argv[1]), ItemKnn(), model, data, {'name': 'new'})\n"
KILLED = """
import os, signal
import hardrank.bundle as room
def die(path):
    assert (path.parent / "weights.safetensors").is_file()
    os.kill(os.getpid(), signal.SIGKILL)
room.digest_file = die
"""


def python(code: str, *arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def small_files() -> None:
    """For a child process: no file beyond 2 KiB. The interpreter ignores SIGXFSZ, so that a
    write fails as it does on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs more rights than this process has")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_file_that_cannot_grow_leaves_the_old_bundle(bundle: Path) -> None:
    done = python(SAVE + SAVE_NOW, bundle, preexec_fn=small_files)
    assert done.returncode == 1
    assert "File too large" in done.stderr or "os error 27" in done.stderr
    assert load_bundle(bundle).about["name"] == "small"
    assert [p.name for p in bundle.parent.iterdir()] == ["bundle"]


def test_a_full_disk_leaves_no_bundle(tmp_path: Path) -> None:
    with mounted(tmp_path) as disk:
        (disk / "ballast").write_bytes(bytes(48 << 10))
        done = python(SAVE + SAVE_NOW, disk / "bundle")
        assert done.returncode == 1
        assert "No space left" in done.stderr or "os error 28" in done.stderr
        assert [p.name for p in disk.iterdir()] == ["ballast"]


def test_a_kill_while_saving_leaves_the_old_bundle(bundle: Path) -> None:
    done = python(SAVE + KILLED + SAVE_NOW, bundle)
    assert done.returncode == -signal.SIGKILL
    assert load_bundle(bundle).about["name"] == "small"


def test_a_kill_while_saving_leaves_no_new_bundle(tmp_path: Path) -> None:
    done = python(SAVE + KILLED + SAVE_NOW, tmp_path / "bundle")
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "bundle").exists()


def test_a_value_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    code = "import sys\nfrom pathlib import Path\nfrom hardrank.files import write_json\n"
    done = python(code + "write_json(Path(sys.argv[1]), 'x' * 9999)", path, preexec_fn=small_files)
    assert "File too large" in done.stderr
    assert path.read_text("utf-8") == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_names_the_disk_and_a_remedy(process: Call, tmp_path: Path) -> None:
    experiment = tmp_path / "e.toml"
    experiment.write_text(
        'name = "e"\ndata = { kind = "marketplace", users = 60, items = 80 }\n'
        'model = { kind = "sasrec", size = 8, training = { epochs = 1 } }\n'
        "finetune = { epochs = 1 }\n",
        "utf-8",
    )
    out = tmp_path / "run"
    done = process("run", experiment, "--out", out, "--quiet", preexec_fn=small_files)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("hardrank: ")
    assert "nothing half-written was left" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "bundle").exists()
    done = process("run", experiment, "--out", out, "--quiet")  # and with room it goes on
    assert done.returncode == 0, done.stderr
    assert load_bundle(out / "bundle").about["name"] == "e"


def test_a_folder_that_cannot_be_written_is_named(process: Call, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file, not a folder", "utf-8")
    experiment = tmp_path / "e.toml"
    experiment.write_text(
        'name = "e"\ndata = { kind = "marketplace", users = 60, items = 80 }\n'
        'model = { kind = "sasrec", size = 8, training = { epochs = 1 } }\n'
        "finetune = { epochs = 1 }\n",
        "utf-8",
    )
    done = process("run", experiment, "--out", tmp_path / "run", "--quiet")
    assert done.returncode == 4
    assert str(tmp_path / "run") in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    experiment = tmp_path / "e.toml"
    experiment.write_text(
        'name = "e"\ndata = { kind = "marketplace" }\n'
        'model = { kind = "sasrec", training = { epochs = 100000, patience = 0 } }\n',
        "utf-8",
    )
    out = tmp_path / "run"
    running = subprocess.Popen(
        [sys.executable, "-m", "hardrank.cli.main", "run", str(experiment), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    deadline = time.monotonic() + 120
    while not list(out.rglob("training/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "hardrank: interrupted: run again to resume"
    assert "Traceback" not in said
