"""The page of a poisoning run: parsed, escaped, complete, and measured by a browser."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tests.reports.pages import Page, drawings

from hardrank.errors import SchemaError
from hardrank.findings import Finding
from hardrank.reports.poisoning import poisoning_page
from hardrank.reports.poisoning_evidence import read_poisoning
from hardrank.reports.poisoning_verdict import arms, said

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
NASTY = "<script>alert(1)</script>"
VICTIMS = ("ease", "wmf", "item-knn", "rating-mf")
ARMS = ("control", "filter", "norm", "two-stage")
ATTACKS = (
    "random-profiles", "average-profiles", "bandwagon", "copy-profile", "segment", "love-hate",
    "power-users", "mixed-copy", "leg-up", "pga(steps=20)", "rev-adv", "kin", "aush",
    "obfuscated(base={kind=average-profiles},share=0.4)", "interest-gan", "popular-fillers",
)  # fmt: skip


def finding(subject: str, audit: str, metric: str, value: float | None, **more: Any) -> Finding:
    around = {} if value is None else {"low": value - 0.01, "high": value + 0.01}
    return Finding(**{"subject": subject, "audit": audit, "metric": metric, "value": value,
                      "trial": "clean", "n": 3, "seeds": (0, 1), **around, **more})  # fmt: skip


def of_arm(victim: str, arm: str, attacks: tuple[str, ...]) -> list[Finding]:
    """The nth attack brings a control from 1 % to 10 + n %, an arm takes half of it away."""
    subject, made = f"{victim}/{arm}", []
    hard = arm != "control"
    for group in ("all", "head", "tail"):
        made.append(finding(subject, "utility", "ndcg@10", 0.1, group=group))
        if hard:
            made.append(finding(subject, "utility", "price(ndcg@10)", 0.005, group=group))
    for n, trial in enumerate([*attacks, "copy-profile (adaptive)"] if hard else attacks):
        after = (0.10 + n / 100) / (2 if hard else 1)
        about = {"trial": trial}
        for k in (10, 50):
            made.append(finding(subject, "promotion", f"er_before@{k}", 0.01, **about))
            made.append(finding(subject, "promotion", f"er_after@{k}", after, **about))
        made.append(finding(subject, "promotion", "shift", 0.25, **about))
        made.append(finding(subject, "poisoned", "drop(ndcg@10)", 0.012, **about))
        if hard:
            made.append(finding(subject, "promotion", "defence_effect@50", 0.5, **about))
        elif n > 1:
            made.append(finding(subject, "promotion", "difference@50(average-profiles)", 0.03,
                                **about))  # fmt: skip
    for trial in ("all attacks", "all attacks and adaptive")[: 2 if hard else 1]:
        made.append(finding(subject, "worst-case", "er_after@50", 0.3, trial=trial))
        if hard:
            effect = 0.5 if trial == "all attacks" else 0.4
            made.append(finding(subject, "worst-case", "defence_effect@50", effect, trial=trial))
    made.append(finding(subject, "gate", "strangers_to_test", 1.0, reason="fine"))
    return made


def everything(attacks: tuple[str, ...] = ATTACKS) -> list[Finding]:
    made = [f for v in VICTIMS for a in ARMS for f in of_arm(v, a, attacks)]
    for n, trial in enumerate(attacks):
        for name, recall in (("degree", 0.1), ("boosted(trees=30)", 0.9 - n / 100)):
            about = {"trial": trial}
            made.append(finding(name, "detection-auroc", "auroc", 0.8, **about))
            made.append(finding(name, "detection-ap", "ap", 0.7, **about))
            made.append(finding(name, "detection-recall", "recall", recall, **about))
        for look in ("popularity", "js", "ratings", "length", "overlap"):
            made.append(finding("profiles", f"disguise-{look}", look, 0.2, trial=trial))
    return made


def folder_of(folder: Path, findings: list[Finding], **facts: Any) -> Path:
    trials = list(dict.fromkeys(f.trial for f in findings if f.audit.startswith("disguise-")))
    portrait = {"length": [0.5, 0.5], "popularity": [0.1] * 10, "rating": [0.4, 0.6]}
    goal = {"kind": facts.pop("goal", "promote")}
    threat = {"goal": goal, "budget": {"profiles": 50, "profile_events": 91}}
    run = {
        "name": "poisoned", "model": ", ".join(VICTIMS), "seeds": [0, 1], "targets": ["a", "b"],
        "real_users": 943, "synthetic": False, "config": {"ks": [10, 50], "threat": threat},
        "protocol": "leave-one-out", "threats": ["An attacker."], "versions": {"hardrank": "1"},
        "durations": {"findings": 3.0}, "fingerprint": "f" * 64, **facts,
    }  # fmt: skip
    portraits = {"bins": {"length": [1, 2], "popularity": list(range(10)), "rating": [1.0, 5.0]},
                 "real": portrait, "attacks": dict.fromkeys(trials, portrait)}  # fmt: skip
    files = {"findings": [asdict(f) for f in findings], "run": run, "profiles": portraits,
             "roc": {"degree": [[0, 0], [0.3, 0.4], [1, 1]],
                     "boosted(trees=30)": [[0, 0], [0, 0.9], [1, 1]]}}  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), "utf-8")
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = folder_of(tmp_path_factory.mktemp("run"), everything())
    return poisoning_page(folder).read_text("utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """The page of these findings."""
    return lambda findings, **facts: poisoning_page(
        folder_of(tmp_path, findings, **facts)
    ).read_text("utf-8")


def test_sections_come_verdict_first(page: Page) -> None:
    ids = [a["id"] for t, a in page.elements if t == "section"]
    assert ids == ["verdict", "exposure", "defences", "quality", "detection", "profiles",
                   "coverage", "gates", "method"]  # fmt: skip


def test_the_verdict_is_short_and_says_what_matters(tmp_path: Path) -> None:
    sentences = said(read_poisoning(folder_of(tmp_path, everything())))
    assert [s.replace("\N{NARROW NO-BREAK SPACE}", " ") for s in sentences] == [
        "At most 50 fake users beside 943 real ones, of at most 91 events, try to bring each of 2 "
        "items into the top 50 of real users.",
        "Undefended, popular-fillers moves the targets on ease from 1.0 % to 25.0 % of those "
        "lists; the least of its 4 victims is rating-mf, from 1.0 % to 25.0 % under "
        "popular-fillers.",
        "Of what the strongest attack on each target gains, defences take away, even where the "
        "attacker knows them: filter 40.0 % (for 0.50 % of NDCG@10), norm 40.0 % (for 0.50 % of "
        "NDCG@10) and two-stage 40.0 % (for 0.50 % of NDCG@10).",
        "At 1 % false alarms the best detector, boosted, finds 82.5 % of fake users on average, "
        "but 75.0 % of those of popular-fillers.",
        "NDCG@10 of real users moves by at most 1.2 % under any attack: watching quality alone "
        "would not show the poison.",
    ]


def test_many_defences_do_not_make_a_long_verdict(tmp_path: Path) -> None:
    made = [f for a in ("control", *(f"arm-{n}" for n in range(9)))
            for f in of_arm("ease", a, ATTACKS)]  # fmt: skip
    sentences = said(read_poisoning(folder_of(tmp_path, made)))
    assert len(sentences) <= 6 and "arm-3" in sentences[2] and "arm-4" not in sentences[2]
    assert sentences[2].endswith("; 5 more are below.")


def test_a_demotion_is_told_as_one(tmp_path: Path) -> None:
    made = demoted({"ease": 0.3, "wmf": 0.2})
    read = read_poisoning(folder_of(tmp_path, made, goal="demote"))
    sentences = [s.replace("\N{NARROW NO-BREAK SPACE}", " ") for s in said(read)]
    assert "try to drive each of 2 items out of the top 50" in sentences[0]
    assert sentences[1] == (
        "Undefended, random-profiles moves the targets on ease from 30.0 % to 10.0 % of those "
        "lists; the least of its 2 victims is wmf, from 20.0 % to 10.0 % under random-profiles."
    )
    assert sentences[2].startswith(
        "Of what the strongest attack on each target takes away, defences give back, even where "
        "the attacker knows them: filter 40.0 %"
    )
    assert read.strongest_first == list(ATTACKS)
    source = poisoning_page(tmp_path).read_text("utf-8")
    for said_so in ("loss given back", "Loss of T-HR@50 beyond", "leave all but few lists"):
        assert said_so in source
    assert "gain taken away" not in source


def test_a_demotion_that_lowers_nothing_is_not_called_one(tmp_path: Path) -> None:
    read = read_poisoning(folder_of(tmp_path, demoted({"ease": 0.3, "wmf": 0.01}), goal="demote"))
    assert ", where none lowers them: from 1.0" in said(read)[1]
    read = read_poisoning(folder_of(tmp_path, demoted({"ease": 0.05}), goal="demote"))
    assert said(read)[1].startswith("Undefended, no attack lowers the targets on any victim: on e")


def demoted(before: dict[str, float]) -> list[Finding]:
    """Victim -> exposure before; its control then has 10 to 25 %."""
    made = [f for v in before for a in ("control", "filter") for f in of_arm(v, a, ATTACKS)]
    made += [finding(f"{v}/control", "promotion", "asr", 1.0, trial=t)
             for v in before for t in ATTACKS]  # fmt: skip
    return [
        replace(f, value=before[f.subject.partition("/")[0]])
        if f.metric.startswith("er_before") else f for f in made
    ]  # fmt: skip


def test_every_table_has_a_caption_and_heads(source: str, page: Page) -> None:
    tables = re.findall(r"<table.*?</table>", source, re.S)
    assert len(tables) >= 12
    for table in tables:
        assert re.search(r"<caption>[^<]+</caption>", table), table[:200]
        widths = {
            sum(int(span or 1) for span in re.findall(r"<t[hd](?: [^>]*?colspan=\"(\d+)\")?", row))
            for row in re.findall(r"<tr[ >].*?</tr>", table.partition("<tbody>")[2], re.S)
        }
        assert len(widths) == 1, table[:200]
    regions = [a for t, a in page.elements if t == "div" and a.get("class") == "scroll"]
    assert len(regions) == len(tables) and all(a["aria-label"] for a in regions)


def test_no_number_is_lost_and_attacks_come_by_strength(source: str) -> None:
    grid = re.search(r"<caption>T-HR@50 by attack</caption>.*?</table>", source, re.S)
    assert grid
    names = re.findall(r'<th scope="row">([\w-]+)', grid[0])
    assert names == ["no", *(a.partition("(")[0] for a in reversed(ATTACKS)), "copy-profile"]
    assert grid[0].count('class="value"') == 16 * (1 + len(ATTACKS)) + 12


def test_charts_have_one_scale_and_whole_labels(source: str) -> None:
    charts = [d for d in drawings(source) if "by attack" in (d[0].text or "")]
    assert len(charts) == len(VICTIMS)
    ticks = [[t.text for t in d.iter() if t.get("class") == "tick"] for d in charts]
    assert all(t == ticks[0] for t in ticks)
    labels = [t.text for t in charts[0].iter() if t.get("class") == "who"]
    assert labels == list(reversed(ATTACKS))


def test_strong_attacks_are_drawn_first_and_the_rest_folded(source: str) -> None:
    section = source[source.index('id="profiles"') :]
    shown, _, folded = section.partition("<summary>13 more attacks</summary>")
    assert shown.count('class="portraits"') == 3 and folded.count('class="portraits"') == 13
    assert shown.index("popular-fillers</h3>") < shown.index("interest-gan</h3>")


def test_what_is_not_reliable_is_marked_and_said(make: Make) -> None:
    made = [
        replace(f, reliable=False, reason="quality floor: it fell", remedy="lower the weight")
        if f.subject == "wmf/norm" and f.audit in ("promotion", "worst-case") else f
        for f in everything()
    ]  # fmt: skip
    made.append(finding("wmf/norm", "gate", "quality_floor", 0.0, reliable=False,
                        reason="it fell", remedy="lower the weight"))  # fmt: skip
    source = make(made)
    text = Page(source).text
    assert "concerns are struck out; those of the 15 arms without one stand" in text
    assert "norm 40.0 % (for 0.50 % of NDCG@10; a check failed on wmf)" in text
    assert "Unreliable (wmf, norm): quality floor: it fell. What to try: lower the weight" in text
    assert "16 checks passed, 1 failed, 0 could not be asked or decided." in text
    gates = source[source.index('id="gates"') :]
    assert gates.index("quality floor") < gates.index("strangers to test")
    assert "wmf/norm: it fell" in gates


def test_the_verdict_speaks_of_each_arm_by_itself(tmp_path: Path) -> None:
    """A check that one arm fails is not held against another; one of a control is held against
    every arm that is compared with it."""
    made = [*everything(ATTACKS[:3]),
            finding("wmf/norm", "gate", "quality_floor", 0.0, reliable=False, reason="it fell"),
            finding("ease/norm", "gate", "quality_floor", None, reason="9 are too few to say"),
            finding("item-knn/control", "gate", "split_without_leaks", 0.0,
                    reliable=False)]  # fmt: skip
    read = read_poisoning(folder_of(tmp_path, made))
    states = {(v, a): read.standing(f"{v}/{a}").state for v in VICTIMS for a in ARMS}
    assert {where for where, state in states.items() if state == "failed"} == {
        ("wmf", "norm"), *(("item-knn", arm) for arm in ARMS),
    }  # fmt: skip
    assert states["ease", "norm"] == "undecided" and states["wmf", "control"] == "passed"
    shown = arms(read)
    assert shown is not None
    cells = [" ".join(re.sub("<[^>]+>", " ", c).split()).replace("\N{NARROW NO-BREAK SPACE}", " ")
             for c in re.findall(r"<td.*?</td>", shown, re.S)]  # fmt: skip
    sound, leaky = "✓ counts takes away 40.0 % price 0.50 %", "split without leaks of control"
    assert cells == [
        sound, sound, f"✕ does not count failed: {leaky}", sound,
        "? provisional undecided: quality floor takes away 40.0 % price 0.50 %",
        "✕ does not count failed: quality floor", f"✕ does not count failed: {leaky}", sound,
        sound, sound, f"✕ does not count failed: {leaky}", sound,
    ]  # fmt: skip
    sentence = said(read)[2]
    assert "filter 40.0" in sentence and sentence.count("a check failed on item-knn") == 2
    assert "% of NDCG@10; a check failed on wmf and item-knn)" in sentence


LONG = (
    "evasive-profiles(first=rehearsed(candidates=(CraftedProfiles(kind='crafted-profiles', "
    "steps=45, disguises=(0.75, 0.9)),)), lengths=(0.65,), praise=(0.5, 1.0), rounds=2)"
)


def covered() -> list[Finding]:
    """Scripted profiles tried on all arms, known to `filter`; one adaptive attack on `filter`
    of one victim; nothing by policy gradient."""
    made = []
    for victim in VICTIMS:
        for arm in ARMS:
            for family in ("scripted profiles", "profiles by policy gradient"):
                for goal in ("promote", "demote"):
                    done = family == "scripted profiles" and goal == "promote"
                    made.append(finding(
                        f"{victim}/{arm}", "coverage", "measured", float(done),
                        group="seen" if arm == "filter" and done else "unseen",
                        reason="bandwagon, segment" if done else "not measured",
                        where={"sample": family, "site": "profiles", "goal": goal},
                    ))  # fmt: skip
    made.append(finding("ease/filter", "coverage", "measured", 1.0, group="adaptive",
                        reason=f"{LONG} (adaptive)",
                        where={"sample": "rehearsed profiles", "site": "profiles",
                               "goal": "promote"}))  # fmt: skip
    return made


def test_the_matrix_says_what_was_tried_on_which_arm(make: Make) -> None:
    """S2-16: families of attacks by arm, those that were not tried named."""
    adapted = finding("ease/filter", "promotion", "er_after@50", 0.1, trial=f"{LONG} (adaptive)")
    source = make([*everything(ATTACKS[:5]), *covered(), adapted])
    part = source[source.index('<section id="coverage"') :]
    part = part[: part.index("</section>")]
    rows = [[" ".join(re.sub("<[^>]+>", " ", c).split())
             for c in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
            for row in re.findall(r"<tr>.*?</tr>", part, re.S)]  # fmt: skip
    assert rows == [
        ["family", "no defence", "filter", "norm", "two-stage"],
        ["scripted profiles bandwagon, segment", "✓ tried", "✓ known", "✓ unseen", "✓ unseen"],
        ["profiles by policy gradient", *["– not tried"] * 4],
        ["rehearsed profiles", "– not tried", "✓ adaptive evasive-profiles on ease alone",
         "– not tried", "– not tried"],
    ]  # fmt: skip
    assert "Not tried on any arm: profiles by policy gradient." in part
    assert "goal to demote: scripted profiles and profiles by policy gradient." in part


def test_a_run_without_a_matrix_says_so(source: str) -> None:
    assert "No coverage matrix was kept with this run" in source


def test_nested_labels_are_short_and_whole_in_a_hint_and_a_legend(make: Make) -> None:
    source = make(everything((LONG, *ATTACKS[:3])))
    whole = LONG.replace("'", "&#x27;")
    assert max(len(t) for _, t in Page(source).texts if "evasive" in t and t != LONG) <= 90
    assert source.count(f'title="{whole}"') > 5
    assert source.count(f"<dd>{whole}</dd>") == 1
    charts = [d for d in drawings(source) if "by attack" in (d[0].text or "")]
    named = [t.text or "" for d in charts for t in d.iter() if t.get("class") == "who"]
    assert max(map(len, named)) <= 60 and any(t.startswith("evasive-profiles(") for t in named)


def test_what_could_not_run_says_why(make: Make) -> None:
    reason = "could not run: attack 'love-hate' works by ratings, and the log has none"
    made = [
        replace(f, value=None, low=None, high=None, reason=reason)
        if f.trial == "love-hate" and f.audit == "promotion" else f
        for f in everything()
    ]  # fmt: skip
    source = make(made)
    assert f"No value (all arms): {reason}" in Page(source).text
    assert all("love-hate" not in "".join(d.itertext())
               for d in drawings(source) if "by attack" in (d[0].text or ""))  # fmt: skip


def test_one_victim_and_no_defence(make: Make) -> None:
    made = of_arm("ease", "control", ("bandwagon",))
    text = Page(make(made, targets=["a"], seeds=[0])).text
    assert "into the top 50 of real users." in text and "one item" in text
    assert "Undefended, bandwagon moves the targets on ease" in text and "least of its" not in text
    assert "1 target · 1 seed" in text


def test_nothing_measured_is_said(make: Make) -> None:
    made = [finding("ease/control", "utility", "ndcg@10", 0.1)]
    text = Page(make(made)).text
    assert "No attack could be measured" in text and "No check was run." in text


def test_no_finding_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="holds no finding"):
        poisoning_page(folder_of(tmp_path, []))


def test_text_of_others_is_escaped(make: Make) -> None:
    attacks = (f"copy-profile(x={NASTY})", "bandwagon")
    made = [replace(f, reason=NASTY, reliable=f.audit != "promotion", remedy=NASTY)
            for f in everything(attacks)]  # fmt: skip
    made.append(finding(f"{NASTY}/control", "utility", "ndcg@10", 0.1))
    made.append(finding(NASTY, "detection-auroc", "auroc", 0.1, trial="bandwagon"))
    source = make(made, name=NASTY, model=NASTY, targets=[NASTY], threats=[NASTY], protocol=NASTY)
    assert "<script" not in source and source.count("&lt;script&gt;alert(1)") > 10
    Page(source)
    drawings(source)


def test_the_page_asks_for_nothing_and_runs_nothing(source: str, page: Page) -> None:
    assert not {"script", "img", "link", "iframe"} & {t for t, _ in page.elements}
    assert not re.search(r"url\(|@import|\son\w+=|https?://(?!www\.w3\.org/2000/svg)", source)


def test_synthetic_data_are_said(make: Make) -> None:
    assert "Synthetic data." in make(everything(("bandwagon",)), synthetic=True)


_MEASURE = """
<script>
const wanted = [360, 700, 1300], said = [];
function look(doc, width) {
  if (doc.documentElement.scrollWidth > width + 1) said.push(width + ": page scrolls sideways");
  for (const cell of doc.querySelectorAll("tr:nth-child(-n+3) > *")) {
    const box = cell.getBoundingClientRect();
    for (const inner of cell.querySelectorAll("*")) {
      const part = inner.getBoundingClientRect();
      if (part.width && (part.right > box.right + 1 || part.left < box.left - 1))
        said.push(width + ": out of its cell: " + inner.textContent);
    }
  }
  for (const drawn of doc.querySelectorAll("svg")) {
    const box = drawn.getBoundingClientRect();
    for (const words of drawn.querySelectorAll("text")) {
      const part = words.getBoundingClientRect();
      if (part.width && (part.right > box.right + 12 || part.left < box.left - 12))
        said.push(width + ": cut off in a chart: " + words.textContent);
    }
  }
}
onerror = text => said.push("error: " + text);
onload = () => {
  const frame = document.querySelector("iframe");
  for (const fold of frame.contentDocument.querySelectorAll("details")) fold.open = true;
  for (const width of wanted) {
    frame.style.width = width + "px";
    look(frame.contentDocument, width);
  }
  document.body.append(Object.assign(document.createElement("pre"), {textContent:
    "seen " + wanted.length + " widths FOUND " + (said.slice(0, 5).join(" | ") || "nothing")}));
};
</script>
"""


@pytest.mark.slow
def test_nothing_runs_over_at_any_width(make: Make, tmp_path: Path) -> None:
    """Sixteen arms across and long labels, in a browser where there is one: tables scroll by
    themselves, the page never does; no label is cut; the console stays empty."""
    made = everything((ATTACKS[13], LONG, *ATTACKS[:4]))
    made.append(finding("wmf/norm", "gate", "quality_floor", 0.0, group="tail", reliable=False,
                        reason="it fell by 11.5 %; 2.0 % allowed",
                        remedy="more slack"))  # fmt: skip
    adapted = finding("ease/filter", "promotion", "er_after@50", 0.1, trial=f"{LONG} (adaptive)")
    source = make([*made, *covered(), adapted])
    if BROWSER is None:
        assert Page(source).elements
        return
    held = source.replace("&", "&amp;").replace('"', "&quot;")
    frame = f'<iframe srcdoc="{held}" style="height:9000px;border:0"></iframe>'
    (tmp_path / "look.html").write_text(f"<!doctype html><body>{frame}{_MEASURE}", "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"]  # fmt: skip
    done = subprocess.run(
        [BROWSER, *flags, "--dump-dom", (tmp_path / "look.html").as_uri()],
        check=True, timeout=240, capture_output=True, text=True,
    )  # fmt: skip
    assert "seen 3 widths" in done.stdout
    assert "FOUND nothing" in done.stdout, done.stdout[done.stdout.rindex("FOUND") :][:600]
    assert "CONSOLE" not in done.stderr, done.stderr
