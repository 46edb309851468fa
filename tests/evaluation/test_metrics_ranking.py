"""mAP@20 and mining by hand."""

from __future__ import annotations

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmarks import bucc as mining
from weam_fairseq.evaluation.benchmarks.bucc import best_threshold, mining_f1, mining_shares
from weam_fairseq.evaluation.metrics.ranking import average_precision, mean_average_precision


def test_average_precision() -> None:
    # Right at ranks 1 and 4 of three: (1/1 + 2/4) / 3
    assert average_precision({"a", "b", "c"}, ["a", "x", "y", "b", "z"]) == pytest.approx(1.5 / 3)
    assert average_precision({"a"}, ["x", "a"]) == 0.5  # the reciprocal rank
    assert average_precision({"a"}, ["x", "y", "a"], k=2) == 0.0
    assert average_precision({"a", "b", "c"}, ["a", "b"], k=2) == 1.0  # two places hold two right ones
    assert average_precision({"a", "b"}, ["a", "a", "b"]) == pytest.approx((1 + 2 / 3) / 2)


def test_eleven_right_answers_within_the_first_twenty() -> None:
    right = [f"r{number}" for number in range(11)]
    wrong = [f"w{number}" for number in range(9)]
    assert average_precision(right, right + wrong) == 1.0
    assert average_precision(right, wrong + right) == pytest.approx(sum(n / (9 + n) for n in range(1, 12)) / 11)


def test_the_mean_is_over_the_queries_of_the_gold_file() -> None:
    gold = {"q": ["a"], "r": ["b"]}
    assert mean_average_precision(gold, {"q": ["a"], "r": ["x", "b"], "other": []}) == 75.0
    with pytest.raises(InputError, match="1 of 2 queries have no ranking, the first is 'r'"):
        mean_average_precision(gold, {"q": ["a"]})
    assert mean_average_precision(gold, {"q": ["a"]}, missing_as_zero=True) == 50.0
    with pytest.raises(InputError, match="'q' has no right candidate"):
        mean_average_precision({"q": [""]}, {"q": ["a"]})
    with pytest.raises(InputError, match="no query"):
        mean_average_precision({}, {})


def test_mining_f1() -> None:
    gold = {("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")}
    score = mining_f1(gold, [("a", "1"), ("b", "2"), ("x", "9"), ("a", "1")])
    assert score == pytest.approx((100 * 2 * (2 / 3) * 0.5 / (2 / 3 + 0.5), 200 / 3, 50.0))
    assert mining_f1(gold, [("1", "a")]) == (0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="the gold contains no pair"):
        mining_f1([], [("a", "1")])


def test_the_threshold_stands_between_the_last_pair_taken_and_the_next() -> None:
    scored = {("a", "1"): 1.5, ("b", "2"): 1.3, ("x", "9"): 1.1, ("c", "3"): 1.0, ("y", "9"): 0.9}
    # right after 1, 2, 2, 3, 3 of 3 gold pairs: F1 1/2, 4/5, 2/3, 6/7, 3/4
    assert best_threshold(scored, [("a", "1"), ("b", "2"), ("c", "3")]) == pytest.approx(0.95)
    # equal scores are taken together or not at all
    tied = {("a", "1"): 1.0, ("x", "9"): 1.0, ("b", "2"): 0.5}
    assert best_threshold(tied, [("a", "1")]) == pytest.approx(0.75)
    assert best_threshold({("a", "1"): 1.0}, [("a", "1")]) == 1.0
    assert best_threshold(scored, [("q", "q")]) is None


def test_mining_shares_sum_to_f1(monkeypatch: pytest.MonkeyPatch) -> None:
    gold = {("a", "1"), ("b", "2"), ("z", "9")}  # z stands twice in the text, and so is not among what was mined
    found = [("a", "1"), ("b", "9"), ("c", "3")]
    rows = [tuple(row.values()) for row in mining_shares(["a", "b", "c", "d"], gold, found)]
    assert rows == [(0, 1, 1, 1), (1, 0, 1, 1), (2, 0, 1, 0), (3, 0, 0, 0), (4, 0, 0, 1)]
    assert mining_f1(gold, found).f1 == pytest.approx(200 * 1 / (3 + 3))
    monkeypatch.setattr(mining, "MOST_ITEMS", 2)  # then three sentences make an item
    assert [tuple(row.values()) for row in mining_shares(["a", "b", "c", "d"], gold, found)] == [
        *((0, 1, 3, 2), (1, 0, 0, 1)),
    ]
