"""weam-score: predictions in a benchmark's own format to scores. No model is loaded."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.by_name import find_by_name
from weam_fairseq.evaluation.fine_tuning.examples import TaggedSentence
from weam_fairseq.evaluation.fine_tuning.tag_files import (
    PANX_TAGS,
    UPOS_TAGS,
    is_conllu,
    read_udpos,
    tags_depend_on_language,
)
from weam_fairseq.evaluation.labels import CHOICE, NLI, PARAPHRASE, Labels
from weam_fairseq.evaluation.lareqa_files import read_right_candidates
from weam_fairseq.evaluation.metrics.classification import accuracy
from weam_fairseq.evaluation.metrics.mining import mining_f1
from weam_fairseq.evaluation.metrics.mlqa import mlqa_scores
from weam_fairseq.evaluation.metrics.ranking import mean_average_precision
from weam_fairseq.evaluation.metrics.squad import squad_scores
from weam_fairseq.evaluation.metrics.tagging import entity_f1, pos_scores
from weam_fairseq.evaluation.mewslix_files import read_entity_labels
from weam_fairseq.evaluation.prediction_files import (
    Tagged,
    check_same_words,
    read_answer_predictions,
    read_answers,
    read_gold_indices,
    read_id_pairs,
    read_indices,
    read_labels,
    read_rankings,
    read_tagged,
)
from weam_fairseq.evaluation.word_alignment import score_files

EXAMPLE = """example:
  weam-score word-alignment --gold de-en.gold --predictions de-en.links --language de
  weam-score mlqa --gold dev-context-de-question-de.json --predictions answers.de.json --language de

