"""How many attacked texts the guards stop, what still gets through, and what that does.

    python benchmarks/guards.py --out runs/guards

Three parts, kept in that folder as JSON and not measured again while they are there:
`families` (recall and AUROC of every attack family, seen and unseen, and of texts that were
attacked elsewhere), `harm` (exposure attempted and exposure that got through, text guards and
shadow gate) and `adaptive` (attacks that play against the guard). Writes `results/guards.json`.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import common

CATALOGUES = ("ml-100k", "amazon-beauty")
GROUPS: dict[str, tuple[str, ...]] = {
    "characters": ("deepwordbug", "random-characters", "textbugger"),
    "hidden characters": ("homoglyph", "zero-width"),
    "words": ("greedy-words", "frugal-words", "genetic-words", "pwws", "textfooler",
              "random-words"),
    "other listings": ("copycat", "append-title"),
    "talk": ("keyword-stuffing", "clickbait", "prompt-injection"),
}  # fmt: skip
SLOW = ("frugal-words", "genetic-words", "pwws")
"""Attacks that get fewer targets."""
FAMILIES = tuple(kind for kinds in GROUPS.values() for kind in kinds)
HONEST = "natural-noise"
"""Typos: never learned from, and counted as honest."""
NEW = (
    "words in a row of another text", "another text inside", "row of another text gained",
    "another text gained", "popular text gained", "rarity of new words", "unknown new words",
    "new words that disagree",
)  # fmt: skip
"""Features that `before` goes without."""
ADAPTIVE = ("copycat", "append-title", "keyword-stuffing", "greedy-words", "textfooler")
MATERIAL = 0.01
"""Rise of ER@10 that counts as harm."""
FPR = 0.01
METHOD = """Catalogues: ML-100K (1,682 titles of 5 words) and Amazon Beauty (12,101 of 11, first \
2,000 users), titles. Each seed hides 30 % of the items from guards and recommender; what is \
counted as clean are those, as new listings and, once more, as simulated honest edits (at most \
800 of each). Attacks: every item-text attack of the registry that needs no gradients and no \
large model, against TF-IDF histories, {targets} random targets ({slow} for {slows}; those that \
can demote also as many popular ones), 6 words or a whole title, 60 queries; half of the targets \
are learned from, the other half is measured. seen: learned from the family; unseen: fitted \
without it; group unseen: without its whole group ({groups}). recall: at 1 % false alarms on \
those clean listings, by the largest score of any guard, mean of the seeds, 95 % bootstrap over \
seeds, clean listings and attacked ones. before: the same without the features of copied and of \
added words. char-ngrams: logistic regression on TF-IDF of 2 to 5 letters, from the same lesson. \
rules: normaliser and stuffing alone. natural-noise is not learned from: a typo is honest. harm: \
ER@10 among the half of the users that the shadow gate does not see, an attack is material above \
a rise of {material}; passed: rise that is left after the verdicts. adaptive: the same attacks \
see scores through the guard, 100 queries, 6 words or a whole title; `knows` may also ask the \
guard itself for nothing and spends queries on texts that pass alone. harm and adaptive: all \
seeds on ML-100K, the first one on Amazon Beauty, where no attack is material (12,101 items, six \
words). text-sequence: MiniLM, 12 epochs, first seed, 16 targets, 30 queries; its guards learned \
from attacks on TF-IDF. elsewhere: at most 100 texts of each set, first seed, alone and behind a \
title, at the threshold of 1 % false alarms. utility: NDCG@10 where honest edits and new listings \
are held against all of them live. milliseconds: wall time on a machine with other work \
(load_average). Features and borders were chosen on seeds 100 and 101 of ML-100K (other targets, \
other hidden items)."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs") / "guards")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--catalogues", nargs="+", choices=CATALOGUES, default=list(CATALOGUES))
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--targets", type=int, default=30, help="of each attack")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trial", action="store_true", help="print, write no result")
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    found = {part: [kept(part, name, asked) for name in asked.catalogues] for part in asked.parts}
    if not asked.trial:
        report(found, asked)


def kept(part: str, name: str, asked: Any) -> Any:
    path = asked.out / f"{part}-{name}.json"
    if not path.exists():
        clock = common.Clock()
        found = {"rows": PARTS[part](name, asked), "cpu_seconds": round(clock.cpu)}
        path.write_text(json.dumps(found, indent=1, allow_nan=False))
    return json.loads(path.read_text())


def seeds_of(name: str, asked: Any) -> list[int]:
    """Of the two costly parts: on the larger catalogue the first seed alone."""
    return list(asked.seeds[: None if name == CATALOGUES[0] else 1])


