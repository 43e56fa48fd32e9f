"""Guards together (S0-29)."""

import json
from pathlib import Path

import numpy as np
import pytest

from hardrank.errors import BundleError
from hardrank.guards import (
    GUARDS,
    AdversarialText,
    CopycatGuard,
    Listing,
    Normaliser,
    Pipeline,
    fit_pipeline,
    load_pipeline,
)
from hardrank.testing.guards import planted_lesson


@pytest.fixture(scope="module")
def whole() -> Pipeline:
    specs = [AdversarialText(trees=40) if g is AdversarialText else g() for g in GUARDS]
    return fit_pipeline(specs, planted_lesson())


def test_what_is_mended_is_read_by_the_next() -> None:
    """A copy that hides behind a Cyrillic letter is still a copy."""
    lesson = planted_lesson()
    hidden = lesson.texts[0].replace("ml", "m\u04c0")
    copy = CopycatGuard().fit(lesson)
    listing = Listing("x", {"title": hidden})
    verdict = Pipeline((Normaliser(), copy)).inspect([listing], lesson.shop)[0]
    assert verdict.action == "quarantine"
    assert verdict.guard == "copycat"
    assert verdict.fields == {"title": lesson.texts[0]}
    assert "normaliser" in verdict.reason


def test_no_guard_admits_all() -> None:
    lesson = planted_lesson()
    said = Pipeline(()).inspect(lesson.listings(np.arange(3)), lesson.shop)
    assert [v.action for v in said] == ["admit"] * 3


def test_comes_back_from_its_folder(whole: Pipeline, tmp_path: Path) -> None:
    lesson = planted_lesson()
    whole.save(tmp_path / "guards")
    again = load_pipeline(tmp_path / "guards")
    sample = [*lesson.listings(np.arange(30)), *(e.listing for e in lesson.attacked[:6])]
    assert again.inspect(sample, lesson.shop) == whole.inspect(sample, lesson.shop)


def test_refuses_another_folder(whole: Pipeline, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"pipeline\.json is missing"):
        load_pipeline(tmp_path)
    whole.save(tmp_path / "g")
    about = json.loads((tmp_path / "g" / "pipeline.json").read_text())
    (tmp_path / "g" / "pipeline.json").write_text(json.dumps(about | {"format": 9}))
    with pytest.raises(BundleError, match="format 9"):
        load_pipeline(tmp_path / "g")
    (tmp_path / "g" / "pipeline.json").write_text(json.dumps(about | {"texts": {}}))
    with pytest.raises(BundleError, match="does not hold guards"):
        load_pipeline(tmp_path / "g")
