"""`hardrank gan segments` and `hardrank gan probe` on a shop of one's own."""

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hardrank.bundle import load_arrays, save_bundle
from hardrank.context import RunContext
from hardrank.data.sources import Marketplace
from hardrank.data.splits import LeaveOneOut
from hardrank.experiment.probing_spec import parse_probe
from hardrank.experiment.segments_spec import load_segments, parse_segments
from hardrank.generators.patterns import LatentSegments
from hardrank.models import ItemKnn

ROOT = Path(__file__).parents[2]
Call = Callable[..., Any]
SHOP = Marketplace(users=60, items=60, median_events=6)
ABOUT = {"name": "small", "synthetic": True}
DATA = 'data = { kind = "marketplace", users = 60, items = 60, median_events = 6 }'
GAN = (
    '{ kind = "interest-gan", size = 4, noise = 4, width = 8, steps = 10, warmup = 4, every = 5, '
    "batch_size = 16 }"
)
PROBE = f"""
name = "shop"
{DATA}
model = {{ kind = "item-knn" }}
draws = 3
keep = 0.5
generator = {GAN}
"""
SEGMENTS = f"""
name = "shop"
{DATA}
models = [{{ kind = "item-knn" }}]
segments = {{ epochs = 10, width = 16, size = 4, most = 4 }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "probe.toml").write_text(PROBE, "utf-8")
    (tmp_path / "segments.toml").write_text(SEGMENTS, "utf-8")
    (tmp_path / "gan.toml").write_text(f'name = "shop"\n{DATA}\ngan = {GAN}\n', "utf-8")
    return tmp_path


def test_the_page_about_both_is_right() -> None:
    """Its two files are read as the commands read them."""
    text = (ROOT / "docs" / "patterns.md").read_text("utf-8")
    files = [tomllib.loads(b) for b in re.findall(r"^```\n(name = .*?)^```$", text, re.M | re.S)]
    segments, probe = files
    assert parse_segments(segments).models[0].kind == "item-knn"
    assert parse_probe(probe).separator == " "
    about = {f.name: f.default for f in fields(LatentSegments)}
    table = {
        key: value
        for row in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", text, re.M)
        for key, value in zip(re.findall(r"`(\w+)`", row[0]), row[1].split(", "), strict=False)
        if key in about
    }
    told = {k: float(v) for k, v in table.items() if k not in ("encoder", "segments")}
    assert told == {k: about[k] for k in told} and len(told) == 7


def test_probe_says_where_it_fails(hardrank: Call, folder: Path) -> None:
    """S2-03: verdict, a line a region, and the files."""
    out = folder / "probe"
    done = hardrank("gan", "probe", folder / "probe.toml", "-o", out, "-q")
    assert done.exit_code == 0, done.output
    kept = json.loads((out / "findings.json").read_text("utf-8"))
    lines = done.stdout.splitlines()
    assert lines[0] == kept["verdict"] and lines[-1] == f"page: {out / 'probe.html'}"
    assert len(lines) == len(kept["regions"]) + (3 if kept["regions"] else 2)
    assert {p.name for p in out.iterdir()} >= {"samples.parquet", "run.json", "probe.html"}


def test_a_bundle_is_probed_as_the_model_it_holds(hardrank: Call, folder: Path) -> None:
    """The same findings but for its name; one of another catalogue is refused."""
    train = LeaveOneOut().split(SHOP.load()).train
    save_bundle(folder / "same", ItemKnn(), ItemKnn().fit(train, RunContext()), train, ABOUT)
    other = replace(SHOP, items=70).load()
    save_bundle(folder / "other", ItemKnn(), ItemKnn().fit(other, RunContext()), other, ABOUT)
    file, probe = folder / "probe.toml", folder / "without.toml"
    probe.write_text(PROBE.replace('model = { kind = "item-knn" }', ""), "utf-8")
    found = []
    for name, given in (("a", (file,)), ("b", (probe, "--bundle", folder / "same"))):
        done = hardrank("gan", "probe", *given, "-o", folder / name, "-q")
        assert done.exit_code == 0, done.output
        found.append(json.loads((folder / name / "findings.json").read_text("utf-8")))
    assert found[0].pop("model") == "item-knn" and found[1].pop("model") == str(folder / "same")
    assert found[0] == found[1]
    samples = [pl.read_parquet(folder / name / "samples.parquet") for name in "ab"]
    assert samples[0].equals(samples[1])
    asked = ("gan", "probe", probe, "-o", folder / "c", "-q", "--bundle")
    done = hardrank(*asked, folder / "other")
    assert done.exit_code == 3 and "ranks another catalogue than" in done.stderr
    done = hardrank(*asked, folder / "nowhere")
    assert done.exit_code == 1 and "nowhere: no SHA256SUMS; is this a bundle?" in done.stderr


@pytest.mark.parametrize(
    ("more", "given", "code", "said"),
    [
        ("repair = {}", ("--bundle", "x"), 2, "repair: needs [model]; a bundle cannot be"),
        ('model = { kind = "item-knn" }', ("--bundle", "x"), 2, "or --bundle, and not both"),
        ("", (), 2, "model: give [model] in the file"),
        ('model = { kind = "item-knn" }\ncategory = "colour"', (), 3,
         "field 'category': items have no column 'colour'; name one of item_id, "),
    ],
)  # fmt: skip
def test_probe_says_what_is_wrong_before_it_trains(
    hardrank: Call, folder: Path, more: str, given: tuple[str, ...], code: int, said: str
) -> None:
    text = PROBE.replace('model = { kind = "item-knn" }', "")
    (folder / "probe.toml").write_text(f"{text}\n{more}\n", "utf-8")
    done = hardrank("gan", "probe", folder / "probe.toml", "-o", folder / "out", "-q", *given)
    assert done.exit_code == code and said in done.stderr
    assert not (folder / "out" / "generator").exists()


def _files(out: Path) -> dict[str, bytes]:
    """All but what tells the time."""
    return {p.name: p.read_bytes() for p in out.iterdir() if p.is_file() and p.name != "run.json"}


class Killed(BaseException):
    """No `except Exception` stops it, as none stops a kill."""


@pytest.mark.parametrize(
    ("command", "at"),
    [
        ("probe", "hardrank.experiment.probing.probed"),
        ("probe", "hardrank.experiment.probing.write_json"),
        ("segments", "hardrank.experiment.segments.worth_of"),
        ("segments", "hardrank.experiment.segments.write_json"),
    ],
)
def test_killed_and_run_again_it_says_the_same(
    hardrank: Call, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, at: str
) -> None:
    """In a folder that a killed run left, the files of a run that was not."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    file = folder / f"{command}.toml"
    assert hardrank("gan", command, file, "-o", folder / "whole", "-q").exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(at, killed)
        with pytest.raises(Killed):
            hardrank("gan", command, file, "-o", folder / "torn", "-q")
    done = hardrank("gan", command, file, "-o", folder / "torn", "-q")
    assert (done.exit_code, done.stderr) == (0, "")
    assert _files(folder / "torn") == _files(folder / "whole")


