"""`[reviews]` in the file of `hardrank guard fit` (S0-29)."""

import json
from pathlib import Path

import numpy as np
import pytest

from hardrank.context import RunContext
from hardrank.data.labelled import LabelledTexts
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.guard import fit_guards
from hardrank.experiment.guard_reviews import ReviewFitting, fit_reviews
from hardrank.experiment.guard_spec import load_guard_fitting
from hardrank.guards import ReviewGuard, load_pipeline
from hardrank.guards.reviews import FittedReviewGuard
from hardrank.testing.guards import planted_lesson
from hardrank.wording import split

REAL = tuple(split("the lamp stands on my desk and gives warm light but its cord is short"))
FAKE = tuple(split("amazing best ever product totally changed life buy now perfect wow"))
FILE = """
name = "small"
guards = [{{ kind = "normaliser" }}]
[data]
kind = "table"
path = "{folder}/events.csv"
items = "{folder}/items.csv"
[reviews]
path = "{folder}/reviews.csv"
text = "body"
label = "said"
fake = "spam"
group = "shop"
[reviews.guard]
false_alarms = 0.1
"""


def write_reviews(path: Path, n: int = 240) -> Path:
    """Every second one is spam; eight shops."""
    rng, lines = np.random.default_rng(0), ["body,said,shop"]
    for row in range(n):
        words = [*rng.choice((REAL, FAKE)[row % 2], 8), str(rng.choice(REAL))]
        lines.append(f"{' '.join(words)},{('ok', 'spam')[row % 2]},s{row // 2 % 8}")
    path.write_text("\n".join(lines) + "\n")
    return path


def fitting(path: Path) -> ReviewFitting:
    return ReviewFitting(
        path=path, text="body", label="said", fake="spam", group="shop",
        guard=ReviewGuard(false_alarms=0.1),
    )  # fmt: skip


def test_a_guard_of_reviews_travels_with_the_others(tmp_path: Path) -> None:
    planted_lesson().shop.items.write_csv(tmp_path / "items.csv")
    lines = [f"u{u},i{(7 * u + n) % 240},{n}" for u in range(60) for n in range(12)]
    (tmp_path / "events.csv").write_text("user_id,item_id,time\n" + "\n".join(lines) + "\n")
    write_reviews(tmp_path / "reviews.csv")
    (tmp_path / "guard.toml").write_text(FILE.format(folder=tmp_path))
    spec = load_guard_fitting(tmp_path / "guard.toml")
    assert spec.reviews == fitting(tmp_path / "reviews.csv")
    done = fit_guards(spec, RunContext(folder=tmp_path / "out"))
    real, fake = done.rows[-2:]
    assert (real.group, real.split, real.recall) == ("real reviews", "reviews", None)
    assert real.stopped <= 0.15 and fake.stopped >= 0.9 and fake.recall == 1.0
    assert [line.split()[:2] for line in done.lines()[-3:-1]] == [
        ["real", "reviews"], ["fake", "reviews"],
    ]  # fmt: skip
    told = json.loads((tmp_path / "out" / "evaluation.json").read_text())["reviews"]
    assert told == {
        "real": real.n, "fake": fake.n, "false_alarms": real.stopped, "recall": fake.stopped,
        "at": 0.1, "recall_at": 1.0,
    }  # fmt: skip
    found = load_pipeline(tmp_path / "out")
    assert found.reviews is not None and done.reviews is not None
    assert found.reviews.threshold == done.reviews.guard.threshold


def test_no_shop_is_learned_from_and_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the threshold set on one that was learned from."""
    path = write_reviews(tmp_path / "reviews.csv")
    data = LabelledTexts(path=path, text="body", label="said", group="shop").load()
    shop_of = dict(zip(data.texts, data.groups or (), strict=True))
    seen = dict[str, set[str]]()
    real_fit = ReviewGuard.fit

    def fit(self: ReviewGuard, train: object, *, fake: str) -> FittedReviewGuard:
        seen["learned"] = {shop_of[t] for t in train.texts}  # type: ignore[attr-defined]
        kept, apart = self._parted(train)  # type: ignore[arg-type]
        groups = np.array(train.groups)  # type: ignore[attr-defined]
        assert len(kept) and len(apart) and not set(groups[kept]) & set(groups[apart])
        return real_fit(self, train, fake=fake)  # type: ignore[arg-type]

    monkeypatch.setattr(ReviewGuard, "fit", fit)
    made = fit_reviews(fitting(path), 0)
    assert len(seen["learned"]) == 6 and made.real + made.fake == 60


def test_the_same_seed_gives_the_same_guard(tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "reviews.csv")
    one, two, other = (fit_reviews(fitting(path), seed) for seed in (3, 3, 4))
    assert one.to_json() == two.to_json() and one.guard.threshold == two.guard.threshold
    assert one.guard.threshold != other.guard.threshold


def test_mistakes_are_named(tmp_path: Path) -> None:
    path = write_reviews(tmp_path / "reviews.csv")
    with pytest.raises(DataError, match=r"no review has the label 'bot'; there are: ok, spam"):
        fit_reviews(ReviewFitting(path=path, text="body", label="said", fake="bot"), 0)
    (tmp_path / "guard.toml").write_text(
        FILE.format(folder=tmp_path).replace("group =", "groups =")
    )
    with pytest.raises(ConfigError, match="did you mean 'group'"):
        load_guard_fitting(tmp_path / "guard.toml")


@pytest.mark.slow
def test_real_fake_reviews_of_hotels_that_it_never_saw(data_folder: Path) -> None:
    """S0-29, on 1,600 reviews of 20 hotels (Ott et al., 2011, 2013), six held out: at 2 % false
    alarms asked for, about half of the fake ones are held (on the means of three seeds; not
    the four fifths that planted ones reach)."""
    path = data_folder / "attacked-text" / "deceptive-opinion" / "deceptive-opinion.csv"
    made = ReviewFitting(
        path=path, label="deceptive", fake="deceptive", group="hotel",
        guard=ReviewGuard(false_alarms=0.02),
    )  # fmt: skip
    found = [fit_reviews(made, seed) for seed in range(3)]
    for one in found:
        print(one.to_json())
        assert (one.real, one.fake) == (240, 240)
    assert np.mean([one.false_alarms for one in found]) <= 0.02
    assert np.mean([one.recall for one in found]) >= 0.45
    assert np.mean([one.recall_at for one in found]) >= 0.55
