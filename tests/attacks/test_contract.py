"""Every registered attack passes the contract: an attack is tested by existing."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hardrank.attacks import ATTACKS, Copycat, GreedyWords, RandomWords, TextAttack
from hardrank.testing import AttackContract

_ADAPTER: TypeAdapter[Any] = TypeAdapter(TextAttack)

for _attack in ATTACKS:
    _name = f"Test{_attack.__name__}"
    globals()[_name] = type(_name, (AttackContract,), {"attack": _attack()})


def test_the_registry_holds_every_attack_once() -> None:
    assert (Copycat, GreedyWords, RandomWords) == ATTACKS


@pytest.mark.parametrize("attack", ATTACKS)
def test_toml_spells_every_attack(attack: Any) -> None:
    kind = attack().kind
    assert _ADAPTER.validate_python({"kind": kind}) == attack()
    with pytest.raises(ValidationError, match="no_such_key"):
        _ADAPTER.validate_python({"kind": kind, "no_such_key": 1})


def test_wrong_values_are_refused() -> None:
    for wrong in ({"vocabulary": 0}, {"positions": []}, {"positions": ["middle"]}):
        with pytest.raises(ValidationError):
            _ADAPTER.validate_python({"kind": "greedy-words", **wrong})
