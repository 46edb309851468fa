"""Predictions and gold answers as files in the benchmarks' formats: read, scored for weam-score, and written.

Every reader names the file and line of what it cannot read. Nothing is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import parse_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text
from weam_fairseq.evaluation.benchmark import Request, Scoring, ScoringResult, Setting
from weam_fairseq.evaluation.metrics.answers import QAScore
from weam_fairseq.evaluation.metrics.labels import (
    Labels,
    PosScore,
    TaggingScore,
    accuracy,
    is_number,
    known_tag,
)
from weam_fairseq.evaluation.metrics.ranking import mean_average_precision
from weam_fairseq.evaluation.readers import read_document, read_lines

LABEL_LINES = "one label a line"
SQUAD_JSON = "SQuAD JSON"
ANSWERS_JSON = "a JSON object {id: answer}"
RANKINGS_JSON = "a JSON object {query: [candidate, …]}, best first; or one query a line (with the same lines in gold)"
TAG_LINES = "lines of word<TAB>tag, with a blank line between sentences"


class Tagged(NamedTuple):
    """One sentence. `words` is empty where the file holds tags only; `line` is where the sentence begins, from 1."""

    words: list[str]
    tags: list[str]
    line: int


def read_answers(path: Path) -> dict[str, list[str]]:
    """SQuAD JSON to the answers of each question.

    Raises:
        InputError: the file is not SQuAD JSON, an id occurs twice, or a question has no answer.
    """
    data = read_document(path)
    answers: dict[str, list[str]] = {}
    try:
        questions = [qa for each in data["data"] for paragraph in each["paragraphs"] for qa in paragraph["qas"]]
        for qa in questions:
            if qa["id"] in answers:
                raise InputError(f"{path}: question {qa['id']!r} is listed twice.")
            answers[qa["id"]] = [answer["text"] for answer in qa.get("answers", [])]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not SQuAD JSON ({type(error).__name__}: {error}).") from None
    without = [question for question, texts in answers.items() if not any(texts)]
    if without:
        raise InputError(
            f"{path}: {len(without):,} of {len(answers):,} questions have no answer, the first is {without[0]!r}. "
            "Published test files often lack the answers. Give the file with answers."
        )
    return answers


def read_answer_predictions(path: Path) -> dict[str, str]:
    """A JSON object, `{id: answer}`."""
    data = read_document(path)
    if not isinstance(data, dict) or not all(isinstance(answer, str) for answer in data.values()):
        raise InputError(f"{path} must hold one JSON object {{id: answer}} with an answer text for each question.")
    return data


def read_labels(path: Path, known: Labels) -> tuple[list[str], bool]:
    """One label a line; a line may also be a JSON object with a `label` (XCOPA's own files).

    Returns:
        The labels, and whether some of them are numbers.

    Raises:
        InputError: a line does not hold a label of the task.
    """
    labels, numbers = [], False
    for number, line in enumerate(read_lines(path), start=1):
        label = _label(line.strip(), f"{path}:{number}")
        if not label or "\t" in label:
            raise InputError(
                f"{path}:{number}: the line must hold one label, but holds {line!r}. Write one label a line."
            )
        labels.append(known.known(label, f"{path}:{number}"))
        numbers = numbers or is_number(label)
    return labels, numbers


def _label(text: str, where: str) -> str:
    if not text.startswith("{"):
        return text
    row = parse_json(text, where, dict)
    if "label" not in row:
        raise InputError(f"{where}: the line is not a JSON object with a label.")
    return str(row["label"])


def read_tagged(
    path: Path, tags: Sequence[str], row: Callable[[str, str], tuple[str | None, str] | None] | None = None
) -> list[Tagged]:
    """`word<TAB>tag` lines, or tags alone as in XTREME's predictions; a blank line ends a sentence.

    A language prefix of every word (`de:Berlin`, in WikiANN's own files) is removed.

    Args:
        row: reads other lines, (line, file and line number) to a word and a tag; None skips the line.

    Raises:
        InputError: a line is malformed, or a tag is not one of `tags`.
    """
    sentences: list[Tagged] = []
    current = Tagged([], [], 1)
    for number, line in enumerate([*read_lines(path), ""], start=1):
        if not line.strip():
            if current.tags:
                sentences.append(current)
            current = Tagged([], [], number + 1)
        elif (found := (row or tagged_row)(line, f"{path}:{number}")) is not None:
            word, tag = found
            current.tags.append(known_tag(tag, tags, f"{path}:{number}"))
            if word is not None:
                current.words.append(word)
            if len(current.words) not in (0, len(current.tags)):
                raise InputError(f"{path}:{number}: some lines of this sentence hold a word and some do not.")
    return _without_language(sentences)


def _without_language(sentences: list[Tagged]) -> list[Tagged]:
    """WikiANN writes `de:Berlin`; predictions may leave the language out."""
    words = [word for sentence in sentences for word in sentence.words]
    language, colon, _ = words[0].partition(":") if words else ("", "", "")
    prefix = language + colon
    if not language or not colon or not all(word.startswith(prefix) for word in words):
        return sentences
    return [each._replace(words=[word.removeprefix(prefix) for word in each.words]) for each in sentences]


def tagged_row(line: str, where: str) -> tuple[str | None, str]:
    *words, tag = line.split("\t")  # a word may be white space, such as U+3000
    parts = [*words, tag.strip()]
    if len(parts) > 2 or not all(parts):
        raise InputError(f"{where}: the line must hold a word, one tab and a tag (or a tag alone), but holds {line!r}.")
    return (parts[0], parts[1]) if len(parts) == 2 else (None, parts[0])


def check_same_words(gold: Sequence[Tagged], predictions: Sequence[Tagged], path: Path) -> None:
    """Where both files hold words, they must be the same ones.

    Raises:
        InputError: with the line of the sentence in the file of predictions, `path`.
    """
    for expected, found in zip(gold, predictions, strict=False):
        if expected.words and found.words and expected.words != found.words:
            pairs = zip([*expected.words, "the end"], [*found.words, "the end"], strict=False)
            word, other = next((one, two) for one, two in pairs if one != two)
            raise InputError(
                f"{path}:{found.line}: the sentence has {other!r} where the gold sentence has {word!r}. "
                "Predict the words of the gold file, in its order."
            )


def read_rankings(path: Path) -> dict[str, list[str]]:
    """Reads a JSON object `{query: [candidate, …]}`; or JSON lines with one id and one list each, under any names; or
    one line per query, a JSON list or candidates separated by white space, where the query is the line's number from 0.

    Gold files have the same forms, with the correct candidates.
    """
    lines = read_lines(path)
    if not next((line for line in lines if line.strip()), "").lstrip().startswith("{"):
        return {str(number): _ranking(line, f"{path}:{number + 1}") for number, line in enumerate(lines)}
    if len([line for line in lines if line.strip()]) == 1 or not _is_json(lines[0]):
        data = read_document(path)
        if all(isinstance(ids, list) for ids in data.values()):
            return {query: [str(each) for each in ids] for query, ids in data.items()}
    rankings: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        query, ids = _record(line, f"{path}:{number}")
        if query in rankings:
            raise InputError(f"{path}:{number}: query {query!r} is listed twice.")
        rankings[query] = ids
    return rankings


def _ranking(line: str, where: str) -> list[str]:
    """Reads a JSON list, or ids separated by white space."""
    if not line.lstrip().startswith("["):
        return line.split()
    return [str(each) for each in parse_json(line, where, list)]


def _record(line: str, where: str) -> tuple[str, list[str]]:
    try:
        values = list(parse_json(line, where, dict).values())
        (query,) = [value for value in values if isinstance(value, str | int)]
        (ids,) = [value for value in values if isinstance(value, list)]
    except ValueError:
        raise InputError(
            f"{where}: must be a JSON object with one id and one list of candidates, or the file one JSON object "
            "{query: [candidate, …]}."
        ) from None
    return str(query), [str(each) for each in ids]


def _is_json(text: str) -> bool:
    try:
        parse_json(text, "the line")
    except InputError:
        return False
    return True


def score_label_files(labels: Labels, request: Request) -> ScoringResult:
    gold, gold_numbers = read_labels(request.gold, labels)
    predictions, predicted_numbers = read_labels(request.predictions, labels)
    files = [
        str(path)
        for path, numbers in ((request.gold, gold_numbers), (request.predictions, predicted_numbers))
        if numbers and labels.named
    ]
    notes = [f"{' and '.join(files)}: the labels are numbers, read as {labels.numbered}."] if files else []
    return ScoringResult({"accuracy": accuracy(gold, predictions)}, tuple(notes))


def label_scoring(labels: Labels, citation: str, gold: str = LABEL_LINES) -> Scoring:
    return Scoring(gold, LABEL_LINES, ("accuracy",), partial(score_label_files, labels), citation)


def score_answer_files(metric: Callable[..., QAScore], request: Request) -> ScoringResult:
    gold, predictions = read_answers(request.gold), read_answer_predictions(request.predictions)
    result = metric(gold, predictions, missing_as_zero=request.missing_as_zero)
    return ScoringResult({"exact_match": result.exact_match, "f1": result.f1}, _id_notes(gold, predictions))


def tag_scoring(
    read: Callable[[Request], Sequence[list[Tagged]]],
    metric: Callable[[list[list[str]], list[list[str]]], TaggingScore | PosScore],
    metrics: tuple[str, ...],
    citation: str,
    gold: str = TAG_LINES,
) -> Scoring:
    """`read` returns the gold sentences and the predictions."""

    def score(request: Request) -> ScoringResult:
        expected, predictions = read(request)
        check_same_words(expected, predictions, request.predictions)
        tags = ([sentence.tags for sentence in sentences] for sentences in (expected, predictions))
        return ScoringResult(metric(*tags)._asdict())

    return Scoring(gold, TAG_LINES, metrics, score, citation)


def ranking_scoring(
    gold: str, is_own: Callable[[Path], bool], read_own: Callable[[Path, str], dict[str, list[str]]], citation: str
) -> Scoring:
    """Gold files in the benchmark's own format (`is_own`) need a language; others are read like rankings."""

    def score(request: Request) -> ScoringResult:
        own = is_own(request.gold)
        right = read_own(request.gold, request.needed_language()) if own else read_rankings(request.gold)
        rankings = read_rankings(request.predictions)
        value = mean_average_precision(right, rankings, missing_as_zero=request.missing_as_zero)
        return ScoringResult({"map@20": value}, _id_notes(right, rankings))

    return Scoring(gold, RANKINGS_JSON, ("map@20",), score, citation, by_id=True)


def _id_notes(gold: Collection[str], predictions: Collection[str]) -> tuple[str, ...]:
    surplus, missing = len(set(predictions) - set(gold)), len(set(gold) - set(predictions))
    return tuple(
        text
        for count, text in (
            (surplus, f"{surplus:,} predictions have ids that are not in the gold file, and were not counted."),
            (missing, f"{missing:,} of {len(gold):,} have no prediction and count as 0."),
        )
        if count
    )


def write_lines(
    setting: Setting, task: str, language: str, lines: Iterable[str], suffix: str = "txt", pair: str | None = None
) -> None:
    """Writes `{task}.{split}.{language}.seed{N}.{suffix}`, if predictions were asked for."""
    _write(setting, f"{setting.stem(task, language, pair)}.{suffix}", "".join(f"{line}\n" for line in lines))


def write_rankings(setting: Setting, task: str, language: str, rankings: Mapping[str, Sequence[str]]) -> None:
    """Writes `{task}.{split}.{language}.seed{N}.json`, `{query: [candidate, …]}`, if predictions were asked for."""
    _write(setting, f"{setting.stem(task, language)}.json", json.dumps(rankings, ensure_ascii=False) + "\n")


def write_items(
    setting: Setting, task: str, language: str, items: Iterable[Mapping[str, Any]], pair: str | None = None
) -> dict[str, str]:
    """Writes each item's share in the score, `….seed{N}.items.jsonl`, if predictions were asked for.

    Differences between models are tested over them (weam-report). Items of several languages that name the same
    `cluster` are drawn together; without one, those with the same id. Returns where they are, for a score's detail.
    """
    if setting.predictions is None:
        return {}
    name = f"{setting.stem(task, language, pair)}.items.jsonl"
    _write(setting, name, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))
    return {"items": str(setting.predictions / name)}


def _write(setting: Setting, name: str, text: str) -> None:
    folder = setting.predictions
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / name, text)