def test_probe_reads_its_file_first(hardrank: Call, folder: Path) -> None:
    done = hardrank("gan", "probe", folder / "probe.toml", "--check")
    assert done.exit_code == 0 and done.stdout == f"{folder / 'probe.toml'}: fine\n"
    (folder / "probe.toml").write_text(PROBE.replace("draws", "draw"), "utf-8")
    done = hardrank("gan", "probe", folder / "probe.toml", "--check")
    assert done.exit_code == 2 and "draw: unknown key; did you mean 'draws'?" in done.output


def test_segments_are_told_and_kept(hardrank: Call, folder: Path) -> None:
    """S4-09: a line a segment, both encoders, and an answer for each model."""
    out = folder / "segments"
    done = hardrank("gan", "segments", folder / "segments.toml", "-o", out, "-q")
    assert done.exit_code == 0, done.output
    facts = json.loads((out / "segments.json").read_text("utf-8"))
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["segment", "users", "cohesion", "more", "of", "(lift)"]
    assert {"autoencoder", "svd"} == set(facts["worth"])
    assert any(s.startswith(("item-knn: gain (", "item-knn: no gain (")) for s in lines)
    users = pl.read_parquet(out / "segments.parquet")
    assert users.height == 60 and users["segment"].max() == len(facts["segments"]) - 1
    assert [c for c in users.columns if c.startswith("z")] == ["z0", "z1", "z2", "z3"]
    assert "centres" in load_arrays(out / "weights.safetensors")
    page = (out / "segments.html").read_text("utf-8")
    assert "As a feature for ranking" in page and "<script" not in page


def test_segments_read_the_data_of_a_trained_generator(hardrank: Call, folder: Path) -> None:
    done = hardrank("gan", "train", folder / "gan.toml", "-o", folder / "gan", "-q")
    assert done.exit_code == 0, done.output
    experiment, raw = load_segments(folder / "gan")
    assert experiment.name == "shop" and experiment.models == () and "gan" not in raw
    for torn in (None, "5", "[1]", "{"):
        if torn is not None:
            (folder / "gan" / "experiment.json").write_text(torn, "utf-8")
        done = hardrank("gan", "segments", folder / "gan" if torn else folder, "--check")
        assert done.exit_code == 1
        assert re.search("holds no trained generator .*; name a folder of", done.stderr)
