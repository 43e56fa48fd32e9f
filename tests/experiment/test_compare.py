"""Runs side by side: exact numbers from hand-made runs, and what is refused."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from hardrank.cli.main import app
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.compare import Block, Row, compare, compare_json
from hardrank.experiment.compare_show import compare_page, compare_text
from hardrank.files import write_table

Make = Callable[..., Path]
ATTACK = "copycat(candidates=4)"
CONTROL = ([1, 1, 1, 1], {"a": 8, "b": 4})
HARDENED = ([1, 3, 1, 1], {"a": 2, "b": 1})
OTHER = ([3, 3, 1, 1], {"a": 0, "b": 0})


def row(block: Block, name: str) -> Row:
    return next(row for row in block.rows if row.name == name)


def test_each_number_is_the_one_on_paper(make_run: Make) -> None:
    """NDCG of ranks 1, 3, 1, 1 is 3.5 / 4; gains are hits of ten, mean over two targets."""
    first = make_run("one", {"control": CONTROL, "hardened": HARDENED})
    second = make_run("two", {"control": CONTROL, "hardened": OTHER})
    (block,), apart = compare([first, second])
    assert apart == [] and block.runs == ("one", "two")
    assert block.reference == "one: m/control"
    hardened = row(block, "one: m/hardened")
    assert hardened.clean["all"].value == pytest.approx(0.875)
    assert hardened.clean["tail"].value == pytest.approx(0.75)
    assert "cold" not in hardened.clean
    assert hardened.price["all"].value == pytest.approx(0.125)
    assert hardened.price["tail"].value == pytest.approx(0.25)
    assert hardened.difference is not None
    assert hardened.difference.value == pytest.approx(-0.125)
    attack = hardened.attacks[ATTACK]
    assert attack.gain.value == pytest.approx(0.15)
    assert attack.effect is not None and attack.effect.value == pytest.approx(0.75)
    assert attack.difference is not None and attack.difference.value == pytest.approx(-0.45)
    assert attack.queries.value == 4
    other = row(block, "two: m/hardened").attacks[ATTACK]
    assert other.difference is not None and other.difference.value == pytest.approx(-0.6)
    control = row(block, "two: m/control")
    assert control.difference is not None and control.difference.value == 0
    assert not control.price and control.attacks[ATTACK].effect is None
    assert row(block, "one: m/control").difference is None


def test_a_paired_difference_knows_the_pairs(make_run: Make) -> None:
    """Both subjects vary between targets, their difference does not: its interval is a point."""
    first = make_run("one", {"control": ([1] * 4, {"a": 9, "b": 5})})
    second = make_run("two", {"control": ([1] * 4, {"a": 7, "b": 3})})
    (block,), _ = compare([first, second])
    away = row(block, "two: m/control").attacks[ATTACK].difference
    assert away is not None and away.value is not None
    assert away.low == pytest.approx(-0.2) and away.high == pytest.approx(-0.2)


def test_another_reference(make_run: Make) -> None:
    run = make_run("one", {"control": CONTROL, "hardened": HARDENED})
    (block,), _ = compare([run], versus="m/hardened")
    assert block.reference == "one: m/hardened"
    with pytest.raises(ConfigError, match=r"no subject 'm/x'; has: one: m/control"):
        compare([run], versus="m/x")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fingerprint": "e" * 64}, "dataset fingerprint: 'one' has ffffffffffff, 'two' has eeee"),
        ({"protocol": "one cut in time"}, "protocol: 'one' has leave-one-out, 'two' has one cut"),
        ({"k": 7}, f"k of {ATTACK}: 'one' has 5, 'two' has 7"),
        ({"seeds": (1, 2)}, "seeds: 'one' has 0, 'two' has 1, 2; none in common"),
    ],
)
def test_what_differs_is_named_and_refused(
    make_run: Make, changed: dict[str, Any], said: str
) -> None:
    first = make_run("one", {"control": CONTROL})
    second = make_run("two", {"control": CONTROL}, **changed)
    with pytest.raises(ConfigError) as caught:
        compare([first, second])
    assert any(m.startswith(said) for m in caught.value.mistakes), caught.value.mistakes
    assert caught.value.mistakes[-1] == "--anyway shows them in separate blocks"
    blocks, apart = compare([first, second], anyway=True)
    assert [b.runs for b in blocks] == [("one",), ("two",)]
    assert apart == caught.value.mistakes[:-1]


def test_other_targets_and_other_budgets_are_refused(make_run: Make) -> None:
    first = make_run("one", {"control": CONTROL})
    second = make_run("two", {"control": ([1] * 4, {"a": 8, "c": 4})})
    with pytest.raises(ConfigError, match="of seed 0, 'one' and 'two' share 1 of 3"):
        compare([first, second])
    facts = json.loads((first / "run.json").read_text("utf-8"))
    facts["config"]["trials"][0]["threat"]["budget"]["words"] = 3
    third = make_run("three", {"control": CONTROL}, config=facts["config"])
    with pytest.raises(ConfigError, match=r"threat model of copycat.*2 words.*3 words"):
        compare([first, third])


def test_doubt_spreads_to_the_difference(make_run: Make) -> None:
    first = make_run("one", {"control": CONTROL})
    second = make_run("two", {"control": CONTROL}, unreliable="the gradient is masked")
    (block,), _ = compare([first, second])
    assert row(block, "one: m/control").reasons == []
    doubted = row(block, "two: m/control")
    assert doubted.reasons == ["the gradient is masked"]
    assert doubted.difference is not None and not doubted.difference.reliable
    assert "unreliable: the gradient is masked" in compare_text([block])
    rows = compare_json([block], [])["blocks"][0]["rows"]
    assert [r["unreliable"] for r in rows] == [False, True]


def test_a_run_whose_findings_are_not_its_samples_is_refused(make_run: Make) -> None:
    run = make_run("one", {"control": CONTROL})
    stored = json.loads((run / "findings.json").read_text("utf-8"))
    stored[0]["value"] += 0.01
    (run / "findings.json").write_text(json.dumps(stored), "utf-8")
    with pytest.raises(DataError, match=r"the samples say 0\.6"):
        compare([run])


def test_what_is_no_run_is_refused(make_run: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the folder of a finished run"):
        compare([tmp_path])
    run = make_run("one", {"control": CONTROL})
    samples = pl.read_parquet(run / "samples.parquet").filter(pl.col("audit") != "utility")
    write_table(run / "samples.parquet", samples)
    with pytest.raises(DataError, match="classifiers are not"):
        compare([run])


def test_runs_of_one_name_are_told_apart(make_run: Make, tmp_path: Path) -> None:
    first = make_run("one", {"control": CONTROL})
    second = Path(shutil.copytree(first, tmp_path / "copy"))
    (block,), _ = compare([first, second])
    assert block.runs == ("one (one)", "one (copy)")


def test_text_and_page_show_every_subject(make_run: Make) -> None:
    name = "<b>one</b>"
    run = make_run("one", {"control": CONTROL, "hardened": HARDENED})
    facts = json.loads((run / "run.json").read_text("utf-8")) | {"name": name}
    (run / "run.json").write_text(json.dumps(facts), "utf-8")
    blocks, apart = compare([run])
    text, page = compare_text(blocks), compare_page(blocks, apart)
    assert text.count("m/hardened") == 2 and "0.8750" in text
    assert "<b>one" not in page and "&lt;b&gt;one" in page and "<script" not in page
    made = compare_json(blocks, apart)
    json.dumps(made, allow_nan=False)
    assert not any(math.isnan(r["cost"] or 0) for r in made["blocks"][0]["rows"])


def test_the_command_line_writes_both_files(make_run: Make, tmp_path: Path) -> None:
    first = make_run("one", {"control": CONTROL, "hardened": HARDENED})
    second = make_run("two", {"control": CONTROL}, fingerprint="e" * 64)

    def hardrank(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments])

    out = tmp_path / "out"
    done = hardrank("compare", first, "--out", out)
    assert done.exit_code == 0 and f"report: {out / 'compare.html'}" in done.stdout
    assert json.loads((out / "compare.json").read_text("utf-8"))["schema"] == 1
    done = hardrank("compare", first, second, "--out", out)
    assert done.exit_code == 2 and "dataset fingerprint: 'one' has" in done.stderr
    done = hardrank("compare", first, second, "--out", out, "--anyway")
    assert done.exit_code == 0 and "not comparable: dataset fingerprint" in done.stdout
    assert "Not comparable" in (out / "compare.html").read_text("utf-8")
