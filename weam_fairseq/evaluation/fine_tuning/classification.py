"""Classification of two sentences (XNLI, PAWS-X) and multiple choice (XCOPA): heads, readers of labelled pairs, score.

Text is used exactly as in the file. Some publishers doubled quotation marks; like XTREME's reader, these readers keep
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weam_fairseq.common.documents import parse_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import HubCopy, Row
from weam_fairseq.evaluation.fine_tuning.head import Head, Rows, Scored, token_types
from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
from weam_fairseq.evaluation.metrics.labels import Labels, accuracy
from weam_fairseq.evaluation.readers import joined_lines, one_cell, read_lines

if TYPE_CHECKING:
    import torch


class LabelledPair(NamedTuple):
    """Two sentences and their label, as text."""

    first: str
    second: str
    label: str


class Choice(NamedTuple):
    """A prompt and its possible continuations; `label` counts them from 0."""

    prompt: str
    choices: tuple[str, ...]
    label: int


class Classification(Head):
    """One label a pair. `broad` maps labels that occur only in training data to the several `labels` they mean."""

    name = "classification"
    auto_class = "AutoModelForSequenceClassification"
    suffix = ".txt"

    def __init__(self, labels: tuple[str, ...], broad: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.labels = labels
        self._meanings = {**{label: (label,) for label in labels}, **(broad or {})}

    def rows(self, tokenizer: Any, examples: Sequence[LabelledPair], recipe: Recipe, for_training: bool) -> Rows:
        kept = [index for index, example in enumerate(examples) if not for_training or example.label in self._meanings]
        if not kept:
            raise InputError(f"The training data must have labels ({', '.join(self._meanings)}), but no pair has one.")
        pairs = [examples[index] for index in kept]
        batch = tokenizer(
            [pair.first for pair in pairs],
            [pair.second for pair in pairs],
            truncation="longest_first",
            max_length=recipe.max_length,
            return_token_type_ids=True,
        )
        rows = Rows(ids=batch["input_ids"], types=token_types(tokenizer, batch), origins=kept, marks=[None] * len(kept))
        rows.notes["pairs_cut"] = sum(bool(encoding.overflowing) for encoding in batch.encodings)
        if for_training:
            rows.targets = [self._target(pair.label) for pair in pairs]
            rows.notes["pairs_without_label"] = len(examples) - len(kept)
        return rows

    def _target(self, label: str) -> list[bool]:
        return [each in self._meanings[label] for each in self.labels]

    def loss(self, output: Any, targets: Sequence[list[bool]]) -> torch.Tensor:
        """Cross entropy of the joint probability of a target's labels (usually one label)."""
        import torch

        log_probabilities = output.logits.float().log_softmax(dim=-1)  # (B, K)
        wanted = torch.tensor(targets, device=log_probabilities.device)
        return -log_probabilities.masked_fill(~wanted, float("-inf")).logsumexp(dim=-1).mean()

    def read_out(self, output: Any, rows: Rows, units: Sequence[int]) -> list[int]:
        return output.logits.argmax(dim=-1).tolist()

    def decode(self, examples: Sequence[LabelledPair], rows: Rows, found: Sequence[int]) -> list[str]:
        rows.notes["same_answer"] = len(found) if len(set(found)) == 1 < len(found) else 0
        return [self.labels[label] for label in found]

    def text_of(self, example: LabelledPair) -> tuple[str, ...]:
        return (example.first, example.second)

    def group_of(self, example: LabelledPair) -> str:
        return example.first

    def gold(self, example: LabelledPair) -> str:
        return example.label

    def write(self, examples: Sequence[LabelledPair], answers: Sequence[str]) -> str:
        return "".join(f"{answer}\n" for answer in answers)

    def scorable(self, example: LabelledPair) -> bool:
        return example.label in self.labels


class MultipleChoice(Head):
    name = "multiple-choice"
    auto_class = "AutoModelForMultipleChoice"
    suffix = ".txt"

    def rows(self, tokenizer: Any, examples: Sequence[Choice], recipe: Recipe, for_training: bool) -> Rows:
        """All questions must have the same number of choices, because a batch is one tensor."""
        counts = {len(example.choices) for example in examples}
        if len(counts) > 1:
            raise InputError(f"the questions have {sorted(counts)} choices; use data sets with equally many choices.")
        batch = tokenizer(
            [example.prompt for example in examples for _ in example.choices],
            [choice for example in examples for choice in example.choices],
            truncation="longest_first",
            max_length=recipe.max_length,
            return_token_type_ids=True,
        )
        rows = Rows(
            per_unit=counts.pop(),
            ids=batch["input_ids"],
            types=token_types(tokenizer, batch),
            origins=list(range(len(examples))),
            marks=[None] * len(examples),
        )
        rows.notes["choices_cut"] = sum(bool(encoding.overflowing) for encoding in batch.encodings)
        if for_training:
            rows.targets = [example.label for example in examples]
        return rows

    def loss(self, output: Any, targets: Sequence[int]) -> torch.Tensor:
        import torch

        logits = output.logits.float()  # (B, C)
        return torch.nn.functional.cross_entropy(logits, torch.tensor(targets, device=logits.device))

    def read_out(self, output: Any, rows: Rows, units: Sequence[int]) -> list[int]:
        return output.logits.argmax(dim=-1).tolist()

    def decode(self, examples: Sequence[Choice], rows: Rows, found: Sequence[int]) -> list[str]:
        rows.notes["same_answer"] = len(found) if len(set(found)) == 1 < len(found) else 0
        return [str(choice) for choice in found]

    def text_of(self, example: Choice) -> tuple[str, ...]:
        return (example.prompt, *example.choices)

    def group_of(self, example: Choice) -> str:
        return example.prompt

    def gold(self, example: Choice) -> str:
        return str(example.label)

    def write(self, examples: Sequence[Choice], answers: Sequence[str]) -> str:
        return "".join(f"{answer}\n" for answer in answers)


