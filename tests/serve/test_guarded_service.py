"""Guards that travel in a bundle: attached, verified, served, and swapped with the model."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hardrank.bundle import add_guards, load_bundle, load_guards, save_bundle
from hardrank.cli.main import app
from hardrank.context import RunContext
from hardrank.errors import BundleError
from hardrank.files import digest_file
from hardrank.guards import (
    Lesson,
    Listing,
    Normaliser,
    Pipeline,
    Shop,
    Stuffing,
    fit_pipeline,
    load_pipeline,
)
from hardrank.models import Tfidf
from hardrank.testing.logs import taste_log
from hardrank.testing.service import Served, WordGuard, served, toy_bundle

STUFFED = "thing " * 60
HIDDEN = "group 1 th\u200bing 4"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`plain` has no guards, `guarded` has two, `loose` one; `altered` has a wrong one."""
    folder = tmp_path_factory.mktemp("bundles")
    plain = toy_bundle(folder / "plain", Tfidf())
    items = load_bundle(plain).recommender.items
    fit_pipeline([Normaliser(), Stuffing()], Lesson(shop=Shop(items=items))).save(folder / "strict")
    Pipeline((Normaliser(),)).save(folder / "mild")
    add_guards(plain, folder / "strict", folder / "guarded")
    add_guards(folder / "guarded", folder / "mild", folder / "loose")
    altered = shutil.copytree(folder / "guarded", folder / "altered")
    said = (altered / "guards" / "pipeline.json").read_text()
    (altered / "guards" / "pipeline.json").write_text(said.replace("stuffing", "stuffinG"))
    return folder


@pytest.fixture
def shop(bundles: Path, tmp_path: Path) -> Iterator[Served]:
    with served(bundles / "guarded", tmp_path / "s.db") as made:
        yield made


def _put(shop: Served, item: str, title: str) -> str:
    answer = shop.ask("ingest", "PUT", f"/v1/items/{item}", json={"fields": {"title": title}})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["state"])


def test_a_bundle_carries_its_guards(bundles: Path) -> None:
    """S0-29: the gate is part of what is deployed."""
    guards = load_guards(bundles / "guarded")
    assert guards is not None and [g.kind for g in guards.guards] == ["normaliser", "stuffing"]
    items = load_bundle(bundles / "guarded").recommender.items
    listing, catalogue = Listing("i1", {"title": STUFFED}), Shop(items=items)
    strict = fit_pipeline([Normaliser(), Stuffing()], Lesson(shop=catalogue))
    assert guards.inspect([listing], catalogue) == strict.inspect([listing], catalogue)
    loose = load_guards(bundles / "loose")
    assert loose is not None and len(loose.guards) == 1, "new guards take the place of old ones"
    assert load_guards(bundles / "plain") is None


def test_a_bundle_may_be_written_with_guards(bundles: Path, tmp_path: Path) -> None:
    data = taste_log()
    model = Tfidf().fit(data, RunContext())
    guards = Pipeline((Normaliser(),))
    save_bundle(tmp_path / "made", Tfidf(), model, data, {"name": "x"}, guards=guards)
    found = load_guards(tmp_path / "made")
    assert found is not None and found.guards == guards.guards


def test_the_bundle_that_was_there_stays_as_it_is(bundles: Path, tmp_path: Path) -> None:
    before = digest_file(bundles / "plain" / "SHA256SUMS")
    add_guards(bundles / "plain", bundles / "mild", tmp_path / "new")
    assert digest_file(bundles / "plain" / "SHA256SUMS") == before
    assert not (bundles / "plain" / "guards").exists()
    assert digest_file(tmp_path / "new" / "SHA256SUMS") != before
    with pytest.raises(BundleError, match="exists already"):
        add_guards(bundles / "plain", bundles / "mild", tmp_path / "new")


