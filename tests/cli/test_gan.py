"""`hardrank gan`: train, draw, look; wrong files and folders are named."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardrank.data import AddProfile, Patch

Call = Callable[..., Any]
FILE = """
name = "shop"
seed = 3
samples = 60

[data]
kind = "marketplace"
users = 80
items = 60
median_events = 8

[gan]
kind = "interest-gan"
size = 8
noise = 4
width = 16
steps = 20
warmup = 10
every = 10
batch_size = 32
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gan.toml"
    path.write_text(FILE, "utf-8")
    return path


def test_train_sample_inspect(hardrank: Call, file: Path, tmp_path: Path) -> None:
    folder, patch = tmp_path / "out", tmp_path / "profiles.jsonl"
    done = hardrank("gan", "train", file, "-o", folder, "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "popularity of items (KS)" in done.stdout
    assert "health: no alarm" in done.stdout
    facts = json.loads((folder / "quality.json").read_text("utf-8"))
    assert facts["seconds_per_useful_sample"] > 0
    done = hardrank("gan", "sample", folder, "--users", 7, "--length", 5, "-o", patch)
    assert (done.exit_code, done.stderr) == (0, "")
    edits = Patch.load(patch).edits
    assert [type(e) for e in edits] == [AddProfile] * 7
    assert {len(e.item_ids) for e in edits if isinstance(e, AddProfile)} == {5}
    first = patch.read_bytes()
    hardrank("gan", "sample", folder, "--users", 7, "--length", 5, "-o", patch)
    assert patch.read_bytes() == first
    done = hardrank("gan", "inspect", folder)
    assert done.exit_code == 0
    page = (folder / "inspect.html").read_text("utf-8")
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert "Synthetic data." in page
    places = re.findall(
        r'<text x="([^"]+)" y="([^"]+)" class="label" text-anchor="end">(\w+)<', page
    )
    names = [name for *_, name in places]
    assert names.count("real") == names.count("generated") == 2
    xs = [float(x) for x, _, name in places if name == "real"]
    assert max(xs) < 700 - 6.5 * len("generated"), "no name covers the other"


def test_every_mistake_of_a_file_is_named(hardrank: Call, tmp_path: Path) -> None:
    path = tmp_path / "gan.toml"
    path.write_text(FILE.replace("size = 8", "sise = 8").replace("samples = 60", "samples = 0"))
    done = hardrank("gan", "train", path)
    assert done.exit_code == 2
    assert "gan.interest-gan.sise: unknown key; did you mean 'size'?" in done.stderr
    assert "samples: must be at least 1 (is 0)" in done.stderr
    path.write_text(FILE.replace('name = "shop"', 'name = "shop"\npreset = "gan-small"'))
    done = hardrank("gan", "train", path, "--check")
    assert "give gan or preset, not both" in done.stderr


def test_a_folder_without_a_generator_is_named(hardrank: Call, tmp_path: Path) -> None:
    done = hardrank("gan", "inspect", tmp_path)
    assert done.exit_code == 1
    assert "holds no trained generator" in done.stderr


def test_check_reads_and_stops(hardrank: Call, file: Path, tmp_path: Path) -> None:
    done = hardrank("gan", "train", file, "--check", "-o", tmp_path / "none")
    assert done.stdout == f"{file}: fine\n"
    assert not (tmp_path / "none").exists()
