"""`hardrank compress`: a smaller, faster text encoder, and whether that may be served.

Compression moves every text's vector a little. Whether users are served as well as before,
and attackers no better, is measured on the two bundles side by side, not assumed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from hardrank.bundle import Bundle, load_bundle, replace_weights
from hardrank.context import RunContext, derive
from hardrank.data import Holdout
from hardrank.data.splits import LeaveOneOut
from hardrank.encoders import OnnxEncoder
from hardrank.encoders.onnx_graph import Form
from hardrank.errors import BundleError, ConfigError, DataError
from hardrank.experiment.attack_bundle import world_of
from hardrank.experiment.compress_measure import (
    AttackPair,
    Between,
    Closeness,
    Quality,
    closeness,
    quality,
    robustness,
    sizes,
    speeds,
)
from hardrank.experiment.compress_model import compressed_recommender, readers
from hardrank.experiment.reading import dataset_of, split_of
from hardrank.experiment.spec import Experiment, Trial, load_experiment
from hardrank.files import write_json

__all__ = ["Compressed", "Limits", "Measured", "compress_bundle", "held_out", "measured"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a compressed bundle may cost."""

    size: float = 0.40
    """Bytes of the int8 graph over those of the fp32 weights."""
    ndcg_loss: float = 0.01
    """Of NDCG@10, relative."""
    asr_rise: float = 0.02
    """Of any attack's success rate, absolute."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Both bundles side by side; what `compression.json` holds."""

    form: Form
    bytes: Between
    titles_per_second: Between
    cosine: Closeness
    ndcg: Quality
    attacks: tuple[AttackPair, ...]

    def refusals(self, limits: Limits) -> list[str]:
        """One line for each limit that does not hold, or could not be judged."""
        out = []
        if self.form == "int8" and self.bytes.ratio > limits.size:
            out.append(f"size: {self.bytes.ratio:.1%} of fp32, limit {limits.size:.0%}")
        if self.ndcg.loss is None:
            out.append("NDCG@10: 0 before compression; nothing can be said of a loss")
        elif self.ndcg.loss > limits.ndcg_loss:
            out.append(f"NDCG@10: {self.ndcg.loss:.2%} lost, limit {limits.ndcg_loss:.0%}")
        for pair in self.attacks:
            if pair.rise is None:
                why = pair.error or "no target that could be won"
                out.append(f"{pair.attack}: not measured: {why}")
                continue
            if pair.error:
                out.append(f"{pair.attack}: not measured on every target: {pair.error}")
            if pair.rise > limits.asr_rise + 1e-9:  # 0.42 - 0.40 is a little more than 0.02
                out.append(
                    f"{pair.attack}: success rate {100 * pair.rise:.1f} points higher, "
                    f"limit {100 * limits.asr_rise:.0f}"
                )
        return out

    def lines(self) -> list[str]:
        speed, size, near, q = self.titles_per_second, self.bytes, self.cosine, self.ndcg
        interval = "" if q.low is None or q.high is None else f" [{q.low:.2%}, {q.high:.2%}]"
        loss = "not defined" if q.loss is None else f"{q.loss:.2%}{interval}"
        return [
            f"size       {size.before / 1e6:8.1f} MB -> {size.after / 1e6:8.1f} MB"
            f"   ratio {size.ratio:.3f}",
            f"titles/s   {speed.before:8.0f}    -> {speed.after:8.0f}      ratio {speed.ratio:.2f}"
            " (1 thread)",
            f"cosine     mean {near.mean:.4f}, least {near.least:.4f} ({near.n} texts)",
            f"NDCG@10    {q.before:.4f} -> {q.after:.4f}, loss {loss} ({q.n} queries: {q.queries})",
            *(_line(pair) for pair in self.attacks),
        ]


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """What `compress_bundle` did."""

    measured: Measured
    refusals: tuple[str, ...]
    written: bool
    record: Path
    """Where the figures are."""


