"""What the calibrator learns from, and how."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.detection.calibrator_network import Profiles, batches, built, log_odds, loss
from hardrank.detection.calibrator_network import profiles_of as cut
from hardrank.detection.calibrator_reading import CHANNELS, TextReader, read_profiles
from hardrank.detection.examples import LabelledLog, usable
from hardrank.detection.supervised import balanced, learned_rows, too_few
from hardrank.types import Floats, Ints

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Lesson", "lesson_of", "pushed_items", "trained"]

Mask = NDArray[np.bool_]
_PUSHED = 0.5
"""An item that this much more of the fakes have than of all users is what the attack pushes."""
_DECAY = 1e-3
"""Of weights, a step, as a share of the learning rate (AdamW)."""


class Options(Protocol):
    """Hyperparameters of the calibrator."""

    @property
    def kind(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def dropout(self) -> float: ...
    @property
    def entropy(self) -> float: ...
    @property
    def held_out(self) -> float: ...
    @property
    def rows(self) -> int: ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Lesson:
    """N labelled profiles."""

    profiles: Profiles
    fake: Mask
    weight: NDArray[np.float64]
    """(N,) of mean 1; see `supervised.balanced`."""


def lesson_of(
    examples: Sequence[LabelledLog], reader: TextReader, options: Options, run: RunContext
) -> Lesson:
    """The fakes of all logs and some of the real users whose labels may be learned.

    Raises `DataError` when there are no fakes, or too few real users.
    """
    parts, fakes, families = [], [], list[str]()
    logs = usable(examples)
    for n, log in enumerate(logs):
        rows = learned_rows(log, options.held_out, options.rows // len(logs), (run.seed, n))
        part = cut(read_profiles(log.dataset, reader), rows, options.length)
        rng = np.random.default_rng(derive(run.seed, "decoys", n))
        parts.append(_disguised(part, log.fake[rows], pushed_items(log), rng))
        fakes.append(log.fake[rows])
        families += [log.family] * len(rows)
    fake = np.concatenate(fakes)
    if fake.all() or not fake.any():
        raise too_few(examples, aside=False)
    weight = balanced(fake, np.asarray(families))
    return Lesson(profiles=_joined(parts), fake=fake, weight=weight)


def pushed_items(log: LabelledLog) -> Mask:
    """(I,) whether the attack pushes an item: many more fakes have it than users do.

    Only labels that may be learned are read.
    """
    data = log.dataset
    shown = log.learned & log.fake
    users = data.events["user"].to_numpy().astype(np.int64)
    keys = np.unique(users * data.n_items + data.event_items)
    who, what = keys // data.n_items, keys % data.n_items
    among_all = np.bincount(what, minlength=data.n_items) / max(int(log.active.sum()), 1)
    mine = np.bincount(what[shown[who]], minlength=data.n_items) / max(int(shown.sum()), 1)
    return np.asarray(mine - among_all > _PUSHED)


def trained(lesson: Lesson, options: Options, run: RunContext) -> "nn.ModuleDict":
    """The same seed and lesson, the same network to the last bit on the same machine."""
    import torch

    text = lesson.profiles.texts
    network = built(
        len(CHANNELS), text.shape[1] if text.any() else 0, options.size, options.dropout,
        derive(run.seed, options.kind, "weights"),
    ).to(run.device)  # fmt: skip
    texts = torch.from_numpy(np.array(text)).to(run.device)
    fake = torch.from_numpy(lesson.fake.astype(np.float32))
    weight = torch.from_numpy(lesson.weight.astype(np.float32))
    steps = torch.optim.AdamW(
        network.parameters(), lr=options.learning_rate, weight_decay=_DECAY
    )  # fmt: skip
    order = np.random.default_rng(derive(run.seed, options.kind, "order"))
    pace = torch.optim.lr_scheduler.OneCycleLR(
        steps, options.learning_rate, total_steps=options.steps + 1
    )
    drawn = islice(_batches(lesson.profiles.lengths, options.batch_size, order), options.steps)
    network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(run.seed, options.kind, "dropout"))
        for rows in run.track(drawn, options.kind, options.steps):
            batch = [part.to(run.device) for part in batches(lesson.profiles, rows)]
            at = torch.from_numpy(rows)
            told = fake[at].to(run.device), weight[at].to(run.device)
            steps.zero_grad()
            value = loss(log_odds(network, batch, texts), *told, options.entropy)
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            steps.step()
            pace.step()
    return network.cpu().eval().requires_grad_(False)


def _disguised(part: Profiles, fake: Mask, pushed: Mask, rng: np.random.Generator) -> Profiles:
    """With the text of another item at random wherever a fake has what the attack pushes: the
    next attack will push something else, and a blank text would be a sign, too."""
    owner = np.repeat(fake, part.lengths)
    told = owner & pushed[part.items]
    items = part.items.copy()
    items[told] = rng.integers(len(pushed), size=int(told.sum()))
    return Profiles(channels=part.channels, items=items, offsets=part.offsets, texts=part.texts)


def _joined(parts: Sequence[Profiles]) -> Profiles:
    """All one after the other, with each table of texts once."""
    begins: dict[int, int] = {}
    tables: list[Floats] = []
    items: list[Ints] = []
    for part in parts:
        if id(part.texts) not in begins:
            begins[id(part.texts)] = sum(map(len, tables))
            tables.append(part.texts)
        items.append(part.items + begins[id(part.texts)])
    sizes = np.concatenate([part.lengths for part in parts])
    return Profiles(
        channels=np.concatenate([part.channels for part in parts]),
        items=np.concatenate(items),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        texts=np.concatenate(tables),
    )


def _batches(lengths: Ints, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Without end, one epoch after the other in random order; of every eight batches' profiles
    those of like length go together, so that little is spent on padding."""
    while True:
        order = rng.permutation(len(lengths))
        groups: list[Ints] = []
        for start in range(0, len(order), 8 * size):
            part = order[start : start + 8 * size]
            part = part[np.argsort(lengths[part], kind="stable")]
            groups += [part[n : n + size] for n in range(0, len(part), size)]
        for group in rng.permutation(len(groups)):
            yield groups[group]
