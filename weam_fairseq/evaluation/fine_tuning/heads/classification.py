"""Classification of two sentences: XNLI, PAWS-X."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weam_fairseq.evaluation.fine_tuning.examples import SentencePair
from weam_fairseq.evaluation.fine_tuning.heads.head import Head
from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
from weam_fairseq.evaluation.fine_tuning.rows import Rows, token_types

if TYPE_CHECKING:
    import torch


class Classification(Head):
    """One label a pair. `broad` names labels that training data may have and that stand for several of `labels`."""

    name = "classification"
    auto_class = "AutoModelForSequenceClassification"
    suffix = ".txt"

    def __init__(self, labels: tuple[str, ...], broad: Mapping[str, tuple[str, ...]] | None = None) -> None:
        self.labels = labels
        self._meanings = {**{label: (label,) for label in labels}, **(broad or {})}

    def rows(self, tokenizer: Any, examples: Sequence[SentencePair], recipe: Recipe, for_training: bool) -> Rows:
        kept = [index for index, example in enumerate(examples) if not for_training or example.label in self._meanings]
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
        """Cross entropy of the labels that a target stands for, together (the usual one, where it is one label)."""
        import torch

        log_probabilities = output.logits.float().log_softmax(dim=-1)  # (B, K)
        wanted = torch.tensor(targets, device=log_probabilities.device)
        return -log_probabilities.masked_fill(~wanted, float("-inf")).logsumexp(dim=-1).mean()

    def read_out(self, output: Any, rows: Rows, units: Sequence[int]) -> list[int]:
        return output.logits.argmax(dim=-1).tolist()

    def decode(self, examples: Sequence[SentencePair], rows: Rows, found: Sequence[int]) -> list[str]:
        rows.notes["same_answer"] = len(found) if len(set(found)) == 1 < len(found) else 0
        return [self.labels[label] for label in found]

    def text_of(self, example: SentencePair) -> tuple[str, ...]:
        return (example.first, example.second)

    def group_of(self, example: SentencePair) -> str:
        return example.first

    def gold(self, example: SentencePair) -> str:
        return example.label

    def write(self, examples: Sequence[SentencePair], answers: Sequence[str]) -> str:
        return "".join(f"{answer}\n" for answer in answers)

    def scorable(self, example: SentencePair) -> bool:
        return example.label in self.labels
