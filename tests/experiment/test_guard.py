"""Fitting and measuring guards (S0-29, S1-03, S4-06)."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardrank.context import RunContext
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.guard import fit_guards, scan_listings
from hardrank.experiment.guard_listings import read_listings
from hardrank.experiment.guard_spec import GuardFitting, load_guard_fitting
from hardrank.experiment.guard_texts import TextFile
from hardrank.guards import EncoderHead, Lesson, Listing, Shop, Verdict, admit
from hardrank.guards.lesson import families
from hardrank.testing.guards import planted_lesson

FILE = """
name = "small"
guards = [{{ kind = "normaliser" }}, {{ kind = "stuffing" }},
          {{ kind = "adversarial-text", trees = 20 }}]
[data]
kind = "table"
path = "{folder}/events.csv"
items = "{folder}/items.csv"
[threat]
goal = {{ kind = "promote", items = "random:12" }}
budget = {{ words = 4, queries = 20, whole_text = true }}
[[attacks]]
kind = "random-words"
[[attacks]]
kind = "random-characters"
[[real]]
name = "spam"
path = "{folder}/spam.tsv"
columns = ["label", "text"]
where = {{ label = "spam" }}
"""


def world(folder: Path) -> Path:
    """240 items and 60 users as files, and the file of a fitting."""
    items = planted_lesson().shop.items
    items.write_csv(folder / "items.csv")
    rng = np.random.default_rng(0)
    lines = [f"u{u},i{i},{n}" for u in range(60) for n, i in enumerate(rng.permutation(240)[:12])]
    (folder / "events.csv").write_text("user_id,item_id,time\n" + "\n".join(lines) + "\n")
    (folder / "spam.tsv").write_text("ham\thello there\nspam\tWIN $$$ now!!! call 0900\n")
    (folder / "guard.toml").write_text(FILE.format(folder=folder))
    return folder / "guard.toml"


def test_fits_measures_and_scans(tmp_path: Path) -> None:
    spec = load_guard_fitting(world(tmp_path))
    done = fit_guards(spec, RunContext(folder=tmp_path / "out"))
    found = {(row.group, row.split): row for row in done.rows}
    assert found["held-out listings", "catalogue"].n == 72
    assert found["held-out listings", "catalogue"].stopped <= 0.1
    for family in ("random-words", "random-characters"):
        assert {("seen"), ("unseen")} == {s for g, s in found if g == family}
    assert found["spam", "real"].n == 1
    assert found["spam", "real"].stopped == 1.0
    said = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert said["rows"] == [vars(row) for row in done.rows]
    listings = [Listing("x", {"title": "Alba so\u200bft fresh cream 125 ml"})]
    assert scan_listings(tmp_path / "out", listings)[0].action in ("mend", "quarantine")


class Deaf:
    """A guard that admits everything."""

    kind, spec = "encoder-head", EncoderHead()

    def inspect(self, listings: list[Listing], shop: Shop) -> list[Verdict]:
        return [admit(self.kind) for _ in listings]


def test_unseen_is_unseen_by_every_guard_that_learns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head is fitted once on all families and once without each, as the trees are."""
    taught: list[list[str]] = []

    def fit(self: EncoderHead, lesson: Lesson) -> Deaf:
        taught.append(sorted(families(lesson.attacked)))
        return Deaf()

    monkeypatch.setattr(EncoderHead, "fit", fit)
    path = world(tmp_path)
    path.write_text(path.read_text().replace("trees = 20 }", 'trees = 20 }, {kind="encoder-head"}'))
    done = fit_guards(load_guard_fitting(path), RunContext(folder=tmp_path / "out"))
    assert taught[0] == ["random-characters", "random-words"]
    assert sorted(taught[1:]) == [["random-characters"], ["random-words"]]
    assert {r.split for r in done.rows} >= {"seen", "unseen"}
    assert done.by_guard["encoder-head"] == 0


def test_says_every_mistake(tmp_path: Path) -> None:
    path = world(tmp_path)
    path.write_text(path.read_text().replace("trees = 20", "tree = 20"))
    with pytest.raises(ConfigError, match="did you mean 'trees'"):
        load_guard_fitting(path)
    text = FILE.format(folder=tmp_path)
    for kind in ("adversarial-text", "encoder-head"):
        other = text.replace('"adversarial-text", trees = 20', f'"{kind}"')
        path.write_text(other[: other.index("[[attacks]]")])
        with pytest.raises(ConfigError, match=f"'{kind}' learns from attacks"):
            load_guard_fitting(path)


