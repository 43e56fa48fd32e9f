"""What stays in the folder of a training beside its checkpoint."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from hardrank.errors import Diverged
from hardrank.files import write_json
from hardrank.training.checkpoint import Progress
from hardrank.training.watch import catastrophic_overfitting, robust_gap

__all__ = ["Record"]

_log = logging.getLogger("hardrank")


class Record:
    """TensorBoard scalars while it goes on, `training.json` at the end or when training
    diverges; nothing without a folder.

    `training.json` holds the `Progress`, `kept_epoch` (whose weights are the result) and
    `robust` (see `robust_gap`), where validation measures the robust error.
    """

    def __init__(self, folder: Path | None, progress: Progress, keep: str) -> None:
        self.folder, self.progress, self.keep = folder, progress, keep
        self.writer: Any = None

    def __enter__(self) -> "Record":
        if self.folder:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(self.folder / "tensorboard"))
        return self

    def write(self, row: Mapping[str, float]) -> None:
        """The epoch that the history now ends with. A doubt it gives rise to goes into
        `Progress.warning` and, once, to the log."""
        if self.writer:
            for name, value in row.items():
                self.writer.add_scalar(name, value, int(row["epoch"]))
        found = catastrophic_overfitting(self.progress.history)
        if found and not self.progress.warning:
            self.progress.warning = found
            _log.warning("%s", found)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.writer:
            self.writer.close()
        if isinstance(error, Diverged):
            self.progress.finished = str(error)
        if self.folder and (error is None or isinstance(error, Diverged)):
            write_json(self.folder / "training.json", self._facts())

    def _facts(self) -> dict[str, Any]:
        progress = self.progress
        best = progress.best_epoch if self.keep != "last" else 0
        facts = vars(progress) | {"kept_epoch": best or progress.epoch}
        gap = robust_gap(progress.history)
        return facts if gap is None else facts | {"robust": gap}
