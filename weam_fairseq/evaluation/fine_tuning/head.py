"""What all fine-tuned tasks share: model inputs as rows of pieces, padded batches, heads, and predictions.

Shapes: `B` units in a batch, `T` positions, `K` labels, `C` choices. A *unit* is what the model gives one output for:
a pair, a window of a sentence or of a context, or the `C` rows of one question with choices.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.fine_tuning.recipe import FineTuning, Recipe
from weam_fairseq.evaluation.terminal import progress

if TYPE_CHECKING:
    import torch


@dataclass
class Rows:
    """*Shape:* `ids` and `types` hold `per_unit` rows a unit; `targets`, `origins` and `marks` one entry a unit.

    Attributes:
        targets: the correct outputs; empty for prediction.
        origins: index of the example that the unit belongs to.
        marks: what the head needs to interpret the unit's output.
        notes: counts of what was cut, split or left out.
        pad_to: the length to which every batch is padded; 0 pads to its longest input.
    """

    per_unit: int = 1
    pad_to: int = 0
    ids: list[list[int]] = field(default_factory=list)
    types: list[list[int]] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    marks: list[Any] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.origins)

    def length(self, unit: int) -> int:
        return max(len(self.ids[row]) for row in self.rows_of(unit))

    def rows_of(self, unit: int) -> range:
        return range(unit * self.per_unit, (unit + 1) * self.per_unit)


class InputTemplate(NamedTuple):
    """Where a tokenizer puts special pieces around one sequence or two: (id, type) each.

    Inputs are built from pieces, so a context is tokenized once for all its windows and questions.
    """

    before: list[tuple[int, int]]
    between: list[tuple[int, int]]
    after: list[tuple[int, int]]
    first_type: int
    second_type: int

    @property
    def special(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)

    def fill(self, first: Sequence[int], second: Sequence[int] = ()) -> tuple[list[int], list[int]]:
        """Ids and token types of the complete input."""
        parts = [
            *self.before,
            *((piece, self.first_type) for piece in first),
            *self.between,
            *((piece, self.second_type) for piece in second),
            *self.after,
        ]
        return [piece for piece, _ in parts], [kind for _, kind in parts]


def template_of(tokenizer: Any, pair: bool) -> InputTemplate:
    """How the tokenizer joins two sequences (or wraps one).

    Raises:
        InputError: it returns no piece for a letter.
    """
    # A letter that is in every vocabulary and that no normalizer changes.
    batch = tokenizer(["a"], ["a"] if pair else None, return_token_type_ids=True)
    owners = batch.sequence_ids(0)
    places = [place for place, owner in enumerate(owners) if owner is not None]
    if not places or (pair and 1 not in owners):
        raise InputError("the tokenizer returns no piece for the letter a. Check its vocabulary.")
    entries = list(zip(batch["input_ids"][0], token_types(tokenizer, batch)[0], strict=True))
    first = [place for place, owner in enumerate(owners) if owner == 0]
    second = [place for place, owner in enumerate(owners) if owner == 1]
    return InputTemplate(
        before=entries[: first[0]],
        between=entries[first[-1] + 1 : second[0]] if pair else [],
        after=entries[places[-1] + 1 :],
        first_type=entries[first[0]][1],
        second_type=entries[second[0]][1] if pair else 0,
    )


def token_types(tokenizer: Any, batch: Any) -> list[list[int]]:
    """The types of each input; all 0 if the tokenizer provides none to the model."""
    if "token_type_ids" in tokenizer.model_input_names:
        return batch["token_type_ids"]
    return [[0] * len(ids) for ids in batch["input_ids"]]


def length_sorted(rows: Rows, batch_size: int) -> list[list[int]]:
    """Units in batches, longest first: little padding, and too little memory shows immediately."""
    order = sorted(range(len(rows)), key=lambda unit: (-rows.length(unit), unit))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padded(rows: Rows, units: Sequence[int], model: Any, pad_piece: int, device: str) -> dict[str, torch.Tensor]:
    """*Shape:* each input is `(B, T)`, or `(B, C, T)` where a unit has C rows."""
    import torch

    chosen = [row for unit in units for row in rows.rows_of(unit)]
    longest = max(rows.pad_to, *(len(rows.ids[row]) for row in chosen))
    ids = torch.full((len(chosen), longest), pad_piece, dtype=torch.long)
    types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for place, row in enumerate(chosen):
        length = len(rows.ids[row])
        ids[place, :length] = torch.tensor(rows.ids[row])
        types[place, :length] = torch.tensor(rows.types[row])
        mask[place, :length] = 1
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    accepted = inspect.signature(model.base_model.forward).parameters
    if "token_type_ids" not in accepted or _one_type(model):
        del inputs["token_type_ids"]
    if rows.per_unit > 1:
        inputs = {name: values.view(len(units), rows.per_unit, longest) for name, values in inputs.items()}
    return {name: values.to(device) for name, values in inputs.items()}


def _one_type(model: Any) -> bool:
    return getattr(model.config, "type_vocab_size", 2) < 2


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


class Head(ABC):
    """A kind of task.

    Attributes:
        name: for folders and signatures.
        auto_class: the class of transformers that puts this head on an encoder.
        labels: in the order of the head's outputs; empty where it has none.
        suffix: of prediction files.
    """

    name: str
    auto_class: str
    labels: tuple[str, ...] = ()
    suffix: str

    @property
    def method(self) -> dict[str, str]:
        """Parts of the signature about how predictions are extracted, if there is a choice."""
        return {}

    @property
    def unusual(self) -> str:
        """The part of prediction file names for a choice other than the default, such as `.pipeline`."""
        return ""

    def preparation(self, tokenizer: Any) -> dict[str, str]:
        """How inputs are made with this tokenizer if in an unusual way: a part of a model's identity."""
        return {}

    def chosen(self, choice: FineTuning) -> Head:
        """This head with the user's choices."""
        return self

    @abstractmethod
    def rows(self, tokenizer: Any, examples: Sequence[Any], recipe: Recipe, for_training: bool) -> Rows:
        """Model inputs, with targets when training."""

    @abstractmethod
    def loss(self, output: Any, targets: Sequence[Any]) -> torch.Tensor:
        """The mean loss of one batch."""

    @abstractmethod
    def read_out(self, output: Any, rows: Rows, units: Sequence[int]) -> list[Any]:
        """The kept part of a batch's output, one entry a unit, on the CPU."""

    @abstractmethod
    def decode(self, examples: Sequence[Any], rows: Rows, found: Sequence[Any]) -> list[Any]:
        """One prediction an example, from what `read_out` gave for all units."""

    @abstractmethod
    def text_of(self, example: Any) -> tuple[str, ...]:
        """The texts of an example, to find test examples in training data."""

    @abstractmethod
    def group_of(self, example: Any) -> str:
        """Examples of one group share a premise or a context and are held out together."""

    @abstractmethod
    def write(self, examples: Sequence[Any], answers: Sequence[Any]) -> str:
        """A prediction file in the format that weam-score reads."""

    @abstractmethod
    def gold(self, example: Any) -> Any:
        """The gold answer, in the form of a prediction."""

    def write_gold(self, examples: Sequence[Any]) -> str:
        """The gold answers in a format that weam-score reads."""
        return self.write(examples, [self.gold(example) for example in examples])

    def scorable(self, example: Any) -> bool:
        """Whether a prediction can be compared with the gold answer. Readers reject most other examples."""
        return True


