"""TextAttack's side of `text_attack_vs_textattack.py`, in an environment of its own.

FOLDER is what `text_victim.write_exchange` wrote. The victim is computed here from its
arrays; first its scores of some titles have to equal those that came with it. Then each
target is attacked by a recipe. The last line of output is JSON: a row for each target.
"""

import argparse
import json
import os
import random
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import textattack
import torch
from safetensors.torch import load_file
from textattack import Attack
from textattack.attack_recipes import DeepWordBugGao2018
from textattack.constraints.pre_transformation import (
    MaxNumWordsModified,
    RepeatModification,
    StopwordModification,
)
from textattack.goal_function_results import GoalFunctionResult
from textattack.goal_functions import GoalFunction
from textattack.models.wrappers import ModelWrapper
from textattack.search_methods import GreedyWordSwapWIR
from textattack.transformations import WordSwap
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

TOLERANCE = 1e-4


class Victim(ModelWrapper):
    """Titles -> (N, 2): soft exposure of the present target in [0, 1], and the share of users
    whose top k it enters."""

    def __init__(self, folder: Path, ask: dict) -> None:
        self.arrays, self.ask, self.target = load_file(folder / "victim.safetensors"), ask, 0
        self.tokenizer = AutoTokenizer.from_pretrained(ask["encoder"])
        self.model = AutoModel.from_pretrained(ask["encoder"], dtype=torch.float32).eval()

    @torch.no_grad()
    def __call__(self, titles: list[str]) -> Tensor:
        bar = self.arrays["thresholds"][self.target].double()
        users = ~bar.isnan()  # the others have bought it
        margins = self.scores(titles)[users].double() - bar[users, None]
        soft = (margins / self.arrays["spread"][self.target]).sigmoid().mean(0)
        return torch.stack([soft, (margins > 0).double().mean(0)], dim=1)

    @torch.no_grad()
    def scores(self, titles: list[str]) -> Tensor:
        """(P, N)"""
        vectors = self.encode([self.rendered(t) for t in titles])
        x = (vectors - self.arrays["whitening/mean"]) @ self.arrays["whitening/projection"]
        layers = sum(name.endswith("weight") for name in self.arrays)
        for n in range(layers):
            x = nn.functional.gelu(x) if n else x
            x = x @ self.arrays[f"adapter/{n}/weight"].T + self.arrays[f"adapter/{n}/bias"]
        return self.arrays["states"] @ (self.arrays["scale"] * x).T

    def rendered(self, title: str) -> str:
        """What the model reads: the title among the item's other fields."""
        fields = list(self.ask["targets"][self.target]["fields"])
        fields[self.ask["title_at"]] = title
        return " . ".join(field for field in fields if field)

    def encode(self, texts: list[str]) -> Tensor:
        """(N, E) mean over tokens, length 1."""
        tokens = self.tokenizer(
            texts, truncation=True, max_length=self.ask["max_tokens"], padding=True,
            return_token_type_ids=False, return_tensors="pt",
        )  # fmt: skip
        states = self.model(**tokens).last_hidden_state
        weights = tokens["attention_mask"].unsqueeze(-1).float()
        return nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=1)

    def check(self) -> float:
        """Largest difference to the scores that came with the victim. Stops when they, or what
        the standing titles are worth to our attacks, differ."""
        worst = 0.0
        for probe in self.ask["probes"]:
            self.target = probe["target"]
            scores = self.scores([probe["title"]])[:, 0]
            worst = max(worst, float((scores - torch.tensor(probe["scores"])).abs().max()))
        if worst > TOLERANCE:
            raise SystemExit(f"another victim: scores differ by {worst}")
        for n, target in enumerate(self.ask["targets"]):
            self.target = n
            soft = self([target["fields"][self.ask["title_at"]]])[0, 0]
            users = (~self.arrays["thresholds"][n].isnan()).sum()
            if abs(float((soft * users).log()) - target["value"]) > 10 * TOLERANCE:
                raise SystemExit(f"another goal: target {target['id']}")
        return worst


