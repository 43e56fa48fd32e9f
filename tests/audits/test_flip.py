"""Flips of a linear classifier, whose worst perturbation is known in closed form."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F

from hardrank.audits.flip import decisions, flip_curve, row_names
from hardrank.audits.flip_gates import auc_floor, flip_gradients, tells_texts_apart
from hardrank.audits.formulas import parse
from hardrank.audits.measure import measure
from hardrank.audits.samples import gather, samples
from hardrank.audits.sanity import Strength, rises_with_radius, stronger_attack, unbounded_wins
from hardrank.audits.verify import mismatches
from hardrank.data.labelled import Labelled
from hardrank.errors import Unsupported
from hardrank.metrics.calibration import expected_calibration_error
from hardrank.metrics.classification import class_report, roc_auc
from hardrank.perturbations import FGM, PGD, Gaussian
from hardrank.recommender import LossSurface

RADII = (0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 50.0)


@dataclass(frozen=True, eq=False)
class Plane:
    """A text is two numbers, `x y`; class 1 where x > 0, with log-odds 2 x. One scale: 1."""

    bend: float = 1.0
    labels: tuple[str, ...] = ("no", "yes")
    sites: tuple[str, ...] = ("text-vectors",)

    def vectors(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[float(n) for n in t.split()] for t in texts])

    def logits(self, v: torch.Tensor) -> torch.Tensor:
        return torch.stack([-v[:, 0], v[:, 0]], dim=1)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        return self.logits(self.vectors(texts)).softmax(dim=1).numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        return {}

    def surface(self, site, goal, queries, items, texts=(), *, loss=None) -> LossSurface:
        like, truth = self.vectors(texts), torch.from_numpy(items)

        def loss(delta: torch.Tensor) -> torch.Tensor:
            moved = like + delta * self.bend
            return F.cross_entropy(self.logits(moved), truth, reduction="none")

        return LossSurface(loss=loss, like=like, scale=float(like.norm(dim=1).mean()))

    def perturbed_scores(self, site, goal, queries, items, delta, texts=()) -> np.ndarray:
        return self.logits(self.vectors(texts) + delta).softmax(dim=1).numpy()


def texts(n: int = 40) -> Labelled:
    """Unit vectors; every fifth label is wrong for the plane."""
    angles = np.linspace(0.1, 2 * np.pi, n, endpoint=False)
    points = [(np.cos(a), np.sin(a)) for a in angles]
    labels = np.array([(x > 0) ^ (k % 5 == 4) for k, (x, _) in enumerate(points)], dtype=np.int64)
    return Labelled(texts=tuple(f"{x} {y}" for x, y in points), labels=labels, names=("no", "yes"))


def curve(inner, model=None, test=None, **changed) -> pl.DataFrame:
    test = test or texts()
    about = {
        "site": "text-vectors", "inner": inner, "radii": RADII, "subject": "plane/control",
        "seed": 0, "trial": inner.kind, "names": row_names(test, test),
    }  # fmt: skip
    return flip_curve(model or Plane(), test, **(about | changed))


def test_a_text_falls_exactly_where_the_radius_reaches_the_plane() -> None:
    """The distance of a unit vector from the plane x = 0 is |x|: no more and no less moves it."""
    test = texts()
    x = np.array([float(t.split()[0]) for t in test.texts])
    right = (x > 0) == (test.labels == 1)
    for inner in (FGM(), PGD(steps=20)):
        found = curve(inner, test=test)
        for radius in RADII:
            rows = found.filter(pl.col("radius") == radius)
            assert rows["excluded"].to_list() == (~right).tolist()
            expected = [
                bool(d <= radius) if ok else None for d, ok in zip(abs(x), right, strict=True)
            ]
            assert rows["success"].to_list() == expected
    noise = curve(Gaussian(draws=5), test=test).filter(pl.col("radius") == 0.5)
    assert noise["success"].sum() < found.filter(pl.col("radius") == 0.5)["success"].sum()


def test_success_counts_only_texts_that_were_right_before() -> None:
    """E1-4: 8 of 40 texts were wrong; they are not victories of the attack."""
    table = curve(FGM())
    at = {"goal": "flip", "site": "text-vectors"}
    about = {"subject": "plane/control", "audit": "curve", "trial": "fgm", "where": at}
    unbounded = measure(table, metric="asr", radius=50.0, **about)
    clean = measure(table, metric="asr", radius=0.0, **about)
    assert (unbounded.value, unbounded.n) == (1.0, 32)
    assert (clean.value, clean.n) == (0.0, 32)
    accuracy = [
        measure(table, metric="accuracy", formula="accuracy@0.5", radius=r, **about).value
        for r in RADII
    ]
    assert accuracy[0] == 0.8 and accuracy[-1] == 0.0
    assert accuracy == sorted(accuracy, reverse=True)
    assert not mismatches([unbounded, clean], table)


def test_draws_do_not_depend_on_the_other_radii() -> None:
    few = curve(Gaussian(), radii=(0.3,))
    many = curve(Gaussian()).filter(pl.col("radius") == 0.3)
    assert few.equals(many)


def test_unsupported_is_said() -> None:
    with pytest.raises(Unsupported, match="no gradients at 'token-embeddings'"):
        curve(FGM(), site="token-embeddings")
    three = np.full((1, 3), 1 / 3, dtype=np.float32)
    with pytest.raises(Unsupported, match="two classes, not 3"):
        decisions(three, texts(1), subject="x/y", seed=0, names=["row 1"])


def test_rows_are_named_by_their_place_in_the_file() -> None:
    data = Labelled(texts=("a", "b", "a", "c"), labels=np.array([0, 1, 0, 1]), names=("n", "y"))
    assert row_names(data, data.take(np.array([0, 2, 3]))) == ["row 1", "row 3", "row 4"]


# Numbers of the clean table (S1-20)


def _clean(values, labels, subject="m/control", seed=0) -> pl.DataFrame:
    return samples({
        "subject": subject, "seed": seed, "audit": "utility", "trial": "clean",
        "sample": [f"row {n}" for n in range(len(values))], "value": values, "label": labels,
    })  # fmt: skip


@pytest.fixture
def stored() -> tuple[np.ndarray, np.ndarray, pl.DataFrame]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 90)
    values = np.clip(0.3 + 0.4 * labels + rng.normal(0, 0.3, 90), 0, 1)
    return values, labels, _clean(values, labels)


def test_report_of_a_class_is_recomputed_from_stored_predictions(stored) -> None:
    values, labels, table = stored
    report = class_report(labels, values >= 0.5, 2)
    expected = {
        "precision@0.5": report.precision[1],
        "recall@0.5": report.recall[1],
        "f1@0.5": report.f1[1],
        "accuracy@0.5": ((values >= 0.5) == labels).mean(),
        "auc": roc_auc(labels == 1, values),
        "ece": expected_calibration_error(values, labels),
    }
    for metric, number in expected.items():
        found = measure(table, subject="m/control", audit="utility", metric=metric)
        assert found.value == pytest.approx(number, abs=1e-12), metric
        assert found.low <= found.high and found.per_seed == (found.value,)
        assert not mismatches([found], table)
    assert measure(table, subject="m/control", audit="utility", metric="recall@0.5").n == sum(
        labels
    )


def test_numbers_of_the_whole_are_compared_on_the_same_draws(stored) -> None:
    values, labels, table = stored
    both = gather([table, _clean(values, labels, "m/hardened")])
    about = {"subject": "m/hardened", "audit": "utility", "versus": {"subject": "m/control"}}
    for metric in ("difference(auc)", "price(auc)", "drop(f1@0.5)"):
        same = measure(both, metric=metric, **about)
        assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    worse = gather([table, _clean(1 - values, labels, "m/hardened")])
    auc = roc_auc(labels == 1, values)
    found = measure(worse, metric="difference(auc)", **about)
    assert found.value == pytest.approx(1 - 2 * auc) and found.high < 0
    assert not mismatches([found], worse)
    with pytest.raises(ValueError, match="unknown formula"):
        parse("f2@0.5")


# Gates


def test_gate_of_quality_weighs_the_loss_of_auc(stored) -> None:
    values, labels, table = stored
    arms = {"hardened": "m/hardened", "control": "m/control"}
    assert auc_floor(gather([table, _clean(values, labels, "m/hardened")]), **arms).passed
    flat = gather([table, _clean(np.full(90, 0.4), labels, "m/hardened")])
    check = auc_floor(flat, **arms)
    assert check.passed is False and "AUC falls by" in check.reason
    rng = np.random.default_rng(0)
    near = np.clip(values + rng.normal(0, 0.08, 90), 0, 1)
    unsure = auc_floor(gather([table, _clean(near, labels, "m/hardened")]), points=0.02, **arms)
    assert unsure.passed is None and "too few" in unsure.reason


def test_a_constant_is_no_classifier(stored) -> None:
    _, labels, table = stored
    assert tells_texts_apart(table, subject="m/control").passed
    same = _clean(np.full(90, 0.7), labels)
    assert tells_texts_apart(same, subject="m/control").passed is False
    nearly = _clean(np.linspace(0.51, 0.9, 90), labels)
    assert tells_texts_apart(nearly, subject="m/control").passed is False
    assert tells_texts_apart(same, subject="nobody/base").passed is None


def test_sanity_of_flips() -> None:
    table = gather([curve(PGD(steps=5)), curve(FGM()), curve(Gaussian(draws=3))])
    strength = Strength(subject="plane/control", goal="flip", site="text-vectors")
    assert stronger_attack(table, strength, ["gaussian", "fgm", "pgd"]).passed
    assert stronger_attack(table, strength, ["pgd", "gaussian"]).passed is False
    assert rises_with_radius(table, strength, "pgd").passed
    assert unbounded_wins(table, strength, "pgd", radius=50.0).passed
    assert unbounded_wins(table, strength, "pgd", radius=0.1).passed is False
    assert "flip" in strength.check("x", False, "because").concerns["audit"]


def test_gradients_are_checked_on_the_victim() -> None:
    """A surface whose loss does not move with delta hides its gradient, and is found out."""
    test = texts(12)
    made = {c.name: c.passed for c in flip_gradients(Plane(), "text-vectors", test, subject="m/a")}
    assert set(made.values()) == {True} and "zero_perturbation_is_clean" in made
    dead = flip_gradients(Plane(bend=0.0), "text-vectors", test, subject="m/a")
    assert {c.name for c in dead if not c.passed} == {
        "gradients_not_zero", "loss_rises_along_gradient",
    }  # fmt: skip