def score_labels(examples: Sequence[LabelledPair | Choice], predictions: Sequence[str], language: str) -> Scored:
    gold = [str(example.label) for example in examples]
    items = [
        {"id": number, "accuracy": 100.0 * (one == other)}
        for number, (one, other) in enumerate(zip(gold, predictions, strict=True))
    ]
    return Scored({"accuracy": accuracy(gold, predictions)}, len(gold), items, "accuracy")


# (first sentence, second sentence, label) by the headers of the published files.
_HEADERS = (
    ("sentence1", "sentence2", "gold_label"),  # SNLI, MultiNLI, xnli.dev.tsv, xnli.test.tsv
    ("premise", "hypo", "label"),  # XNLI-MT: multinli.train.XX.tsv
    ("premise", "hypothesis", "label"),  # the Hub's names
    ("sentence_A", "sentence_B", "entailment_judgment"),  # SICK
    ("sentence1", "sentence2", "label"),  # PAWS-X
)

LabelledRow = tuple[str, tuple[str, str, str]]


def pairs_on_hub(
    usual: str, first: str, second: str, label: Callable[[Row, Callable[[str], Sequence[str]]], str]
) -> HubCopy:
    """A copy whose columns `first` and `second` hold the sentences."""

    def text(rows: Iterable[Row], names: Callable[[str], Sequence[str]]) -> str:
        return joined_lines(f"{one_cell(row[first])}\t{one_cell(row[second])}\t{label(row, names)}" for row in rows)

    return HubCopy(usual, text, english=("train", "dev"))


def labelled_rows(path: Path, language: str) -> Iterator[LabelledRow]:
    lines = read_lines(path)
    if lines and lines[0].lstrip().startswith("{"):
        yield from _json_rows(path, lines, language)
        return
    columns = _columns(lines[0].split("\t")) if lines else None
    if columns is None:
        yield from _plain_rows(path, lines)
        return
    header = lines[0].split("\t")
    language_column = header.index("language") if "language" in header else None
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        where = f"{path}:{number}"
        if len(cells) <= max(columns):
            raise InputError(
                f"{where}: the line has {len(cells)} columns, but its header names {len(header)}. "
                "A file without its last columns has lost its gold labels."
            )
        if language_column is None or cells[language_column] == language:
            yield where, (cells[columns[0]], cells[columns[1]], cells[columns[2]].strip())


def _columns(header: Sequence[str]) -> tuple[int, int, int] | None:
    for names in _HEADERS:
        if all(name in header for name in names):
            first, second, label = (header.index(name) for name in names)
            return first, second, label
    return None


def _plain_rows(path: Path, lines: Sequence[str]) -> Iterator[LabelledRow]:
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t")
        if len(cells) == 2:
            raise InputError(
                f"{path}:{number}: the line has two sentences and no label, so the file has no gold "
                "labels (XTREME's download script removes them from test files). Use the published file."
            )
        if len(cells) != 3:
            raise InputError(
                f"{path}:{number}: the line must hold two sentences and a label, but has {len(cells)} columns."
            )
        yield f"{path}:{number}", (cells[0], cells[1], cells[2].strip())


def _json_rows(path: Path, lines: Sequence[str], language: str) -> Iterator[LabelledRow]:
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        try:
            row = parse_json(line, where, dict)
            columns = next((names for names in _HEADERS if all(name in row for name in names)), _HEADERS[0])
            first, second, label = (row[name] for name in columns)
            if not isinstance(first, str) or not isinstance(second, str):
                raise TypeError(f"{columns[0]} and {columns[1]} must be texts")
            if row.get("language", language) == language:
                yield where, (first, second, str(label))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{where}: the line is not an NLI pair ({type(error).__name__}: {error}).") from None


def read_labelled_pairs(
    labels: Labels,
    paths: Sequence[Path],
    language: str,
    rows_of: Callable[[Path, str], Iterator[LabelledRow]] = labelled_rows,
) -> list[LabelledPair]:
    """The pairs of files in the published formats, or in those that `rows_of` reads.

    The published sets contain a few empty sides, which are used like all others.

    Raises:
        InputError: a line is malformed, a label is unknown, or no pair is in the language.
    """
    pairs = [
        LabelledPair(first.strip(), second.strip(), labels.known(label, where))
        for path in paths
        for where, (first, second, label) in rows_of(path, language)
    ]
    if not pairs:
        raise InputError(f"{', '.join(map(str, paths))}: no pair is in language {language!r}.")
    return pairs
