"""A guard of reviews in the folder of the other guards."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardrank.data.labelled import Labelled
from hardrank.detection.reviews import StyleReviews
from hardrank.errors import BundleError
from hardrank.guards import Normaliser, Pipeline, ReviewGuard, load_pipeline

TEXTS = tuple(f"{('good lamp', 'BUY now!!!')[n % 2]} {n} words of {n % 7} days" for n in range(60))
KNOWN = Labelled(texts=TEXTS, labels=np.arange(60) % 2, names=("real", "fake"))
STYLE = ReviewGuard(detector=StyleReviews(), field="opinion", false_alarms=0.05)


@pytest.mark.parametrize("spec", [ReviewGuard(), STYLE])
def test_it_comes_back_with_equal_scores(spec: ReviewGuard, tmp_path: Path) -> None:
    guard = spec.fit(KNOWN, fake="fake")
    Pipeline((Normaliser(),), ("title",), guard).save(tmp_path / "g")
    found = load_pipeline(tmp_path / "g")
    assert found.reviews is not None and found.reviews.spec == spec
    assert found.guards == (Normaliser(),) and found.fields == ("title",)
    assert found.reviews.threshold == guard.threshold
    assert found.reviews.detector.score(TEXTS).tolist() == guard.detector.score(TEXTS).tolist()


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    Pipeline((Normaliser(),)).save(tmp_path / "g")
    assert load_pipeline(tmp_path / "g").reviews is None
    assert "reviews" not in json.loads((tmp_path / "g" / "pipeline.json").read_text())


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    whole = Pipeline((), reviews=STYLE.fit(KNOWN, fake="fake"))
    whole.save(tmp_path / "g")
    path = tmp_path / "g" / "pipeline.json"
    good = json.loads(path.read_text())
    for wrong in ("x", {"kind": "reviews", "run": 3}, {"kind": "stuffing"}):
        path.write_text(json.dumps({**good, "reviews": wrong}))
        with pytest.raises(BundleError, match="does not hold guards"):
            load_pipeline(tmp_path / "g")
    path.write_text(json.dumps(good))
    replace(whole, reviews=None).save(tmp_path / "bare")
    (tmp_path / "bare" / "pipeline.json").write_text(json.dumps(good))
    with pytest.raises(BundleError, match="'threshold' is missing"):
        load_pipeline(tmp_path / "bare")
