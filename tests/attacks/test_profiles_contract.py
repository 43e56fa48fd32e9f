"""Every profile attack passes the contract: an attack is tested by existing."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from hardrank.attacks import profiles
from hardrank.attacks.profiles import PLAIN, PROFILE_ATTACKS, ProfileAttackSpec
from hardrank.attacks.profiles.evasive_profiles import EvasiveProfiles
from hardrank.attacks.profiles.few_profiles import FewProfiles
from hardrank.attacks.profiles.helped_profiles import HelpedProfiles
from hardrank.attacks.profiles.obfuscated import Obfuscated
from hardrank.attacks.profiles.rehearsed import Rehearsed
from hardrank.attacks.profiles.rival_profiles import RivalProfiles
from hardrank.testing.profiles import ProfileAttackContract

_ADAPTER: TypeAdapter[Any] = TypeAdapter(ProfileAttackSpec)
_BRISK = {
    "steps": 2, "pretraining": 2, "epochs": 1, "width": 8, "batch": 8,
    "gan": {"width": 8, "steps": 2, "warmup": 2, "batch_size": 8}, "vae": {"steps": 2},
    "candidates": [{"kind": "copy-profile"}, {"kind": "mixed-copy"}],
    "first": {"candidates": [{"kind": "copy-profile"}]}, "rounds": 2,
}  # fmt: skip
"""What a learned attack is told here where it knows such a key, so that it trains for a
moment."""
_FEW = 4


def _brisk(made: Any) -> dict[str, Any]:
    """Empty for an attack that learns nothing."""
    return {name: few for name, few in _BRISK.items() if name in made.__pydantic_fields__}


def _contract(made: Any) -> type[ProfileAttackContract]:
    brisk = _brisk(made)
    members: dict[str, Any] = {"make": lambda _: made(**brisk)}
    members |= {"names_target": made not in (HelpedProfiles, RivalProfiles)}
    if brisk:
        members |= {"cases": _FEW, "may_refuse": 0.5}
    return type(f"Test{made.__name__}", (ProfileAttackContract,), members)


for _made in PROFILE_ATTACKS:
    globals()[f"Test{_made.__name__}"] = _contract(_made)


@pytest.mark.slow
@pytest.mark.parametrize("made", PROFILE_ATTACKS, ids=lambda made: made.kind)
def test_a_thousand_random_cases(made: Any) -> None:
    """Inside the budget and the rules in 1,000 random logs; learned attacks in 30."""
    contract = _contract(made)
    contract.cases = 30 if _brisk(made) else 1000
    contract().test_keeps_the_rules_in_any_log()


def test_the_registry_holds_every_attack_once() -> None:
    """Every attack that a file of the room holds is in the union, one a file, under a kind of
    its own that the file is named by."""
    files = [path.stem for path in Path(profiles.__file__).parent.glob("[!_]*.py")]
    rooms = [importlib.import_module(f"{profiles.__name__}.{name}") for name in files]
    found = {
        made
        for room in rooms
        for _, made in inspect.getmembers(room, inspect.isclass)
        if made.__module__ == room.__name__ and hasattr(made, "surfaces")
    }
    assert set(PROFILE_ATTACKS) == found
    homes = [made.__module__.rpartition(".")[2] for made in PROFILE_ATTACKS]
    assert len(homes) == len(set(homes))
    kinds = [made().kind for made in PROFILE_ATTACKS]
    assert len(set(kinds)) == len(kinds)
    assert [home.replace("_", "-") for home in homes] == kinds
    assert set(PROFILE_ATTACKS) - set(PLAIN) == {
        EvasiveProfiles, FewProfiles, HelpedProfiles, Obfuscated, Rehearsed, RivalProfiles,
    }  # fmt: skip


@pytest.mark.parametrize("made", PROFILE_ATTACKS, ids=lambda made: made.kind)
def test_toml_spells_every_attack(made: Any) -> None:
    """Wrong keys are refused, every hyperparameter says what it is."""
    assert _ADAPTER.validate_python({"kind": made.kind}) == made()
    with pytest.raises(ValidationError, match="no_such_key"):
        _ADAPTER.validate_python({"kind": made.kind, "no_such_key": 1})
    for name, field in made.__pydantic_fields__.items():
        assert name == "kind" or field.description, f"{made.kind}.{name} has no docstring"
    assert len(inspect.getdoc(made) or "") > 80, "say what it does and whose idea it is"
