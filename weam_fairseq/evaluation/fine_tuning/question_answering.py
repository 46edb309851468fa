"""Extractive question answering (XQuAD, MLQA, TyDiQA-GoldP), trained like SQuAD v1.1 (Devlin et al. 2019).

A context that does not fit into one input with its question is read in windows that start `doc_stride` pieces apart.
A piece may begin an answer only in the window that shows the most context around it. The answer has the highest sum
of start and end logit over all windows, and at most 30 pieces. There are two ways to extract it
(`--answer-decoding`):

- `official`, like the scripts of BERT and XTREME: see official_answers.py;
- `pipeline`, much like transformers' pipeline: the best of all spans of the context, cut out of the raw context.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.fine_tuning.head import Head, InputTemplate, Rows, template_of
from weam_fairseq.evaluation.fine_tuning.official_answers import (
    MAX_ANSWER_PIECES,
    NO_VALID_ANSWER,
    AnswerTexts,
    Candidate,
    best_candidate,
)
from weam_fairseq.evaluation.fine_tuning.questions import REPEATED, Question
from weam_fairseq.evaluation.fine_tuning.recipe import ANSWER_DECODINGS, FineTuning, Recipe

if TYPE_CHECKING:
    import torch


MAX_QUESTION_PIECES = 64


class Context(NamedTuple):
    """A context's pieces, the characters `[start, end)` of each, and the tokenizer that made them."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    tokenizer: Any


class ContextWindow(NamedTuple):
    """Pieces `[first, first + length)` of a context. The first one is at `position` of the input.

    `starts`: whether each piece may begin an answer here.
    """

    context: Context
    first: int
    length: int
    position: int
    starts: np.ndarray


class Span(NamedTuple):
    """The best span of a window, in characters of the raw context."""

    score: float
    start: int
    end: int


