"""Accuracy of labels: XNLI, PAWS-X, XCOPA."""

from __future__ import annotations

from collections.abc import Sequence

from weam_fairseq.common.errors import InputError


def accuracy(gold: Sequence[str], predictions: Sequence[str]) -> float:
    """The share of equal labels, 0–100.

    Raises:
        InputError: the two differ in length, or there is no label.
    """
    if len(gold) != len(predictions):
        raise InputError(
            f"there are {len(gold):,} gold labels but {len(predictions):,} predictions: "
            "label k of one must belong to label k of the other."
        )
    if not gold:
        raise InputError("there is no gold label to score against.")
    return 100.0 * sum(one == other for one, other in zip(gold, predictions, strict=True)) / len(gold)
