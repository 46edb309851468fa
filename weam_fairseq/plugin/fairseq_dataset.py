"""The data set with fairseq's interface."""

import os
import threading
import time
from collections.abc import Sequence

import numpy as np
from fairseq.data import FairseqDataset
from torch.utils.data import get_worker_info

from weam_fairseq.common.process_setup import release_free_memory
from weam_fairseq.data.split import Pair
from weam_fairseq.method.batch import Batch, PickledBatch
from weam_fairseq.method.dataset import WordExchangeDataset


class FairseqWordExchangeDataset(WordExchangeDataset, FairseqDataset):  # type: ignore[misc]
    """`WordExchangeDataset` with the methods of FairseqDataset."""

    def __getitems__(self, virtual_indices: Sequence[int]) -> list[Pair]:
        begin_worker()
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
        """Separates the virtual indices of pairs that fit from those that are too long."""
        fits = self.sizes[virtual_indices % len(self)] <= max_sizes
        return virtual_indices[fits], virtual_indices[~fits].tolist()

    def batch_by_size(
        self,
        indices: np.ndarray,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> list[np.ndarray]:
        """Makes the batches of fairseq's own function with a multiple of 1. Others would drop the last batch."""
        del required_batch_size_multiple
        return self.batches(indices, max_tokens, max_sentences)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False: each epoch makes new batches. Otherwise a resumed run would reuse the batches of its first epoch."""
        return False


_INTERVAL = 1.0  # seconds between two checks
_watched: int | None = None  # id of the process whose parent is watched; a fork has another id


def begin_worker() -> None:
    """In a new data worker, frees memory and starts a thread that ends the process when its parent has ended.

    torch's workers check their parent too, but then wait until all their messages have been read. After the trainer has
    ended, nobody reads a batch that does not fit into the pipe, so the worker would never end.
    """
    global _watched
    if get_worker_info() is None or _watched == os.getpid():
        return
    _watched = os.getpid()
    release_free_memory()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_INTERVAL)
    os._exit(1)  # a worker has nothing to save, and a normal exit would wait for a reader
