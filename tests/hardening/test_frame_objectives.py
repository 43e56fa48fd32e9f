"""Every objective is registered, documented, costed and kept to the contract."""

import importlib
import inspect
import re
import sys
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.hardening.test_resume_every_objective import OBJECTIVES

from hardrank.errors import DataError
from hardrank.experiment.objective_advice import ADVICE
from hardrank.experiment.objective_cards import objectives, table, within
from hardrank.experiment.objective_passes import Passes, needs_rows, passes
from hardrank.testing.objectives import ObjectiveContract

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "hardening.md"
GUIDE = ROOT / "docs" / "adding-an-objective.md"
CONTRACT_TESTS = [
    *(f"tests.hardening.{p.stem}" for p in sorted((ROOT / "tests/hardening").glob("test_*.py"))),
    "tests.models.test_discrete",
]


def contracts() -> list[type[ObjectiveContract]]:
    """The classes of the test files that subclass the contract."""
    modules = (importlib.import_module(name) for name in CONTRACT_TESTS)
    return [
        made
        for module in modules
        for made in vars(module).values()
        if isinstance(made, type)
        and issubclass(made, ObjectiveContract)
        and made is not ObjectiveContract
        and made.__module__ == module.__name__
    ]


def under(contract: type[ObjectiveContract]) -> set[str]:
    """Kinds that a contract's class holds, is parametrised with, or makes in its body."""
    marks = getattr(contract, "pytestmark", [])
    told = [value for mark in marks for value in _flat(mark.args[1:])]
    kinds = {getattr(value, "kind", None) for value in (*told, getattr(contract, "objective", 0))}
    body = inspect.getsource(contract)
    made = {kind for kind, cls in OBJECTIVES.items() if re.search(rf"\b{cls.__name__}\(", body)}
    return made | (kinds & OBJECTIVES.keys())


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple | set):
        return [inner for each in value for inner in _flat(each)]
    return [value, *_flat(list(value.values()))] if isinstance(value, dict) else [value]


def test_every_exported_objective_can_be_spelt_in_an_experiment() -> None:
    spelt = {made.kind: made for made in objectives()}
    assert spelt.keys() == OBJECTIVES.keys(), "add it to AnyObjective in experiment/arm_spec.py"
    assert all(spelt[kind] is made for kind, made in OBJECTIVES.items())


def test_every_objective_keeps_the_contract_in_some_test() -> None:
    found = set().union(*(under(contract) for contract in contracts()))
    lacking = sorted(OBJECTIVES.keys() - found)
    assert not lacking, f"subclass ObjectiveContract for {', '.join(lacking)}"


def test_a_contract_is_read_as_what_it_tests() -> None:
    class TestHeld(ObjectiveContract):
        objective = OBJECTIVES["r-drop"]()

    class TestNothing(ObjectiveContract):
        pass

    assert (under(TestHeld), under(TestNothing)) == ({"r-drop"}, set())


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
def test_every_objective_says_what_it_is(kind: str) -> None:
    """Its formula or idea first, a meaning under every key, and advice with its source."""
    made = OBJECTIVES[kind]
    assert made.__doc__
    for field in fields(made):
        described = made.__pydantic_fields__[field.name].description
        assert field.name == "kind" or described, f"{kind}.{field.name}"
    assert kind in ADVICE, "say when to take it, in experiment/objective_advice.py"
    source = ADVICE[kind].source.rpartition(" ")
    assert source[0] in " ".join(made.__doc__.split()), "the docstring has another source"


def test_no_advice_without_an_objective() -> None:
    assert ADVICE.keys() == OBJECTIVES.keys()


def test_the_table_of_objectives_is_current() -> None:
    """`python -m hardrank.experiment.objective_cards docs/hardening.md` after any change."""
    text = PAGE.read_text("utf-8")
    assert within(text) == text
    rows = re.findall(r"^\| \[`(.+?)`\]", text, re.M)
    assert rows == sorted(OBJECTIVES)
    assert len({line.count(" | ") for line in table().splitlines() if "---" not in line}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "no marks",
        "<!-- objectives: end --><!-- objectives: begin -->",
        "<!-- objectives: begin -->",
    ],
)
def test_without_its_marks_the_table_has_no_place(text: str) -> None:
    with pytest.raises(DataError, match="put <!-- objectives: begin -->"):
        within(text)


@pytest.mark.parametrize(
    ("kind", "steps", "forward", "backward"),
    [
        ("truncated-cross-entropy", 1, 1, 1),
        ("free", 3, 1, 1),
        ("freelb", 3, 3, 3),
        ("adversarial", 1, 3, 3),  # one to seek, two losses
        ("adversarial", 3, 6, 5),  # K + 1 to seek and keep the best, two losses
        ("apr", 3, 3, 3),
        ("r-drop", 1, 3, 3),
        ("discrete", 1, 1, 1),
        ("gradient-penalty", 1, 2, 3),  # gone back through twice
    ],
)
def test_passes_are_those_that_one_counts_by_hand(
    kind: str, steps: int, forward: int, backward: int
) -> None:
    assert passes(OBJECTIVES[kind], steps=steps) == Passes(forward, backward)


def test_the_factor_is_one_for_plain_training_and_counts_backward_twice() -> None:
    assert Passes(1, 1).factor == 1
    assert Passes(4, 1).factor == 2
    assert Passes(1, 4).factor == 3


def test_who_needs_rows_of_scores() -> None:
    """As `bpr-mf`, which has none, is told before training."""
    asked = {kind for kind, made in OBJECTIVES.items() if needs_rows(made)}
    assert {"trades", "vat", "reweighted", "sample-masking"} <= asked
    assert not asked & {"adversarial", "apr", "free", "user-adaptive", "discrete"}


def loaded(folder: Path) -> ModuleType:
    """The guide's Python as one file, since a spec's docstrings are read from its source."""
    found = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S)
    path = folder / "noisy_of_the_guide.py"
    path.write_text("\n".join(found), "utf-8")
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def test_the_example_of_the_guide_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every test that the guide shows, and every one of the contract, passes on its example."""
    monkeypatch.setitem(sys.modules, "noisy_of_the_guide", ModuleType("taken away afterwards"))
    module = loaded(tmp_path)
    contract = module.TestNoisy()
    names = [name for name in dir(contract) if name.startswith("test_")]
    assert len(names) >= 4
    for name in names:
        getattr(contract, name)()
    module.test_noise_has_the_length_that_was_asked_for()
    assert module.Noisy.__pydantic_fields__["radius"].description.startswith("L2 norm of each")


def test_the_guide_names_the_places_that_there_are() -> None:
    text = GUIDE.read_text("utf-8")
    for named in re.findall(r"`((?:src|tests)/[\w/.]+\.py|pyproject\.toml)`", text):
        assert (ROOT / named).is_file(), named
    assert "Hardening methods share schedules and nothing else" in (
        ROOT / "pyproject.toml"
    ).read_text("utf-8")
