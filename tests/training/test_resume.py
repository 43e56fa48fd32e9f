"""A killed training, started again, ends with the weights of an uninterrupted one."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardrank.context import RunContext
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.hardening import Adversarial
from hardrank.models import Sasrec
from hardrank.perturbations import FGM
from hardrank.recommender import Recommender
from hardrank.training import Training

SPEC = Sasrec(size=16, heads=1, length=20, training=Training(epochs=6, batch_size=256, patience=0))


def world() -> Split:
    return LeaveOneOut().split(Marketplace(users=200, items=120, seed=3).load())


def fit(folder: Path | None, spec: Sasrec = SPEC, **options: object) -> Recommender:
    split = world()
    run = RunContext(seed=1, folder=folder)
    return spec.fit(split.train, run, valid=split.valid, **options)  # type: ignore[arg-type]


def digest(model: Recommender) -> str:
    sha = hashlib.sha256()
    for name, value in sorted(model.arrays().items()):
        sha.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return sha.hexdigest()


def _checkpoints(folder: Path) -> list[Path]:
    return list(folder.glob("*/checkpoint.safetensors"))


@pytest.mark.slow
def test_kill_minus_nine_then_resume_gives_the_same_bits(tmp_path: Path) -> None:
    """C3: kill -9 at any moment and re-run, the same final weights."""
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n" + (
        "from pathlib import Path\nfrom test_resume import fit\nfit(Path(sys.argv[1]))\n"
    )
    folder = tmp_path / "killed"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-c", script, str(folder)], env=environment)
    try:
        for _ in range(1200):
            if _checkpoints(folder) or child.poll() is not None:
                break
            time.sleep(0.05)
        assert _checkpoints(folder), "the training never wrote a checkpoint"
        killed = child.poll() is None
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    finish = [sys.executable, "-c", script, str(folder)]
    subprocess.run(finish, env=environment, check=True)
    whole = tmp_path / "whole"
    subprocess.run([sys.executable, "-c", script, str(whole)], env=environment, check=True)
    assert killed, "the training ended before it could be killed"
    assert digest(fit(folder)) == digest(fit(whole))


def test_stopping_between_epochs_changes_nothing(tmp_path: Path) -> None:
    short = replace(SPEC, training=replace(SPEC.training, epochs=2))
    assert digest(fit(None)) == digest(fit(tmp_path / "a"))
    # Another spec in the same folder is another training: it must not go on from this one.
    assert digest(fit(tmp_path / "a", short)) == digest(fit(None, short))


def test_lambda_zero_is_plain_training_to_the_last_bit() -> None:
    """S0-11."""
    nothing = Adversarial(inner=FGM(), radius=0.1, weight=0.0)
    something = Adversarial(inner=FGM(), radius=0.1, weight=1.0)
    plain = digest(fit(None))
    assert digest(fit(None, objective=nothing)) == plain
    assert digest(fit(None, objective=something)) != plain


def test_other_seeds_give_other_weights() -> None:
    split = world()
    one, two = (SPEC.fit(split.train, RunContext(seed=s), valid=split.valid) for s in (1, 2))
    assert digest(one) != digest(two)