def test_reads_texts_of_many_shapes(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"x": ["one", "two"], "y": [{"text": "three", "z": "no"}]}')
    (tmp_path / "b.jsonl").write_text('{"text": "one"}\n\n{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "c.csv").write_text('BODY,CLASS\n"a, b",1\nc,0\n')
    (tmp_path / "d.tsv").write_text("ham\tone\nspam\ttwo\n")
    assert TextFile(name="a", path=tmp_path / "a.json").load() == ["one", "two", "three"]
    assert TextFile(name="b", path=tmp_path / "b.jsonl").load() == ["one", "two"]
    table = TextFile(name="c", path=tmp_path / "c.csv", text="BODY", where={"CLASS": "1"})
    assert table.load() == ["a, b"]
    tabs = TextFile(
        name="d", path=tmp_path / "d.tsv", columns=("label", "text"), where={"label": "spam"}
    )
    assert tabs.load() == ["two"]
    with pytest.raises(DataError, match="no text was found"):
        TextFile(name="c", path=tmp_path / "c.csv").load()


def test_reads_listings(tmp_path: Path) -> None:
    csv, lines = tmp_path / "a.csv", tmp_path / "a.jsonl"
    csv.write_text("item_id,title,events,before.title\na,soap,7,bar\nb,wax,,\n")
    lines.write_text('{"item_id": "a", "title": "soap", "events": 7, "before": {"title": "bar"}}\n')
    first = Listing("a", {"title": "soap"}, {"title": "bar"}, 7)
    assert read_listings(csv) == [first, Listing("b", {"title": "wax"})]
    assert read_listings(lines) == [first]
    lines.write_text('{"item_id": "a", "title": "soap"}\n{"item_id": "b"}\n')
    with pytest.raises(DataError, match="line 2: no text"):
        read_listings(lines)


def plain(folder: Path) -> GuardFitting:
    """A fitting without attacks: quick."""
    text = world(folder).read_text()
    text = text[: text.index("[[attacks]]")]
    text = text[: text.index("guards =")] + 'guards = [{ kind = "normaliser" }]\n' + text[
        text.index("[data]") :
    ]  # fmt: skip
    (folder / "guard.toml").write_text(text)
    return load_guard_fitting(folder / "guard.toml")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_a_fitting_takes_the_place_of_another_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the last file: the guards of before stay with their own items."""
    import hardrank.experiment.guard as module

    spec, out = plain(tmp_path), tmp_path / "out"
    fit_guards(spec, RunContext(folder=out))
    before = files(out)
    assert set(before) >= {"evaluation.json", "items.parquet", "guards/pipeline.json"}
    other = replace(spec, seed=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_json", full)
        with pytest.raises(OSError, match="No space"):
            fit_guards(other, RunContext(folder=out))
    assert files(out) == before
    link = tmp_path / "link"
    link.symlink_to(out)
    fit_guards(other, RunContext(folder=link))
    assert link.is_symlink() and files(out)["items.parquet"] != before["items.parquet"]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_folder_of_something_else_is_refused_before_anything_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = plain(tmp_path)
    monkeypatch.setattr("hardrank.experiment.guard.fit_pipeline", lambda *_: pytest.fail("learned"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.bin").write_text("kept")
    with pytest.raises(ConfigError, match=r"holds 'model\.bin', which no fitting of guards wrote"):
        fit_guards(spec, RunContext(folder=tmp_path / "run"))
    assert (tmp_path / "run" / "model.bin").read_text() == "kept"
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "items.parquet").write_text("somebody's")
    with pytest.raises(ConfigError, match=r"no fitting of guards, but 'items\.parquet'"):
        fit_guards(spec, RunContext(folder=tmp_path / "half"))
    with pytest.raises(ConfigError, match="is no folder"):
        fit_guards(spec, RunContext(folder=tmp_path / "spam.tsv"))


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    fit_guards(plain(tmp_path), RunContext(folder=tmp_path / "out"))
    assert (tmp_path / "out" / "guards" / "pipeline.json").is_file()
