"""Exact match and F1 over words for extractive question answering, and SQuAD v1.1's metric (Rajpurkar et al. 2016).

MLQA's metric (benchmarks/mlqa.py) differs from SQuAD's only in how it normalizes answers. XTREME uses SQuAD's for
XQuAD and TyDiQA-GoldP. SQuAD's normalization knows only English, in all languages: it removes English articles and
ASCII punctuation, and splits words at white space. Chinese and Thai answers count as one word, as in the published
figures.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from weam_fairseq.common.errors import InputError

# An answer to its normalised form, words separated by single spaces.
Normalize = Callable[[str], str]


class QAScore(NamedTuple):
    """All 0–100; `n` counts questions; `per_question` holds (exact match, F1) by the question's id."""

    exact_match: float
    f1: float
    n: int
    per_question: dict[str, tuple[float, float]]


def score_answers(
    gold: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    normalize: Normalize,
    missing_as_zero: bool = False,
) -> QAScore:
    """Scores one prediction a question against the best of its gold answers. Predictions for other ids are ignored.

    Args:
        missing_as_zero: as the official scorers do, a question without a prediction counts 0 instead of being an error.

    Raises:
        InputError: there is no question, one has no gold answer, or one has no prediction.
    """
    if not gold:
        raise InputError("the gold file contains no question. Give the file with the benchmark's answers.")
    per_question = {}
    for question, answers in gold.items():
        if not answers:
            raise InputError(f"question {question!r} has no gold answer: published test files often come without them.")
        if question in predictions:
            per_question[question] = _best(predictions[question], answers, normalize)
        elif missing_as_zero:
            per_question[question] = (0.0, 0.0)
        else:
            missing = sum(each not in predictions for each in gold)
            raise InputError(
                f"{missing:,} of {len(gold):,} questions have no prediction, the first is {question!r}. "
                "Predict every question."
            )
    exact, f1 = (sum(column) for column in zip(*per_question.values(), strict=True))
    return QAScore(exact / len(gold), f1 / len(gold), len(gold), per_question)


def _best(prediction: str, answers: Sequence[str], normalize: Normalize) -> tuple[float, float]:
    """Exact match and F1 may come from different gold answers, as in the official scorers."""
    predicted = normalize(prediction)
    gold = [normalize(answer) for answer in answers]
    return (
        100.0 * max(answer == predicted for answer in gold),
        100.0 * max(_f1(predicted.split(), answer.split()) for answer in gold),
    )


def _f1(predicted: list[str], gold: list[str]) -> float:
    """Words are counted with repetition. Without a common word it is 0, even where both sides are empty."""
    same = (Counter(predicted) & Counter(gold)).total()
    if same == 0:
        return 0.0
    precision, recall = same / len(predicted), same / len(gold)
    return 2 * precision * recall / (precision + recall)


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad_scores(
    gold: Mapping[str, Sequence[str]], predictions: Mapping[str, str], *, missing_as_zero: bool = False
) -> QAScore:
    """`gold` maps a question's id to its answers, `predictions` to one answer.

    Raises:
        InputError: there is no question, one has no gold answer, or one has no prediction.
    """
    return score_answers(gold, predictions, normalize_squad, missing_as_zero)


def normalize_squad(answer: str) -> str:
    """Lower-cases, then removes punctuation, articles and surplus white space."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())
