"""`fail_if`: what it says, what it is held against, and when it fails."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.experiment.thresholds import Threshold, parse_threshold, rule
from hardrank.findings import Finding


def finding(trial: str, value: float | None, metric: str = "er_gain@10") -> Finding:
    low, high = (None, None) if value is None else (value - 0.1, value + 0.1)
    return Finding(
        subject="x/control", audit="promotion", metric=metric, value=value, low=low, high=high,
        trial=trial, reason="" if value is not None else "could not run: no gradients",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("er_gain@10 > 0.01", ("er_gain@10", "", "value", ">", 0.01)),
        ("asr>=0.2", ("asr", "", "value", ">=", 0.2)),
        (" er_gain@10[copycat] > 1% ", ("er_gain@10", "copycat", "value", ">", 0.01)),
        ("ndcg@10.low < 5e-2", ("ndcg@10", "", "low", "<", 0.05)),
        ("asr[pwws [ranks] (eu)] > 0", ("asr", "pwws [ranks] (eu)", "value", ">", 0.0)),
        ("asr[pwws [ranks]].high <= -.5", ("asr", "pwws [ranks]", "high", "<=", -0.5)),
        ("rank_after[copycat(candidates=20)] < 100", ("rank_after", "copycat(candidates=20)",
                                                      "value", "<", 100.0)),
    ],
)  # fmt: skip
def test_a_threshold_is_read(text: str, read: tuple[object, ...]) -> None:
    t = parse_threshold(text)
    assert (t.metric, t.trial, t.bound, t.sign, t.limit) == read
    assert t.text == text.strip()


@pytest.mark.parametrize(
    "text",
    ["", "er_gain@10", "er_gain@10 > ", "er_gain@10 = 0.1", "> 0.1", "er_gain@ > 1", "a > b",
     "asr[] > 0", "asr[x > 0", "asr.mean > 0", "asr > 0.1 and mrr < 1", "asr > 0,1", "ASR > 1"],
)  # fmt: skip
def test_what_is_no_threshold(text: str) -> None:
    with pytest.raises(ValueError, match="write a threshold such as"):
        parse_threshold(text)


@given(
    st.sampled_from([">", ">=", "<", "<="]), st.integers(-3, 3), st.integers(-3, 3),
    st.sampled_from(["value", "low", "high"]),
)  # fmt: skip
def test_a_threshold_holds_as_arithmetic_says(
    sign: str, value: int, limit: int, bound: str
) -> None:
    f = Finding(
        subject="x", audit="promotion", metric="m", value=float(value), low=value - 1.0,
        high=value + 1.0,
    )  # fmt: skip
    number = value + {"value": 0, "low": -1, "high": 1}[bound]
    t = parse_threshold(f"m.{bound} {sign} {limit}")
    assert t.fails(f) == {
        ">": number > limit, ">=": number >= limit, "<": number < limit, "<=": number <= limit,
    }[sign]  # fmt: skip


def failing(text: str, findings: list[Finding]) -> list[tuple[str, bool]]:
    return [(r.trial, r.fails) for r in rule([parse_threshold(text)], findings)]


def test_which_findings_it_is_about() -> None:
    found = [
        finding("copycat(candidates=20)", 0.5), finding("pwws [ranks]", 0.0),
        finding("copycat", 0.3, "asr"),
    ]  # fmt: skip
    both = [("copycat(candidates=20)", True), ("pwws [ranks]", False)]
    assert failing("er_gain@10 > 0.1", found) == both
    assert failing("er_gain@10[copycat] > 0.1", found) == both[:1]
    assert failing("er_gain@10[copycat(candidates=20)] > 0.1", found) == both[:1]
    assert failing("er_gain@10[pwws] > 0.1", found) == both[1:]
    assert failing("er_gain@10[pwws [ranks]] > -1", found) == [("pwws [ranks]", True)]
    tail = Finding(subject="x", audit="utility", metric="asr", value=1.0, group="tail")
    assert failing("asr > 0.1", [*found, tail]) == [("copycat", True)]


def test_what_was_not_measured_decides_only_where_nothing_was() -> None:
    """A gate that cannot see is no gate."""
    none, some = finding("hotflip", None), finding("copycat", 0.0)
    assert failing("er_gain@10 > 0.1", [none, some]) == [("hotflip", False), ("copycat", False)]
    assert failing("er_gain@10[hotflip] > 0.1", [none, some]) == [("hotflip", True)]
    assert failing("er_gain@10 > 0.1", []) == [("", True)]
    (ruling,) = rule([parse_threshold("er_gain@10 > 0.1")], [none])
    assert ruling.reason == "not measured: could not run: no gradients"


def test_thresholds_are_values() -> None:
    assert parse_threshold("asr > 1") == Threshold(text="asr > 1", metric="asr", sign=">", limit=1)
