"""LAReQA (Roy et al. 2020): rank the sentences of all 11 languages for a question; the answers in all of them are
correct.

The data is XQuAD-R: SQuAD JSON in 11 languages, its contexts split into sentences. All 13,014 sentences of all
languages are candidates for every question. The correct ones are the sentences that contain the question's answer,
one in each language: 11. Ids are the benchmark's: `en_12_3` is sentence 3 of paragraph 12 (from 1) of `en.json`, and
`572a…_en` is a question in English.

Questions and candidate sentences are encoded separately, at a fixed layer (encode.py), and compared by cosine.
XTREME-R first trains the encoder as a dual encoder on SQuAD, and adds a candidate's paragraph after its sentence.
This is the zero-shot figure of the unchanged model. Models trained for retrieval are measured the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.text_files import COMPRESSED_SUFFIXES
from weam_fairseq.evaluation.benchmark import Benchmark, Measurement, Setting, XtremeR
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.prediction_files import ranking_scoring
from weam_fairseq.evaluation.readers import read_document
from weam_fairseq.evaluation.retrieval import Queries, measure_rankings, percent

LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")


class PoolQuestion(NamedTuple):
    """`key` is the same in all languages, `id` is not."""

    id: str
    key: str
    text: str


class PoolSentence(NamedTuple):
    id: str
    language: str
    sentence: str


class CandidatePool(NamedTuple):
    """Questions by language, all candidates, and the ids of the right ones by a question's key."""

    questions: dict[str, list[PoolQuestion]]
    candidates: list[PoolSentence]
    right: dict[str, list[str]]


@lru_cache(maxsize=1)
def read_pool(*paths: Path) -> CandidatePool:
    """Reads the files of all languages, each called by its language, as `de.json`.

    Raises:
        InputError: a file is not XQuAD-R, an answer does not begin in a sentence, or a question lacks a correct
            candidate in one of the languages.
    """
    pool = CandidatePool({}, [], {})
    for path in paths:
        if not path.is_file():
            raise InputError(
                f"{path} does not exist, but LAReQA's candidates come from all its languages. Add the file."
            )
        try:
            _add(pool, path, read_document(path))
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is not in XQuAD-R's format ({type(error).__name__}: {error}).") from None
    _check(pool, paths)
    return pool


def read_right_candidates(folder: Path, language: str) -> dict[str, list[str]]:
    """The right candidates of a language's questions, by their ids, from a folder with the files of all languages."""
    if language not in LANGUAGES:
        raise InputError(f"LAReQA has no language {language!r}; it has {', '.join(LANGUAGES)}.")
    files = {each: [folder / f"{each}.json{suffix}" for suffix in ("", *COMPRESSED_SUFFIXES)] for each in LANGUAGES}
    pool = read_pool(*(next(filter(Path.is_file, names), names[0]) for names in files.values()))
    return {question.id: pool.right[question.key] for question in pool.questions[language]}


def _language_of(path: Path) -> str:
    return path.name.partition(".")[0]


def _add(pool: CandidatePool, path: Path, data: Mapping[str, Any]) -> None:
    language = _language_of(path)
    pool.questions[language] = []
    paragraphs = [paragraph for each in data["data"] for paragraph in each["paragraphs"]]
    for number, paragraph in enumerate(paragraphs, start=1):
        context, breaks = paragraph["context"], paragraph["sentence_breaks"]
        sentences = [context[start:end] for start, end in breaks]
        pool.candidates.extend(
            PoolSentence(f"{language}_{number}_{place}", language, sentence) for place, sentence in enumerate(sentences)
        )
        for qa in paragraph["qas"]:
            answer = _sentence_of_answer(qa, breaks, sentences, path)
            pool.questions[language].append(PoolQuestion(f"{qa['id']}_{language}", qa["id"], qa["question"]))
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
    raise InputError(
        f"{path}: the answer of question {qa['id']!r} begins at character {at}, which is not in a sentence."
    )


def _check(pool: CandidatePool, paths: Sequence[Path]) -> None:
    """Every question must occur in every language exactly once."""
    keys = {language: [question.key for question in questions] for language, questions in pool.questions.items()}
    for path in paths:
        here = keys[_language_of(path)]
        missing = set(pool.right) - set(here)
        if not here or missing or len(here) != len(set(here)):
            raise InputError(
                f"{path} has {len(here):,} questions, but it must contain every question of the other languages "
                f"exactly once, and {len(missing):,} are missing. Use the published file."
            )


def measure_lareqa(folder: Folder, data: Mapping[str, CandidatePool], setting: Setting) -> list[Measurement]:
    """One measurement a language of the questions; the candidates are always those of all languages."""
    pool = next(iter(data.values()))

    def more_detail(language: str, asked: Queries, found: np.ndarray) -> dict[str, Any]:
        own = np.array([[pool.candidates[place].language == language for place in row] for row in found])
        counts = [len(right) for right in asked.right.values()]
        return {
            "right_candidates": [min(counts), max(counts)],
            # How much the model prefers the question's own language: without preference it would be 100 / 11.
            "own_language_in_ranking": percent(own),
        }

    return measure_rankings(
        *(folder, setting, "lareqa"),
        candidates={candidate.id: candidate.sentence for candidate in pool.candidates},
        queries={
            language: Queries(
                {question.id: question.text for question in pool.questions[language]},
                {question.id: pool.right[question.key] for question in pool.questions[language]},
                {question.id: question.key for question in pool.questions[language]},
            )
            for language in data
        },
        more_detail=more_detail,
        more_method={"candidates": "sentences"},
    )


BENCHMARK = Benchmark(
    name="lareqa",
    summary="a question's answer sentences among those of 11 languages",
    languages=LANGUAGES,
    splits=("test",),
    files=tuple((f"{language}.json", f"xquad-r/{language}.json") for language in LANGUAGES),
    read=read_pool,
    measure=measure_lareqa,
    chooses_layer=True,
    metric="map@20",
    citation="Roy et al. 2020 (LAReQA); Ruder et al. 2021 (XTREME-R)",
    published="github.com/google-research-datasets/lareqa, xquad-r",
    scoring=ranking_scoring(
        "a JSON object {question: [candidate, …]}; or the folder of XQuAD-R, with --language",
        Path.is_dir,
        read_right_candidates,
        "Roy et al. 2020; Ruder et al. 2021",
    ),
    xtreme_r=XtremeR(8, ("map@20",), "XTREME-R fine-tunes the encoder on SQuAD as a dual encoder"),
)
