"""Multiple choice: XCOPA, COPA, Social IQa. A unit is one question; its rows are its choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.fine_tuning.examples import Choice
from weam_fairseq.evaluation.fine_tuning.heads.head import Head
from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
from weam_fairseq.evaluation.fine_tuning.rows import Rows, token_types

if TYPE_CHECKING:
    import torch


class MultipleChoice(Head):
    name = "multiple-choice"
    auto_class = "AutoModelForMultipleChoice"
    suffix = ".txt"

    def rows(self, tokenizer: Any, examples: Sequence[Choice], recipe: Recipe, for_training: bool) -> Rows:
        """All questions of one file set must have equally many choices: a batch is a block."""
        counts = {len(example.choices) for example in examples}
        if len(counts) > 1:
            raise InputError(f"the questions have {sorted(counts)} choices; train on sets of one kind at a time.")
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
