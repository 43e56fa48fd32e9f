"""`hardrank gan` with a variational generator, a distilled one, and many distinct profiles."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardrank.data import AddProfile, Patch

Call = Callable[..., Any]
DATA = """
name = "shop"
seed = 3
samples = 60

[data]
kind = "marketplace"
users = 80
items = 60
median_events = 8
"""
GAN = """
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
VAE = """
[gan]
kind = "interest-vae"
noise = 4
width = 16
steps = 20
every = 10
batch_size = 32
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One of each kind, on the same data."""
    from typer.testing import CliRunner

    from hardrank.cli.main import app

    made = []
    for name, how in (("gan", GAN), ("vae", VAE)):
        folder = tmp_path_factory.mktemp("gans") / name
        file = folder.with_suffix(".toml")
        file.write_text(DATA + how, "utf-8")
        done = CliRunner().invoke(app, ["gan", "train", str(file), "-o", str(folder), "-q"])
        assert (done.exit_code, done.stderr) == (0, "")
        made.append(folder)
    return made[0], made[1]


def test_a_vae_trains_draws_and_is_looked_at(
    hardrank: Call, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """S2-34: swapped by `kind` alone; what it has not, it says."""
    patch = tmp_path / "profiles.jsonl"
    done = hardrank("gan", "sample", folders[1], "--users", 5, "--length", 4, "-o", patch)
    assert (done.exit_code, done.stderr) == (0, "")
    assert [len(e.item_ids) for e in Patch.load(patch).edits if isinstance(e, AddProfile)] == [
        4
    ] * 5
    done = hardrank("gan", "inspect", folders[1])
    assert done.exit_code == 0
    assert "discriminator: none: an interest-vae judges no profile" in done.stdout
    assert "AUROC of its own" not in done.stdout
    assert "halves" not in done.stdout
    page = (folders[1] / "inspect.html").read_text("utf-8")
    assert "KL of the code" in page
    assert page.count("<svg") == 3


def test_wrong_keys_are_named_by_kind(hardrank: Call, tmp_path: Path) -> None:
    path = tmp_path / "gan.toml"
    path.write_text(DATA + VAE.replace("width = 16", "widht = 16"), "utf-8")
    done = hardrank("gan", "train", path)
    assert done.exit_code == 2
    assert "gan.interest-vae.widht: unknown key; did you mean 'width'?" in done.stderr
    path.write_text(DATA + VAE.replace("interest-vae", "interest-vea"), "utf-8")
    assert "unknown kind 'interest-vea'" in hardrank("gan", "train", path).stderr


def test_many_distinct_profiles_of_mixed_generators(
    hardrank: Call, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """S2-29"""
    patch = tmp_path / "many.jsonl"
    done = hardrank("gan", "sample", *folders, "--distinct", 300, "--length", 8, "-o", patch)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "stopped: reached" in done.stdout
    assert re.search(r"distinct profiles: 300 of [3-9]\d\d drawn", done.stdout)
    assert "duplicates among the kept: 0.00% of 300, compared exactly with all" in done.stdout
    edits = [e for e in Patch.load(patch).edits if isinstance(e, AddProfile)]
    assert len(edits) == len({e.user_id for e in edits}) == 300
    assert all(len(set(e.item_ids)) == 8 for e in edits)
    first = patch.read_bytes()
    hardrank("gan", "sample", *folders, "--distinct", 300, "--length", 8, "-o", patch)
    assert patch.read_bytes() == first
    done = hardrank(
        "gan", "sample", *folders, "--distinct", 5, "--coverage", 1, "--limit", 40, "-o", patch
    )
    assert "stopped: the limit of 40 draws, with" in done.stdout


def test_a_file_from_before_there_were_two_kinds_is_of_the_first(
    hardrank: Call, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Without `kind` the same generator to the last byte; and its folder is still read."""
    file, out = tmp_path / "old.toml", tmp_path / "old"
    file.write_text(DATA + GAN.replace('kind = "interest-gan"\n', ""), "utf-8")
    done = hardrank("gan", "train", file, "-o", out, "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    weights = Path("generator", "weights.safetensors")
    assert (out / weights).read_bytes() == (folders[0] / weights).read_bytes()
    assert "kind" not in json.loads((out / "experiment.json").read_text("utf-8"))["gan"]
    done = hardrank("gan", "sample", out, "--users", 2, "-o", tmp_path / "two.jsonl")
    assert (done.exit_code, done.stderr) == (0, "")
    file.write_text(file.read_text("utf-8").replace("width", "widht"), "utf-8")
    done = hardrank("gan", "train", file)
    assert "gan.interest-gan.widht: unknown key; did you mean 'width'?" in done.stderr


def test_wrong_folders_and_lengths_are_named(
    hardrank: Call, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """What is wrong, where, and what to do about it."""
    torn, out = tmp_path / "torn", tmp_path / "p.jsonl"
    shutil.copytree(folders[0], torn)
    (torn / "quality.json").write_text("{}", "utf-8")
    for command in ("inspect", "sample", "distil"):
        rest = ("-o", tmp_path / "small", "-q") if command == "distil" else ()
        done = hardrank("gan", command, torn, *rest)
        assert done.exit_code == 1
        assert f"{torn}/quality.json has no 'quality'; name a folder that" in done.stderr
    weights = torn / "generator" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:99])
    assert "holds no interest generator" in hardrank("gan", "inspect", torn).stderr
    done = hardrank("gan", "sample", folders[0], "--length", 61, "-o", out)
    assert "a profile of 61 items from 60 that may be drawn; ask for a shorter" in done.stderr
    done = hardrank("gan", "sample", folders[0], "--length", 61, "--keep", 0.5, "-o", out)
    assert re.search(r"needs \d+ new ones; \d+ are left; ask for a shorter", done.stderr)
    assert not out.exists()


def test_too_few_users_are_named_before_training(hardrank: Call, tmp_path: Path) -> None:
    """Of 12 users 11 are learned from; 20 are needed to measure what is drawn."""
    events = [f"u{n},i{(n * k) % 9 + k},{n * 5 + k}" for n in range(12) for k in range(5)]
    log, file = tmp_path / "log.csv", tmp_path / "few.toml"
    log.write_text("\n".join(["user_id,item_id,time", *events]), "utf-8")
    data = f'name = "few"\ndata = {{ kind = "table", path = "{log}", columns.time = "time" }}\n'
    for what, command, said in (
        (GAN, "train", "11 users who are learned from .* 20 are needed; bring more users, or hold"),
        ("", "segments", "12 users have two .* strangers 20 are needed; bring more users, or a"),
    ):
        file.write_text(data + what, "utf-8")
        done = hardrank("gan", command, file, "-o", tmp_path / "out", "-q")
        assert done.exit_code == 3
        assert re.search(said, done.stderr)
    assert not list(tmp_path.glob("out/**/*.safetensors"))


def test_a_generator_is_not_distilled_over_itself(
    hardrank: Call, folders: tuple[Path, Path]
) -> None:
    before = (folders[0] / "generator" / "weights.safetensors").read_bytes()
    same = folders[0].parent / "x" / ".." / folders[0].name
    done = hardrank("gan", "distil", folders[0], "-o", same, "--size", 2, "--width", 3, "-q")
    assert done.exit_code == 3
    assert "is the folder of the larger generator; name another one" in done.stderr
    assert (folders[0] / "generator" / "weights.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--coverage", 0.5), "--coverage is read with --distinct alone"),
        (("--similarity", 0.8), "--similarity is read with --distinct alone"),
        (("--limit", 5), "--limit is read with --distinct alone"),
        (("--distinct", 5, "--users", 5), "--users is read without --distinct alone"),
    ],
)
def test_no_option_is_ignored(
    hardrank: Call, folders: tuple[Path, Path], given: tuple[object, ...], said: str
) -> None:
    done = hardrank("gan", "sample", folders[0], *given)
    assert done.exit_code == 2
    assert said in done.stderr


def test_several_folders_need_distinct(hardrank: Call, folders: tuple[Path, Path]) -> None:
    done = hardrank("gan", "sample", *folders)
    assert done.exit_code == 2
    assert "several folders need --distinct" in done.stderr


def test_distil_writes_a_folder_like_any_other(
    hardrank: Call, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """S2-28: what it costs stands beside what the teacher costs."""
    out, patch = tmp_path / "small", tmp_path / "small.jsonl"
    done = hardrank(
        "gan", "distil", folders[0], "-o", out, "--size", 2, "--width", 3, "--steps", 60, "-q"
    )
    assert (done.exit_code, done.stderr) == (0, "")
    found = json.loads((out / "quality.json").read_text("utf-8"))["distilled"]
    assert found["parameters"] == 60 * 2 + 60 + (2 + 1 + 4) * 3 + 3 + 3 * 3 + 3
    assert found["parameters"] <= 0.25 * found["parameters_teacher"]
    assert "parameters, of the teacher's: 216 of 917 (23.6%)" in done.stdout
    assert hardrank("gan", "sample", out, "--users", 3, "-o", patch).exit_code == 0
    done = hardrank("gan", "inspect", out)
    assert "total variation from the teacher" in done.stdout
    assert "KL from the teacher" in (out / "inspect.html").read_text("utf-8")
    done = hardrank("gan", "distil", folders[1], "-o", out)
    assert done.exit_code == 3
    assert "only an 'interest-gan' is distilled" in done.stderr
    done = hardrank("gan", "distil", folders[0], "-o", out, "--size", 9)
    assert "the teacher has 917; lower size or width" in done.stderr


@pytest.mark.parametrize("kind", [0, 1])
def test_a_folder_of_another_version_names_file_field_and_remedy(
    hardrank: Call, folders: tuple[Path, Path], tmp_path: Path, kind: int
) -> None:
    """`beta` was a field of the generator once."""
    folder = Path(shutil.copytree(folders[kind], tmp_path / "old"))
    spec = folder / "generator" / "spec.json"
    facts = json.loads(spec.read_text("utf-8"))
    facts["spec"] |= {"beta": 1.0, "noise": 0}
    spec.write_text(json.dumps(facts), "utf-8")
    for words in (("inspect",), ("sample", "-o", tmp_path / "p.jsonl")):
        done = hardrank("gan", words[0], folder, *words[1:])
        assert done.exit_code == 1
        assert f"{spec}: field 'spec.noise' is wrong (Input should be greater" in done.stderr
        assert "field 'spec.beta' is unknown; another version" in done.stderr
        assert "train the generator again with this version" in done.stderr
        assert "pydantic" not in done.stderr


def test_samples_have_the_times_that_the_log_has(
    hardrank: Call, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """The marketplace has times and no ratings, and so do its fake users."""
    out = tmp_path / "p.jsonl"
    for words in (("--users", 3), ("--distinct", 3)):
        assert hardrank("gan", "sample", folders[0], *words, "-o", out).exit_code == 0
        edits = [e for e in Patch.load(out).edits if isinstance(e, AddProfile)]
        assert all(e.ratings is None and e.times is not None for e in edits)
        assert all(len(e.times or ()) == len(e.item_ids) for e in edits)


def test_how_draws_age_is_trained_along_printed_and_drawn(hardrank: Call, tmp_path: Path) -> None:
    """S3-68: the transfer matrix of the checkpoints, and the alarm among the others."""
    file, out = tmp_path / "long.toml", tmp_path / "long"
    file.write_text(DATA + GAN.replace("steps = 20", "steps = 80"), "utf-8")
    done = hardrank("gan", "train", file, "-o", out, "-q")
    assert done.exit_code == 0, done.output
    line = r"more real than a real profile, from its checkpoint to the next: 0\.\d+ to 0\.\d+\n"
    assert re.search(line, done.stdout)
    spec = out / "generator" / "spec.json"
    facts = json.loads(spec.read_text("utf-8"))
    assert [row["round"] for row in facts["transfer"]] == [2, 7]
    facts["transfer"] = [{"round": 2, "success": [0.4, 0.31]}, {"round": 7, "success": [0.45, 0.5]}]
    facts["warnings"] = ["stale: round 7: planted"]
    spec.write_text(json.dumps(facts), "utf-8")
    done = hardrank("gan", "inspect", out)
    assert "health: stale: round 7: planted" in done.stdout
    page = (out / "inspect.html").read_text("utf-8")
    assert "How draws age" in page and "discriminator of round 7" in page
    assert "<td>0.40</td><td>0.31</td>" in page
    assert "stale: round 7: planted" in page


def test_what_has_no_discriminator_does_not_age(hardrank: Call, folders: tuple[Path, Path]) -> None:
    done = hardrank("gan", "inspect", folders[1])
    assert "to the next" not in done.stdout
    page = (folders[1] / "inspect.html").read_text("utf-8")
    assert "Not measured: no discriminator of two checkpoints" in page
