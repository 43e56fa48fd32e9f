"""`hardrank audit`: from somebody's recommender to a report and an exit code."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from tests.victims.stubs import Stub, length_scores, ranked, serving

from hardrank.experiment.audit_spec import parse_audit

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., Result]

DATA = 'data = { kind = "marketplace", users = 60, items = 80, median_events = 6 }\n'
GOAL = 'goal = { kind = "promote", items = "unpopular:3" }'
TRIAL = """
[[trials]]
threat = {{ {goal}, knowledge = "{knowledge}", budget = {{ {budget} }} }}
attacks = [{attacks}]
"""
COPYCAT = '{ kind = "copycat", candidates = 5 }'
GREEDY = '{ kind = "greedy-words", vocabulary = 4 }'


def audit(
    head: str = "", *, victim: str = "", knowledge: str = "scores", goal: str = GOAL,
    budget: str = "words = 2, queries = 30, whole_text = true", attacks: str = COPYCAT,
) -> str:  # fmt: skip
    trial = TRIAL.format(goal=goal, knowledge=knowledge, budget=budget, attacks=attacks)
    told = f"[victim]\n{victim}\n" if victim else ""
    return f'name = "a"\npanel = 8\nusers = 25\n{head}{DATA}{told}{trial}'


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def _path() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture
def play(hardrank: Call, tmp_path: Path) -> Callable[..., Result]:
    def call(text: str, *more: object) -> Result:
        file = tmp_path / "a.toml"
        file.write_text(text, "utf-8")
        return hardrank("audit", file, "--out", tmp_path / "run", "--quiet", *more)

    return call


def rows(folder: Path) -> pl.DataFrame:
    table = pl.read_parquet(folder / "samples.parquet")
    return table.filter(pl.col("audit") == "promotion")


def found(folder: Path, metric: str, trial: str = "") -> dict[str, Any]:
    made = json.loads((folder / "findings.json").read_text("utf-8"))
    return next(f for f in made if f["metric"] == metric and trial in f["trial"])


def test_the_example_runs_and_its_numbers_are_those_of_its_samples(
    hardrank: Call, tmp_path: Path
) -> None:
    done = hardrank("audit", ROOT / "examples/audit/audit.toml", "--out", tmp_path / "run", "-q")
    assert done.exit_code == 1, done.output
    assert "FAILED  er_gain@10 > 0.10" in done.output
    assert "ok      ndcg@10 < 0.02" in done.output
    for name in ("report.html", "findings.json", "samples.parquet", "matches/victim-0.jsonl"):
        assert (tmp_path / "run" / name).is_file(), name
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "Synthetic data" in page and "word_overlap:rank, which answers scores" in page
    verified = hardrank("report", "verify", tmp_path / "run")
    total = len(json.loads((tmp_path / "run" / "findings.json").read_text("utf-8")))
    assert verified.output == f"{total} of {total} numbers recomputed and equal\n"


def test_an_audit_over_http(play: Call, stub: Stub, tmp_path: Path) -> None:
    text = audit('fail_if = ["er_gain@10[copycat] > 1", "asr >= 2"]\n')
    done = play(text, "--victim", stub.url)
    assert done.exit_code == 0, done.output
    assert "ok" in done.output and "FAILED" not in done.output
    assert rows(tmp_path / "run")["error"].null_count() == 3
    rulings = json.loads((tmp_path / "run" / "thresholds.json").read_text("utf-8"))
    assert [r["fails"] for r in rulings] == [False, False]
    facts = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert facts["host"]["victim, requests"] == len(stub.bodies) + 1  # and the contract page
    gates = ("answers_alike_twice", "answers_alike_at_the_end", "reads_item_text")
    assert [found(tmp_path / "run", name)["value"] for name in gates] == [1.0, 1.0, 1.0]


def test_a_threshold_that_holds_fails_the_build(play: Call, stub: Stub) -> None:
    done = play(audit('fail_if = ["rank_after[copycat] >= 1"]\n'), "--victim", stub.url)
    assert done.exit_code == 1
    assert "FAILED  rank_after[copycat] >= 1" in done.output


def test_a_victim_that_answers_ranks(play: Call, stub: Stub, tmp_path: Path) -> None:
    stub.answer = lambda asked: ranked(length_scores(asked), asked)
    done = play(audit(knowledge="ranks"), "--victim", stub.url)
    assert done.exit_code == 0, done.output
    by_ranks = rows(tmp_path / "run")
    stub.answer = length_scores
    shutil.rmtree(tmp_path / "run")
    assert play(audit(knowledge="ranks"), "--victim", stub.url).exit_code == 0
    same = ["sample", "hits_before", "hits_after", "rank_before", "rank_after", "text_after"]
    assert by_ranks.select(same).equals(rows(tmp_path / "run").select(same))


def test_scores_that_the_victim_does_not_answer_are_not_granted(
    play: Call, stub: Stub, tmp_path: Path
) -> None:
    stub.answer = lambda asked: ranked(length_scores(asked), asked)
    text = audit('fail_if = ["er_gain@10 > 0.01"]\n', attacks=f"{COPYCAT}, {GREEDY}")
    done = play(text, "--victim", stub.url)
    assert done.exit_code == 1, "what was not measured was not passed"
    said = set(rows(tmp_path / "run")["error"])
    assert said == {"the threat grants scores, the victim answers ranks alone; "
                    "set knowledge = 'ranks'"}  # fmt: skip
    gain = found(tmp_path / "run", "er_gain@10", "greedy")
    assert (gain["value"], gain["n"]) == (None, 0)
    assert "the victim answers ranks alone" in gain["reason"]


def test_two_trials_of_the_same_attack_have_names(play: Call, stub: Stub, tmp_path: Path) -> None:
    trials = [
        TRIAL.format(goal=GOAL, knowledge=k, budget=f"words = {n}, queries = 20", attacks=GREEDY)
        for k, n in (("scores", 1), ("scores", 2), ("gradients", 1))
    ]
    named = [
        t.replace("threat", f'name = "{n}"\nthreat') for t, n in zip(trials, "abc", strict=True)
    ]
    text = audit('fail_if = ["words[greedy-words(vocabulary=4) (b)] > 1"]\n')
    done = play(text.split("[[trials]]")[0] + "".join(named), "--victim", stub.url)
    assert done.exit_code == 1, done.output
    label = "greedy-words(vocabulary=4)"
    made = rows(tmp_path / "run").group_by("trial", maintain_order=True).agg(
        pl.col("words").max(), pl.col("error").first().str.head(27)
    )  # fmt: skip
    assert made.rows() == [
        (f"{label} (a)", 1, None), (f"{label} (b)", 2, None),
        (f"{label} (c)", None, "the threat grants gradients"),
    ]  # fmt: skip


def test_a_bundle_as_victim(play: Call, bundle: Path, tmp_path: Path) -> None:
    done = play(audit(attacks=f"{COPYCAT}, {GREEDY}"), "--victim", bundle)
    assert done.exit_code == 0, done.output
    assert rows(tmp_path / "run")["subject"].unique().to_list() == ["bundle/control"]


def test_a_bundle_of_other_data(play: Call, bundle: Path) -> None:
    text = audit().replace("items = 80", "items = 90")
    done = play(text, "--victim", bundle)
    assert done.exit_code == 3
    assert "ranks another catalogue" in done.output


def test_all_mistakes_at_once(play: Call) -> None:
    text = audit(
        'sedes = [1]\nfail_if = ["asr >> 1", "mrr < 0.1"]\n',
        victim='kind = "http"\nurl = "127.0.0.1"\nretry = 3\ntimeout = 0',
        goal='goal = { kind = "promote", k = 0 }',
    )
    done = play(text)
    assert done.exit_code == 2
    for line in (
        "fail_if: cannot read 'asr >> 1'",
        "sedes: unknown key; did you mean 'seeds'?",
        "trials.0.threat.goal.promote.k: must be at least 1 (is 0)",
        "victim.http.retry: unknown key; did you mean 'retries'?",
        "victim.http.timeout: must be above 0 (is 0)",
        "victim.http.url: write http://host:port/path",
    ):
        assert line in done.output, line


def test_clashes_are_named_too(play: Call, stub: Stub) -> None:
    text = audit('fail_if = ["er_gain@5 > 0", "asr[hotflip] > 0", "mrr < 0"]\n').replace(
        'knowledge = "scores"', 'field = "description"'
    )
    done = play(text, "--victim", stub.url)
    assert done.exit_code == 2
    assert "trials.0.threat.field: 'description' is not sent to the victim" in done.output
    assert "fail_if.0: no metric 'er_gain@5' is measured; allowed: asr, er_after@10" in done.output
    assert "fail_if.1: no attack 'hotflip'; allowed: copycat(candidates=5), copycat" in done.output
    assert "fail_if.2" not in done.output
    assert not stub.bodies


def test_without_a_victim(play: Call) -> None:
    done = play(audit())
    assert done.exit_code == 2
    assert "victim: missing; write [victim], or give --victim" in done.output
    done = play(audit(), "--victim", "no-such-thing")
    assert done.exit_code == 2
    assert "'no-such-thing' is no bundle; a victim is module:callable" in done.output
    done = play(audit(), "--victim", "no_such_module_anywhere:rank")
    assert done.exit_code == 2
    assert "no module 'no_such_module_anywhere'" in done.output


def test_a_file_that_is_not_there_or_no_toml(hardrank: Call, play: Call, tmp_path: Path) -> None:
    assert "no such file" in hardrank("audit", tmp_path / "no.toml").output
    done = play("name = ")
    assert done.exit_code == 2 and "not TOML" in done.output
    (tmp_path / "a.toml").write_bytes(b"# \xff")
    done = hardrank("audit", tmp_path / "a.toml")
    assert done.exit_code == 2 and "line 1: not UTF-8" in done.output


def test_check_asks_nobody(play: Call, stub: Stub) -> None:
    done = play(audit(), "--victim", stub.url, "--check")
    assert done.exit_code == 0 and done.output.endswith(": fine\n")
    assert not stub.bodies


def test_the_command_line_goes_before_the_file() -> None:
    raw = {"data": {"kind": "marketplace"},
           "victim": {"kind": "http", "url": "http://a/", "repeats": 3},
           "trials": [{"threat": {"goal": {"kind": "promote"}, "budget": {"words": 1}},
                       "attacks": [{"kind": "random-words"}]}]}  # fmt: skip
    same = parse_audit(raw, victim="http://b/").victim
    assert (same.url, same.repeats) == ("http://b/", 3)  # type: ignore[union-attr]
    other = parse_audit(raw, victim="shop:rank").victim
    assert (other.kind, other.repeats) == ("callable", 1)  # type: ignore[union-attr]


def test_targets_that_do_not_exist_are_listed(play: Call, stub: Stub) -> None:
    goal = 'goal = { kind = "promote", items = ["item-00001", "nope", "nada"] }'
    done = play(audit(goal=goal), "--victim", stub.url)
    assert done.exit_code == 3
    assert "targets are not in the catalogue: " in done.output
    assert "nope, nada; check goal.items" in done.output
    assert not stub.bodies


def test_targets_that_rank_first_already_are_excluded_and_counted(
    play: Call, stub: Stub, tmp_path: Path
) -> None:
    items = parse_audit(
        {"data": {"kind": "marketplace", "users": 60, "items": 80, "median_events": 6},
         "victim": {"kind": "http", "url": stub.url},
         "trials": [{"threat": {"goal": {"kind": "promote"}, "budget": {"words": 1}},
                     "attacks": [{"kind": "random-words"}]}]}
    ).data.load().items  # fmt: skip
    longest = items.sort(pl.col("title").str.len_chars(), descending=True)["item_id"]
    goal = f'goal = {{ kind = "promote", items = ["{longest[0]}", "{longest[-1]}"] }}'
    done = play(audit(goal=goal), "--victim", stub.url)
    assert done.exit_code == 0, done.output
    there = dict(rows(tmp_path / "run").select("sample", "excluded").iter_rows())
    assert there == {longest[0]: True, longest[-1]: False}
    assert found(tmp_path / "run", "excluded")["value"] == 0.5
    assert found(tmp_path / "run", "asr")["n"] == 1


def test_a_budget_of_zero_changes_nothing(play: Call, stub: Stub, tmp_path: Path) -> None:
    text = audit(
        'fail_if = ["er_gain@10 > 0"]\n', budget="words = 0, queries = 0",
        attacks=f'{COPYCAT}, {GREEDY}, {{ kind = "random-words" }}',
    )  # fmt: skip
    done = play(text, "--victim", stub.url)
    assert done.exit_code == 0, done.output
    made = rows(tmp_path / "run")
    assert made.height == 9
    assert made["text_before"].equals(made["text_after"].alias("text_before"))
    assert (made["rank_before"] == made["rank_after"]).all()
    assert (made["words"] == 0).all() and (made["queries"] == 0).all()


def test_a_catalogue_with_empty_titles(play: Call, stub: Stub, tmp_path: Path) -> None:
    log, items = tmp_path / "log.csv", tmp_path / "items.csv"
    items.write_text(
        "item_id,title\n" + "".join(f"i{n},{'' if n % 3 else '茶 壶 🍵'}\n" for n in range(30))
    )
    log.write_text(
        "user_id,item_id,timestamp\n"
        + "".join(f"u{u},i{(u * 7 + n * 3) % 29},{n}\n" for u in range(12) for n in range(5))
    )
    text = audit(goal='goal = { kind = "promote", items = ["i29", "i1"] }', attacks=GREEDY).replace(
        DATA, f'data = {{ kind = "table", path = "{log}", items = "{items}" }}\n'
    )
    done = play(text, "--victim", stub.url)
    assert done.exit_code == 0, done.output
    assert set(rows(tmp_path / "run")["text_before"]) == {""}


def test_an_interrupted_audit_goes_on_where_it_stood(
    play: Call, stub: Stub, tmp_path: Path
) -> None:
    """No question but the probe is asked twice, and the numbers are those of one go."""
    victim = f'kind = "http"\nurl = "{stub.url}"\nretries = 0\nqueries_per_request = 10'
    text = audit(victim=victim, attacks=f"{COPYCAT}, {GREEDY}")
    assert play(text).exit_code == 0
    whole, bodies = rows(tmp_path / "run"), list(stub.bodies)
    shutil.rmtree(tmp_path / "run")
    stub.bodies.clear()
    breaks = 0
    while True:  # the service fails at its 9th request, each time anew
        asked = len(stub.bodies)
        stub.faults = [*[None] * 8, (500, {}, b"down")]
        done = play(text)
        if done.exit_code == 0:
            break
        assert done.exit_code == 4 and "down; asked once" in done.output
        assert len(stub.bodies) > asked + 1, "no progress"
        breaks += 1
    assert breaks >= 2
    failed = breaks
    probes = [b for b in stub.bodies if stub.bodies.count(b) > 2]
    others = [b for b in stub.bodies if b not in probes]
    assert len(set(probes)) == 1
    assert len(others) - len(set(others)) <= failed, "a question was asked again"
    assert set(others) <= set(bodies)
    assert rows(tmp_path / "run").drop("seconds").equals(whole.drop("seconds"))
    before = len(stub.bodies)
    stub.faults = []
    assert play(text).exit_code == 0
    assert len(stub.bodies) == before + 2  # the probe, at the start and at the end


def test_a_query_budget_stops_the_audit_and_more_of_it_goes_on(
    play: Call, stub: Stub, tmp_path: Path
) -> None:
    def text(budget: int) -> str:
        victim = f'kind = "http"\nurl = "{stub.url}"\nquery_budget = {budget}'
        return audit(victim=victim)

    done = play(text(2100))
    assert done.exit_code == 4
    assert "the query budget is used up: 2" in done.output
    assert "raise it and run again: what was answered is kept" in done.output
    asked = len(stub.bodies)
    assert play(text(2100)).exit_code == 4
    assert len(stub.bodies) == asked + 1  # the probe alone
    assert play(text(100_000)).exit_code == 0


def test_a_victim_that_changes_during_the_audit_makes_its_numbers_unreliable(
    play: Call, stub: Stub, tmp_path: Path
) -> None:
    after = 7

    def drifting(asked: dict[str, Any]) -> dict[str, Any]:
        scale = 1 if len(stub.bodies) < after else 3
        return {"scores": [[scale * s for s in row] for row in length_scores(asked)["scores"]]}

    stub.answer = drifting
    done = play(audit(), "--victim", stub.url)
    assert done.exit_code == 0, done.output
    assert len(stub.bodies) > after
    assert "Unreliable" in done.output
    gain = found(tmp_path / "run", "er_gain@10")
    assert not gain["reliable"] and "the probe was answered otherwise" in gain["reason"]


def test_different_answers_twice_are_refused(play: Call, stub: Stub) -> None:
    def wavering(asked: dict[str, Any]) -> dict[str, Any]:
        more = len(stub.bodies) % 2
        return {"scores": [[s + more for s in r] for r in length_scores(asked)["scores"]]}

    stub.answer = wavering
    done = play(audit(), "--victim", stub.url)
    assert done.exit_code == 4
    assert "differ by up to 1" in done.output and "victim.repeats" in done.output
    done = play(audit(victim=f'kind = "http"\nurl = "{stub.url}"\nrepeats = 2'))
    assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, stub: Stub) -> None:
    import os
    import signal
    import subprocess
    import time

    file = tmp_path / "a.toml"
    file.write_text(audit(), "utf-8")
    stub.faults = [None] * 6 + [lambda _: time.sleep(60)]
    running = subprocess.Popen(
        [sys.executable, "-m", "hardrank.cli.main", "audit", str(file), "--victim", stub.url,
         "--out", str(tmp_path / "run")],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(stub.bodies) < 7 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "hardrank: interrupted: run again to resume"
