"""Labelled texts: read strictly, split without leaks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hardrank.data.labelled import (
    Labelled,
    LabelledSplit,
    LabelledTexts,
    check_text_leaks,
    split_labelled,
)
from hardrank.errors import DataError, LeakError, SchemaError


def _write(folder: Path, text: str | bytes) -> Path:
    path = folder / "reviews.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _data(texts: list[str], labels: list[int], groups: list[str] | None = None) -> Labelled:
    return Labelled(
        texts=tuple(texts),
        labels=np.array(labels),
        names=("a", "b"),
        groups=None if groups is None else tuple(groups),
    )


def test_reads_quoted_fields_over_several_lines(tmp_path: Path) -> None:
    path = _write(tmp_path, 'label,who,text\nham,x,"one, ""two""\nthree"\n\nspam,y,\n')
    data = LabelledTexts(path=path, group="who").load()
    assert data.texts == ('one, "two"\nthree', "")
    assert data.names == ("ham", "spam") and data.labels.tolist() == [0, 1]
    assert data.groups == ("x", "y")


def test_class_order_is_as_asked(tmp_path: Path) -> None:
    path = _write(tmp_path, "text,label\na,ham\nb,spam\n")
    assert LabelledTexts(path=path, labels=("spam", "ham")).load().labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("text,tag\na,b\n", SchemaError, r"line 1, field 'label': no such column.*text, tag"),
        ('text,label\n"a\nb",x\nc\n', DataError, r"csv, line 4: 1 fields, the header has 2"),
        ("text,label\na,x\nb, \n", DataError, r"line 3, field 'label': no label"),
        ("text,label\na,x\nb,x\n", DataError, r"1 class\(es\) among 2 texts"),
        ('text,label\na,x\n"b,y\n', DataError, r"line 3: not CSV"),
        (b"text,label\na,x\n\xff,y\n", DataError, r"line 3: not UTF-8"),
        ("", DataError, "the file is empty"),
        ("text,label\n", DataError, r"0 class\(es\)"),
    ],
)
def test_bad_files_are_named_by_line(
    content: str | bytes, error: type[DataError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        LabelledTexts(path=_write(tmp_path, content)).load()


def test_unknown_label_and_missing_file(tmp_path: Path) -> None:
    path = _write(tmp_path, "text,label\na,x\nb,z\n")
    with pytest.raises(DataError, match="line 3, field 'label': label 'z' is not one of x, y"):
        LabelledTexts(path=path, labels=("x", "y")).load()
    with pytest.raises(DataError, match="cannot be read"):
        LabelledTexts(path=tmp_path / "none.csv").load()


def test_shares_leave_some_for_training() -> None:
    with pytest.raises(ValidationError, match="leave something"):
        LabelledTexts(path=Path("x"), shares=(0.5, 0.5))


def test_split_is_stratified_whole_and_seeded() -> None:
    data = _data([f"text {n}" for n in range(200)], [int(n % 4 == 0) for n in range(200)])
    split = split_labelled(data, np.random.default_rng(0), valid=0.1, test=0.2)
    assert [len(p) for p in (split.train, split.valid, split.test)] == [140, 20, 40]
    assert [int(p.labels.sum()) for p in (split.train, split.valid, split.test)] == [35, 5, 10]
    everything = split.train.texts + split.valid.texts + split.test.texts
    assert sorted(everything) == sorted(data.texts)
    again = split_labelled(data, np.random.default_rng(0), valid=0.1, test=0.2)
    assert again.test.texts == split.test.texts
    other = split_labelled(data, np.random.default_rng(1), valid=0.1, test=0.2)
    assert other.test.texts != split.test.texts


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 15), min_size=60, max_size=90))
def test_no_text_or_group_is_on_two_sides(seed: int, numbers: list[int]) -> None:
    rng = np.random.default_rng(seed)
    texts = [
        f"{'  Text' if rng.random() < 0.5 else 'text'} {n} {k % 3}" for k, n in enumerate(numbers)
    ]
    data = _data(texts, [n % 2 for n in numbers], [f"g{n}" for n in numbers])
    try:
        split = split_labelled(data, rng, valid=0.2, test=0.3)
    except DataError:
        return  # too few groups for two classes in each part
    sides = [
        {" ".join(t.casefold().split()) for t in p.texts}
        for p in (split.train, split.valid, split.test)
    ]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    groups = [set(p.groups or ()) for p in (split.train, split.valid, split.test)]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_planted_leak_is_caught() -> None:
    one, two = _data(["Same  text", "x"], [0, 1]), _data(["same text", "y"], [0, 1])
    split = LabelledSplit(train=one, valid=_data(["z"], [0]), test=two, protocol="")
    with pytest.raises(LeakError, match="in train and test: 'same text'"):
        check_text_leaks(split)


def test_a_part_without_a_class_is_refused() -> None:
    data = _data([f"{n}" for n in range(12)], [0] * 11 + [1])
    with pytest.raises(DataError, match="validation part has no text of class b"):
        split_labelled(data, np.random.default_rng(0))


def test_fingerprint_sees_labels_and_texts() -> None:
    prints = {
        _data(["x", "y"], [0, 1]).fingerprint,
        _data(["x", "y"], [1, 0]).fingerprint,
        _data(["xy", ""], [0, 1]).fingerprint,
        _data(["x", "y"], [0, 1]).fingerprint,
    }
    assert len(prints) == 3


def test_deceptive_opinion_reviews(data_folder: Path) -> None:
    """S1-24: real data; 1600 reviews, half of them fake, 20 hotels."""
    path = data_folder / "attacked-text" / "deceptive-opinion" / "deceptive-opinion.csv"
    source = LabelledTexts(path=path, label="deceptive", group="hotel")
    data = source.load()
    assert len(data) == 1600 and data.names == ("deceptive", "truthful")
    assert data.labels.mean() == 0.5 and len(set(data.groups or ())) == 20
    split = source.split(data, np.random.default_rng(0))
    assert len(split.train) + len(split.valid) + len(split.test) == 1600
    assert not set(split.train.groups or ()) & set(split.test.groups or ())
