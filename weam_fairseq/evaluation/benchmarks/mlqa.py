"""MLQA, and its exact match and F1 (Lewis et al. 2020, `mlqa_evaluation_v1.py`): SQuAD's, normalized by language.

The language is that of the *context*, from which the answer is cut, not that of the question. With SQuAD's English
normalization, Chinese F1 would fall from about 57 to about 20, because a Chinese answer would be one word.
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import (
    Benchmark,
    FineTuned,
    HubCopy,
    Request,
    Scoring,
    ScoringResult,
    XtremeR,
    language_codes,
    with_split,
)
from weam_fairseq.evaluation.fine_tuning.head import Scored
from weam_fairseq.evaluation.fine_tuning.question_answering import QuestionAnswering
from weam_fairseq.evaluation.fine_tuning.questions import (
    SQUAD,
    SQUAD_ON_HUB,
    Question,
    questions_from_hub,
    read_questions,
    score_questions,
    score_squad,
)
from weam_fairseq.evaluation.metrics.answers import QAScore, score_answers
from weam_fairseq.evaluation.prediction_files import ANSWERS_JSON, SQUAD_JSON, score_answer_files

# Articles. The Arabic pattern is the unchanged official one: it removes `ال` everywhere, and its first branch, which
# requires the start of the text after a character, never matches.
ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "hi": None,
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": r"\sال^|ال",
    "zh": None,
}

# Each character of this range is a word; text between them is split at white space.
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
    if context_language not in ARTICLES:
        raise InputError(
            f"MLQA's metric supports the languages {', '.join(ARTICLES)}, but --language is {context_language!r}."
        )
    return score_answers(gold, predictions, partial(normalize, language=context_language), missing_as_zero)


def normalize(answer: str, language: str) -> str:
    """Lower-cases, removes punctuation and the language's articles, and separates words by single spaces."""
    text = answer.lower().translate(_without_punctuation())
    if articles := ARTICLES[language]:
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


def _score_files(request: Request) -> ScoringResult:
    language = request.needed_language()
    named = request.gold.name.partition("context-")[2].partition("-")[0]
    if named and named != language:
        raise InputError(
            f"the contexts of {request.gold.name} are in {named!r}, and MLQA normalizes answers by the language of the "
            f"context, but --language is {language!r}. Give --language {named}."
        )
    return score_answer_files(partial(mlqa_scores, context_language=language), request)


def _score(examples: Sequence[Question], predictions: Sequence[str], language: str) -> Scored:
    """MLQA normalizes answers by the language of the context."""
    return score_questions(
        partial(mlqa_scores, context_language=language.split("-")[0]), "mlqa_v1", examples, predictions
    )


_FILE = "{split}-context-{context}-question-{question}.json"
_FILES = tuple(folder + _FILE for folder in ("{split}/", "MLQA_V1/{split}/", ""))

BENCHMARK = Benchmark(
    name="mlqa",
    summary="answers cut out of a context; `en-de` is an English context with a German question",
    languages=language_codes("ar de en es hi vi zh"),
    splits=("test", "dev"),
    files=(_FILES,),
    read=read_questions,
    metric="f1, exact_match (MLQA's normalization)",
    citation="Lewis et al. 2020",
    published="https://github.com/facebookresearch/MLQA",
    fine_tuned=FineTuned(
        head=QuestionAnswering(),
        score=_score,
        score_dev=score_squad,
        training=replace(
            SQUAD,
            files={
                **SQUAD.files,
                "translate-train": (
                    "mlqa-translate-train/{language}_squad-translate-train-train-v1.1.json",
                    "{language}_squad-translate-train-train-v1.1.json",
                ),
            },
            target_dev=with_split(_FILES, "dev"),
        ),
    ),
    scoring=Scoring(
        gold=f"{SQUAD_JSON}; --language is the language of its contexts",
        predictions=ANSWERS_JSON,
        metrics=("exact_match", "f1"),
        score=_score_files,
        citation="Lewis et al. 2020 (mlqa_evaluation_v1.py)",
        by_id=True,
    ),
    hub=HubCopy(
        usual="facebook/mlqa",
        config="mlqa.{context}.{question}",
        splits={"dev": "validation", "test": "test"},
        file=_FILES[0],
        text=questions_from_hub,
        trained_on=SQUAD_ON_HUB,
    ),
    xtreme_r=XtremeR(6, ("exact_match", "f1")),
)
