"""The attack that docs/adding-an-attack.md builds works as written there."""

import re
from pathlib import Path

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding-an-attack.md"
_IMPORTS = """
from typing import ClassVar, Literal
import numpy as np
from hardrank.attacks.vocabulary import vocabulary
from hardrank.data import Patch, RewriteItem
from hardrank.testing import AttackContract, planted_world
from hardrank.threats import Budget, Promote, RankView, ThreatModel, mount
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec
"""


def test_the_example_passes_its_contract() -> None:
    blocks = re.findall(r"```python\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {"__name__": "example"}
    exec("\n".join([_IMPORTS, *blocks]), names)
    names["test_shouter_shouts"]()  # type: ignore[operator]
    contract = names["TestShouter"]()  # type: ignore[operator]
    checks = [name for name in dir(contract) if name.startswith("test_")]
    assert len(checks) == 10
    for name in checks:
        getattr(contract, name)()
