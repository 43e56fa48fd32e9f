"""What the commands about poisoned logs say when a person or the machine stops them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hardrank.attacks.roll import ROLL
from hardrank.cli.main import app
from hardrank.experiment import augment, detect, gan, poison

DATA = '[data]\nkind = "marketplace"\nusers = 60\nitems = 60\n'
FILES = {
    "poison.toml": 'name = "p"\n' + DATA + '[[models]]\nkind = "ease"\n'
    '[threat]\nsurface = "profiles"\ngoal = { kind = "promote", items = "unpopular:1" }\n'
    'budget = { profiles = 2, profile_events = 5 }\n[[attacks]]\nkind = "copy-profile"\n',
    "gan.toml": 'name = "g"\n' + DATA,
    "augment.toml": 'name = "a"\n' + DATA + '[[models]]\nkind = "item-knn"\n',
    "detect.toml": 'name = "d"\n' + DATA + '[[attacks]]\nkind = "copy-profile"\n',
}
PATIENT = (
    (("attack", "poison", "poison.toml"), poison, "run_poisoning"),
    (("gan", "train", "gan.toml"), gan, "train_gan"),
    (("gan", "augment", "augment.toml"), augment, "run_augmentation"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stopped(error: BaseException) -> Callable[..., Any]:
    def stop(*_: Any, **__: Any) -> Any:
        raise error

    return stop


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("words", "room", "name"), PATIENT)
def test_ctrl_c_says_that_it_can_be_resumed(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], room: Any, name: str
) -> None:
    monkeypatch.setattr(room, name, stopped(KeyboardInterrupt()))
    done = CliRunner().invoke(app, [*words, "-q", "-o", "out"])
    assert done.exit_code == 130
    assert done.stderr.splitlines()[-1] == "hardrank: interrupted: run again to resume"


@pytest.mark.usefixtures("folder")
def test_ctrl_c_promises_nothing_that_cannot_be_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "fit_detector", stopped(KeyboardInterrupt()))
    done = CliRunner().invoke(app, ["detect", "fit", "detect.toml", "-q", "-o", "out"])
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (130, "hardrank: interrupted")


def test_a_file_in_the_way_is_named_with_a_remedy(folder: Path) -> None:
    """Not the temporary file beside it, and not the path alone."""
    (folder / "taken").mkdir()
    (folder / "file").write_text("", "utf-8")
    fails = {
        "taken": IsADirectoryError(21, "Is a directory", ".taken.x.part", None, "taken"),
        "file": FileExistsError(17, "File exists", "file"),
    }
    told = {"taken": "that is a folder: name a file", "file": "a file stands where a folder should"}
    for name, error in fails.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gan, "train_gan", stopped(error))
            done = CliRunner().invoke(app, ["gan", "train", "gan.toml", "-q", "-o", name])
        assert done.exit_code == 4
        assert f"hardrank: {name}: " in done.stderr and told[name] in done.stderr


def test_a_scan_that_judges_nobody_is_no_clean_bill(folder: Path) -> None:
    """A detector of rushes in a log without times finds nothing, and that is said."""
    events = "".join(f"u{u},i{(u + n) % 9}\n" for u in range(30) for n in range(5))
    (folder / "log.csv").write_text("user_id,item_id\n" + events, "utf-8")
    (folder / "scan.toml").write_text('data = { kind = "table", path = "log.csv" }', "utf-8")
    words = ["detect", "scan", "bursts", "--data", "scan.toml", "-o", "out"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 3
    assert "judges none of the 30 users" in done.stderr and "take one that" in done.stderr
    assert not (folder / "out" / "users.parquet").exists()


def test_a_disk_that_is_full_is_said_with_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed write names no file by itself; nothing half-written stays."""
    from hardrank import files

    monkeypatch.setattr(files.os, "fsync", stopped(OSError(28, "No space left on device")))
    path = folder / "out" / "matches.jsonl"
    with pytest.raises(OSError, match="No space left") as caught:
        files.write_text(path, "x")
    assert caught.value.filename == str(path)
    assert not list((folder / "out").iterdir())


def test_every_attack_on_profiles_says_what_it_does_and_whose_it_is() -> None:
    """The list has a sentence for each, not a citation."""
    made: Any = ROLL
    for attack in made:
        first = (attack.__doc__ or "").strip().splitlines()[0]
        assert not any(f" {year}" in first for year in range(1990, 2031)), attack.kind
