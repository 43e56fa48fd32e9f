"""Every registered attack passes the contract: an attack is tested by existing."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hardrank.attacks import ATTACKS, TextAttack, text
from hardrank.testing import AttackContract

_ADAPTER: TypeAdapter[Any] = TypeAdapter(TextAttack)

for _attack in ATTACKS:
    if _attack in (
        text.LlmRewrite,
        text.Pwws,
        text.TextFooler,
        text.GeneticWords,
        text.BertAttack,
        text.Gbda,
    ):
        continue  # need a writer, words or patience: test_whole_text, _recipes_words, _white_box
    _name = f"Test{_attack.__name__}"
    globals()[_name] = type(_name, (AttackContract,), {"attack": _attack()})


def test_the_registry_holds_every_attack_once() -> None:
    """Every spec of the room is a member of the union, under a kind of its own."""
    written = {getattr(text, name) for name in text.__all__}
    assert set(ATTACKS) == written and len(ATTACKS) == len(written)
    files = {path.stem for path in Path(text.__file__).parent.glob("[!_]*.py")}
    assert {attack.__module__.rpartition(".")[2] for attack in ATTACKS} == files
    assert len({attack().kind for attack in ATTACKS}) == len(ATTACKS)


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
