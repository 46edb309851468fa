"""Extractive question answering without the model: SQuAD's JSON, in which SQuAD, MLQA, XQuAD and TyDiQA-GoldP are
published, and the data and scoring that these benchmarks share.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import HubCopy, Row, Scoring, Training
from weam_fairseq.evaluation.fine_tuning.head import Scored
from weam_fairseq.evaluation.fine_tuning.recipe import QUESTION_RECIPE
from weam_fairseq.evaluation.metrics.answers import QAScore, squad_scores
from weam_fairseq.evaluation.prediction_files import ANSWERS_JSON, SQUAD_JSON, score_answer_files
from weam_fairseq.evaluation.readers import read_document


class Answer(NamedTuple):
    """`start` counts characters of the raw context from 0."""

    text: str
    start: int


# Precedes the count in the id of a question that shares its id with others.
REPEATED = "#"


class Question(NamedTuple):
    """A question about a context; all `answers` are right."""

    id: str
    text: str
    context: str
    answers: tuple[Answer, ...]


# TyDiQA's names of its languages.
TYDIQA_NAMES = {
    "ar": "arabic",
    "bn": "bengali",
    "en": "english",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}


def read_questions(*paths: Path, language: str = "en") -> list[Question]:
    """Reads all questions; if the ids begin with language names (`english-…`), only those of the language.

    XTREME's TyDiQA files repeat ids (of `english-…-0` they keep the 0): the k-th question of one id becomes `id#k`.

    Raises:
        InputError: a file is not SQuAD JSON, or a question has no gold answer or only an empty one, as in test files
            of XTREME's download.
    """
    times: Counter[str] = Counter()
    questions = []
    for path in paths:
        for question in _of_language(list(_read_file(path)), language, path):
            times[question.id] += 1
            again = times[question.id]
            questions.append(question if again == 1 else question._replace(id=f"{question.id}{REPEATED}{again}"))
    return questions


def _of_language(questions: list[Question], language: str, path: Path) -> list[Question]:
    """TyDiQA-GoldP is published with all languages in one file and ids such as `swahili-123-0`."""
    names = set(TYDIQA_NAMES.values())
    if not all(question.id.split("-")[0] in names for question in questions):
        return questions
    wanted = TYDIQA_NAMES.get(language)
    chosen = [question for question in questions if question.id.split("-")[0] == wanted]
    if not chosen:
        raise InputError(f"{path} contains no question in language {language!r}.")
    return chosen


def _read_file(path: Path) -> Iterator[Question]:
    try:
        data = read_document(path)
        rows = [
            (paragraph["context"], row)
            for article in data["data"]
            for paragraph in article["paragraphs"]
            for row in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not SQuAD JSON ({type(error).__name__}: {error}).") from None
    if not rows:
        raise InputError(f"{path} contains no question.")
    for context, row in rows:
        yield _question(context, row, path)


def _question(context: str, row: Mapping[str, Any], path: Path) -> Question:
    try:
        answers = tuple(Answer(answer["text"], int(answer["answer_start"])) for answer in row.get("answers", ()))
        question = Question(str(row["id"]), row["question"], context, answers)
        if not all(isinstance(text, str) for text in (context, question.text, *(each.text for each in answers))):
            raise TypeError("question, context and answers must be texts")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a question is malformed ({type(error).__name__}: {error}).") from None
    if not any(answer.text.strip() for answer in answers):
        raise InputError(
            f"{path}: question {question.id!r} has no gold answer (XTREME's download "
            "script removes answers from test files). Use the published file."
        )
    return question


def score_squad(examples: Sequence[Question], predictions: Sequence[str], language: str) -> Scored:
    return score_questions(squad_scores, "squad_v1.1", examples, predictions)


def score_questions(
    metric: Callable[[Mapping[str, Sequence[str]], Mapping[str, str]], QAScore],
    scorer: str,
    examples: Sequence[Question],
    predictions: Sequence[str],
) -> Scored:
    gold = {example.id: [answer.text for answer in example.answers] for example in examples}
    score = metric(gold, {example.id: answer for example, answer in zip(examples, predictions, strict=True)})
    items = [{"id": question, "f1": f1, "exact_match": exact} for question, (exact, f1) in score.per_question.items()]
    return Scored({"f1": score.f1, "exact_match": score.exact_match}, score.n, items, scorer)


def questions_from_hub(rows: Iterable[Row], names: Callable[[str], Sequence[str]]) -> str:
    paragraphs = [
        {
            "context": row["context"],
            "qas": [
                {
                    "id": row["id"],
                    "question": row["question"],
                    "answers": [
                        {"text": text, "answer_start": start}
                        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
                    ],
                }
            ],
        }
        for row in rows
    ]
    return json.dumps({"version": "1.1", "data": [{"paragraphs": paragraphs}]}, ensure_ascii=False) + "\n"


# What MLQA and XQuAD are trained on.
SQUAD = Training(
    name="squad-v1.1",
    files={"english": ("squad/train-v1.1.json", "train-v1.1.json")},
    dev=("squad/dev-v1.1.json", "dev-v1.1.json"),
    target_dev=(),
    recipe=QUESTION_RECIPE,
    source="XTREME-R's scripts (train_qa.sh)",
)

SQUAD_ON_HUB = HubCopy(
    usual="rajpurkar/squad",
    config="plain_text",
    splits={"train": "train", "dev": "validation"},
    file="squad/{split}-v1.1.json",
    text=questions_from_hub,
    english=("train", "dev"),
)

SQUAD_SCORING = Scoring(
    gold=SQUAD_JSON,
    predictions=ANSWERS_JSON,
    metrics=("exact_match", "f1"),
    score=partial(score_answer_files, squad_scores),
    citation="Rajpurkar et al. 2016 (SQuAD v1.1), as XTREME",
    by_id=True,
)
