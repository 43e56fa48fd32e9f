"""The suite's attacks as a source of texts for training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, RewriteItem
from hardrank.experiment.arm_spec import ForgeSpec
from hardrank.recommender import Recommender
from hardrank.threats import Promote, ThreatModel, mount_all, sample_panel
from hardrank.training.forge import AttackedText

__all__ = ["SuiteForge", "pool_of"]


def pool_of(folder: Path, train: Dataset) -> set[str] | None:
    """Ids of the items that were rewritten for the training kept in `folder`; None if it was
    trained on no attacked texts."""
    rounds = sorted(folder.glob("*/forged-*.json"))
    if not rounds:
        return None
    rows = {text["item"] for path in rounds for text in json.loads(path.read_text("utf-8"))}
    return set(train.items["item_id"].gather(sorted(rows)).to_list())


@dataclass(frozen=True)
class SuiteForge:
    """A `Forge` for training on `train`."""

    spec: ForgeSpec
    seed: int
    spared: tuple[str, ...]
    """Ids of items that are never rewritten: the audit attacks them."""
    train: Dataset = field(repr=False)
    run: RunContext = field(repr=False)

    @property
    def every(self) -> int:
        return self.spec.every

    def __call__(self, model: Recommender, epoch: int) -> Sequence[AttackedText]:
        rng = np.random.default_rng(derive(self.seed, "forge", epoch))
        items = self._items(rng)
        ids = tuple(self.train.items["item_id"].gather(items).to_list())
        threat = ThreatModel(
            goal=Promote(items=ids), knowledge=self.spec.knowledge, budget=self.spec.budget
        )
        matches = mount_all(
            self.spec.attacks, threat, model, self.train,
            panel=sample_panel(self.train.histories(), self.spec.panel, rng), targets=ids,
            seed=derive(self.seed, "forge", epoch), run=self.run,
        )  # fmt: skip
        return [
            AttackedText(
                item=self.train.item_rows[edit.item_id], field=edit.field, text=edit.text,
                attack=match.attack,
            )
            for match in matches
            if match.patch is not None
            for edit in match.patch.edits
            if isinstance(edit, RewriteItem)
        ]  # fmt: skip

    def _items(self, rng: np.random.Generator) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        ids = self.train.items["item_id"]
        free = np.flatnonzero(~ids.is_in(self.spared).to_numpy())
        drawn = rng.choice(free, size=min(self.spec.items, len(free)), replace=False)
        return np.sort(drawn).astype(np.int64)
