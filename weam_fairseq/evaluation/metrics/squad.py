"""SQuAD v1.1's exact match and F1 (Rajpurkar et al. 2016), which XTREME uses for XQuAD and TyDiQA-GoldP too.

The normalisation knows English only, whatever the language: English articles and ASCII punctuation go, and words end
at white space. So Chinese and Thai answers count as one word, as in the published figures.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

from weam_fairseq.evaluation.metrics.qa import QAScore, score_answers

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad_scores(
    gold: Mapping[str, Sequence[str]], predictions: Mapping[str, str], *, missing_as_zero: bool = False
) -> QAScore:
    """`gold` maps a question's id to its answers, `predictions` to one answer.

    Raises:
        InputError: there is no question, one has no gold answer, or one has no prediction.
    """
    return score_answers(gold, predictions, normalize, missing_as_zero)


def normalize(answer: str) -> str:
    """Lower case; then punctuation goes, then articles, then surplus white space."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())
