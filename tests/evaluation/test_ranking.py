"""mAP@20 and mining by hand."""

from __future__ import annotations

import pytest

from weam_fairseq.common.errors import InputError
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
