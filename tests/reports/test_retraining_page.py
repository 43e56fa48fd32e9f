"""The page in a challenger's bundle (S3-21)."""

from typing import Any

from hardrank.reports.retraining import retraining_page

HOSTILE = "</title><script>alert(1)</script>"
FACTS: dict[str, Any] = {
    "promote": False, "reasons": [f"item '{HOSTILE}' would be in 5.0% of lists"],
    "champion": "ab" * 32, "judged": 70, "flagged": 3, "dropped": 0, "detector": "combined",
    "began": "afresh, as asked for", "unmeasured": ["hotflip"],
    "surging": [{"item_id": HOSTILE, "champion": 0.0, "without": 0.0, "challenger": 0.05}],
    "quality": {
        "decides": "known", "known": {"queries": 9, "champion": 0.2, "challenger": 0.21},
        "all": {"queries": 12, "champion": 0.2, "challenger": 0.3},
    },
    "figures": {
        "champion": {"ndcg": 0.2, "queries": 9, "attacks": {"copycat": 0.25}},
        "challenger": {"ndcg": 0.21, "queries": 9, "attacks": {"copycat": 0.5}},
    },
}  # fmt: skip


def test_what_sellers_wrote_stays_text() -> None:
    page = retraining_page("second", FACTS, [(HOSTILE, 0.0, 0.05), ("b", 0.1, 0.1)])
    assert "<script" not in page and "&lt;script&gt;" in page
    assert page.count('class="mark hardened"') == 1 and page.count('class="mark control"') == 1
    assert "trained twice" in page and "Synthetic" not in page


def test_both_models_stand_side_by_side() -> None:
    page = retraining_page("second", FACTS, [("b", 0.1, 0.2)])
    assert "0.2000" in page and "0.2100" in page and "+5.0" in page
    assert "copycat, success" in page and "+25.0" in page
    assert page.count("not measured") == 2  # hotflip, on either
    assert "that of users known from before decides." in page
    assert page.index("9 events of users known") < page.index("12 events of all users")


def test_it_says_that_too_few_known_users_were_asked() -> None:
    """All users decide, and nothing stands for nobody."""
    alone = {"queries": 0, "champion": None, "challenger": None}
    quality = FACTS["quality"] | {"decides": "all", "known": alone}
    page = retraining_page("second", FACTS | {"quality": quality}, [("b", 0.1, 0.2)])
    assert "since too few events are of users known from before" in page
    assert "0 events" not in page and "12 events of all users" in page


def test_where_nothing_moved_it_says_so() -> None:
    fine = FACTS | {
        "promote": True, "reasons": ["as good and as robust as asked"], "surging": [],
        "quality": FACTS["quality"]
        | {"known": {"queries": 9, "champion": 0.0, "challenger": 0.2}},
    }  # fmt: skip
    page = retraining_page("second", fine, [("a", 0.0, 0.0), ("b", 0.3, 0.3)], synthetic=True)
    assert "May take the champion" in page and "Synthetic data." in page
    assert "there are none, or nobody asked" in page and "No item gains lists" in page
    assert page.count('class="mark control"') == 1  # an item in no list is not drawn
    assert "<svg" not in retraining_page("second", fine, [("a", 0.0, 0.0)])
