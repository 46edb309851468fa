"""The data set as fairseq asks for it."""

import os
import threading
import time
from collections.abc import Sequence

import numpy as np
from fairseq.data import FairseqDataset
from torch.utils.data import get_worker_info

from weam_fairseq.data.split import Pair
from weam_fairseq.method.batch import Batch, PickledBatch
from weam_fairseq.method.dataset import WordExchangeDataset


class FairseqWordExchangeDataset(WordExchangeDataset, FairseqDataset):  # type: ignore[misc]
    """`WordExchangeDataset` under the names of FairseqDataset."""

    def __getitems__(self, virtual_indices: Sequence[int]) -> list[Pair]:
        exit_with_parent()
        return super().__getitems__(virtual_indices)

    def collater(self, samples: list[Pair]) -> Batch:
        return PickledBatch(super().collater(samples))

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


_INTERVAL = 1.0  # seconds between two looks
_watched: int | None = None  # the process that has a watch; a fork has none


def exit_with_parent() -> None:
    """In a data worker, starts a thread that ends the process when its parent is gone. Elsewhere it does nothing.

    torch's workers look for their parent too, but then wait until everything that they sent has been read. Nobody reads
    a batch that does not fit into the pipe after the trainer is gone, so the worker would never end.
    """
    global _watched
    if get_worker_info() is None or _watched == os.getpid():
        return
    _watched = os.getpid()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    os._exit(1)  # a worker has nothing to save, and an orderly end would wait for the reader