Prints one JSON object on one line, such as {"exact_match": 40.6, "f1": 57.9}.
"""


class Request(NamedTuple):
    """What the user asked for.

    Attributes:
        missing_as_zero: what has no prediction counts 0 instead of being an error.
        gold_from: of gold links, the number of a sentence's first word; None expects 0 and refuses what counts from 1.
        predictions_from: the same of predicted links.
    """

    gold: Path
    predictions: Path
    language: str | None = None
    missing_as_zero: bool = False
    gold_from: int | None = None
    predictions_from: int | None = None

    def needed_language(self) -> str:
        if self.language is None:
            raise InputError("this task's metric depends on the language. Give --language, as in --language de.")
        return self.language


class Result(NamedTuple):
    """The numbers, 0–100, and sentences for stderr about what was not counted."""

    scores: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoringTask:
    """A row of the table.

    Attributes:
        gold: what a gold file holds.
        predictions: what a file of predictions holds.
        metrics: the keys of the JSON object, each 0–100.
        score: from the request to a number for each metric.
        citation: where the metrics come from.
        by_id: whether predictions carry ids, so that some can be missing.
    """

    name: str
    gold: str
    predictions: str
    metrics: tuple[str, ...]
    score: Callable[[Request], Result]
    citation: str
    by_id: bool = False


def _score_mlqa(request: Request) -> Result:
    language = request.needed_language()
    named = request.gold.name.partition("context-")[2].partition("-")[0]
    if named and named != language:
        raise InputError(
            f"the contexts of {request.gold.name} are in {named!r}, and MLQA normalises answers by the language of the "
            f"context, but --language is {language!r}. Give --language {named}."
        )
    gold, predictions = read_answers(request.gold), read_answer_predictions(request.predictions)
    result = mlqa_scores(gold, predictions, language, missing_as_zero=request.missing_as_zero)
    return Result({"exact_match": result.exact_match, "f1": result.f1}, _id_notes(gold, predictions))


def _score_squad(request: Request) -> Result:
    gold, predictions = read_answers(request.gold), read_answer_predictions(request.predictions)
    result = squad_scores(gold, predictions, missing_as_zero=request.missing_as_zero)
    return Result({"exact_match": result.exact_match, "f1": result.f1}, _id_notes(gold, predictions))


def _score_nli(request: Request) -> Result:
    return _score_labels(request, NLI)


def _score_paraphrases(request: Request) -> Result:
    return _score_labels(request, PARAPHRASE)


def _score_choices(request: Request) -> Result:
    return _score_labels(request, CHOICE)


def _score_labels(request: Request, labels: Labels) -> Result:
    gold, gold_numbers = read_labels(request.gold, labels)
    predictions, predicted_numbers = read_labels(request.predictions, labels)
    files = [
        str(path)
        for path, numbers in ((request.gold, gold_numbers), (request.predictions, predicted_numbers))
        if numbers and labels.named
    ]
    notes = [f"{' and '.join(files)}: the labels are numbers, read as {labels.numbered}."] if files else []
    return Result({"accuracy": accuracy(gold, predictions)}, tuple(notes))


def _score_entities(request: Request) -> Result:
    gold, predictions = read_tagged(request.gold, PANX_TAGS), read_tagged(request.predictions, PANX_TAGS)
    return Result(entity_f1(*_compared_tags(gold, predictions, request))._asdict())


def _score_pos(request: Request) -> Result:
    """UD counts syntactic words, XTREME a fused form (zum) as one word: either may have been predicted."""
    predictions = read_tagged(request.predictions, UPOS_TAGS)
    gold = read_tagged(request.gold, UPOS_TAGS)
    if is_conllu(request.gold) and _lengths(gold) != _lengths(predictions):
        fused = read_udpos(request.gold, language=_language_of_treebank(request))
        if _lengths(fused) == _lengths(predictions):
            gold = [Tagged(list(sentence.words), list(sentence.tags), 0) for sentence in fused]
    return Result(pos_scores(*_compared_tags(gold, predictions, request))._asdict())


def _language_of_treebank(request: Request) -> str:
    """As given, or from a name such as `de_gsd-ud-test.conllu`; any where the tags are the same for all languages."""
    if request.language is not None:
        return request.language
    if named := re.match(r"([a-z]{2,3})_[^.]*-ud-", request.gold.name):
        return named[1]
    return request.needed_language() if tags_depend_on_language(request.gold) else "en"


def _lengths(sentences: Sequence[Tagged] | Sequence[TaggedSentence]) -> list[int]:
    return [len(sentence.tags) for sentence in sentences]


def _compared_tags(
    gold: Sequence[Tagged], predictions: Sequence[Tagged], request: Request
) -> tuple[list[list[str]], list[list[str]]]:
    check_same_words(gold, predictions, request.predictions)
    return [sentence.tags for sentence in gold], [sentence.tags for sentence in predictions]


def _score_tatoeba(request: Request) -> Result:
    return Result({"accuracy": accuracy(read_gold_indices(request.gold), read_indices(request.predictions))})


def _score_bucc(request: Request) -> Result:
    return Result(mining_f1(read_id_pairs(request.gold), read_id_pairs(request.predictions))._asdict())


def _score_links(request: Request) -> Result:
    files = request.gold, request.predictions
    return Result(score_files(*files, request.gold_from, request.predictions_from)._asdict())


def _score_lareqa(request: Request) -> Result:
    if request.gold.is_dir():
        gold = read_right_candidates(request.gold, request.needed_language())
    else:
        gold = read_rankings(request.gold)
    return _score_rankings(request, gold)


def _score_mewslix(request: Request) -> Result:
    if ".jsonl" in request.gold.suffixes:
        gold = read_entity_labels(request.gold, request.needed_language())
    else:
        gold = read_rankings(request.gold)
    return _score_rankings(request, gold)


def _score_rankings(request: Request, gold: dict[str, list[str]]) -> Result:
    rankings = read_rankings(request.predictions)
    value = mean_average_precision(gold, rankings, missing_as_zero=request.missing_as_zero)
    return Result({"map@20": value}, _id_notes(gold, rankings))


def _id_notes(gold: Collection[str], predictions: Collection[str]) -> tuple[str, ...]:
    surplus, missing = len(set(predictions) - set(gold)), len(set(gold) - set(predictions))
    return tuple(
        text
        for count, text in (
            (surplus, f"{surplus:,} predictions have ids that the gold file lacks, and were not counted."),
            (missing, f"{missing:,} of {len(gold):,} have no prediction, and count 0."),
        )
        if count
    )


_LABELS = "a label a line"
_SQUAD = "SQuAD JSON"
_ANSWERS = "a JSON object {id: answer}"
_RANKINGS = "a JSON object {query: [candidate, …]}, best first; or a line a query (the same lines in gold)"
_TAGS = "lines of word<TAB>tag, a blank line between sentences"

TASKS = (
    ScoringTask("xnli", _LABELS, _LABELS, ("accuracy",), _score_nli, "Conneau et al. 2018"),
    ScoringTask(
        name="mlqa",
        gold=f"{_SQUAD}; --language is that of its contexts",
        predictions=_ANSWERS,
        metrics=("exact_match", "f1"),
        score=_score_mlqa,
        citation="Lewis et al. 2020 (mlqa_evaluation_v1.py)",
        by_id=True,
    ),
    ScoringTask(
        name="xquad",
        gold=_SQUAD,
        predictions=_ANSWERS,
        metrics=("exact_match", "f1"),
        score=_score_squad,
        citation="Rajpurkar et al. 2016 (SQuAD v1.1), as XTREME",
        by_id=True,
    ),
    ScoringTask(
        name="tydiqa",
        gold=_SQUAD,
        predictions=_ANSWERS,
        metrics=("exact_match", "f1"),
        score=_score_squad,
        citation="Rajpurkar et al. 2016 (SQuAD v1.1), as XTREME",
        by_id=True,
    ),
    ScoringTask("pawsx", _LABELS, _LABELS, ("accuracy",), _score_paraphrases, "Yang et al. 2019"),
    ScoringTask(
        name="xcopa",
        gold=f"{_LABELS}, or the benchmark's JSON lines",
        predictions=_LABELS,
        metrics=("accuracy",),
        score=_score_choices,
        citation="Ponti et al. 2020",
    ),
    ScoringTask(
        name="udpos",
        gold=f"{_TAGS}; or a .conllu file",
        predictions=_TAGS,
        metrics=("f1", "accuracy"),
        score=_score_pos,
        citation="Hu et al. 2020 (seqeval over the bare tags)",
    ),
    ScoringTask(
        name="panx",
        gold=_TAGS,
        predictions=_TAGS,
        metrics=("f1", "precision", "recall"),
        score=_score_entities,
        citation="Hu et al. 2020 (seqeval)",
    ),
    ScoringTask(
        name="tatoeba",
        gold="an index a line, from 0; or one side of the benchmark's own text (line k belongs to line k)",
        predictions="an index a line, from 0",
        metrics=("accuracy",),
        score=_score_tatoeba,
        citation="Artetxe and Schwenk 2019",
    ),
    ScoringTask(
        name="bucc",
        gold="lines of id<TAB>id",
        predictions="lines of id<TAB>id, those above the threshold",
        metrics=("f1", "precision", "recall"),
        score=_score_bucc,
        citation="Zweigenbaum et al. 2018",
    ),
    ScoringTask(
        name="mewslix",
        gold="a JSON object {mention: [entity]}; or the benchmark's JSON lines, with --language",
        predictions=_RANKINGS,
        metrics=("map@20",),
        score=_score_mewslix,
        citation="Ruder et al. 2021",
        by_id=True,
    ),
    ScoringTask(
        name="lareqa",
        gold="a JSON object {question: [candidate, …]}; or the folder of XQuAD-R, with --language",
        predictions=_RANKINGS,
        metrics=("map@20",),
        score=_score_lareqa,
        citation="Roy et al. 2020; Ruder et al. 2021",
        by_id=True,
    ),
    ScoringTask(
        name="word-alignment",
        gold="a line a pair: sure links i-j and possible ones ipj, words counted from 0 (or --gold-from 1)",
        predictions="a line a pair: links i-j, words counted from 0 (or --predictions-from 1)",
        metrics=("aer", "precision", "recall"),
        # Links are word numbers, whatever the language.
        score=_score_links,
        citation="Och and Ney 2003",
    ),
)

# weam-evaluate's other tasks: their figures come from a model's states, and no file of answers would give them.
FROM_STATES = ("sentence-retrieval", "word-retrieval", "masked-pieces", "word-similarity")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, like every other mistake; argparse would print the whole usage first."""
        raise InputError(f"{message}. See weam-score --help.")


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the scores. Returns the exit code: 0, or 2 after one sentence on stderr."""
    return run_command("weam-score", lambda: _run(_parser().parse_args(argv)))


def _run(options: argparse.Namespace) -> None:
    if options.task in FROM_STATES:
        raise InputError(
            f"{options.task} has no predictions to score: its figure comes from a model's states. Give weam-evaluate "
            f"{options.task} the model."
        )
    task = find_by_name(TASKS, options.task)
    request = Request(
        *(options.gold, options.predictions, options.language, options.missing_as_zero),
        *(options.gold_from, options.predictions_from),
    )
    result = score(task, request)
    for note in result.notes:
        print(f"weam-score: note: {note}", file=sys.stderr)
    print(json.dumps(result.scores))


def score(task: ScoringTask, request: Request) -> Result:
    """Raises InputError: a file is missing or malformed, or the two do not belong together."""
    if request.missing_as_zero and not task.by_id:
        by_id = ", ".join(each.name for each in TASKS if each.by_id)
        raise InputError(f"--missing-as-zero is for tasks whose predictions carry ids ({by_id}), not for {task.name}.")
    if (request.gold_from, request.predictions_from) != (None, None) and task.score is not _score_links:
        raise InputError(f"--gold-from and --predictions-from are for word-alignment, not for {task.name}.")
    try:
        result = task.score(request)
    except InputError as error:
        if str(request.gold) in str(error) or str(request.predictions) in str(error):
            raise
        raise InputError(f"{request.predictions} against {request.gold}: {error}") from None
    assert tuple(result.scores) == task.metrics
    return result


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="weam-score",
        description="Scores predictions in a benchmark's own format, without a model. Every number is 0–100.",
        epilog="tasks:\n"
        + "\n".join(_describe(task) for task in TASKS)
        + f"\n\nThere is nothing to score for {', '.join(FROM_STATES)}:\n"
        + "weam-evaluate takes them from a model's states.\n\n"
        + EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("task", metavar="TASK", help=", ".join(task.name for task in TASKS))
    parser.add_argument("--gold", metavar="FILE", type=Path, required=True, help="the benchmark's answers")
    parser.add_argument("--predictions", metavar="FILE", type=Path, required=True, help="what is scored")
    parser.add_argument("--language", metavar="XX", help="language of the predictions, where the metric depends on it")
    for option, what in (("--gold-from", "gold"), ("--predictions-from", "predicted")):
        parser.add_argument(
            option,
            type=int,
            choices=(0, 1),
            help=f"number of a sentence's first word in {what} links (default: 0; a file that seems to count from 1 is "
            "an error)",
        )
    parser.add_argument(
        "--missing-as-zero",
        action="store_true",
        help="count 0 for what has no prediction, as the official scorers do (default: an error)",
    )
    return parser


def _describe(task: ScoringTask) -> str:
    return (
        f"  {task.name:<16}{', '.join(task.metrics)}; {task.citation}\n"
        f"  {'':<16}gold: {task.gold}\n"
        f"  {'':<16}predictions: {task.predictions}"
    )


if __name__ == "__main__":
    sys.exit(main())