class QuestionAnswering(Head):
    name = "question-answering"
    auto_class = "AutoModelForQuestionAnswering"
    suffix = ".json"

    def __init__(self, decoding: str = ANSWER_DECODINGS[0]) -> None:
        assert decoding in ANSWER_DECODINGS, decoding
        self.decoding = decoding

    @property
    def method(self) -> dict[str, str]:
        return {"decoding": self.decoding}

    @property
    def unusual(self) -> str:
        return "" if self._official else f".{self.decoding}"

    def chosen(self, choice: FineTuning) -> Head:
        return self if choice.answer_decoding == self.decoding else QuestionAnswering(choice.answer_decoding)

    @property
    def _official(self) -> bool:
        return self.decoding == ANSWER_DECODINGS[0]

    def rows(self, tokenizer: Any, examples: Sequence[Question], recipe: Recipe, for_training: bool) -> Rows:
        template = template_of(tokenizer, pair=True)
        questions = _pieces(tokenizer, [example.text for example in examples])
        contexts = _pieces(tokenizer, [example.context for example in examples])
        # The official scripts pad every input to the full length, and positions of padding are among the best 20.
        rows = Rows(pad_to=recipe.max_length if self._official and not for_training else 0)
        for index, example in enumerate(examples):
            question = self._question(questions[example.text].ids, template, recipe, rows)
            answer = _answer_pieces(example, contexts[example.context]) if for_training else None
            if for_training and answer is None:
                rows.notes["answers_not_in_context"] += 1
                continue
            windows = list(_windows(contexts[example.context], question, template, recipe))
            rows.notes["contexts_split"] += len(windows) > 1
            for window in windows:
                pieces = window.context.ids[window.first : window.first + window.length]
                ids, types = template.fill(question, pieces)
                rows.ids.append(ids)
                rows.types.append(types)
                rows.origins.append(index)
                rows.marks.append(window)
                if answer is not None:
                    rows.targets.append(_target(answer, window))
        rows.notes["ids_repeated"] = sum(REPEATED in example.id for example in examples)
        if not rows.origins:
            raise InputError(
                "no training answer is at its stated position in the context. Check the `answer_start` values."
            )
        return rows

    def _question(self, pieces: list[int], template: InputTemplate, recipe: Recipe, rows: Rows) -> list[int]:
        limit = min(MAX_QUESTION_PIECES, (recipe.max_length - template.special) // 2)
        rows.notes["questions_cut"] += len(pieces) > limit
        return pieces[:limit]

    def loss(self, output: Any, targets: Sequence[tuple[int, int]]) -> torch.Tensor:
        """The mean cross entropy of first and last position. Both targets are 0 in windows without the answer."""
        import torch

        gold = torch.tensor(targets, device=output.start_logits.device)  # (B, 2)
        entropy = torch.nn.functional.cross_entropy
        return (entropy(output.start_logits.float(), gold[:, 0]) + entropy(output.end_logits.float(), gold[:, 1])) / 2

    def read_out(self, output: Any, rows: Rows, units: Sequence[int]) -> list[Span] | list[Candidate | None]:
        return self._candidates(output, rows, units) if self._official else self._spans(output, rows, units)

    def _candidates(self, output: Any, rows: Rows, units: Sequence[int]) -> list[Candidate | None]:
        start, end = (logits.float().cpu().numpy() for logits in (output.start_logits, output.end_logits))  # (B, T)
        windows = [rows.marks[unit] for unit in units]
        return [
            best_candidate(start[row], end[row], window.position, window.starts) for row, window in enumerate(windows)
        ]

    def _spans(self, output: Any, rows: Rows, units: Sequence[int]) -> list[Span]:
        import torch

        start, end = output.start_logits.float(), output.end_logits.float()  # (B, T)
        may_start, may_end = _allowed([rows.marks[unit] for unit in units], start.shape[1])
        never = torch.finfo(start.dtype).min / 4  # two of them added are still finite
        start = start.masked_fill(~may_start.to(start.device), never)
        end = end.masked_fill(~may_end.to(end.device), never)
        lengths = min(MAX_ANSWER_PIECES, start.shape[1])
        padded_end = torch.nn.functional.pad(end, (0, lengths - 1), value=never)
        sums = start.unsqueeze(-1) + padded_end.unfold(1, lengths, 1)  # (B, T, lengths)
        best, place = sums.flatten(1).max(dim=1)
        return [
            _span(rows.marks[unit], score, index // lengths, index % lengths)
            for unit, score, index in zip(units, best.tolist(), place.tolist(), strict=True)
        ]

    def decode(
        self, examples: Sequence[Question], rows: Rows, found: Sequence[Span] | Sequence[Candidate | None]
    ) -> list[str]:
        return self._official_texts(examples, rows, found) if self._official else self._texts(examples, rows, found)

    def _official_texts(self, examples: Sequence[Question], rows: Rows, found: Sequence[Any]) -> list[str]:
        """Among equal candidates in several windows, the first one wins."""
        best: dict[int, tuple[Candidate, ContextWindow]] = {}
        for origin, candidate, window in zip(rows.origins, found, rows.marks, strict=True):
            if candidate is not None and (origin not in best or candidate.score > best[origin][0].score):
                best[origin] = (candidate, window)
        rows.notes["no_valid_answer"] = len(examples) - len(best)
        texts = AnswerTexts(rows.marks[0].context.tokenizer)
        answers = []
        for index, example in enumerate(examples):
            if index not in best:
                answers.append(NO_VALID_ANSWER)
                continue
            candidate, window = best[index]
            first, last = (window.first + place - window.position for place in (candidate.first, candidate.last))
            pieces = slice(first, last + 1)
            answers.append(texts.cut(example.context, window.context.offsets[pieces], window.context.ids[pieces]))
        return answers

    def _texts(self, examples: Sequence[Question], rows: Rows, found: Sequence[Any]) -> list[str]:
        best: dict[int, Span] = {}
        for origin, span in zip(rows.origins, found, strict=True):
            if origin not in best or span.score > best[origin].score:
                best[origin] = span
        answers = [
            example.context[best[index].start : best[index].end].strip() for index, example in enumerate(examples)
        ]
        rows.notes["empty_answers"] = sum(not answer for answer in answers)
        return answers

    def text_of(self, example: Question) -> tuple[str, ...]:
        return (example.text, example.context)

    def group_of(self, example: Question) -> str:
        return example.context

    def gold(self, example: Question) -> str:
        return example.answers[0].text

    def write(self, examples: Sequence[Question], answers: Sequence[str]) -> str:
        found = {example.id: answer for example, answer in zip(examples, answers, strict=True)}
        return json.dumps(found, ensure_ascii=False, indent=0) + "\n"

    def write_gold(self, examples: Sequence[Question]) -> str:
        """SQuAD JSON: a question may have several gold answers."""
        data = [
            {
                "paragraphs": [
                    {
                        "context": example.context,
                        "qas": [
                            {
                                "id": example.id,
                                "question": example.text,
                                "answers": [{"text": text, "answer_start": start} for text, start in example.answers],
                            }
                        ],
                    }
                ]
            }
            for example in examples
        ]
        return json.dumps({"version": "1.1", "data": data}, ensure_ascii=False) + "\n"


def _pieces(tokenizer: Any, texts: Sequence[str]) -> dict[str, Context]:
    """Tokenizes every distinct text once, since the questions of a paragraph share their context."""
    distinct = list(dict.fromkeys(texts))
    batch = tokenizer(distinct, add_special_tokens=False, return_offsets_mapping=True)
    return {
        text: Context(ids, [(int(start), int(end)) for start, end in offsets], tokenizer)
        for text, ids, offsets in zip(distinct, batch["input_ids"], batch["offset_mapping"], strict=True)
    }


def _windows(context: Context, question: list[int], template: InputTemplate, recipe: Recipe) -> Iterator[ContextWindow]:
    capacity = recipe.max_length - template.special - len(question)
    position = len(template.before) + len(question) + len(template.between)
    step = min(recipe.doc_stride or capacity, capacity)
    firsts = [0]
    while firsts[-1] + capacity < len(context.ids):
        firsts.append(firsts[-1] + step)
    lengths = [min(capacity, len(context.ids) - first) for first in firsts]
    owner = _owners(len(context.ids), firsts, lengths)
    for number, (first, length) in enumerate(zip(firsts, lengths, strict=True)):
        yield ContextWindow(context, first, length, position, owner[first : first + length] == number)


def _owners(count: int, firsts: Sequence[int], lengths: Sequence[int]) -> np.ndarray:
    """The window with the most context around each piece: first its smaller side, then the window's length.

    *Shape:* `(count,)`. The rule is that of BERT's run_squad.py (`_check_is_max_context`).
    """
    piece = np.arange(count)
    scores = [
        np.where(
            (piece >= first) & (piece < first + length),
            np.minimum(piece - first, first + length - 1 - piece) + 0.01 * length,
            -1.0,
        )
        for first, length in zip(firsts, lengths, strict=True)
    ]
    return np.argmax(np.stack(scores), axis=0)


def _answer_pieces(example: Question, context: Context) -> tuple[int, int] | None:
    """First and last piece of the first answer; None if the context does not contain it at its stated position."""
    answer = example.answers[0]
    start, end = answer.start, answer.start + len(answer.text)
    if not answer.text.strip() or example.context[start:end] != answer.text:
        return None
    pieces = [
        index for index, (first, last) in enumerate(context.offsets) if first < end and last > start and last > first
    ]
    return (pieces[0], pieces[-1]) if pieces else None


def _target(answer: tuple[int, int], window: ContextWindow) -> tuple[int, int]:
    first, last = answer
    if first < window.first or last >= window.first + window.length:
        return (0, 0)
    return (window.position + first - window.first, window.position + last - window.first)


def _allowed(windows: Sequence[ContextWindow], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """*Shape:* both `(B, T)`: where an answer may start, and where it may end."""
    import torch

    starts = np.zeros((len(windows), length), dtype=bool)
    ends = np.zeros((len(windows), length), dtype=bool)
    for row, window in enumerate(windows):
        starts[row, window.position : window.position + window.length] = window.starts
        ends[row, window.position : window.position + window.length] = True
    return torch.from_numpy(starts), torch.from_numpy(ends)


def _span(window: ContextWindow, score: float, position: int, extra: int) -> Span:
    if not window.starts.any():  # a context without pieces, or a window whose pieces all belong to others
        return Span(-np.inf, 0, 0)
    first = window.first + position - window.position
    return Span(score, window.context.offsets[first][0], window.context.offsets[first + extra][1])
