"""The page on hardening: its files run, its messages are those that one gets."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.test_docs import ROOT, blocks, run
from torch import Tensor, nn

from hardrank.context import RunContext
from hardrank.errors import Unsupported
from hardrank.experiment.arm_spec import Arm
from hardrank.experiment.arms import _bounded
from hardrank.hardening import (
    TRADES,
    Adversarial,
    CatastrophicOverfitting,
    Discrete,
    RDrop,
    Reweighted,
    UserAdaptive,
)
from hardrank.models import BprMf, Popularity, Sasrec
from hardrank.models.sequence.influence import Influence
from hardrank.perturbations import FGM
from hardrank.testing import toy_market
from hardrank.testing.objectives import TinyNetwork
from hardrank.training import check_objective
from hardrank.types import Site

PAGE = ROOT / "docs" / "hardening.md"
ATTACK: dict[str, Any] = {"inner": FGM(), "radius": 0.1}


class Pairs(nn.Module):
    """Reads texts and scores pairs; says of no row whose it is."""

    sites: tuple[Site, ...] = ("text-vectors", "item-vectors", "user-vectors")

    def loss(self, batch: Any, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        raise AssertionError("asked to train after all")

    clean = writable = loss_beside = loss


def fitted() -> Iterator[tuple[Any, Any]]:
    """Models and objectives that do not go together."""
    yield Sasrec(), Adversarial(**ATTACK, site="text-vectors")
    yield BprMf(), TRADES(**ATTACK)
    yield Sasrec(), Discrete()
    yield Sasrec(negatives=3), RDrop()
    yield Sasrec(dropout=0.0), RDrop()
    yield Popularity(), Adversarial(**ATTACK)


def refusals() -> Iterator[str]:
    for made, objective in fitted():
        with pytest.raises(Unsupported) as caught:
            made.fit(toy_market(), RunContext(), objective=objective)
        yield str(caught.value)
    for objective, network in (
        (Discrete(), Pairs()),
        (UserAdaptive(radius=0.1), Pairs()),
        (Reweighted(users={"b": 0.5}), TinyNetwork()),
    ):
        with pytest.raises(Unsupported) as caught:
            check_objective(objective, network)
        yield str(caught.value)
    with pytest.raises(Unsupported) as caught:
        _bounded(Sasrec(), Arm(name="bounded", influence=Influence()))
    yield str(caught.value)
    with pytest.raises(Unsupported) as caught:
        CatastrophicOverfitting().check([{"epoch": 0.0, "ndcg@10": 0.1, "robust_error": 0.5}])
    yield str(caught.value)
    with pytest.raises(ValidationError) as wrong:
        Arm(name="texts", objective=Discrete())
    yield wrong.value.errors()[0]["msg"].removeprefix("Value error, ")


def test_what_cannot_be_combined_is_refused_in_the_words_of_the_page() -> None:
    """S4-05: before any training; every message of the table, and no other."""
    _, _, rest = PAGE.read_text("utf-8").partition("## What cannot be combined")
    shown = re.findall(r"^\|.*\| `(.+)` \|$", rest.partition("\n## ")[0], re.M)
    assert set(shown) == {" ".join(said.replace("`", "").split()) for said in refusals()}


def test_there_is_one_place_for_measured_defaults() -> None:
    _, _, rest = PAGE.read_text("utf-8").partition("## Recommended defaults per threat model")
    inside = re.findall(r"<!-- defaults: begin -->\n(.+?)\n<!-- defaults: end -->", rest, re.S)
    assert len(inside) == 1


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path) -> None:
    """S0-17: four arms and their control; the filter and the wrapper in Python."""
    texts = list(blocks(PAGE))
    whole = next(text for language, text in texts if language == "toml" and "[data]" in text)
    (tmp_path / "arms.toml").write_text(whole, "utf-8")
    for language, text in texts:
        if language == "sh":
            for line in text.splitlines():
                said = run(["bash", "-c", line], tmp_path)
    assert "report: runs/arms/report.html" in said
    report = (tmp_path / "runs" / "arms" / "report.md").read_text("utf-8")
    assert all(arm in report for arm in ("control", "vectors", "bounded", "texts", "variety"))
    code = "\n".join(text for language, text in texts if language == "python")
    code += "\nprint(model.top(data.histories(), 3).shape)\n"
    printed = run(["python", "-c", code], tmp_path).splitlines()
    assert printed[-1] == "(150, 3)"
    assert printed[-2] == "{'user-00003': 0.0, 'user-00008': 0.25}"
    assert re.fullmatch(r"\d+ events dropped, 150 users in the table as before", printed[-3])
