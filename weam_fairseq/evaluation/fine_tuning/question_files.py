"""Reader of extractive question answering: SQuAD's JSON, as SQuAD, MLQA, XQuAD and TyDiQA-GoldP are published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.data_files import LANGUAGE_NAMES
from weam_fairseq.evaluation.fine_tuning.examples import REPEATED, Answer, Question
from weam_fairseq.evaluation.readers import read_document


def read_questions(*paths: Path, language: str = "en") -> list[Question]:
    """Reads all questions. Of a file whose ids begin with a language's name (`english-…`), only that language's.

    XTREME's TyDiQA files repeat ids (of `english-…-0` they keep the 0): the k-th question of one id becomes `id#k`.

    Raises:
        InputError: a file is no SQuAD JSON, or a question has no gold answer, or only an empty one, which is what
            XTREME's download leaves of test files.
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
    """TyDiQA-GoldP is published with all languages in one file, and ids such as `swahili-123-0`."""
    names = set(LANGUAGE_NAMES.values())
    if not all(question.id.split("-")[0] in names for question in questions):
        return questions
    wanted = LANGUAGE_NAMES.get(language)
    chosen = [question for question in questions if question.id.split("-")[0] == wanted]
    if not chosen:
        raise InputError(f"{path} holds no question of language {language!r}.")
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
        raise InputError(f"{path} is no SQuAD JSON ({type(error).__name__}: {error}).") from None
    if not rows:
        raise InputError(f"{path} holds no question.")
    for context, row in rows:
        yield _question(context, row, path)


def _question(context: str, row: Mapping[str, Any], path: Path) -> Question:
    try:
        answers = tuple(Answer(answer["text"], int(answer["answer_start"])) for answer in row.get("answers", ()))
        question = Question(str(row["id"]), row["question"], context, answers)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a question is malformed ({type(error).__name__}: {error}).") from None
    if not any(answer.text.strip() for answer in answers):
        raise InputError(
            f"{path}: question {question.id!r} has no gold answer: this file came without its gold "
            "(XTREME's download takes it out of test files). Get the published file."
        )
    return question