class Arithmetic(NamedTuple):
    """Device and precision. `pad_piece` is the tokenizer's padding id; `batch_size` counts units of prediction."""

    device: str
    precision: str
    pad_piece: int
    batch_size: int

    def autocast(self) -> AbstractContextManager[Any]:
        import torch

        from weam_fairseq.encoder.huggingface import autocast

        return autocast(self.device.split(":")[0], torch.bfloat16 if self.precision == "bf16" else None)


def predict(model: Any, head: Head, examples: Sequence[Any], rows: Rows, machine: Arithmetic, label: str) -> list[Any]:
    """One prediction an example.

    Raises:
        InputError: an output is not finite. Its largest value would still select an answer.
    """
    import torch

    model.eval()
    found: list[Any] = [None] * len(rows)
    with torch.no_grad(), machine.autocast():  # inference_mode converts all weights in each call
        batches = length_sorted(rows, machine.batch_size)
        for units in progress(batches, label, "batches", len(batches)):
            output = model(**padded(rows, units, model, machine.pad_piece, machine.device))
            if not all(torch.isfinite(values).all() for values in output.values() if torch.is_tensor(values)):
                raise InputError("the fine-tuned model returns outputs that are not finite: its training diverged.")
            for unit, kept in zip(units, head.read_out(output, rows, units), strict=True):
                found[unit] = kept
    return head.decode(examples, rows, found)
