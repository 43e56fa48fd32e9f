"""Labels of attacks in few characters: what tells them apart stays, and the rest can be read."""

from hypothesis import given
from hypothesis import strategies as st

from hardrank.reports.labels import apart, label_html, labels, legend_of

CRAFTED = "CraftedProfiles(kind='crafted-profiles', steps=45, disguises=(0.75, 0.9))"
LONG = f"evasive-profiles(first=rehearsed(candidates=({CRAFTED},)), candidates=({CRAFTED}, Other(kind='pga')), lengths=(0.65,), praise=(0.5, 1.0)) (adaptive)"  # noqa: E501
BASE = f"candidates=({CRAFTED},)"
SHORT = (
    "copy-profile", "interest-gan(beta=0.0)", "obfuscated(base={kind=average-profiles},share=0.4)",
    "copycat(candidates=50) [ranks] (5 words)", "rehearsed (adaptive)", "",
)  # fmt: skip


def test_short_labels_stay_as_they_are() -> None:
    made = labels(SHORT)
    assert [made[t].text for t in SHORT[:-1]] == list(SHORT[:-1])
    assert all(made[t].whole for t in SHORT[:-1])
    assert made[""].text == "unnamed attack"
    assert label_html(made["interest-gan(beta=0.0)"]) == (
        'interest-gan <span class="options">beta=0.0</span>'
    )
    assert legend_of(made[t] for t in SHORT[:-1]) is None


def test_a_nested_label_is_cut_and_its_whole_is_a_hint() -> None:
    label = labels([LONG, *SHORT])[LONG]
    assert label.text == (
        "evasive-profiles(first=rehearsed, candidates=crafted-profiles +1, …) (adaptive)"
    )
    assert label.spoken == "evasive-profiles (adaptive)" and not label.whole
    shown = label_html(label)
    assert shown.startswith('<span class="cut" title="evasive-profiles(first=rehearsed(')
    assert "praise=(0.5, 1.0)) (adaptive)" in shown
    legend = legend_of([label]) or ""
    assert "<dt>evasive-profiles(first=rehearsed, " in legend and CRAFTED[-24:] in legend


def test_likes_keep_what_tells_them_apart() -> None:
    """Of many options those in which they differ come before those that they share."""
    few, many = (f"few-profiles({BASE}, {BASE}, profiles={n}, a=1) (adaptive)" for n in (4, 10))
    made = labels([few, many])
    assert made[few].text == "few-profiles(profiles=4, …) (adaptive)"
    assert made[many].text == "few-profiles(profiles=10, …) (adaptive)"
    assert made[few].spoken == made[few].text, "its name alone would not tell"


def test_those_that_still_read_alike_are_numbered() -> None:
    first, second = (f"x(a=(1, {'2, ' * 30}{n}), b={'y' * 60})" for n in (3, 4))
    made = labels([first, second, "x"])
    assert made[first].text != made[second].text
    assert made[first].text.endswith("no. 1)") and made[second].text.endswith("no. 2)")
    assert made["x"].text == "x"


def test_a_list_is_cut_at_outer_commas_alone() -> None:
    assert apart("a(x=1, y=(2, 3)), b, c[1, 2] (adaptive)") == [
        "a(x=1, y=(2, 3))", "b", "c[1, 2] (adaptive)",
    ]  # fmt: skip
    assert apart("") == []


@given(st.lists(st.text("ab(),='[]{} …", max_size=90).map("x-".__add__), unique=True, max_size=6))
def test_no_two_are_alike_and_none_is_long(trials: list[str]) -> None:
    made = labels(trials)
    assert set(made) == set(trials) and all(made[t].full == t for t in trials)
    assert len({made[t].text for t in trials}) == len(trials)
    assert all(len(made[t].options) <= 64 for t in trials)
