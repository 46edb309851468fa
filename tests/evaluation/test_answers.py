"""Exact match and F1 by hand, and against what the official scorers gave."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation import score as weam_score
from weam_fairseq.evaluation.benchmarks.mlqa import ARTICLES, mlqa_scores
from weam_fairseq.evaluation.benchmarks.mlqa import normalize as normalize_mlqa
from weam_fairseq.evaluation.metrics.answers import normalize_squad as normalize_squad
from weam_fairseq.evaluation.metrics.answers import squad_scores


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The  U.S. Army!", "us army"),
        ("an apple, a pear", "apple pear"),
        ("“Theodor”", "“theodor”"),  # quotation marks beyond ASCII stay
        ("die Stadt", "die stadt"),
        ("今天下雨。", "今天下雨。"),
    ],
)
def test_squad_normalises_as_if_all_were_english(answer: str, normal: str) -> None:
    assert normalize_squad(answer) == normal


@pytest.mark.parametrize(
    ("language", "answer", "normal"),
    [
        ("en", "“The” U.S. Army", "us army"),
        ("de", "in einer Stadt, der „Burg“", "in stadt burg"),
        ("es", "¿la Casa de los Niños?", "casa de niños"),
        ("vi", "cái bàn của tôi", "bàn tôi"),
        ("ar", "البيت والبيت", "بيت و بيت"),  # the article goes wherever it stands, and a space comes in its place
        ("hi", "एक घर।", "एक घर"),
        ("zh", "苹果iPhone 12、梨。", "苹 果 iphone 12 梨"),
    ],
)
def test_mlqa_normalises_by_language(language: str, answer: str, normal: str) -> None:
    assert normalize_mlqa(answer, language) == normal


def test_f1_counts_words_with_repetition_over_the_best_gold_answer() -> None:
    gold = {"q": ["red red house", "blue"]}
    # two common words (red, house) of 3 and 3
    assert squad_scores(gold, {"q": "red house house"}).f1 == pytest.approx(100 * 2 / 3)
    # exact match with one answer, F1 with the other
    both = squad_scores({"q": ["blue", "red house"]}, {"q": "The blue."})
    assert (both.exact_match, both.f1) == (100.0, 100.0)


def test_chinese_is_scored_by_character_in_mlqa_and_as_one_word_in_squad() -> None:
    gold, predictions = {"q": ["今天下雨"]}, {"q": "天下"}
    assert mlqa_scores(gold, predictions, "zh").f1 == pytest.approx(100 * 2 * 1.0 * 0.5 / 1.5)
    assert squad_scores(gold, predictions).f1 == 0.0


def test_empty_answers_match_exactly_and_have_no_f1() -> None:
    score = squad_scores({"q": ["the"], "r": ["x"]}, {"q": "", "r": "x"})
    assert score.per_question == {"q": (100.0, 0.0), "r": (100.0, 100.0)}
    assert (score.exact_match, score.f1, score.n) == (100.0, 50.0, 2)


def test_what_cannot_be_scored() -> None:
    with pytest.raises(InputError, match="contains no question"):
        squad_scores({}, {})
    with pytest.raises(InputError, match="'q' has no gold answer"):
        squad_scores({"q": []}, {"q": "x"})
    with pytest.raises(InputError, match="1 of 2 questions have no prediction, the first is 'r'"):
        squad_scores({"q": ["x"], "r": ["y"]}, {"q": "x", "other": "y"})
    assert squad_scores({"q": ["x"], "r": ["y"]}, {"q": "x"}, missing_as_zero=True).f1 == 50.0
    with pytest.raises(InputError, match=r"MLQA's metric supports the languages en, es, hi, vi, .* 'fr'"):
        mlqa_scores({"q": ["x"]}, {"q": "x"}, "fr")


GOLDEN = [f"mlqa-{language}" for language in ARTICLES] + [
    f"squad-{each}" for each in ("de", "el", "en", "es", "th", "zh")
]


# Predictions with the results of mlqa_evaluation_v1.py and of SQuAD v1.1's evaluate script. They are not part of the
# repository: WEAM_TEST_DATA names the folder that holds golden_scores.
DATA = Path(os.environ.get("WEAM_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
needs_golden = pytest.mark.skipif(
    not (DATA / "golden_scores").is_dir(), reason=f"no {DATA / 'golden_scores'}: set WEAM_TEST_DATA"
)


def golden(name: str) -> list[dict[str, Any]]:
    items = json.loads((DATA / "golden_scores" / f"{name}.json").read_bytes())["items"]
    assert len(items) == 120
    return items


@needs_golden
@pytest.mark.parametrize("name", GOLDEN)
def test_weam_score_is_equal_to_the_official_scorers(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = golden(name)
    kind, language = name.split("-")
    qas = [{"id": each["id"], "answers": [{"text": text} for text in each["gold"]]} for each in items]
    gold, predictions = tmp_path / "gold.json", tmp_path / "predictions.json"
    gold.write_text(json.dumps({"data": [{"paragraphs": [{"context": "", "qas": qas}]}]}), encoding="utf-8")
    predictions.write_text(json.dumps({each["id"]: each["prediction"] for each in items}), encoding="utf-8")
    task = "mlqa" if kind == "mlqa" else "xquad"
    files = ["--gold", str(gold), "--predictions", str(predictions), "--language", language]
    assert weam_score.main([task, *files]) == 0
    expected = {metric: 100 * sum(each[metric] for each in items) / 120 for metric in ("exact_match", "f1")}
    assert json.loads(capsys.readouterr().out) == pytest.approx(expected, rel=0, abs=1e-9)


@needs_golden
@pytest.mark.parametrize("name", GOLDEN)
def test_equal_to_the_official_scorers(name: str) -> None:
    items = golden(name)
    gold, predictions = {each["id"]: each["gold"] for each in items}, {each["id"]: each["prediction"] for each in items}
    metric, language = name.split("-")
    found = mlqa_scores(gold, predictions, language) if metric == "mlqa" else squad_scores(gold, predictions)
    for each in items:
        expected = (100 * each["exact_match"], 100 * each["f1"])
        assert found.per_question[each["id"]] == pytest.approx(expected, rel=0, abs=1e-9)
    assert found.f1 == pytest.approx(100 * sum(each["f1"] for each in items) / 120, rel=0, abs=1e-9)
    assert found.exact_match == pytest.approx(100 * sum(each["exact_match"] for each in items) / 120, rel=0, abs=1e-9)
