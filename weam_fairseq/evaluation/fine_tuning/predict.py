"""Predictions of a model for any number of examples, in length-sorted batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.fine_tuning.heads.head import Head
from weam_fairseq.evaluation.fine_tuning.rows import Rows, length_sorted, padded
from weam_fairseq.evaluation.progress import progress


class Machine(NamedTuple):
    """Where and how to compute. `pad_piece` is the tokenizer's padding id; `batch_size` counts units of prediction."""

    device: str
    precision: str
    pad_piece: int
    batch_size: int

    def autocast(self) -> AbstractContextManager[Any]:
        import torch

        return torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.precision == "bf16")


def predict(model: Any, head: Head, examples: Sequence[Any], rows: Rows, machine: Machine, label: str) -> list[Any]:
    """One prediction an example.

    Raises:
        InputError: an output is not finite; its largest value would name an answer all the same.
    """
    import torch

    model.eval()
    found: list[Any] = [None] * len(rows)
    with torch.inference_mode(), machine.autocast():
        batches = length_sorted(rows, machine.batch_size)
        for units in progress(batches, label, "batches", len(batches)):
            output = model(**padded(rows, units, model, machine.pad_piece, machine.device))
            if not all(torch.isfinite(values).all() for values in output.values() if torch.is_tensor(values)):
                raise InputError("the fine-tuned model gives outputs that are not finite: its training diverged.")
            for unit, kept in zip(units, head.read_out(output, rows, units), strict=True):
                found[unit] = kept
    return head.decode(examples, rows, found)