class PromotionResult(GoalFunctionResult):
    @property
    def _processed_output(self):
        return self.raw_output, self.output

    def get_text_color_input(self):
        return "red"

    def get_text_color_perturbed(self):
        return "blue"

    def get_colored_output(self, color_method=None):
        return str(self.output)


class Promotion(GoalFunction):
    """Reached once the target is in the top k of enough users. The score is at least 0, as
    that of the goals that come with TextAttack: its weighted saliency multiplies with it."""

    def __init__(self, victim: Victim, *, until: float, query_budget: int) -> None:
        self.until = until
        super().__init__(victim, query_budget=query_budget)

    def _is_goal_complete(self, model_output, attacked_text):
        return float(model_output[1]) >= self.until

    def _get_score(self, model_output, attacked_text):
        return float(model_output[0])

    def _goal_function_result_type(self):
        return PromotionResult

    def _process_model_outputs(self, inputs, outputs):
        return outputs

    def _get_displayed_output(self, raw_output):
        return raw_output.tolist()


class SwapFromTable(WordSwap):
    """Candidates that came with the victim: those that the other side draws from, too."""

    def __init__(self) -> None:
        super().__init__()
        self.table = {}

    def _get_replacement_words(self, word):
        return self.table.get(word, [])


def recipe(name: str, victim: Victim) -> tuple[list, object, GreedyWordSwapWIR]:
    """(constraints, transformation, search) as TextAttack's recipe of that name has them, but
    for what has to be downloaded: candidates come from tables, and sentence encoders and
    part-of-speech taggers constrain nothing."""
    constraints = [RepeatModification(), StopwordModification()]
    if name == "deepwordbug":
        made = DeepWordBugGao2018.build(victim)
        all_constraints = [*made.pre_transformation_constraints, *made.constraints]
        return all_constraints, made.transformation, made.search_method
    if name == "pwws":
        return constraints, SwapFromTable(), GreedyWordSwapWIR("weighted-saliency")
    assert name == "textfooler", name
    return constraints, SwapFromTable(), GreedyWordSwapWIR("delete")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("recipe")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    textattack.shared.utils.set_seed(asked.seed)
    ask = json.loads((asked.folder / "ask.json").read_text())
    victim = Victim(asked.folder, ask)
    difference = victim.check()
    constraints, transformation, search = recipe(asked.recipe, victim)
    # The query of the standing title, which it makes first, is free on both sides.
    goal = Promotion(victim, until=ask["until"], query_budget=ask["queries"] + 1)
    constraints = [*constraints, MaxNumWordsModified(ask["words"])]
    attack = Attack(goal, constraints, transformation, search)
    tables = ask["tables"].get(asked.recipe) or [{} for _ in ask["targets"]]
    rows = []
    for n, table in enumerate(tables):
        victim.target = n
        if isinstance(transformation, SwapFromTable):
            transformation.table = table
        random.seed(1000 * asked.seed + n)
        np.random.seed(1000 * asked.seed + n)  # noqa: NPY002 - what it draws from
        rows.append(play(attack, victim, ask["targets"][n]))
    packages = ("textattack", "torch", "transformers", "numpy")
    versions = {name: metadata.version(name) for name in packages}
    report = {"rows": rows, "largest_difference": difference, "versions": versions}
    print(json.dumps({**report, "threads": torch.get_num_threads()}))


def play(attack: Attack, victim: Victim, target: dict) -> dict:
    title = target["fields"][victim.ask["title_at"]]
    cpu, wall = time.process_time(), time.perf_counter()
    result = attack.attack(title, 0)
    return {
        "target": target["id"],
        "text": result.perturbed_result.attacked_text.text,
        "queries": attack.goal_function.num_queries - 1,
        "cpu_seconds": time.process_time() - cpu,
        "wall_seconds": time.perf_counter() - wall,
    }


if __name__ == "__main__":
    main()
