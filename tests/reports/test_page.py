"""The whole page: parsed, escaped, complete, and opened in a browser where there is one."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.reports.made_up import (
    MODEL,
    NASTY,
    doubted_findings,
    good_findings,
    ranged,
    samples,
    supported_findings,
    undecided_findings,
    write_run,
)
from tests.reports.pages import Page, drawings

from hardrank.audits.checks import Check, findings_of
from hardrank.audits.measure import measure
from hardrank.audits.samples import gather
from hardrank.audits.samples import samples as complete
from hardrank.errors import SchemaError
from hardrank.findings import Finding
from hardrank.reports import render
from hardrank.reports.numbers import percent

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("run"), good_findings(), synthetic=True)
    render(folder)
    return folder


@pytest.fixture(scope="module")
def source(run: Path) -> str:
    return (run / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_sections_come_verdict_first(page: Page) -> None:
    ids = [a["id"] for t, a in page.elements if t == "section"]
    assert ids == ["verdict", "comparison", "price", "curves", "targets", "costs", "cases", "gates",
                   "coverage", "quality", "method", "provenance"]  # fmt: skip
    links = [href[1:] for href in page.attributes("href")]
    assert links == ["verdict", *ids[1:]]


def test_synthetic_data_are_said_before_anything_else(run: Path, page: Page) -> None:
    assert page.text.startswith("Skip to the verdict Synthetic data.")
    assert "**Synthetic data." in (run / "report.md").read_text("utf-8")


def test_real_data_carry_no_banner(tmp_path: Path) -> None:
    made = render(write_run(tmp_path, good_findings()))
    assert "Synthetic data" not in made.read_text("utf-8")
    assert "Synthetic data" not in (tmp_path / "report.md").read_text("utf-8")


def test_page_needs_no_network_and_runs_nothing(source: str, page: Page) -> None:
    names = {tag for tag, _ in page.elements}
    assert not names & {"script", "link", "img", "iframe", "object", "form", "base"}
    handlers = {k for _, a in page.elements for k in a if k.startswith("on") or k == "style"}
    assert not handlers and not page.attributes("src")
    style = source.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")


def test_attackers_titles_are_text(run: Path, source: str, page: Page) -> None:
    assert NASTY.split()[0] in page.text
    assert "<script" not in source and "<img" not in source
    assert "\u202e" not in source and "‹U+202E›" in page.text
    markdown = (run / "report.md").read_text("utf-8")
    assert "<script" not in markdown and "&lt;script&gt;" in markdown


def test_every_text_of_a_run_is_escaped(tmp_path: Path) -> None:
    hostile = NASTY + "</style></svg></title>"
    findings = [
        replace(f, trial=hostile if f.trial == "copycat" else f.trial, reason=f.reason and hostile)
        for f in good_findings()
    ]
    gate = Finding(subject=f"{MODEL}/hardened", audit="gate", metric=hostile, value=0.0,
                   reason=hostile, group=hostile, protocol=hostile)  # fmt: skip
    curve = ranged(0.1, 0.01, subject=f"{MODEL}/control", audit="curve", metric=hostile,
                   radius=0.1, where={"goal": hostile, "site": hostile})  # fmt: skip
    other = ranged(0.1, 0.01, subject=f"{hostile}/base", audit="utility", metric="hr@10")
    changes = {"name": hostile, "data_card": hostile, "protocol": hostile, "started": hostile,
               "threats": [hostile], "config": {hostile: {hostile: [hostile]}},
               "versions": {hostile: hostile}, "host": {hostile: hostile}}  # fmt: skip
    made = render(write_run(tmp_path, [*findings, gate, curve, other], **changes))
    read = Page(made.read_text("utf-8"))
    assert not {tag for tag, _ in read.elements} & {"script", "img"}
    assert len(drawings(made.read_text("utf-8"))) > 5
    assert "<script" not in (tmp_path / "report.md").read_text("utf-8")


def test_drawings_are_well_formed_and_named(source: str) -> None:
    found = drawings(source)
    assert len(found) == 4 + 3 + 3 + 1, "curves, targets, positions gained, price"
    for drawing in found:
        names = {e.tag.rpartition("}")[2]: e.text for e in drawing}
        assert names["title"] and names["desc"]
        numbers = re.findall(r'(?:x|y|x1|x2|cx|cy|width)="([^"]*)"', str(drawing.attrib))
        assert all(float(n) == float(n) for n in numbers)


def test_ids_are_unique_and_labels_resolve(page: Page) -> None:
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    for label in page.attributes("aria-labelledby"):
        assert set(label.split()) <= set(ids)


def test_all_models_stand_in_one_table_beside_their_protocol(page: Page) -> None:
    start = page.text.index("Quality of every model")
    part = page.text[start : page.text.index("Method", start)]
    for model in ("hybrid", "tfidf-knn-hybrid", "sasrec", "item-knn", "bpr-mf", "popularity"):
        assert f" {model} " in part
    assert (
        "Model All items Items hidden: warm Items hidden: cold "
        "HR@10 NDCG@10 HR@10 NDCG@10 HR@10 NDCG@10 hybrid 0.0998 [0.0967, 0.1029]"
    ) in part
    assert "Protocol: full ranking over all unseen items" in part
    assert "with 5.0 % of the items taken out of training" in part


def rows_of(source: str, section: str) -> list[list[str]]:
    """Text of each cell of a section's tables, row by row."""
    part = source.split(f'<section id="{section}"')[1].split("</section>")[0]
    strip = re.compile(r"<[^>]*>")
    return [
        [" ".join(strip.sub(" ", cell).split()) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in part.split("<tr")[1:]
    ]


def test_one_row_a_model_with_its_hidden_twin_and_the_hardening_stage_apart(source: str) -> None:
    rows = rows_of(source, "quality")[2:]
    names = [row[0] for row in rows]
    assert names == ["hybrid", "tfidf-knn-hybrid", "item-knn", "sasrec", "text-sequence",
                     "tfidf-text", "bpr-mf", "popularity", "After the hardening stage",
                     "text-sequence control", "text-sequence hardened"]  # fmt: skip
    twin = next(row for row in rows if row[0] == "text-sequence")
    assert [cell.split()[0] for cell in twin[1:]] == [
        "0.0731", "0.0398", "0.0724", "0.0393", "0.0302", "0.0110",
    ]  # fmt: skip
    assert rows[names.index("sasrec")][3:] == ["–"] * 4


def test_the_best_of_each_column_is_bold_among_models_as_trained(source: str) -> None:
    part = source.split('<section id="quality"')[1]
    assert re.findall(r'<strong class="value">([\d.]+)', part) == [
        "0.0998", "0.0602", "0.0991", "0.0598", "0.0121", "0.0302",
    ]  # fmt: skip


def test_without_hidden_twins_the_table_has_all_items_only(tmp_path: Path) -> None:
    plain = [f for f in good_findings() if not f.subject.endswith("/hidden")]
    source = render(write_run(tmp_path, plain)).read_text("utf-8")
    head = rows_of(source, "quality")[:2]
    assert head == [["Model", "All items"], ["HR@10", "NDCG@10"]]
    assert "Items hidden" not in source


@pytest.fixture(scope="module")
def doubted(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_run(tmp_path_factory.mktemp("doubted"), doubted_findings())
    return render(folder).read_text("utf-8")


def test_an_unreliable_number_has_a_short_tag_and_its_reason_stands_once(doubted: str) -> None:
    why = "quality floor: ndcg@10 falls by 9.0 %"
    part = doubted.split('<section id="comparison"')[1].split("</section>")[0]
    seen = Page(part.partition(">")[2]).text
    assert seen.count(why) == 1 and f"Unreliable: {why}" in seen
    cells = [row[2] for row in rows_of(doubted, "comparison") if len(row) == 4]
    tagged = [cell for cell in cells if cell.endswith(" unreliable")]
    assert len(tagged) == 3 * 9 and not any(why in cell for cell in cells)
    assert f'class="small flag bad" title="{why}' in part and 'class="num doubt"' in part


def test_the_headline_is_short_and_the_reason_below(doubted: str) -> None:
    box = doubted.split('<section id="verdict"')[1].split("</section>")[0]
    head = re.sub(r"<[^>]*>", "", box.split("</h2>")[0].split("<h2")[1].split(">", 1)[1])
    assert head == "✕Unreliable: a quality gate failed"
    assert "<p>The gate “quality floor, cold items” failed on the hardened model: ndcg@10" in box


def test_an_undecided_gate_is_neither_passed_nor_not_run(tmp_path: Path) -> None:
    read = Page(render(write_run(tmp_path, undecided_findings())).read_text("utf-8"))
    assert (
        "quality floor, cold items does not apply ? undecided ndcg@10 falls by 1.2 %" in read.text
    )
    assert "Gates passed 10 of 11 1 undecided" in read.text
    assert "| undecided |" in (tmp_path / "report.md").read_text("utf-8")


def test_an_attacks_options_are_small_behind_its_name(tmp_path: Path) -> None:
    label = "copycat(candidates=50)"
    named = [replace(f, trial=label) if f.trial == "copycat" else f for f in good_findings()]
    source = render(write_run(tmp_path, named)).read_text("utf-8")
    small = '<span class="options">candidates=50</span>'
    assert f"Attack: copycat {small}</th>" in source
    assert f'<th scope="row">copycat {small}</th>' in source, "coverage"
    assert "Exposure@10 under copycat, control" in source
    assert "## Attack: copycat \\(candidates=50\\)" in (tmp_path / "report.md").read_text("utf-8")


def unbounded_run(folder: Path) -> Path:
    """Curves with one radius more that bounds nothing, as the configuration says."""
    more = [
        ranged(value, 0.01, subject=f"{MODEL}/{arm}", audit="curve", metric="er_after@10",
               trial="pgd", radius=20.0, where={"goal": "promote", "site": "item-vectors"})
        for arm, value in (("control", 0.99), ("hardened", 0.98))
    ]  # fmt: skip
    config = {"curves": [{"goal": "promote", "site": "item-vectors", "unbounded": 20.0}]}
    return write_run(folder, [*good_findings(), *more], config=config)


def test_the_unbounded_radius_stands_apart_and_stretches_no_axis(
    tmp_path: Path, source: str
) -> None:
    made = render(unbounded_run(tmp_path)).read_text("utf-8")
    (drawn,) = [d for d in drawings(made) if "unbounded" in "".join(d.itertext())]
    words = [e.text for e in drawn.iter() if e.tag.endswith("text")]
    assert words[-3:] == ["↑99\u202f%", "↑98\u202f%", "unbounded"]
    assert "20" not in words, "no place on the axis of bounded radii"
    assert "80\u202f%" in words and "100\u202f%" not in words, "as high as without it"
    assert "unbounded" not in source.split("<style>")[1].split("</style>")[1]
    names = [e.text for e in drawn.iter() if (e.get("class") or "").startswith("arm ")]
    assert names == ["control", "hardened"]


def test_lines_of_arms_that_coincide_are_both_visible(source: str) -> None:
    """A thick solid line below a thin dashed one, a large mark below a small one."""
    drawn = drawings(source)
    curve = next(d for d in drawn if any(e.get("class") == "line control" for e in d.iter()))
    order = [e.get("class") for e in curve.iter() if (e.get("class") or "").startswith("line ")]
    assert order == ["line control", "line hardened"]
    style = source.split("<style>")[1].split("</style>")[0]
    assert ".line.control { stroke-width: 3.5; }" in style
    assert ".line.hardened { stroke-dasharray: 6 4; }" in style
    radius = {float(e.get("r", 0)) for e in curve.iter() if e.tag.endswith("circle")}
    sides = {float(e.get("width", 0)) for e in curve.iter() if e.get("class") == "mark hardened"}
    assert max(sides) < 2 * min(radius)


def test_what_did_not_run_is_a_cell_with_its_reason(page: Page) -> None:
    """S2-16: uncovered cells are printed."""
    part = page.text[page.text.index("Coverage What was attacked") :]
    assert "masked-lm – not run no language model is installed" in part
    assert "privacy – not run no privacy audit in this run" in part
    assert "adaptive attack does not apply – not run no adaptive attack was asked for" in page.text


def test_an_unreliable_page_claims_nothing(tmp_path: Path) -> None:
    failed = [replace(f, value=0.0) if f.audit == "gate" else f for f in supported_findings()]
    read = Page(render(write_run(tmp_path, failed)).read_text("utf-8"))
    verdict = read.text[: read.text.index("Comparison Who pays")]
    assert "Unreliable: 3 gates failed" in verdict and "Hardening removes" not in verdict
    assert "Gain removed" not in verdict and " better " not in read.text
    assert "Hardening removes" not in (tmp_path / "report.md").read_text("utf-8")


def test_worst_cases_show_the_largest_gain_of_each_attack_first(page: Page) -> None:
    part = page.text[page.text.index("What still gets through") :]
    cards = re.findall(r"(copycat|greedy-words|hotflip) on item (\S+)", part)
    assert len(cards) == 12 and cards.count(("hotflip", "B0000000XK")) == 2
    assert {t for t, _ in page.elements} >= {"ins", "del"}


def test_a_run_without_samples_curves_or_attacks_still_renders(tmp_path: Path) -> None:
    only = [f for f in good_findings() if f.audit == "utility" and "hardened" not in f.subject]
    folder = write_run(tmp_path, only)
    (folder / "samples.parquet").unlink()
    read = Page(render(folder).read_text("utf-8"))
    assert "No attack ran on the control model" in read.text
    Page(render(write_run(tmp_path / "empty", [])).read_text("utf-8"))


def shown(share: float) -> str:
    return " ".join(percent(share).split())


def test_findings_as_the_audits_measure_them_reach_the_page(tmp_path: Path) -> None:
    """Names, reasons and nulls as they come from samples, not from a hand-made list."""
    table = gather([complete(samples().to_dict(as_series=False))])
    made = [
        measure(table, subject=f"{MODEL}/{arm}", audit="promotion", metric=metric,
                formula=metric.removesuffix("@10"), trial="copycat")
        for arm in ("control", "hardened") for metric in ("er_after@10", "er_gain@10", "asr")
    ]  # fmt: skip
    defence = measure(table, subject=f"{MODEL}/hardened", audit="promotion", trial="copycat",
                      metric="defence_effect", versus={"subject": f"{MODEL}/control"})  # fmt: skip
    made.append(defence)
    sites = ("item-vectors", "token-embeddings")
    made += findings_of(
        [Check(gate="sanity", name="gradients_alive", subject=f"{MODEL}/control", passed=True,
               goal="promote", site=site, reason="fine") for site in sites]
    )  # fmt: skip
    read = Page(render(write_run(tmp_path, made)).read_text("utf-8"))
    assert made[0].value is not None and shown(made[0].value) in read.text
    assert defence.value is not None and f"−{shown(defence.value)}" in read.text
    for site in sites:
        assert f"gradients alive, promote, {site} ✓ passed fine" in read.text


def test_rendering_twice_gives_the_same_bytes(run: Path, source: str) -> None:
    """S0-08: same evidence, same page."""
    before = (run / "report.md").read_bytes()
    assert render(run).read_text("utf-8") == source
    assert (run / "report.md").read_bytes() == before


def test_a_defence_without_its_control_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """S0-17."""
    alone = [f for f in good_findings() if not f.subject.endswith("/control")]
    with pytest.raises(SchemaError, match="has none"):
        render(write_run(tmp_path, alone))
    assert not list(tmp_path.glob("report.*"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("findings.json", "{", "not JSON"),
        ("findings.json", "{}", "not a list of findings"),
        ("findings.json", '[{"subject": "a/b"}]', "finding 1 is wrong"),
        ("findings.json", '[{"sub": "a/b"}]', "finding 1 is wrong"),
        ("run.json", "[]", "no name"),
        ("run.json", None, "no such file"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, name: str, content: str | None, says: str) -> None:
    folder = write_run(tmp_path, good_findings())
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(SchemaError, match=says) as caught:
        render(folder)
    assert name in str(caught.value)


def test_run_facts_of_a_newer_version_still_load(tmp_path: Path) -> None:
    folder = write_run(tmp_path, good_findings(), unheard_of=1, threats="one threat", seeds=[7])
    assert "one threat" in render(folder).read_text("utf-8")
    assert "unheard_of" in json.loads((folder / "run.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_shows_the_page(run: Path, source: str, tmp_path: Path, width: int) -> None:
    """Where there is no chromium the page is only parsed, as every test above does."""
    if BROWSER is None:
        assert Page(source).elements
        return
    shot = tmp_path / "page.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}"]  # fmt: skip
    target = (run / "report.html").as_uri()
    subprocess.run(
        [BROWSER, *flags, f"--window-size={width},900", f"--screenshot={shot}", target],
        check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    assert pixels.shape[1] == width
    assert pixels.std() > 12, "more than an empty sheet"
    found = subprocess.run(
        [BROWSER, *flags, "--dump-dom", target], check=True, timeout=120, capture_output=True,
        text=True,
    ).stdout  # fmt: skip
    assert found.count("<section") == source.count("<section")
    assert "<script" not in found and "<img" not in found


_MEASURE = """
<script>
const wanted = [390, 700, 1000, 1280, 1600], said = [];
function look(doc, width) {
  if (doc.documentElement.scrollWidth > width + 1) said.push(width + ": page scrolls sideways");
  for (const cell of doc.querySelectorAll("#comparison td, #comparison th, #quality td")) {
    const box = cell.getBoundingClientRect();
    for (const inner of cell.querySelectorAll("*")) {
      const part = inner.getBoundingClientRect();
      if (part.width && (part.right > box.right + 1 || part.left < box.left - 1))
        said.push(width + ": out of its cell: " + inner.textContent);
    }
  }
  for (const column of [2, 3, 4]) {
    const edge = width > 1216 || width <= 640 ? "left" : "right";
    const found = [...doc.querySelectorAll(`#comparison td:nth-child(${column}) > .value`)];
    const pick = e => e.getBoundingClientRect()[width > 1216 ? "right" : edge];
    const spread = Math.max(...found.map(pick)) - Math.min(...found.map(pick));
    if (!(spread <= 12)) said.push(width + ": column " + column + " strays by " + spread);
  }
}
onload = () => {
  const frame = document.querySelector("iframe");
  for (const width of wanted) {
    frame.style.width = width + "px";
    look(frame.contentDocument, width);
  }
  document.title = "seen " + wanted.length + " widths";
  document.body.append(Object.assign(document.createElement("pre"), {textContent:
    "FOUND " + (said.slice(0, 5).join(" | ") || "nothing")}));
};
</script>
"""


@pytest.mark.slow
def test_no_cell_runs_into_its_neighbour_at_any_width(doubted: str, tmp_path: Path) -> None:
    """Measured by a browser where there is one: every number inside its cell, every column
    aligned, no page that scrolls sideways."""
    if BROWSER is None:
        assert Page(doubted).elements
        return
    held = doubted.replace("&", "&amp;").replace('"', "&quot;")
    frame = f'<iframe srcdoc="{held}" style="height:9000px;border:0"></iframe>'
    (tmp_path / "look.html").write_text(f"<!doctype html><body>{frame}{_MEASURE}", "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={tmp_path / 'profile'}"]  # fmt: skip
    seen = subprocess.run(
        [BROWSER, *flags, "--dump-dom", (tmp_path / "look.html").as_uri()],
        check=True, timeout=120, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "seen 5 widths" in seen
    assert "FOUND nothing" in seen, seen[seen.rindex("FOUND") :][:600]
