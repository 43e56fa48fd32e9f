"""The file that `make serve` fits its guards by."""

from pathlib import Path

from hardrank.data.sources import Marketplace
from hardrank.experiment.guard_spec import load_guard_fitting
from hardrank.experiment.spec import load_experiment

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_the_demo_guards_learn_the_catalogue_of_the_demo() -> None:
    guards = load_guard_fitting(EXAMPLES / "guards" / "demo.toml")
    demo = load_experiment(EXAMPLES / "demo.toml")
    assert guards.data == demo.data == Marketplace()
