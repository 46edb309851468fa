"""MLQA's exact match and F1 (Lewis et al. 2020, `mlqa_evaluation_v1.py`): SQuAD's, normalised by language.

The language is that of the *context*, from which the answer is cut, not that of the question. With SQuAD's English
normalisation instead, Chinese F1 falls from about 57 to about 20: a Chinese answer would be one word.
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache, partial

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.metrics.qa import QAScore, score_answers

# What counts as an article. The Arabic pattern is the official one as it stands: `ال` goes wherever it is, and its
# first branch, which asks for the beginning of the text behind a character, never matches.
_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "hi": None,
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\sال^|ال",
    "zh": None,
}
LANGUAGES = tuple(_ARTICLES)

# Each character of this range is a word; what stands between two of them is cut at white space.
_CHINESE = re.compile("([\u4e00-\u9fa5])")


def mlqa_scores(
    gold: Mapping[str, Sequence[str]],
    predictions: Mapping[str, str],
    context_language: str,
    *,
    missing_as_zero: bool = False,
) -> QAScore:
    """`gold` maps a question's id to its answers, `predictions` to one answer.

    Raises:
        InputError: MLQA has no such language, there is no question, one has no gold answer, or one has no prediction.
    """
    if context_language not in LANGUAGES:
        raise InputError(
            f"MLQA's metric knows the languages {', '.join(LANGUAGES)}, but the language of the contexts is given as "
            f"{context_language!r}."
        )
    return score_answers(gold, predictions, partial(normalize, language=context_language), missing_as_zero)


def normalize(answer: str, language: str) -> str:
    """Lower case; then punctuation goes, then the language's articles, then words are set apart by single spaces."""
    text = answer.lower().translate(_without_punctuation())
    if articles := _ARTICLES[language]:
        text = re.sub(articles, " ", text)
    return " ".join((_CHINESE.sub(r" \1 ", text) if language == "zh" else text).split())


@cache
def _without_punctuation() -> dict[int, None]:
    """Every Unicode punctuation character, and ASCII's, some of which Unicode calls symbols."""
    points = range(sys.maxunicode)
    return dict.fromkeys(
        point
        for point in points
        if unicodedata.category(chr(point)).startswith("P") or chr(point) in string.punctuation
    )
