"""Experiment files (S3-17): every mistake at once, with path and allowed values; exit code 2."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hardrank.attacks import Copycat, GreedyWords
from hardrank.data.sources import Marketplace, Table
from hardrank.errors import ConfigError
from hardrank.experiment import load_experiment, parse_experiment
from hardrank.experiment.spec import data_folder
from hardrank.models import Sasrec

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BASE = 'name = "x"\ndata = { kind = "marketplace" }\nmodel = { kind = "sasrec" }\n'
THREAT = 'threat = { goal = { kind = "promote" }, budget = { words = 3 } }\n'
GREEDY = 'attacks = [{ kind = "greedy-words" }]\n'


def mistakes(toml: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_experiment(tomllib.loads(toml), source="e.toml")
    assert caught.value.exit_code == 2
    assert str(caught.value) == "e.toml:\n" + "\n".join(f"  {m}" for m in caught.value.mistakes)
    return caught.value.mistakes


def model(rest: str) -> str:
    return (
        f'name = "x"\ndata = {{ kind = "marketplace" }}\n[model]\nkind = "text-sequence"\n{rest}\n'
    )


def harden(rest: str) -> str:
    return BASE + f'[harden]\nkind = "adversarial"\nradius = 0.1\n{rest}\n'


def trial(threat: str = THREAT, attacks: str = GREEDY) -> str:
    return BASE + "[[trials]]\n" + THREAT + GREEDY + "[[trials]]\nname = 'two'\n" + threat + attacks


@pytest.mark.parametrize(
    ("toml", "start"),
    [
        (
            "sede = 1\n" + BASE,
            "sede: unknown key; did you mean 'seeds'? allowed: name, seeds, data",
        ),
        (model("layer = 2"), "model.text-sequence.layer: unknown key; did you mean 'layers'?"),
        (
            model("epochs = 2"),
            "model.text-sequence.epochs: unknown key; did you mean 'training.epochs'?",
        ),
        (
            model("training = { epoch = 3 }"),
            "model.text-sequence.training.epoch: unknown key; did you mean 'epochs'?",
        ),
        (
            harden('inner = { kind = "pgd", step = 3 }'),
            "harden.adversarial.inner.pgd.step: unknown key; did you mean 'steps'? allowed: kind, ",
        ),
        (
            harden('inner = { kind = "fgm" }\nradius_schedule = { kind = "ramp", untl = 0.5 }'),
            "harden.adversarial.radius_schedule.ramp.untl: unknown key; did you mean 'until'?",
        ),
        (
            trial('threat = { goal = { kind = "promote" }, budget = { words = 3, querys = 9 } }\n'),
            "trials.1.threat.budget.querys: unknown key; did you mean 'queries'?",
        ),
        (
            trial('threat = { goal = { kind = "promote", kk = 1 }, budget = { words = 3 } }\n'),
            "trials.1.threat.goal.promote.kk: unknown key; did you mean 'k'? allowed: kind, items",
        ),
        (
            trial(
                attacks='attacks = [{ kind = "copycat" }, { kind = "greedy-words", word = 1 }]\n'
            ),
            "trials.1.attacks.1.greedy-words.word: unknown key;",
        ),
        (
            'name = "x"\nmodel = { kind = "sasrec" }\n'
            '[data]\nkind = "table"\npath = "x.csv"\ncolumns = { usr = "a" }\n',
            "data.table.columns.usr: unknown key; did you mean 'user'? allowed: user, item, time",
        ),
        (BASE + "[cleaning]\nkcor = 5\n", "cleaning.kcor: unknown key; did you mean 'kcore'?"),
        (BASE + "[gates]\nprize = 0.1\n", "gates.prize: unknown key; did you mean 'price'?"),
        (
            BASE + '[[compare]]\nkind = "popularity"\n[[compare]]\nkind = "bpr-mf"\nsizes = 3\n',
            "compare.1.bpr-mf.sizes: unknown key; did you mean 'size'?",
        ),
    ],
)
def test_an_unknown_key_is_named_with_its_path_and_a_guess(toml: str, start: str) -> None:
    (only,) = mistakes(toml)
    assert only.startswith(start)
    assert "allowed: " in only


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        (
            BASE.replace("sasrec", "sasrek"),
            "model: unknown kind 'sasrek'; did you mean 'sasrec'? allowed: text-sequence, hybrid,",
        ),
        (BASE.replace('kind = "sasrec"', "size = 3"), "model: missing 'kind'; allowed: text-seq"),
        (
            BASE.replace("marketplace", "shop"),
            "data: unknown kind 'shop'; allowed: amazon-reviews,",
        ),
        (
            harden('inner = { kind = "pgt" }'),
            "harden.adversarial.inner: unknown kind 'pgt'; did you mean 'pgd'? allowed: gaussian, ",
        ),
        (
            trial(attacks='attacks = [{ kind = "copycats" }]\n'),
            "trials.1.attacks.0: unknown kind 'copycats'; did you mean 'copycat'?",
        ),
        (BASE + '[split]\nkind = "random"\n', "split: unknown kind 'random'; allowed: "),
    ],
)
def test_an_unknown_kind_lists_the_known_ones(toml: str, expected: str) -> None:
    (only,) = mistakes(toml)
    assert only.startswith(expected)


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        (model("size = 0"), "model.text-sequence.size: must be at least 1 (is 0)"),
        (model("dropout = 1.0"), "model.text-sequence.dropout: must be below 1 (is 1.0)"),
        (
            harden('inner = { kind = "fgm" }').replace("0.1", "-0.1"),
            "harden.adversarial.radius: must be above 0 (is -0.1)",
        ),
        (BASE + "[gates]\nprice = 1.5\n", "gates.price: must be at most 1 (is 1.5)"),
        (
            harden('inner = { kind = "fgm" }\nsite = "items"'),
            "harden.adversarial.site: must be one of token-embeddings, item-vectors, "
            "history-vectors, text-vectors, user-vectors, hidden-states (is 'items')",
        ),
        ("seeds = []\n" + BASE, "seeds: needs at least 1 entry (has 0)"),
        (BASE + "[[curves]]\nradii = [0.1]\n", "curves.0.radii: needs at least 5 entries (has 1)"),
        (BASE.replace('"x"', "3"), "name: must be text in quotes (is 3)"),
        (model('layers = "2"'), "model.text-sequence.layers: must be a whole number (is '2')"),
        (model("layers = 1.5"), "model.text-sequence.layers: must be a whole number (is 1.5)"),
        (model("layers = true"), "model.text-sequence.layers: must be a whole number (is True)"),
        (model('dropout = "no"'), "model.text-sequence.dropout: must be a number (is 'no')"),
        (
            model('fields = "title"'),
            "model.text-sequence.fields: must be a list, such as [1, 2] (is 'title')",
        ),
        (
            BASE.replace('{ kind = "sasrec" }', '"sasrec"'),
            "model: must be a table, such as { kind = ... } (is 'sasrec')",
        ),
        (BASE.replace('name = "x"\n', ""), "name: missing"),
        (trial(threat=""), "trials.1.threat: missing"),
        (trial(attacks=""), "trials.1.attacks: missing"),
        (
            trial('threat = { goal = { kind = "promote", items = "unloved:3" }, '
                  "budget = { words = 3 } }\n"),
            "trials.1.threat.goal.promote.items: no selection: 'unloved:3'; write group:count, "
            "group one of unpopular, cold, rare, popular, random (is 'unloved:3')",
        ),
        (
            BASE.replace("}\nmodel", ", seed = -1 }\nmodel"),
            "data.marketplace.seed: must be at least 0 (is -1)",
        ),
    ],
)  # fmt: skip
def test_a_wrong_value_says_what_is_wanted(toml: str, expected: str) -> None:
    assert mistakes(toml) == [expected]


def test_a_threat_without_limits_is_refused() -> None:
    (only,) = mistakes(trial('threat = { goal = { kind = "promote" }, budget = {} }\n'))
    assert only.startswith("trials.1.threat: budget: an item-text threat needs words, ")


def test_all_mistakes_come_at_once_sorted_and_once_each() -> None:
    found = mistakes(
        'seeds = [0, "1"]\n'
        'model = { kind = "sasrec", size = -1, training = { epoch = 1, batch_size = 0 } }\n'
        '[harden]\nkind = "adversarial"\ninner = { kind = "pgd", radius = 1, steps = 0 }\n'
        "radius = -0.1\n"
        "[[trials]]\nattacks = [{}]\n"
    )
    assert [line.partition(":")[0] for line in found] == [
        "data",
        "harden.adversarial.inner.pgd.radius",
        "harden.adversarial.inner.pgd.steps",
        "harden.adversarial.radius",
        "model.sasrec.size",
        "model.sasrec.training.batch_size",
        "model.sasrec.training.epoch",
        "name",
        "seeds.1",
        "trials.0.attacks.0",
        "trials.0.threat",
    ]


def test_a_whole_number_is_a_number_and_a_list_a_tuple() -> None:
    made = parse_experiment(tomllib.loads(model("fields = ['a', 'b']\ntraining = { clip = 5 }")))
    assert made.model.fields == ("a", "b")  # type: ignore[union-attr]
    assert made.model.training.clip == 5.0  # type: ignore[union-attr]


def test_what_is_right_becomes_frozen_specs() -> None:
    made = parse_experiment(tomllib.loads("seeds = [3, 4]\n" + trial()))
    assert made.seeds == (3, 4)
    assert (made.data, made.model) == (Marketplace(), Sasrec())
    assert made.trials[1].attacks == (GreedyWords(),)
    assert made.trials[1].labels() == ["greedy-words (two)"]
    assert made.trials[0].attacks != (Copycat(),)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda p: p.name)
def test_every_example_is_right(path: Path) -> None:
    assert load_experiment(path).name


def test_the_data_folder_is_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml = BASE.replace('"marketplace"', '"table", path = "$HARDRANK_DATA/log.csv"')
    monkeypatch.setenv("HARDRANK_DATA", str(tmp_path / "elsewhere"))
    made = parse_experiment(tomllib.loads(toml))
    assert made.data == Table(path=tmp_path / "elsewhere" / "log.csv")


def test_without_the_variable_data_beside_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARDRANK_DATA", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert data_folder() == Path("data")
    (tmp_path / "shared" / "data").mkdir(parents=True)
    assert data_folder() == Path("../shared/data")
    (tmp_path / "here" / "data").mkdir()
    assert data_folder() == Path("data")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'name = "x\n', "not TOML: "),
        (b'name = "x"\nname = "y"\n', "not TOML: "),
        (b'name = "x"\n# caf\xe9\n', "line 2: not UTF-8; save the file as UTF-8"),
        (None, "no such file"),
    ],
)
def test_what_is_no_toml(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "e.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    assert len(caught.value.mistakes) == 1
    assert caught.value.mistakes[0].startswith(said)
    assert caught.value.source == str(path)


def test_the_command_says_all_of_it_on_stderr_and_exits_with_2(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text(
        model('epoch = 3\nsize = 0\nencoder = 7\nfoo = "x"') + '[harden]\nkind = "adversarial"\n',
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "hardrank.cli.main", "run", str(path), "--out", str(tmp_path / "r")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    first, *rest = done.stderr.splitlines()
    assert first == f"hardrank: {path}:"
    assert [line.split(":")[0].strip() for line in rest] == [
        "harden.adversarial.inner",
        "harden.adversarial.radius",
        "model.text-sequence.encoder",
        "model.text-sequence.epoch",
        "model.text-sequence.foo",
        "model.text-sequence.size",
    ]
    assert not (tmp_path / "r").exists()
