"""Entries of a leaderboard: round trip, what is refused, what was tampered with, the page."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hardrank.cli.main import app
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.leaderboard import add_entry, entry_of, read_entries, verify_entry
from hardrank.experiment.leaderboard_boards import boards
from hardrank.experiment.leaderboard_spec import as_json, read_entry
from hardrank.files import digest_file
from hardrank.reports.leaderboard import leaderboard_page

Make = Callable[..., Path]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
ATTACK = "copycat(candidates=4)"
ARMS = {"control": ([1, 1, 1, 1], {"a": 8, "b": 4}), "hardened": ([1, 3, 1, 1], {"a": 2, "b": 1})}
CITED = "A. Author, 2026"


def test_an_entry_is_read_back_as_it_was_written(make_run: Make, tmp_path: Path) -> None:
    run = make_run("one", ARMS, seeds=(0, 1, 2))
    path = add_entry(tmp_path / "entries", run, citation=CITED, name="Tough Model")
    assert path.name == "tough-model-ffffffff.json"
    entry = read_entry(path)
    assert entry == entry_of(run, citation=CITED, name="Tough Model")
    assert json.loads(path.read_text("utf-8")) == as_json(entry)
    assert entry.samples_sha256 == digest_file(run / "samples.parquet")
    assert (entry.unreliable, entry.reasons, entry.seeds) == (False, (), (0, 1, 2))
    assert entry.threats[0].attacks == (ATTACK,) and entry.threats[0].k == 5
    gain = entry.figure("worst(er_gain)", f"strongest of: {ATTACK}")
    assert gain is not None and gain.value == pytest.approx(0.15) and gain.n == 2
    plain = entry.reference(f"er_gain@{5}", ATTACK)
    assert plain is not None and plain.value == pytest.approx(0.6)
    price = entry.figure("price(ndcg@10)", group="tail")
    assert price is not None and price.value == pytest.approx(0.25)
    assert verify_entry(path, run) == []


def test_few_seeds_and_doubtful_numbers_are_flagged(make_run: Make) -> None:
    run = make_run("one", ARMS, unreliable="the gradient is masked")
    entry = entry_of(run, citation=CITED)
    assert entry.unreliable
    assert entry.reasons == (
        "the gradient is masked", "1 seed; fewer than 3 do not tell luck from method",
    )  # fmt: skip
    strongest = entry.figure("worst(er_gain)", f"strongest of: {ATTACK}")
    assert strongest is not None and not strongest.reliable


def test_what_shows_nothing_is_refused(make_run: Make) -> None:
    alone = make_run("alone", {"hardened": ARMS["hardened"]})
    with pytest.raises(DataError, match="'m/hardened' has no control arm"):
        entry_of(alone, citation=CITED)
    plain = make_run("plain", {"control": ARMS["control"]})
    with pytest.raises(DataError, match="no hardened arm of 'm'"):
        entry_of(plain, citation=CITED)
    calm = make_run("calm", ARMS, config={"data": {"kind": "table"}})
    with pytest.raises(DataError, match="no attack that promotes"):
        entry_of(calm, citation=CITED)
    two = make_run("two", {**ARMS, "trades": ARMS["hardened"]})
    with pytest.raises(ConfigError, match="name one of hardened, trades"):
        entry_of(two, citation=CITED)
    assert entry_of(two, citation=CITED, arm="trades").subject == "m/trades"


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda e: e["figures"][0].update(value=0.99), "figures.0.value: entry 0.99, run 0.875"),
        (lambda e: e["figures"][0].update(low=0.1), "figures.0.low: entry 0.1"),
        (lambda e: e.update(unreliable=False, reasons=[]), "unreliable: entry False, run True"),
        (lambda e: e.update(samples_sha256="0" * 64), "samples_sha256: entry 0000"),
        (lambda e: e.update(seeds=[0, 1, 2]), "seeds: entry [0, 1, 2], run [0]"),
        (lambda e: e["threats"][0].update(description="weak"), "threats.0.description: entry weak"),
    ],
)
def test_a_tampered_entry_is_caught(
    make_run: Make, tmp_path: Path, tamper: Callable[[Any], None], said: str
) -> None:
    run = make_run("one", ARMS)
    path = add_entry(tmp_path, run, citation=CITED)
    entry = json.loads(path.read_text("utf-8"))
    tamper(entry)
    path.write_text(json.dumps(entry), "utf-8")
    found = verify_entry(path, run)
    assert any(line.startswith(said) for line in found), found


def test_an_entry_of_another_run_is_caught(make_run: Make, tmp_path: Path) -> None:
    first, second = make_run("one", ARMS), make_run("two", ARMS | {"hardened": ARMS["control"]})
    path = add_entry(tmp_path, first, citation=CITED)
    assert any(line.startswith("samples_sha256") for line in verify_entry(path, second))


def test_every_mistake_of_every_file_is_named(make_run: Make, tmp_path: Path) -> None:
    run, folder = make_run("one", ARMS), tmp_path / "entries"
    good = json.loads(add_entry(folder, run, citation=CITED).read_text("utf-8"))
    (folder / "broken.json").write_text("{", "utf-8")
    late = {**good, "schema": 2}
    (folder / "late.json").write_text(json.dumps(late), "utf-8")
    wrong = {**good, "name": "", "unreliable": False, "stars": 5}
    wrong["figures"] = [{**good["figures"][0], "value": "high"}]
    (folder / "wrong.json").write_text(json.dumps(wrong), "utf-8")
    (folder / "twin.json").write_text(json.dumps(good), "utf-8")
    with pytest.raises(ConfigError) as caught:
        read_entries(folder)
    said = "\n".join(caught.value.mistakes)
    for part in (
        "broken.json: file: not JSON", "late.json: schema: version 2 is newer than 1; install",
        "wrong.json: name: ", "wrong.json: stars: unknown key", "wrong.json: figures.0.value: ",
        "twin.json: name: 'one' is one-ffffffff.json too; remove one",
    ):  # fmt: skip
        assert part in said, said
    assert "make the entry again with `hardrank leaderboard add`" in said


def test_doubt_that_an_entry_hides_is_a_mistake(make_run: Make, tmp_path: Path) -> None:
    path = add_entry(tmp_path, make_run("one", ARMS, unreliable="masked"), citation=CITED)
    entry = json.loads(path.read_text("utf-8"))
    entry.update(unreliable=False, reasons=[])
    path.write_text(json.dumps(entry), "utf-8")
    with pytest.raises(ConfigError, match="a figure is not reliable and this is missing: masked"):
        read_entry(path)


def test_the_page_ranks_reliable_entries_first(make_run: Make, tmp_path: Path) -> None:
    """The unreliable entry has the least gain and still stands below."""
    worse = ARMS | {"hardened": ([1] * 4, {"a": 6, "b": 2})}
    none = ARMS | {"hardened": ([1] * 4, {"a": 0, "b": 0})}
    for name, arms, seeds in (("fair", ARMS, 3), ("weak", worse, 3), ("<i>lucky</i>", none, 1)):
        run = make_run(f"run-{seeds}-{name[0] == '<'}-{name[:4].strip('<>/')}", arms,
                       seeds=range(seeds))  # fmt: skip
        add_entry(tmp_path / "entries", run, citation=CITED, name=name)
    (board,) = boards(read_entries(tmp_path / "entries"))
    assert [p.name for p in board.ordered] == ["fair", "weak", "<i>lucky</i>"]
    assert [p.gain.value for p in board.ordered] == pytest.approx([0.15, 0.4, 0.0])
    page = leaderboard_page("Board", [board])
    assert page.index(">fair<") < page.index(">weak<") < page.index("&lt;i&gt;lucky")
    assert "<i>lucky" not in page
    assert page.count("<script") == 1 and "src=" not in page and "http://" not in page


def test_other_data_or_threats_are_other_boards(make_run: Make, tmp_path: Path) -> None:
    add_entry(tmp_path, make_run("one", ARMS), citation=CITED)
    add_entry(tmp_path, make_run("two", ARMS, fingerprint="e" * 64), citation=CITED)
    add_entry(tmp_path, make_run("three", ARMS, k=7), citation=CITED)
    assert [len(b.places) for b in boards(read_entries(tmp_path))] == [1, 1, 1]


def test_the_command_line_adds_builds_and_verifies(make_run: Make, tmp_path: Path) -> None:
    run, entries, page = make_run("one", ARMS), tmp_path / "entries", tmp_path / "board.html"

    def hardrank(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments])

    done = hardrank("leaderboard", "add", run, "--citation", CITED, "--entry", entries)
    assert done.exit_code == 0 and "unreliable: 1 seed; " in done.stdout
    (entry,) = entries.glob("*.json")
    done = hardrank("leaderboard", "verify", entry, run)
    assert done.exit_code == 0 and "every figure recomputed and equal" in done.stdout
    done = hardrank("leaderboard", "build", entries, "--out", page, "--title", "Ours")
    assert done.exit_code == 0 and done.stdout == f"1 entry: {page}\n"
    assert "<h1>Ours</h1>" in page.read_text("utf-8")
    stored = json.loads(entry.read_text("utf-8"))
    stored["figures"][0]["value"] = 0.99
    entry.write_text(json.dumps(stored), "utf-8")
    done = hardrank("leaderboard", "verify", entry, run)
    assert done.exit_code == 1 and "figures.0.value: entry 0.99, run 0.875" in done.stdout


_PRESS = """
<script>
onload = () => {
  const seen = document.querySelector("iframe").contentDocument, said = [];
  const names = () => [...seen.querySelectorAll("tbody th")].map(c => c.dataset.v).join(" ");
  said.push(names());
  const press = n => seen.querySelectorAll("thead button")[n].click();
  press(1); said.push(names());
  press(0); said.push(names());
  const choice = seen.querySelector("[data-filter=threat]");
  said.push(String(!seen.querySelector(".filters").hidden));
  choice.value = choice.options[1].value;
  choice.dispatchEvent(new Event("change"));
  said.push(String(seen.querySelector(".board").hidden));
  document.body.append(Object.assign(document.createElement("pre"), {textContent:
    "FOUND " + said.join(" | ")}));
};
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium here; the page is parsed by others")
def test_a_browser_sorts_and_filters(make_run: Make, tmp_path: Path) -> None:
    """Unreliable entries stay below whatever is sorted, in both directions."""
    worse = ARMS | {"hardened": ([1] * 4, {"a": 6, "b": 2})}
    none = ARMS | {"hardened": ([1] * 4, {"a": 0, "b": 0})}
    for name, arms, seeds in (("fair", ARMS, 3), ("weak", worse, 3), ("lucky", none, 1)):
        add_entry(tmp_path / "e", make_run(name, arms, seeds=range(seeds)), citation=CITED)
    page = leaderboard_page("Board", boards(read_entries(tmp_path / "e")))
    held = page.replace("&", "&amp;").replace('"', "&quot;")
    look = tmp_path / "look.html"
    look.write_text(f'<!doctype html><body><iframe srcdoc="{held}"></iframe>{_PRESS}', "utf-8")
    assert BROWSER is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={tmp_path / 'profile'}"]  # fmt: skip
    seen = subprocess.run(
        [BROWSER, *flags, "--dump-dom", look.as_uri()], check=True, timeout=120,
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    found = seen[seen.rindex("FOUND ") :].split("</pre>")[0]
    assert found == ("FOUND fair weak lucky | weak fair lucky | fair weak lucky | true | false"), (
        found
    )
