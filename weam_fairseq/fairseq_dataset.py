"""The data set as fairseq asks for it."""

from collections.abc import Sequence

import numpy as np
from fairseq.data import FairseqDataset

from .batch import Batch
from .data_worker import end_with_trainer
from .dataset import WordExchangeDataset
from .one_buffer import OneBuffer
from .split import Pair


class FairseqWordExchangeDataset(WordExchangeDataset, FairseqDataset):  # type: ignore[misc]
    """`WordExchangeDataset` under the names of FairseqDataset."""

    def __getitems__(self, virtual_indices: Sequence[int]) -> list[Pair]:
        end_with_trainer()
        return super().__getitems__(virtual_indices)

    def collater(self, samples: list[Pair]) -> Batch:
        return OneBuffer(super().collater(samples))

    def size(self, virtual_index: int) -> int:
        return int(self.sizes[virtual_index % len(self)])

    def num_tokens(self, virtual_index: int) -> int:
        return int(self.places(np.asarray(virtual_index)))

    def num_tokens_vec(self, virtual_indices: np.ndarray) -> np.ndarray:
        return self.places(virtual_indices)

    def filter_indices_by_size(self, virtual_indices: np.ndarray, max_sizes: int) -> tuple[np.ndarray, list[int]]:
        """Virtual indices of pairs that fit, and of those that are left out."""
        fits = self.sizes[virtual_indices % len(self)] <= max_sizes
        return virtual_indices[fits], virtual_indices[~fits].tolist()

    def batch_by_size(
        self,
        indices: np.ndarray,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> list[np.ndarray]:
        """The batches of fairseq's own function with a multiple of 1. With another one fairseq drops the last batch."""
        del required_batch_size_multiple
        return self.batches(indices, max_tokens, max_sentences)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False: batches are made anew for each epoch. A resumed run would keep those of the epoch it resumed in."""
        return False
