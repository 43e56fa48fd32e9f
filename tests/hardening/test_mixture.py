"""A mixture trains each batch by one of its parts, as often as configured."""

import math
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from hardrank.context import derive
from hardrank.errors import Unsupported
from hardrank.hardening import Adversarial, Mixture, Part
from hardrank.perturbations import FGM, FGSM, PGD
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Plain, Step

CLEAN = Adversarial(inner=FGM(), radius=0.1, weight=0.0)
PARTS = (
    Part(share=0.5, objective=Adversarial(inner=FGSM(), radius=0.05)),
    Part(share=0.3, objective=Adversarial(inner=PGD(steps=2), radius=0.2)),
    Part(share=0.2, objective=CLEAN),
)


class TestMixture(ObjectiveContract):
    objective: ClassVar[Any] = Mixture(parts=PARTS)
    zero: ClassVar[Any] = Mixture(parts=(Part(share=1.0, objective=CLEAN),))


def test_ten_thousand_batches_are_mixed_as_configured() -> None:
    """S1-07: within two points, by the seeds that training gives its batches."""
    mixture = Mixture(parts=PARTS)
    drawn = [
        mixture.drawn(torch.Generator().manual_seed(derive(0, "objective", n // 100, n % 100)))
        for n in range(10_000)
    ]
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.02)


def test_each_batch_is_one_part_and_nothing_else() -> None:
    network, batch = TinyNetwork(), TinyBatch(torch.eye(4)[:3], torch.tensor([0, 2, 5]))
    seen = set()
    for seed in range(20):
        step = Step(epoch=0, number=0, progress=0, generator=torch.Generator().manual_seed(seed))
        value = float(Mixture(parts=PARTS)(network, batch, step).detach())
        generator = torch.Generator().manual_seed(seed)
        n = Mixture(parts=PARTS).drawn(generator)
        own = Step(epoch=0, number=0, progress=0, generator=generator)
        assert value == float(PARTS[n].objective(network, batch, own).detach())
        seen.add(n)
    assert seen == {0, 1, 2}
    assert float(CLEAN(network, batch, own).detach()) == float(
        Plain()(network, batch, own).detach()
    )


def test_a_mixture_is_spelled_in_toml() -> None:
    raw = {"parts": [
        {"share": 0.25, "objective": {"inner": {"kind": "fgsm"}, "radius": 0.1}},
        {"share": 0.75, "objective": {"inner": {"kind": "fgm"}, "radius": 0.1, "weight": 0}},
    ]}  # fmt: skip
    made = TypeAdapter(Mixture).validate_python(raw)
    assert made.parts[1] == Part(share=0.75, objective=CLEAN)
    assert made.site == "item-vectors"


def test_a_site_that_the_model_lacks_is_refused() -> None:
    far = Adversarial(inner=FGM(), radius=0.1, site="text-vectors")
    with pytest.raises(Unsupported, match="no site 'text-vectors'"):
        Mixture(parts=(Part(share=1.0, objective=far),)).check(TinyNetwork())  # type: ignore[arg-type]


def test_shares_that_are_no_distribution_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"add up to 1 \(are 0.8\)"):
        Mixture(parts=PARTS[:2])
    for wrong in (0.0, -0.1, 1.1, math.nan):
        with pytest.raises(ValidationError):
            Part(share=wrong, objective=CLEAN)
    with pytest.raises(ValidationError):
        Mixture(parts=())


def test_parts_at_two_sites_are_refused() -> None:
    far = Adversarial(inner=FGM(), radius=0.1, site="history-vectors")
    parts = (Part(share=0.5, objective=CLEAN), Part(share=0.5, objective=far))
    with pytest.raises(ValidationError, match="history-vectors, item-vectors"):
        Mixture(parts=parts)
