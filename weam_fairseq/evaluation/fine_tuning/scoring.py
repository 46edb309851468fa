"""A benchmark's figures from gold and predictions, and each item's share in them.

The items are what a paired bootstrap draws from: a metric that is a mean over items has its value under the metric's
name; an F1 over entities has, for each sentence, how many were right, predicted and gold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from weam_fairseq.evaluation.fine_tuning.examples import Choice, Question, SentencePair, TaggedSentence
from weam_fairseq.evaluation.metrics.classification import accuracy
from weam_fairseq.evaluation.metrics.mlqa import mlqa_scores
from weam_fairseq.evaluation.metrics.qa import QAScore
from weam_fairseq.evaluation.metrics.squad import squad_scores
from weam_fairseq.evaluation.metrics.tagging import entities, entity_f1, pos_scores


@dataclass(frozen=True)
class Scored:
    """`metrics` by name, 0–100, the benchmark's main one first; `items` in the order of the examples."""

    metrics: dict[str, float]
    n: int
    items: list[dict[str, Any]]
    scorer: str

    @property
    def main(self) -> float:
        return next(iter(self.metrics.values()))


def score_pairs(examples: Sequence[SentencePair], predictions: Sequence[str]) -> Scored:
    return _labels([example.label for example in examples], predictions)


def score_choices(examples: Sequence[Choice], predictions: Sequence[str]) -> Scored:
    return _labels([str(example.label) for example in examples], predictions)


def _labels(gold: Sequence[str], predictions: Sequence[str]) -> Scored:
    items = [
        {"id": number, "accuracy": 100.0 * (one == other)}
        for number, (one, other) in enumerate(zip(gold, predictions, strict=True))
    ]
    return Scored({"accuracy": accuracy(gold, predictions)}, len(gold), items, "accuracy")


def score_squad(examples: Sequence[Question], predictions: Sequence[str]) -> Scored:
    return _questions(squad_scores(_answers(examples), _by_id(examples, predictions)), "squad_v1.1")


def score_mlqa(examples: Sequence[Question], predictions: Sequence[str], language: str) -> Scored:
    """`language` is the context's: MLQA normalises answers by it."""
    context = language.split("-")[0]
    return _questions(mlqa_scores(_answers(examples), _by_id(examples, predictions), context), "mlqa_v1")


def score_entities(examples: Sequence[TaggedSentence], predictions: Sequence[Sequence[str]]) -> Scored:
    gold = [example.tags for example in examples]
    score = entity_f1(gold, predictions)
    metrics = {"f1": score.f1, "precision": score.precision, "recall": score.recall}
    return Scored(metrics, len(gold), _sentences(gold, predictions), "seqeval")


def score_pos(examples: Sequence[TaggedSentence], predictions: Sequence[Sequence[str]]) -> Scored:
    gold = [example.tags for example in examples]
    score = pos_scores(gold, predictions)
    return Scored(
        {"f1": score.f1, "accuracy": score.accuracy}, len(gold), _sentences(gold, predictions), "seqeval-bare-tags"
    )


def _answers(examples: Sequence[Question]) -> dict[str, list[str]]:
    return {example.id: [answer.text for answer in example.answers] for example in examples}


def _by_id(examples: Sequence[Question], predictions: Sequence[str]) -> dict[str, str]:
    return {example.id: answer for example, answer in zip(examples, predictions, strict=True)}


def _questions(score: QAScore, scorer: str) -> Scored:
    items = [{"id": question, "f1": f1, "exact_match": exact} for question, (exact, f1) in score.per_question.items()]
    return Scored({"f1": score.f1, "exact_match": score.exact_match}, score.n, items, scorer)


def _sentences(gold: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    items = []
    for number, (expected, found) in enumerate(zip(gold, predictions, strict=True)):
        wanted, given = entities([expected]), entities([found])
        items.append(
            {
                "id": number,
                "correct": len(wanted & given),
                "predicted": len(given),
                "gold": len(wanted),
                "words": len(expected),
                "words_correct": sum(one == other for one, other in zip(expected, found, strict=True)),
            }
        )
    return items
