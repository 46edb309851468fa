"""LAReQA's XQuAD-R (Roy et al. 2020): SQuAD JSON in 11 languages, its contexts cut into sentences.

All 13,014 sentences of all languages are the candidates of every question. The right ones are the sentences that hold
the question's answer, one in each language: 11. Ids are the benchmark's: `en_12_3` is sentence 3 of paragraph 12 (from
1) of `en.json`, and `572a…_en` is a question in English.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.readers import read_document

LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")


class Question(NamedTuple):
    """`key` is the same in all languages, `id` is not."""

    id: str
    key: str
    text: str


class Candidate(NamedTuple):
    id: str
    language: str
    sentence: str


class Pool(NamedTuple):
    """Questions by language, all candidates, and the ids of the right ones by a question's key."""

    questions: dict[str, list[Question]]
    candidates: list[Candidate]
    right: dict[str, list[str]]


@lru_cache(maxsize=1)
def read_pool(*paths: Path) -> Pool:
    """Reads the files of all languages, each called by its language, as `de.json`.

    Raises:
        InputError: a file is no XQuAD-R, an answer begins in no sentence, or a question lacks a right candidate in
            one of the languages.
    """
    pool = Pool({}, [], {})
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} is not there, and LAReQA's candidates are those of all its languages.")
        try:
            _add(pool, path, read_document(path))
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is no file of XQuAD-R ({type(error).__name__}: {error}).") from None
    _check(pool, paths)
    return pool


def read_right_candidates(folder: Path, language: str) -> dict[str, list[str]]:
    """The right candidates of a language's questions, by their ids, from a folder with the files of all languages."""
    if language not in LANGUAGES:
        raise InputError(f"LAReQA has no language {language!r}; it has {', '.join(LANGUAGES)}.")
    pool = read_pool(*(folder / f"{each}.json" for each in LANGUAGES))
    return {question.id: pool.right[question.key] for question in pool.questions[language]}


def _add(pool: Pool, path: Path, data: Mapping[str, Any]) -> None:
    language = path.name.partition(".")[0]
    pool.questions[language] = []
    paragraphs = [paragraph for each in data["data"] for paragraph in each["paragraphs"]]
    for number, paragraph in enumerate(paragraphs, start=1):
        context, breaks = paragraph["context"], paragraph["sentence_breaks"]
        sentences = [context[start:end] for start, end in breaks]
        pool.candidates.extend(
            Candidate(f"{language}_{number}_{place}", language, sentence) for place, sentence in enumerate(sentences)
        )
        for qa in paragraph["qas"]:
            answer = _sentence_of_answer(qa, breaks, sentences, path)
            pool.questions[language].append(Question(f"{qa['id']}_{language}", qa["id"], qa["question"]))
            # As the benchmark's code does: a sentence with the same text in the same paragraph is right too.
            pool.right.setdefault(qa["id"], []).extend(
                f"{language}_{number}_{place}" for place, sentence in enumerate(sentences) if sentence == answer
            )


def _sentence_of_answer(
    qa: Mapping[str, Any], breaks: Sequence[Sequence[int]], sentences: list[str], path: Path
) -> str:
    if len(qa["answers"]) != 1:
        raise InputError(f"{path}: question {qa['id']!r} must have one answer, but has {len(qa['answers'])}.")
    at = qa["answers"][0]["answer_start"]
    for (start, end), sentence in zip(breaks, sentences, strict=True):
        if start <= at < end:
            return sentence
    raise InputError(f"{path}: the answer of question {qa['id']!r} begins at character {at}, which is in no sentence.")


def _check(pool: Pool, paths: Sequence[Path]) -> None:
    """Every question stands in every language once."""
    keys = {language: [question.key for question in questions] for language, questions in pool.questions.items()}
    for path in paths:
        here = keys[path.stem]
        missing = set(pool.right) - set(here)
        if not here or missing or len(here) != len(set(here)):
            raise InputError(
                f"{path}: its questions must be those of the other languages, each once, but it holds "
                f"{len(here):,} and lacks {len(missing):,} of theirs."
            )
