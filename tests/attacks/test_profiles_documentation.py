"""The attack that docs/poisoning.md builds works as written there."""

import re
from pathlib import Path

from hardrank.attacks.profiles import PROFILE_ATTACKS

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "poisoning.md"
_IMPORTS = """
from typing import ClassVar, Literal
import numpy as np
from hardrank.attacks.profiles.parts import Draft, Manner, others, rated, written
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import StatisticsView
from hardrank.types import GoalKind, LogKnowledge, Surface, spec
"""


def test_the_example_passes_its_contract() -> None:
    blocks = re.findall(r"```python\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {"__name__": "example"}
    exec("\n".join([_IMPORTS, *blocks]), names)
    contract = names["TestNewcomers"]()  # type: ignore[operator]
    checks = [name for name in dir(contract) if name.startswith("test_")]
    assert len(checks) == 13
    for name in checks:
        getattr(contract, name)()


def test_the_table_says_what_each_attack_declares() -> None:
    """Each attack has a row with its knowledge and goals; no row is about nothing."""
    found = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.*?) \|", _PAGE.read_text("utf-8"), re.M)
    known = {made().kind: made() for made in PROFILE_ATTACKS}
    for kind, knows, goals in found:
        assert known[kind].needs == knows, kind
        assert goals in (", ".join(known[kind].goals), "its base's"), kind
    assert {kind for kind, _, _ in found} == set(known)