@pytest.mark.parametrize(
    ("bundle", "guards", "said"),
    [
        ("plain", "plain", "pipeline.json is missing"),
        ("altered", "mild", "was altered"),
        ("mild", "mild", "is this a bundle"),
    ],
)
def test_what_is_broken_is_not_joined(
    bundles: Path, tmp_path: Path, bundle: str, guards: str, said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        add_guards(bundles / bundle, bundles / guards, tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_guards_that_no_digest_covers_are_refused(bundles: Path, tmp_path: Path) -> None:
    forged = shutil.copytree(bundles / "plain", tmp_path / "forged")
    shutil.copytree(bundles / "mild", forged / "guards")
    with pytest.raises(BundleError, match="is not in SHA256SUMS"):
        load_bundle(forged)
    stripped = shutil.copytree(bundles / "guarded", tmp_path / "stripped")
    shutil.rmtree(stripped / "guards")
    with pytest.raises(BundleError, match="is missing"):
        load_guards(stripped)


@pytest.mark.parametrize(
    "name", ["guards/../spec.json", "../spec.json", "guards/a/b", "/spec.json", "guards//a", ""]
)
def test_no_name_leads_out_of_the_bundle(bundles: Path, tmp_path: Path, name: str) -> None:
    made = shutil.copytree(bundles / "guarded", tmp_path / "made")
    with (made / "SHA256SUMS").open("a") as file:
        file.write(f"{digest_file(made / 'spec.json')}  {name}\n")
    with pytest.raises(BundleError, match="is missing"):
        load_bundle(made)


def test_the_service_holds_listings_to_the_bundles_guards(shop: Served) -> None:
    assert _put(shop, "new", STUFFED) == "quarantined"
    assert _put(shop, "i4", HIDDEN) == "live"
    kept = shop.ask("ingest", "GET", "/v1/items/i4").json()
    assert kept["fields"]["title"] == "group 1 thing 4", "mended"
    [row] = shop.ask("review", "GET", "/v1/quarantine").json()["rows"]
    assert row["guard"] == "stuffing"


def test_guards_read_what_they_learned(bundles: Path, tmp_path: Path) -> None:
    """A brand is strange to a guard of titles; what is hidden in it is found all the same."""
    guards = load_guards(bundles / "guarded")
    assert guards is not None and guards.fields == ("title",)
    shop = Shop(items=load_bundle(bundles / "plain").recommender.items)
    fine = {"title": "group 1 thing 4"}
    odd = Listing("x", {"brand": STUFFED, **fine}, {"brand": "b4", **fine}, 3)
    hidden = Listing("x", {"brand": "b\u200b4", **fine})
    first, second = guards.inspect([odd, hidden], shop)
    assert first.action == "admit"
    assert second.action == "mend" and second.fields == {"brand": "b4", **fine}
    loose = Pipeline(guards.guards)
    assert loose.inspect([odd], shop)[0].action == "quarantine"
    loose.save(tmp_path / "loose")
    assert load_pipeline(tmp_path / "loose").fields is None


def test_guards_that_are_named_take_their_place(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "guarded", tmp_path / "s.db", guard=WordGuard()) as made:
        assert _put(made, "new", STUFFED) == "live"
        assert _put(made, "other", "spam") == "quarantined"


def test_a_swap_swaps_the_guards(shop: Served) -> None:
    assert _put(shop, "a", STUFFED) == "quarantined"
    assert shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "plain"}).status_code == 200
    assert _put(shop, "b", STUFFED) == "live"
    assert shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "guarded"}).status_code == 200
    assert _put(shop, "c", STUFFED) == "quarantined"


def test_altered_guards_are_refused_and_the_old_ones_stay(shop: Served) -> None:
    refused = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "altered"})
    assert refused.status_code == 409
    assert _put(shop, "a", STUFFED) == "quarantined"
    assert shop.ask("read", "POST", "/v1/recommend", json={"history": ["i0"]}).status_code == 200


def test_guards_with_right_digests_that_cannot_be_read_are_refused(
    shop: Served, bundles: Path
) -> None:
    """Whoever can write digests can still not put in what this version does not know."""
    odd = shutil.copytree(bundles / "guarded", bundles / "odd")
    about = odd / "guards" / "pipeline.json"
    before = digest_file(about)
    about.write_text(about.read_text().replace('"stuffing"', '"unknown"'))
    sums = (odd / "SHA256SUMS").read_text().replace(before, digest_file(about))
    (odd / "SHA256SUMS").write_text(sums)
    refused = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "odd"})
    assert refused.status_code == 409 and _put(shop, "a", STUFFED) == "quarantined"


def test_listings_in_a_swap_see_the_one_or_the_other(shop: Served) -> None:
    """Before the swap returns both are possible, after it only the new guards."""
    states, done = list[str](), threading.Event()

    def write() -> None:
        n = 0
        while not done.is_set():
            states.append(_put(shop, f"n{n}", STUFFED))
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for name in ("plain", "guarded", "plain"):
            assert shop.ask("admin", "POST", "/v1/bundle", json={"bundle": name}).status_code == 200
    finally:
        done.set()
        writer.join()
    assert set(states) <= {"live", "quarantined"} and states
    assert _put(shop, "after", STUFFED) == "live"


def test_guards_are_attached_from_a_shell(bundles: Path, tmp_path: Path) -> None:
    said = [str(bundles / "strict"), str(bundles / "plain"), "-o", str(tmp_path / "new")]
    done = CliRunner().invoke(app, ["guard", "attach", *said])
    assert done.exit_code == 0 and str(tmp_path / "new") in done.stdout
    assert load_guards(tmp_path / "new") is not None
    again = CliRunner().invoke(app, ["guard", "attach", *said])
    assert again.exit_code != 0


def test_a_gate_that_knows_the_model_is_attached_and_replaces_an_older_one(
    bundles: Path, tmp_path: Path
) -> None:
    guards, bundle = bundles / "strict", bundles / "plain"
    for name in ("first", "second"):
        said = [str(guards), str(bundle), "-o", str(tmp_path / name), "--gate"]
        assert CliRunner().invoke(app, ["guard", "attach", *said]).exit_code == 0
        guards, bundle = tmp_path / name / "guards", tmp_path / name
    made = load_guards(tmp_path / "second")
    assert made is not None
    kinds = [guard.kind for guard in made.guards]
    assert kinds[-1] == "shadow-ranking" and kinds.count("shadow-ranking") == 1 < len(kinds)


def test_the_folder_of_guard_fit_is_a_folder_of_guards(bundles: Path, tmp_path: Path) -> None:
    """`guard fit -o FOLDER` writes `FOLDER/guards`: both may be named."""
    shutil.copytree(bundles / "mild", tmp_path / "fitted" / "guards")
    add_guards(bundles / "plain", tmp_path / "fitted", tmp_path / "new")
    assert load_guards(tmp_path / "new") is not None