def compress_bundle(
    folder: Path,
    out: Path,
    trial: Trial,
    run: RunContext,
    *,
    form: Form = "int8",
    holdout: Holdout | None = None,
    users: int = 5000,
    panel: int = 256,
    limits: Limits | None = None,
    accept: bool = False,
) -> Compressed:
    """Compress the bundle in `folder` into a new one, `out`, if it holds the limits.

    holdout: queries that the model was not trained on (see `held_out`); None for the last
    events of the bundle's own histories, which it was trained on: then both are judged on
    what they learned. users: the most that are asked. A refused bundle is not written, its
    figures are, beside `out`; `accept` writes it in spite of them.
    Raises `BundleError` where `out` exists, `Unsupported`, `MissingExtra`.
    """
    if out.exists():
        raise BundleError(f"{out}: exists already; name another folder")
    limits = limits or Limits()
    before = load_bundle(folder, replace(run, folder=None))
    after = replace(before, recommender=compressed_recommender(before, form, run))
    queries = "held out" if holdout else "last events of the bundle's histories, seen in training"
    asked = _some(holdout or _own(before), users, run.seed)
    found = measured(before, after, trial, run, asked=asked, queries=queries, panel=panel)
    wrong = found.refusals(limits)
    written = not wrong or accept
    note = {
        **asdict(found), "seed": run.seed, "limits": asdict(limits), "refusals": wrong,
        "accepted": bool(wrong) and accept,
    }  # fmt: skip
    if written:
        replace_weights(folder, out, after.recommender, {"compression.json": note})
        return Compressed(
            measured=found, refusals=tuple(wrong), written=True, record=out / "compression.json"
        )
    record = out.with_name(f"{out.name}.refused.json")
    write_json(record, note)
    return Compressed(measured=found, refusals=tuple(wrong), written=False, record=record)


def measured(
    before: Bundle,
    after: Bundle,
    trial: Trial,
    run: RunContext,
    *,
    asked: Holdout,
    queries: str,
    panel: int = 256,
    seeds: Sequence[int] | None = None,
) -> Measured:
    """Both bundles on the same texts, queries and attacks. seeds: of targets, panel and
    attacks; None for that of the run."""
    pairs = [
        (old, new)
        for (_, old), (_, new) in zip(
            readers(before.recommender), readers(after.recommender), strict=True
        )
    ]
    (old, new), texts = pairs[0], []
    for model, _ in pairs:
        texts += model.texts_of(np.arange(model.items.height))
    assert old.source is not None and new.source is not None
    small = new.source.encoder
    assert isinstance(small, OnnxEncoder)
    return Measured(
        form=small.form,
        bytes=sizes(old.source.encoder, small),
        titles_per_second=speeds(old.source.encoder, small, texts, run.seed),
        cosine=closeness(old.source.encoder, small, texts),
        ndcg=quality(before.recommender, after.recommender, asked, queries, run.seed),
        attacks=tuple(
            robustness(before, after, trial, run, panel=panel, seeds=seeds or (run.seed,))
        ),
    )


def held_out(file: Path, bundle: Bundle, folder: Path) -> Holdout:
    """Test queries of the experiment that the bundle came from. folder: for rows that cannot
    be read. Raises `ConfigError`, and `DataError` where the catalogues differ."""
    experiment = load_experiment(file)
    if not isinstance(experiment, Experiment):
        raise ConfigError(str(file), ["classifier: give the experiment of a recommender"])
    split = split_of(experiment, dataset_of(experiment, folder))
    if not split.train.items["item_id"].equals(bundle.recommender.items["item_id"]):
        raise DataError(
            f"the bundle ranks another catalogue than '{split.train.name}'",
            path=file,
            remedy="give the experiment that the bundle was made by",
        )
    return split.test


def _own(bundle: Bundle) -> Holdout:
    return LeaveOneOut().split(world_of(bundle)).test


def _some(holdout: Holdout, users: int, seed: int) -> Holdout:
    if not len(holdout):
        raise DataError("no query to measure on", remedy="give --data with held-out events")
    order = np.random.default_rng(derive(seed, "users")).permutation(len(holdout))
    return holdout.take(np.sort(order[:users]))


def _line(pair: AttackPair) -> str:
    if pair.before is None or pair.after is None or pair.replayed is None:
        return f"{pair.attack}: not measured: {pair.error or 'no target that could be won'}"
    interval = (
        "" if pair.low is None or pair.high is None
        else f" [{100 * pair.low:+.1f}, {100 * pair.high:+.1f}]"
    )  # fmt: skip
    return (
        f"ASR        {pair.before:.3f} -> {pair.after:.3f}, {100 * (pair.after - pair.before):+.1f}"
        f" points{interval}; replayed {pair.replayed:.3f} ({pair.attack}, {pair.n} targets)"
    )
