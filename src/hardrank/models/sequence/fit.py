"""From a training set to a `SequenceRecommender`: what the three specs share."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout, Queries
from hardrank.encoders import load_encoder, restored_encoder
from hardrank.errors import BundleError, DataError, Unsupported
from hardrank.files import digest_bytes
from hardrank.models.common import entry, holdout_ndcg, slate_texts, whole
from hardrank.models.judge import judge_of
from hardrank.models.sequence.attacked import AttackedPool
from hardrank.models.sequence.batches import SequenceBatch, Windows
from hardrank.models.sequence.influence import Influence
from hardrank.models.sequence.live import LiveTexts
from hardrank.models.sequence.network import ItemTower, SequenceNetwork
from hardrank.models.sequence.recogniser import Recogniser
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.models.sequence.robust import robust_row
from hardrank.models.sequence.strength import chosen_strength
from hardrank.models.sequence.texts import TextSource, Whitening
from hardrank.models.sequence.transformer import CausalTransformer
from hardrank.recommender import Recommender
from hardrank.training import Objective, Training, bound_objective, check_objective, train
from hardrank.training.forge import forged
from hardrank.training.precision import half_is_faster
from hardrank.training.stops import AnyOf
from hardrank.types import Ints

__all__ = ["Shape", "TextOptions", "fit", "restore"]

_FULL_SOFTMAX = 50_000
"""Catalogues up to this size are ranked whole at every training step."""
_NEGATIVES = 4096
"""Uniform negatives per step beyond it."""
_RECOGNISER = "recogniser."


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """What of the text, and how much of it, goes into an item vector."""

    encoder: str
    fields: tuple[str, ...]
    max_tokens: int
    whiten: int
    dropout: float
    scale: float
    layers: int
    unfreeze: int = 0
    pace: float = 0.02


@dataclass(frozen=True, kw_only=True)
class Shape:
    """All that sets one sequence model apart from another."""

    size: int
    layers: int
    heads: int
    length: int
    dropout: float
    ids: bool
    text: TextOptions | None
    text_weight: float = 0.0
    id_dropout: float = 0.0
    negatives: int | None = None
    influence: Influence | None = None


def fit(
    shape: Shape,
    training: Training,
    data: Dataset,
    run: RunContext,
    *,
    valid: Holdout | None,
    objective: Objective | None,
    start: Recommender | None,
) -> SequenceRecommender:
    """Train on the events of `data`; validate by full-ranking NDCG@10 on `valid`.

    Raises `DataError` when no user has two events to learn an order from.
    """
    known = np.flatnonzero(data.counts)
    windows = Windows(_among(data.histories(), known, data.n_items), shape.length)
    if windows.positions == 0:
        raise DataError(f"{data.name}: no user has two events", remedy="check the training split")
    torch.manual_seed(derive(run.seed, "weights"))
    source = _source(shape, data, run, start)
    network = _network(shape, len(known), source, training)
    if source is not None and getattr(objective, "recognises", False):
        network.recogniser = Recogniser(shape.size)
    if start is not None:
        _begin_from(network, start)
    rendered = slate_texts(data.items, whole(data.items), source.fields) if source else []
    site, rules = getattr(objective, "site", None), tuple(getattr(objective, "stop", ()))
    learns = shape.text is not None and shape.text.unfreeze != 0
    if source is not None and (learns or site == "token-embeddings"):
        network.live = _live(shape, source, [rendered[i] for i in known], network.negatives)
    objective = bound_objective(
        objective,
        users=data.users["user_id"].to_list(),
        items=data.items["item_id"].gather(known).to_list(),
    )
    check_objective(objective, network)
    counts = data.counts[known]
    if shape.influence is not None:
        network.popularity = shape.influence.training(counts)
    network.frequency = torch.from_numpy(counts / counts.sum()).float()
    table = None
    if source is not None:
        table = source(rendered)
        network.texts = table[torch.from_numpy(known)]
        network.encoded = torch.from_numpy(source.encoder.encode([rendered[i] for i in known]))
        network.projection = torch.from_numpy(source.whitening.projection)

    def batches(order: np.random.Generator) -> Iterator[SequenceBatch]:
        return windows.batches(training.batch_size, order)

    def wrapped() -> SequenceRecommender:
        if network.live is not None and network.live.learns:
            assert source is not None
            return _as_learned(network, data, source, shape.length, rendered)
        return SequenceRecommender(network, data.items, data.counts, source, shape.length, table)

    judge = judge_of(objective, wanted=training.keep == "robust")

    def validate() -> Mapping[str, float]:
        assert valid is not None
        model = wrapped()
        row = {"ndcg@10": holdout_ndcg(model, valid)}
        return row | (robust_row(judge, model, valid, run.seed) if judge else {})

    forge = getattr(objective, "forge", None)

    def prepare(epoch: int) -> None:
        assert source is not None and forge is not None
        network.eval()
        written = forged(forge, wrapped(), epoch, folder.folder)
        network.attacked = AttackedPool.of(
            written, data.items, data.counts, source, shape.influence
        )

    # A folder named by all that decides the weights: an equal training finds its own, be it
    # a resumed one or a part of another model.
    fingerprint = _fingerprint(shape, training, data, valid, run, objective, start)
    folder = run.at(fingerprint[:16])
    train(
        network,
        batches,
        steps=max(1, round(windows.positions / training.batch_size)),
        options=training,
        objective=objective,
        validate=validate if valid is not None and len(valid) else None,
        stop=AnyOf(rules),
        paces={"live.": shape.text.pace} if shape.text else {},
        run=folder,
        prepare=prepare if forge is not None else None,
        fingerprint=fingerprint,
    )
    if shape.influence is not None:
        network.influence = replace(shape.influence, serve=0.0)
        network.influence = chosen_strength(shape.influence, wrapped(), start, valid, data.counts)
    model = wrapped()
    network.live = None
    return model


def restore(
    shape: Shape, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
) -> SequenceRecommender:
    """Raises `BundleError` when an array is missing or does not fit the spec."""
    counts = np.asarray(entry(arrays, "counts", "sequence model"), dtype=np.int64)
    if len(counts) != items.height:
        raise BundleError(f"the arrays are of {len(counts)} items, the catalogue of {items.height}")
    source = None
    if shape.text is not None:
        encoder, learned = restored_encoder(
            arrays, shape.text.encoder, max_tokens=shape.text.max_tokens, run=run
        )
        source = TextSource(
            encoder,
            shape.text.fields,
            Whitening(
                entry(arrays, "whitening/mean", "sequence model"),
                entry(arrays, "whitening/projection", "sequence model"),
            ),
            learned=learned,
        )
    network = _network(shape, int((counts > 0).sum()), source, Training(precision="float32"))
    if shape.influence is not None:
        served = float(entry(arrays, "served", "sequence model"))
        network.influence = replace(shape.influence, serve=served)
    weights = {k: torch.from_numpy(np.array(v)) for k, v in arrays.items() if "network/" in k}
    if any(name.startswith(f"network/{_RECOGNISER}") for name in weights):
        network.recogniser = Recogniser(shape.size)
    try:
        network.load_state_dict({k.removeprefix("network/"): v for k, v in weights.items()})
    except RuntimeError as error:
        raise BundleError(f"the arrays do not fit the spec: {error}") from error
    return SequenceRecommender(network, items, counts, source, shape.length)


def _network(
    shape: Shape, known: int, source: TextSource | None, training: Training
) -> SequenceNetwork:
    text_size = 0 if source is None else source.whitening.projection.shape[1]
    tower = ItemTower(
        items=known,
        size=shape.size,
        text_size=text_size,
        ids=shape.ids,
        dropout=shape.text.dropout if shape.text else 0.0,
        scale=shape.text.scale if shape.text else 1.0,
        layers=shape.text.layers if shape.text else 1,
        text_norm=shape.influence.text_norm if shape.influence else 0.0,
    )
    transformer = CausalTransformer(
        size=shape.size,
        layers=shape.layers,
        heads=shape.heads,
        length=shape.length,
        dropout=shape.dropout,
    )
    automatic = _NEGATIVES if known > _FULL_SOFTMAX else 0
    network = SequenceNetwork(
        tower=tower,
        transformer=transformer,
        text_weight=shape.text_weight,
        id_dropout=shape.id_dropout,
        negatives=automatic if shape.negatives is None else shape.negatives,
        narrow=half_is_faster(training.precision),
    )
    network.influence = shape.influence
    return network


def _live(shape: Shape, source: TextSource, texts: list[str], negatives: int) -> LiveTexts:
    """The encoder for training: a copy, as its weights may change."""
    assert shape.text is not None
    if not negatives:
        raise Unsupported(
            "encoding the whole catalogue in every step would take forever: set `negatives`, "
            "e.g. to 256, when the encoder learns or its tokens are perturbed"
        )
    return LiveTexts(source.encoder.tuned({}), texts, source.whitening, shape.text.unfreeze)


def _as_learned(
    network: SequenceNetwork, data: Dataset, source: TextSource, length: int, texts: list[str]
) -> SequenceRecommender:
    """The model as it stands, with an encoder of its own for texts to come."""
    assert network.live is not None
    arrays = network.live.arrays()
    encoder = source.encoder.tuned(arrays)
    names = tuple(sorted({*source.learned, *arrays}))
    tuned = TextSource(encoder, source.fields, source.whitening, learned=names)
    return SequenceRecommender(network, data.items, data.counts, tuned, length, tuned(texts))


def _source(
    shape: Shape, data: Dataset, run: RunContext, start: Recommender | None
) -> TextSource | None:
    if shape.text is None:
        return None
    if isinstance(start, SequenceRecommender) and start.source is not None:
        return start.source
    encoder = load_encoder(shape.text.encoder, max_tokens=shape.text.max_tokens, run=run)
    texts = slate_texts(data.items, whole(data.items), shape.text.fields)
    known = [texts[i] for i in np.flatnonzero(data.counts)]
    whitening = Whitening.fit(encoder.encode(known), shape.text.whiten)
    return TextSource(encoder, shape.text.fields, whitening)


def _begin_from(network: SequenceNetwork, start: Recommender) -> None:
    if not isinstance(start, SequenceRecommender):
        raise Unsupported("a sequence model can only go on from a sequence model")
    weights = {k: v for k, v in start.network.state_dict().items() if not k.startswith("live.")}
    # a head that this objective trains begins afresh if `start` has none; one that it does
    # not train would speak of vectors that have moved, and is left behind
    own = {k: v for k, v in network.state_dict().items() if k.startswith(_RECOGNISER)}
    kept = {k: v for k, v in weights.items() if k in own or not k.startswith(_RECOGNISER)}
    network.load_state_dict(own | kept)


def _among(queries: Queries, known: Ints, n_items: int) -> Queries:
    """The same histories with items counted among the known ones."""
    place = np.full(n_items, -1, dtype=np.int64)
    place[known] = np.arange(len(known))
    return Queries(offsets=queries.offsets, items=place[queries.items], users=queries.users)


def _fingerprint(
    shape: Shape,
    training: Training,
    data: Dataset,
    valid: Holdout | None,
    run: RunContext,
    objective: Objective | None,
    start: Recommender | None,
) -> str:
    begun = [v.tobytes() for _, v in sorted(start.arrays().items())] if start else []
    about = repr((shape, training, run.seed, objective))
    looked_at = valid.fingerprint if valid is not None else ""
    return digest_bytes(about.encode(), data.fingerprint.encode(), looked_at.encode(), *begun)
