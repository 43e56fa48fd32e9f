"""The whole page: parsed, escaped, complete, and opened in a browser where there is one."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.reports.made_up import (
    MODEL,
    NASTY,
    good_findings,
    ranged,
    samples,
    supported_findings,
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
    assert ids == ["verdict", "comparison", "price", "curves", "targets", "cases", "gates",
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
    assert "Warm HR@10 Warm NDCG@10 Warm MRR Cold HR@10 Cold NDCG@10 Cold MRR" in part
    assert "Protocol. full ranking over all unseen items" in part


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
    assert "Unreliable, because" in verdict and "Hardening removes" not in verdict
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
    from matplotlib.image import imread

    pixels = imread(shot)
    assert pixels.shape[1] == width
    assert pixels[:, :, :3].std() > 0.05, "more than an empty sheet"
    found = subprocess.run(
        [BROWSER, *flags, "--dump-dom", target], check=True, timeout=120, capture_output=True,
        text=True,
    ).stdout  # fmt: skip
    assert found.count("<section") == source.count("<section")
    assert "<script" not in found and "<img" not in found
