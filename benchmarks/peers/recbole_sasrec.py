"""Train and evaluate RecBole's SASRec; run by `common.run_peer`, in RecBole's environment.

The data is `FOLDER/bench/bench.inter` (`common.write_atomic`). The last line of output is
JSON: CPU and wall seconds of each training epoch and of full-ranking evaluation, training
rows per epoch, HR@10 and NDCG@10 as RecBole computes them.
"""

import argparse
import json
import os
import resource
import sys
import time
import warnings

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import recbole  # noqa: E402
import torch  # noqa: E402
from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.model.sequential_recommender import SASRec  # noqa: E402
from recbole.trainer import Trainer  # noqa: E402
from recbole.utils import init_logger, init_seed  # noqa: E402


def used() -> tuple[float, float]:
    me = resource.getrusage(resource.RUSAGE_SELF)
    return me.ru_utime + me.ru_stime, time.perf_counter()


def since(begun: tuple[float, float]) -> dict[str, float]:
    cpu, wall = used()
    return {"cpu": cpu - begun[0], "wall": wall - begun[1]}


class TimedTrainer(Trainer):
    """Keeps the cost of each training epoch, validation apart."""

    def __init__(self, config, model):
        super().__init__(config, model)
        self.costs = []

    def _train_epoch(self, *args, **kwargs):
        begun = used()
        loss = super()._train_epoch(*args, **kwargs)
        self.costs.append(since(begun))
        print(f"recbole epoch {len(self.costs)}: {self.costs[-1]}", file=sys.stderr, flush=True)
        return loss


def settings(folder: str, epochs: int, batch_size: int, dropout: float) -> dict:
    return {
        "data_path": folder,
        "checkpoint_dir": f"{folder}/saved",
        "use_gpu": False,
        "state": "WARNING",
        "show_progress": False,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "MAX_ITEM_LIST_LENGTH": 50,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_size": 64,
        "inner_size": 256,
        "hidden_dropout_prob": dropout,
        "attn_dropout_prob": dropout,
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "epochs": epochs,
        "train_batch_size": batch_size,
        "eval_args": {
            "split": {"LS": "valid_and_test"},
            "order": "TO",
            "mode": "full",
            "group_by": "user",
        },
        "metrics": ["Hit", "NDCG"],
        "topk": [10],
        "valid_metric": "NDCG@10",
        "metric_decimal_place": 7,
    }


def scored(model, dataset, test_data, path: str) -> None:
    """Scores of all test users, columns by our item row, and the users' rows."""
    columns = np.array([int(t) for t in dataset.field2id_token["item_id"][1:]])
    users, rows = [], []
    with torch.no_grad():
        for interaction, *_ in test_data:
            tokens = dataset.id2token("user_id", interaction["user_id"])
            users += [int(t) for t in tokens]
            rows.append(model.full_sort_predict(interaction).numpy()[:, 1:])
    scores = np.full((len(users), columns.max() + 1), -np.inf, dtype=np.float32)
    scores[:, columns] = np.concatenate(rows)
    np.savez(path, users=np.array(users), scores=scores)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--evaluations", type=int, default=1)
    parser.add_argument("--scores", default="")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    sys.argv = sys.argv[:1]  # RecBole reads it too
    os.chdir(asked.folder)  # it writes logs where it stands
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    given = settings(asked.folder, asked.epochs, asked.batch_size, asked.dropout)
    config = Config(model="SASRec", dataset="bench", config_dict={**given, "seed": asked.seed})
    init_seed(config["seed"], True)
    init_logger(config)
    begun = used()
    dataset = create_dataset(config)
    train_data, valid_data, test_data = data_preparation(config, dataset)
    preparation = since(begun)
    model = SASRec(config, train_data.dataset)
    trainer = TimedTrainer(config, model)

    begun = used()
    valid = {}
    if asked.epochs:
        _, valid = trainer.fit(train_data, valid_data, verbose=False, saved=True)
    fit = since(begun)

    evaluations, test = [], {}
    for _ in range(asked.evaluations):
        begun = used()
        test = trainer.evaluate(test_data, load_best_model=asked.epochs > 0)
        evaluations.append(since(begun))
    if asked.scores:
        scored(model, dataset, test_data, asked.scores)
    report = {
        "versions": {
            "recbole": recbole.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "threads": torch.get_num_threads(),
        "training_rows": len(train_data.dataset),
        "users": len(test_data.dataset),
        "items": dataset.item_num - 1,
        "preparation": preparation,
        "epochs": trainer.costs,
        "fit": fit,
        "evaluations": evaluations,
        "valid": {k: float(v) for k, v in dict(valid or {}).items()},
        "test": {k: float(v) for k, v in test.items()},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