# The world of one seed: a live catalogue, a recommender, and what attackers made of titles.


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    name: str
    seed: int
    data: Any
    """All items; no event of the hidden ones."""
    test: Any
    """The last event of each user."""
    known: Any
    hidden: Any
    victim: Any
    learned: list[Any]
    """Examples of half of the targets."""
    held: list[Any]

    @property
    def shop(self) -> Any:
        """What the text guards learn from: the items that are not hidden."""
        from hardrank.guards import Shop

        return Shop(items=self.data.items[self.known], counts=self.data.counts[self.known])

    def live(self, queries: Any = None) -> Any:
        """The whole catalogue, its recommender, and users that a gate may ask."""
        from hardrank.guards import Shop

        return Shop(
            items=self.data.items, counts=self.data.counts, recommender=self.victim,
            queries=queries,
        )  # fmt: skip

    def halves(self) -> tuple[Any, Any]:
        """Users that a gate sees, and users on whom harm is counted."""
        import numpy as np

        users = self.data.histories()
        return users.take(np.arange(0, len(users), 2)), users.take(np.arange(1, len(users), 2))

    def clean(self, most: int = 800) -> tuple[list[Any], list[Any]]:
        """Hidden items as new listings, and as honest edits of what stands."""
        from hardrank.guards import Listing

        rows = self.hidden[:: -(-len(self.hidden) // most)]
        ids = self.data.items["item_id"].gather(rows).to_list()
        titles = [t or "" for t in self.data.items["title"].gather(rows).to_list()]
        new = [Listing(f"new {i}", {"title": t}) for i, t in zip(ids, titles, strict=True)]
        return new, edits(ids, titles, [0] * len(ids), self.seed)


def edits(ids: Sequence[str], titles: Sequence[str], events: Sequence[int], seed: int) -> list[Any]:
    """Simulated honest edits that change something."""
    import numpy as np

    from hardrank.context import derive
    from hardrank.guards import Listing
    from hardrank.guards.honest import honest_edit
    from hardrank.guards.lesson import ending

    rng = np.random.default_rng(derive(seed, "edits to measure on"))
    out = []
    for item, title, n in zip(ids, titles, events, strict=True):
        for _ in range(8):
            text = honest_edit(title, ending(titles[int(rng.integers(len(titles)))]), rng)
            if text != title:
                out.append(Listing(item, {"title": text}, {"title": title}, n))
                break
    return out


def load(name: str) -> Any:
    from hardrank.data.sources import MovieLens, Sequences

    folder = common.data_folder() / name
    if name == "ml-100k":
        return MovieLens(path=folder / "raw").load()
    made = Sequences(
        path=folder / "raw" / "sequential_data.txt", items=folder / "derived" / "items.jsonl"
    )
    return common.first_users(made.load(), 2000)


def scene(
    name: str, seed: int, targets: int, kinds: Sequence[str] = (*FAMILIES, HONEST), *,
    demote: bool = True,
) -> Scene:  # fmt: skip
    import numpy as np

    from hardrank.context import RunContext, derive
    from hardrank.data.splits import LeaveOneOut, cold_split
    from hardrank.models import Tfidf

    split = cold_split(load(name), LeaveOneOut(), 0.3, seed)
    data, run = split.train, RunContext(seed=seed)
    victim = Tfidf().fit(data, run)
    made = attacked(victim, data, kinds, targets, seed, demote=demote)
    halves: list[list[Any]] = [[], []]
    for example in made:
        halves[derive(seed, "half", example.listing.item_id) % 2].append(example)
    known = np.setdiff1d(np.arange(data.n_items), split.cold)
    return Scene(
        name=name, seed=seed, data=data, test=split.test, known=known, hidden=split.cold,
        victim=victim, learned=[e for e in halves[0] if e.family != HONEST], held=halves[1],
    )  # fmt: skip


def attacked(
    victim: Any, data: Any, kinds: Sequence[str], targets: int, seed: int, *, queries: int = 60,
    demote: bool = True,
) -> list[Any]:  # fmt: skip
    """What every attack made of its targets."""
    import numpy as np

    from hardrank.attacks import ATTACKS
    from hardrank.context import derive
    from hardrank.guards import Example, Listing
    from hardrank.threats import Budget, Demote, Promote, ThreatModel, mount_all, sample_panel

    rng = np.random.default_rng(derive(seed, "targets"))
    panel = sample_panel(data.histories(), 64, rng)
    ids = data.items["item_id"].to_list()
    chosen = [ids[n] for n in rng.permutation(len(ids))[:targets]]
    top = [ids[n] for n in np.argsort(-data.counts, kind="stable")[:targets]]
    budget = Budget(words=6, queries=queries, whole_text=True)
    out = []
    for attack in (a() for a in ATTACKS if a.kind in kinds):
        n = targets // 5 if attack.kind in SLOW else targets
        goals: list[tuple[Any, list[str]]] = [(Promote(items=tuple(chosen[:n])), chosen[:n])]
        if demote and "demote" in attack.goals:
            goals.append((Demote(items=tuple(top[:n])), top[:n]))
        for goal, items in goals:
            threat = ThreatModel(goal=goal, budget=budget)
            found = mount_all([attack], threat, victim, data, panel=panel, targets=items, seed=seed)
            for match in found:
                for edit in match.patch.rewrites().values():
                    row = data.item_rows[edit.item_id]
                    before = {"title": data.items["title"][row] or ""}
                    listing = Listing(
                        edit.item_id, {"title": edit.text}, before, int(data.counts[row])
                    )
                    out.append(Example(listing, attack.kind))
    return out


# Part one: families.


def lesson_of(at: Scene) -> Any:
    from hardrank.guards import Lesson

    orders = text_file("bipia", "text_attack_train.json").load()
    return Lesson(shop=at.shop, attacked=tuple(at.learned), orders=tuple(orders), seed=at.seed)


def text_file(folder: str, name: str, **options: Any) -> Any:
    from hardrank.experiment.guard_texts import TextFile

    return TextFile(
        name=options.pop("label", folder),
        path=common.data_folder() / "attacked-text" / folder / name, **options,
    )  # fmt: skip


def elsewhere() -> dict[str, tuple[bool, list[str]]]:
    """Texts that were attacked elsewhere, and clean ones beside them: name -> attacked, texts."""

    def read(folder: str, name: str, **options: Any) -> list[str]:
        return list(text_file(folder, name, **options).load())

    spam = {"columns": ("label", "text")}
    videos = sorted((common.data_folder() / "attacked-text" / "youtube-spam").glob("*.csv"))
    made = {
        "bipia (other orders)": (True, read("bipia", "text_attack_test.json")),
        "llm-rank-optimizer": (True, strategic()),
        "advglue": (True, read("advglue", "dev.json", text="sentence", every=1)),
        "poisonedrag": (True, passages()),
        "sms spam": (True, read("sms-spam", "SMSSpamCollection", where={"label": "spam"}, **spam)),
        "sms ham": (False, read("sms-spam", "SMSSpamCollection", where={"label": "ham"}, **spam)),
        "fake hotel reviews": (True, opinions("deceptive")),
        "real hotel reviews": (False, opinions("truthful")),
        "llm-rank-optimizer, clean": (False, products()),
    }
    for label, value, bad in (("youtube spam", "1", True), ("youtube comments", "0", False)):
        texts = [t for v in videos for t in read("youtube-spam", v.name, text="CONTENT",
                                                 where={"CLASS": value})]  # fmt: skip
        made[label] = (bad, texts)
    return {name: (bad, texts[:: -(-len(texts) // 100)]) for name, (bad, texts) in made.items()}


def strategic() -> list[str]:
    path = common.data_folder() / "attacked-text" / "llm-rank-optimizer" / "derived_sts.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]
    key = next(k for k, v in rows[0].items() if isinstance(v, str) and len(v) > 150)
    return list(dict.fromkeys(str(row[key]) for row in rows))


def products() -> list[str]:
    folder = common.data_folder() / "attacked-text" / "llm-rank-optimizer" / "data"
    lines = [x for p in sorted(folder.glob("*.jsonl")) for x in p.read_text("utf-8").split("\n")]
    rows = [json.loads(line) for line in lines if line.strip()]
    return [" ".join(str(v) for v in row.values() if isinstance(v, str)) for row in rows]


def passages() -> list[str]:
    folder = common.data_folder() / "attacked-text" / "poisonedrag"
    found = []
    for path in sorted(folder.glob("*.json")):
        for row in json.loads(path.read_text("utf-8")).values():
            found += [str(text) for text in row["adv_texts"]]
    return list(dict.fromkeys(found))


def opinions(label: str) -> list[str]:
    return list(
        text_file("deceptive-opinion", "deceptive-opinion.csv", where={"deceptive": label}).load()
    )


class Learner:
    """Trees on one lesson, families left out at will; the catalogue is read once."""

    def __init__(self, lesson: Any, spec: Any) -> None:
        from hardrank.guards import adversarial_text as room

        self.lesson, self.spec, self.room = lesson, spec, room
        self.clean = spec._read(lesson)
        self.x, _ = room._attacked(lesson, self.clean.reader)
        self.kinds = [e.family for e in lesson.attacked]

    def fit(self, without: Sequence[str] = (), columns: Any = None) -> Any:
        """A guard; `columns`: of the features it may use."""
        import numpy as np

        from hardrank.context import derive
        from hardrank.detection.trees import grown
        from hardrank.guards.lesson import border

        kinds = [k for k in self.kinds if k not in without]
        rows = np.asarray([k not in without for k in self.kinds] * 2)
        share = np.asarray([1 / (len(set(kinds)) * kinds.count(k)) for k in kinds])
        weight = np.concatenate([share, share]) / 2
        every = np.arange(self.x.shape[1]) if columns is None else columns
        n, spec = len(self.clean.learned), self.spec
        x = np.concatenate([self.clean.learned, self.x[rows]])[:, every]
        forest = grown(
            x, np.arange(len(x)) >= n, np.concatenate([np.ones(n), weight * n]),
            trees=spec.trees, depth=spec.depth, learning_rate=spec.learning_rate,
            subsample=spec.subsample, seed=derive(self.lesson.seed, spec.kind),
        )  # fmt: skip
        held_out = self.room._odds(forest, self.clean.held_out[:, every])
        return forest, every, border(held_out, spec.false_alarms)

    def scores(self, fitted: Any, x: Any) -> Any:
        import numpy as np

        from hardrank.guards.lesson import share_above

        forest, every, threshold = fitted
        return np.asarray(share_above(self.room._odds(forest, x[:, every]), threshold))


class Ngrams:
    """The plainest learner: letters n-grams and logistic regression."""

    def __init__(self, lesson: Any, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.table = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2,
                                     max_features=50_000, lowercase=False)  # fmt: skip
        self.kinds = [e.family for e in lesson.attacked]
        self.n = len(texts)
        self.x = self.table.fit_transform([*texts, *(e.listing.text for e in lesson.attacked)])

    def fit(self, without: Sequence[str] = ()) -> Any:
        import numpy as np
        from sklearn.linear_model import LogisticRegression

        kinds = [k for k in self.kinds if k not in without]
        rows = [*range(self.n), *(self.n + i for i, k in enumerate(self.kinds) if k in kinds)]
        weight = [1.0] * self.n + [self.n / (len(set(kinds)) * kinds.count(k)) for k in kinds]
        model = LogisticRegression(C=10.0, max_iter=100, solver="liblinear")
        return model.fit(self.x[rows], np.arange(len(rows)) >= self.n, sample_weight=weight)

    def scores(self, model: Any, listings: Sequence[Any]) -> Any:
        return model.decision_function(self.table.transform([one.text for one in listings]))


@dataclass(frozen=True, eq=False)
class Read:
    """Listings as the guards before and after the trees see them."""

    rules: Any
    """(N,) normaliser and stuffing alone."""
    others: Any
    """(N,) largest score of all guards but the trees."""
    x: Any
    """(N, F)"""

    @classmethod
    def of(cls, pipeline: Any, reader: Any, listings: Sequence[Any], shop: Any) -> "Read":
        import numpy as np

        said, now = pipeline.walk(listings, shop)
        blunt = ("normaliser", "change-of-text")

        def score(verdict: Any) -> float:
            return float(verdict.action != "admit") if verdict.guard in blunt else verdict.score

        def largest(kinds: Callable[[str], bool]) -> Any:
            return np.asarray(
                [max((score(v) for v in row if kinds(v.guard)), default=0.0) for row in said]
            )

        return cls(
            largest(lambda k: k in ("normaliser", "stuffing")),
            largest(lambda k: k != "adversarial-text"), reader.features(now, shop),
        )  # fmt: skip


def families(name: str, asked: Any) -> dict[str, Any]:
    logs: dict[tuple[str, str], list[Any]] = {}
    shares: dict[str, list[float]] = {}
    texts: dict[str, list[float]] = {}
    spent: list[dict[str, float]] = []
    for seed in asked.seeds:
        at = scene(name, seed, asked.targets)
        one_seed(at, logs, shares, texts, spent)
        print(f"{name} seed {seed}: families measured", file=sys.stderr, flush=True)
    rows = {}
    for (kind, how), found in sorted(logs.items()):
        rows.setdefault(kind, {})[how] = judged(found, bootstrap=how in ("seen", "unseen"))
    found = {
        "families": rows,
        "n": {kind: sum(int(j.labels.sum()) for j in logs[kind, "seen"]) for kind in rows},
        "shares": {k: mean(v) for k, v in shares.items()},
        "elsewhere": {k: mean(v) for k, v in texts.items()},
        "milliseconds": {k: mean([s[k] for s in spent]) for k in spent[0]},
    }
    return {name: found}


def one_seed(at: Scene, logs: Any, shares: Any, texts: Any, spent: list[dict[str, float]]) -> None:
    import numpy as np

    from hardrank.guards import GUARDS, AdversarialText, fit_pipeline
    from hardrank.guards.text_features import NAMES
    from hardrank.metrics.detection import Judged, threshold_at_fpr

    lesson = lesson_of(at)
    pipeline = fit_pipeline([g() for g in GUARDS], lesson)
    learner = Learner(lesson, AdversarialText())
    reader, shop = learner.clean.reader, lesson.shop
    old = np.asarray([n for n, feature in enumerate(NAMES) if feature not in NEW])
    new, edited = at.clean()
    clean = Read.of(pipeline, reader, [*new, *edited], shop)
    by_kind = {k: [e.listing for e in at.held if e.family == k] for k in (*FAMILIES, HONEST)}
    blind = {kinds: learner.fit(kinds) for kinds in GROUPS.values()}
    plain = Ngrams(lesson, lesson_texts(lesson))
    every, full, letters = [*new, *edited], learner.fit(), plain.fit()
    was = learner.fit(columns=old)

    def add(kind: str, how: str, negatives: Any, positives: Any) -> None:
        scores = np.concatenate([negatives, positives])
        labels = np.arange(len(scores)) >= len(negatives)
        who = np.where(labels, 0, np.arange(len(scores)))
        logs.setdefault((kind, how), []).append(Judged(scores, labels, who))

    def ours(fitted: Any, read: Read) -> Any:
        return np.maximum(read.others, learner.scores(fitted, read.x))

    for kind, listings in by_kind.items():
        if not listings:
            continue
        read = Read.of(pipeline, reader, listings, shop)
        group = next((g for g in GROUPS.values() if kind in g), ())
        ways = {"seen": (full, was, letters)}
        if group:
            ways["unseen"] = (learner.fit((kind,)), learner.fit((kind,), old), plain.fit((kind,)))
            add(kind, "group unseen", ours(blind[group], clean), ours(blind[group], read))
        for how, (fitted, before, model) in ways.items():
            add(kind, how, ours(fitted, clean), ours(fitted, read))
            add(kind, f"before, {how}", ours(before, clean), ours(before, read))
            add(kind, f"char-ngrams, {how}", plain.scores(model, every),
                plain.scores(model, listings))  # fmt: skip
        add(kind, "rules", clean.rules, read.rules)
        stopped = [v.action != "admit" for v in pipeline.inspect(listings, shop)]
        shares.setdefault(f"stopped: {kind}", []).append(float(np.mean(stopped)))
    said = pipeline.inspect(every, shop)
    stopped = np.asarray([v.action != "admit" for v in said])
    shares.setdefault("false alarms: new listings", []).append(float(stopped[: len(new)].mean()))
    shares.setdefault("false alarms: honest edits", []).append(float(stopped[len(new) :].mean()))
    border = threshold_at_fpr(ours(full, clean), FPR)
    if not texts:  # they are the same for every seed
        foreign(pipeline, reader, shop, lambda read: ours(full, read) > border, texts)
    spent.append(latency(pipeline, shop, every))


def lesson_texts(lesson: Any) -> list[str]:
    """Clean titles and honest edits of them, as the trees learn from."""
    rows, _ = lesson.rows()
    texts = [lesson.texts[row] for row in rows[:2500]]
    made = edits(texts, texts, [0] * len(texts), lesson.seed + 1)
    return [*texts, *(one.text for one in made)]


def foreign(pipeline: Any, reader: Any, shop: Any, flagged: Any, texts: Any) -> None:
    """Texts from elsewhere, alone and behind a title of the catalogue."""
    from hardrank.guards import Listing

    titles = [t or "" for t in shop.items["title"].to_list()]
    for name, (_, found) in elsewhere().items():
        alone = [Listing(f"x{n}", {"title": text}) for n, text in enumerate(found)]
        behind = []
        for n, text in enumerate(found):
            title = titles[n % len(titles)]
            behind.append(Listing(f"y{n}", {"title": f"{title} {text}"}, {"title": title}))
        for how, listings in (("alone", alone), ("behind a title", behind)):
            read = Read.of(pipeline, reader, listings, shop)
            texts.setdefault(f"{name}, {how}", []).append(float(flagged(read).mean()))


def latency(pipeline: Any, shop: Any, listings: Sequence[Any]) -> dict[str, float]:
    """Milliseconds a listing, one by one and a hundred at a time."""
    import numpy as np

    out = {}
    pipeline.inspect(listings[:2], shop)
    for size, times in ((1, 60), (100, 6)):
        spent = []
        for n in range(times):
            start = perf_counter()
            pipeline.inspect(listings[n * size : (n + 1) * size] or listings[:size], shop)
            spent.append(1000 * (perf_counter() - start) / size)
        out[f"batch {size} p50"] = float(np.percentile(spent, 50))
        out[f"batch {size} p99"] = float(np.percentile(spent, 99))
    return out


def judged(logs: list[Any], *, bootstrap: bool) -> dict[str, Any]:
    import numpy as np

    from hardrank.metrics.detection import auroc, bootstrap_judged, recall_at_fpr

    def recall(scores: Any, labels: Any) -> float:
        return recall_at_fpr(scores, labels, FPR)

    if not bootstrap:
        areas, recalls = zip(*((auroc(j.scores, j.labels), recall(j.scores, j.labels))
                               for j in logs), strict=True)  # fmt: skip
        return {"auroc": mean(areas), "recall": mean(recalls)}
    (area, found) = bootstrap_judged(logs, (auroc, recall), np.random.default_rng(0), draws=200)
    return {
        "auroc": round(float(area[0]), 4), "auroc_low": round(float(area[1]), 4),
        "recall": round(float(found[0]), 4), "recall_low": round(float(found[1]), 4),
        "recall_high": round(float(found[2]), 4),
    }  # fmt: skip


def mean(values: Sequence[float]) -> float:
    return round(float(sum(values) / max(len(values), 1)), 4)


# Part two: harm. What got through, and what it did.


def harm(name: str, asked: Any) -> dict[str, Any]:
    seeds = seeds_of(name, asked)
    scenes = (scene(name, seed, asked.targets, demote=False) for seed in seeds)
    out = {f"{name}, tfidf": pooled([harm_of(at) for at in scenes])}
    print(f"{name}: harm measured", file=sys.stderr, flush=True)
    if name == CATALOGUES[0]:
        out[f"{name}, text-sequence"] = pooled([harm_of(sequence_scene(seeds[0]))])
    return out


def sequence_scene(seed: int) -> Scene:
    """The same attacks against a transformer on MiniLM: fewer targets and queries, and only
    those that ask little. The guards have learned from attacks on TF-IDF."""
    from hardrank.context import RunContext, derive
    from hardrank.models import TextSequence
    from hardrank.training import Training

    fast = [kind for kind in FAMILIES if kind not in SLOW]
    at = scene("ml-100k", seed, 40, fast, demote=False)
    model = TextSequence(training=Training(epochs=12, every=3)).fit(at.data, RunContext(seed=seed))
    kinds = ("deepwordbug", "homoglyph", *ADAPTIVE)
    made = attacked(model, at.data, kinds, 16, derive(seed, "sequence"), queries=30, demote=False)
    return replace(at, victim=model, held=made)


def guards_of(at: Scene) -> tuple[Any, Any, Any]:
    """Text guards, shadow gate, and the shop that both stand before."""
    from hardrank.guards import GUARDS, Pipeline, ShadowRanking, fit_pipeline

    shop = at.live(at.halves()[0])
    texts = fit_pipeline([g() for g in GUARDS], lesson_of(at))
    return texts, Pipeline((ShadowRanking().fit_on(shop),)), shop


def harm_of(at: Scene) -> dict[str, Any]:
    """Per family, sums over attacked listings; and how many honest ones are held."""
    import numpy as np

    from hardrank.guards import Listing
    from hardrank.guards.exposure_view import ExposureView

    texts, gate, shop = guards_of(at)
    outside = ExposureView.of(at.live(at.halves()[1]), 10, 2000)
    data = at.data
    out: dict[str, Any] = {"families": {}, "honest": {}, "newcomers": {}}

    def held(listings: Sequence[Any]) -> dict[str, Any]:
        by = {"texts": texts.inspect(listings, shop), "shadow": gate.inspect(listings, shop)}
        held = {k: np.asarray([v.action == "quarantine" for v in vs]) for k, vs in by.items()}
        return held | {"union": held["texts"] | held["shadow"], "said": by["texts"]}

    def live(listings: Sequence[Any], said: Sequence[Any]) -> list[Any]:
        return [one if v.fields is None else replace(one, fields=v.fields)
                for one, v in zip(listings, said, strict=True)]  # fmt: skip

    for family in (*FAMILIES, HONEST):
        listings = [e.listing for e in at.held if e.family == family]
        if not listings:
            continue
        shown = outside.shown(listings)
        gain = np.asarray([s.after - s.before for s in shown])
        found = held(listings)
        mended = outside.shown(live(listings, found["said"]))
        through = np.asarray([s.after - s.before for s in mended])
        hurts = gain >= MATERIAL
        row: dict[str, Any] = {"n": len(listings), "material": int(hurts.sum())}
        for who in ("texts", "shadow", "union"):
            row[f"held by {who}"] = int(found[who].sum())
            row[f"material held by {who}"] = int((found[who] & hurts).sum())
            left = np.where(found[who], 0.0, gain if who == "shadow" else through)
            row[f"gain through {who}"] = float(np.maximum(left, 0).sum())
            row[f"material through {who}"] = int((left >= MATERIAL).sum())
        row["gain attempted"] = float(np.maximum(gain, 0).sum())
        out["families"][family] = row
        if family in ("copycat", "append-title", "keyword-stuffing", "greedy-words"):
            fakes = [replace(one, item_id=f"fake {n}", before=None, events=0)
                     for n, one in enumerate(listings)]  # fmt: skip
            listed = np.asarray([s.after > 0 for s in outside.shown(fakes)])
            union = held(fakes)["union"]
            out["newcomers"][family] = {"listed": int(listed.sum()),
                                        "left": int((listed & union).sum())}  # fmt: skip
    new, _ = at.clean(600)
    rows = at.known[:: -(-len(at.known) // 600)]
    ids = data.items["item_id"].gather(rows).to_list()
    titles = [t or "" for t in data.items["title"].gather(rows).to_list()]
    changed = edits(ids, titles, data.counts[rows].tolist(), at.seed)
    for what, listings in (("new", new), ("edits", changed)):
        found = held([Listing(o.item_id, o.fields, o.before, o.events) for o in listings])
        out["honest"][what] = {"n": len(listings)} | {
            who: int(found[who].sum()) for who in ("texts", "shadow", "union")
        }
    out["utility"] = utility(at, texts, gate, shop)
    out["milliseconds"] = {
        f"{what}, {k}": v
        for what, guard in (("texts", texts), ("shadow", gate))
        for k, v in latency(guard, shop, changed).items()
    }
    return out


def utility(at: Scene, texts: Any, gate: Any, shop: Any) -> dict[str, float]:
    """NDCG@10 where a tenth of the standing titles is edited honestly and the hidden items
    come as new listings: all of them live, and those that both guards let in."""
    import numpy as np
    import polars as pl

    from hardrank.guards import Guarded, Pipeline
    from hardrank.metrics.ranking import ndcg, ranks_of_targets
    from hardrank.recommender import mask_seen

    union = Pipeline((*texts.guards, *gate.guards))
    data, rows = at.data, at.known[:: max(10, len(at.known) // 400)]
    titles = [t or "" for t in data.items["title"].to_list()]
    ids = data.items["item_id"].to_list()
    made = edits([ids[r] for r in rows], [titles[r] for r in rows], [0] * len(rows), at.seed)
    wanted = list(titles)
    for one in made:
        wanted[data.item_rows[one.item_id]] = one.fields["title"]
    asked = data.items.with_columns(title=pl.Series(wanted))
    guarded = Guarded(recommender=at.victim, guard=union, shop=shop)
    new, _ = at.clean(400)
    held = [data.item_rows[one.item_id.removeprefix("new ")]
            for one, v in zip(new, union.inspect(new, shop), strict=True)
            if v.action == "quarantine"]  # fmt: skip
    test = at.test.take(np.arange(0, len(at.test.targets), -(-len(at.test.targets) // 2000)))

    def quality(model: Any, without: Sequence[int]) -> float:
        from hardrank.data import Slate

        whole = Slate(items=np.arange(data.n_items))
        scores = mask_seen(np.array(model.score(test.queries, whole)), test.queries)
        scores[:, list(without)] = -np.inf
        ranks = ranks_of_targets(scores, test.targets)
        hits = np.where(np.isin(test.targets, list(without)), 0.0, ndcg(ranks, 10))
        return float(hits.mean())

    free = quality(at.victim.on(asked), [])
    behind = quality(guarded.on(asked).recommender, held)
    return {"free": free, "guarded": behind, "loss": 1 - behind / free if free else 0.0}


def pooled(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts and gains added over seeds, shares of them, utility and times as means."""

    def added(part: str) -> dict[str, dict[str, float]]:
        kinds = dict.fromkeys(k for f in found for k in f[part])
        return {
            kind: {
                key: sum(f[part][kind][key] for f in found if kind in f[part])
                for key in next(f[part][kind] for f in found if kind in f[part])
            }
            for kind in kinds
        }

    rows = added("families")
    threats = [row for kind, row in rows.items() if kind != HONEST]
    rows["all attacks"] = {k: sum(row[k] for row in threats) for k in threats[0]}
    for row in rows.values():
        tried = row["gain attempted"]
        for who in ("texts", "shadow", "union"):
            row[f"share of gain through {who}"] = row[f"gain through {who}"] / tried if tried else 0
            row[f"material share held by {who}"] = (
                row[f"material held by {who}"] / row["material"] if row["material"] else 0.0
            )
    means = {
        part: {k: mean([f[part][k] for f in found]) for k in found[0][part]}
        for part in ("utility", "milliseconds")
    }
    fakes = added("newcomers")
    return {
        "families": {k: {n: round(v, 4) for n, v in row.items()} for k, row in rows.items()},
        "honest": {
            what: row | {f"share {w}": round(row[w] / row["n"], 4)
                         for w in ("texts", "shadow", "union")}
            for what, row in added("honest").items()
        },
        "planted": fakes | {"all": {k: sum(f[k] for f in fakes.values())
                                    for k in ("listed", "left")}},
        **means,
    }  # fmt: skip


# Part three: attacks that play against the guard.


@dataclass(frozen=True)
class Knows:
    """An attack that asks the guard before it asks the shop: texts that would be held are no
    candidates, and cost it no query."""

    attack: Any
    shop: Any
    """A guarded recommender, which the attacker has at home."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.attack, name)

    def __call__(self, view: Any, goal: Any, budget: Any, rng: Any) -> Any:
        import numpy as np

        from hardrank.data import Slate

        asks = view._allows

        def allows(target: str, texts: Sequence[str]) -> Any:
            fine = np.array(asks(target, texts), dtype=bool)
            row, left = self.shop.shop.rows[target], view.left
            for start in range(0, len(texts), 64):
                part = [n for n in range(start, min(start + 64, len(texts))) if fine[n]]
                if left is not None and fine[:start].sum() >= left:
                    fine[start:] = False
                    break
                if part:
                    asked = tuple(texts[n] for n in part)
                    said = self.shop.verdicts(Slate(items=np.full(len(part), row), texts=asked))
                    fine[part] = [v is None or v.action == "admit" for v in said]
            return fine

        view._allows = allows
        return self.attack(view, goal, budget, rng)


def adaptive(name: str, asked: Any) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for seed in seeds_of(name, asked):
        at = scene(name, seed, asked.targets, demote=False)
        rows += played(at, max(4, asked.targets // 5))
        print(f"{name} seed {seed}: adaptive attacks played", file=sys.stderr, flush=True)
    return {name: against(rows)}


def played(at: Scene, targets: int) -> list[dict[str, Any]]:
    """A row for each attack and target: rise of ER@10 on users that nobody of them sees."""
    import numpy as np

    from hardrank.attacks import ATTACKS
    from hardrank.context import derive
    from hardrank.data import Slate
    from hardrank.guards import Guarded, Listing, Pipeline
    from hardrank.guards.exposure_view import ExposureView
    from hardrank.threats import Budget, Promote, ThreatModel, mount, sample_panel

    texts, gate, shop = guards_of(at)
    shops = {
        "texts": Guarded(recommender=at.victim, guard=texts, shop=shop),
        "texts and shadow": Guarded(
            recommender=at.victim, guard=Pipeline((*texts.guards, *gate.guards)), shop=shop
        ),
    }
    outside = ExposureView.of(at.live(at.halves()[1]), 10, 2000)
    rng = np.random.default_rng(derive(at.seed, "adaptive"))
    panel = sample_panel(at.data.histories(), 64, rng)
    ids = at.data.items["item_id"].gather(at.known).to_list()
    chosen = [ids[n] for n in rng.permutation(len(ids))[:targets]]
    threat = ThreatModel(goal=Promote(items=tuple(chosen)),
                         budget=Budget(words=6, queries=100, whole_text=True))  # fmt: skip
    rows = []
    for attack in (a() for a in ATTACKS if a.kind in ADAPTIVE):
        for target in chosen:
            row = at.data.item_rows[target]

            def play(victim: Any, attack: Any = attack, target: str = target) -> str | None:
                match = mount(attack, threat, victim, at.data, panel=panel, target=target,
                              seed=at.seed)  # fmt: skip
                edit = match.patch.rewrites().get(target)
                return edit.text if edit else None

            def gain(text: str | None, target: str = target) -> float:
                if text is None:
                    return 0.0
                (shown,) = outside.shown([Listing(target, {"title": text})])
                return shown.after - shown.before

            def live(guarded: Any, text: str | None, row: int = row) -> str | None:
                if text is None:
                    return None
                (passed,) = guarded.passed(Slate(items=np.array([row]), texts=(text,)))
                return passed

            bare = play(at.victim)
            found = {"attack": attack.kind, "seed": at.seed, "undefended": gain(bare)}
            for who, guarded in shops.items():
                found[f"replayed, {who}"] = gain(live(guarded, bare))
                found[f"adaptive, {who}"] = gain(live(guarded, play(guarded)))
                known = play(guarded, Knows(attack, guarded))
                found[f"knows, {who}"] = gain(live(guarded, known))
            rows.append(found)
    return rows


def against(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean rises with a bootstrap interval over targets; `best`: the best attack on each."""
    import numpy as np

    ways = [k for k in rows[0] if k not in ("attack", "seed")]
    out: dict[str, Any] = {}
    kinds = list(dict.fromkeys(row["attack"] for row in rows))
    table = {k: np.asarray([[r[w] for w in ways] for r in rows if r["attack"] == k]) for k in kinds}
    # rows of one seed follow each other, attack by attack, so targets are in the same order
    table["best"] = np.max(np.stack([table[k] for k in kinds]), axis=0)
    for kind, values in table.items():
        rng = np.random.default_rng(0)
        draws = values[rng.integers(0, len(values), size=(1000, len(values)))].mean(axis=1)
        low, high = np.quantile(draws, (0.025, 0.975), axis=0)
        out[kind] = {
            way: {"gain": round(float(m), 4), "low": round(float(a), 4), "high": round(float(b), 4)}
            for way, m, a, b in zip(ways, values.mean(axis=0), low, high, strict=True)
        }
        base = values[:, 0].mean()
        out[kind]["effect"] = {
            way: round(float(1 - m / base), 4) if base > 0 else None
            for way, m in zip(ways[1:], values[:, 1:].mean(axis=0), strict=True)
        }
    return out


PARTS: dict[str, Callable[[str, Any], Any]] = {
    "families": families, "harm": harm, "adaptive": adaptive,
}  # fmt: skip


def report(found: dict[str, Any], asked: Any) -> None:
    tables: dict[str, Any] = {
        part: {k: v for one in parts for k, v in one["rows"].items()}
        for part, parts in found.items()
    }
    attacks = {name: part["families"]["all attacks"] for name, part in tables["harm"].items()}
    best = tables["adaptive"][asked.catalogues[0]]["best"]["effect"]
    through = max(row["share of gain through union"] for row in attacks.values() if row["material"])
    honest = tables["harm"][f"{asked.catalogues[0]}, tfidf"]["honest"]["edits"]["share union"]
    recalls = {
        name: {
            how: mean([row[how]["recall"] for row in part["families"].values() if how in row])
            for how in ("seen", "unseen", "group unseen", "before, unseen")
        }
        for name, part in tables["families"].items()
    }
    low = min(r["unseen"] for r in recalls.values())
    seen = min(r["seen"] for r in recalls.values())
    common.write_result(
        "guards",
        claim=(
            f"text guards find {seen:.0%} of attacked titles of families that they learned from "
            f"and {low:.0%} of families that they never saw, at 1 % false alarms (mean of the "
            f"families, the worse of two catalogues); with the shadow gate at most {through:.1%} "
            f"of the exposure that attacks win gets through, and on {asked.catalogues[0]} an "
            f"attacker who plays against both wins {1 - best['adaptive, texts and shadow']:.0%} of "
            f"it, one who may ask the guards freely {1 - best['knows, texts and shadow']:.0%}; "
            f"{honest:.0%} of simulated honest edits of its standing titles are held"
        ),
        command=shlex.join(["python", "benchmarks/guards.py", *sys.argv[1:]]),
        ratio=low,
        ratio_means="recall on unseen families at 1 % false alarms",
        aim=0.5,
        ratios={"recall_seen": seen, "gain_through": through},
        figures={
            "mean_recall": recalls,
            **tables,
            "cpu_seconds": {k: sum(p["cpu_seconds"] for p in part) for k, part in found.items()},
        },
        method=METHOD.format(
            targets=asked.targets, slow=asked.targets // 5, slows=", ".join(SLOW),
            material=MATERIAL,
            groups="; ".join(f"{g}: {', '.join(kinds)}" for g, kinds in GROUPS.items()),
        ),
        seeds=asked.seeds,
    )  # fmt: skip


if __name__ == "__main__":
    main()
