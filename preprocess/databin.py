"""The data-bin's files in fairseq's own formats. The one file of this room that imports fairseq.

fairseq's id space: `<s>`, `<pad>`, `</s>`, `<unk>` are 0 to 3 and stand for the tokenizer's cls, pad, sep and unk;
every other tokenizer id is a line of the dictionary, in increasing order, from 4 on. Symbols are numbers, because
fairseq splits lines on white space and pieces may hold some.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

# What a link's probability is counted in: parts per so many.
CERTAIN = 10_000


class IdSpace:
    """From tokenizer ids to fairseq ids."""

    def __init__(self, ids: Sequence[int], special_ids: Mapping[str, int]) -> None:
        first = [special_ids[name] for name in ("cls", "pad", "sep", "unk")]
        self.dictionary_ids = [i for i in sorted(ids) if i not in first]
        self._to_fairseq = np.full(max(ids) + 1, -1, dtype=np.int64)
        for fairseq_id, tokenizer_id in enumerate(first + self.dictionary_ids):
            self._to_fairseq[tokenizer_id] = fairseq_id
        self.size = len(first) + len(self.dictionary_ids)

    def fairseq_ids(self, tokenizer_ids: Sequence[int] | NDArray) -> NDArray[np.int64]:
        converted = self._to_fairseq[np.asarray(tokenizer_ids, dtype=np.int64)]
        assert (converted >= 0).all(), "the tokenizer gave an id that is not in its vocabulary"
        return converted


def require_fairseq() -> None:
    """Raises InputError with the command when fairseq is not installed, before any work is done."""
    try:
        import fairseq.data.indexed_dataset  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"Writing a data-bin needs fairseq ({error}). Install it: pip install --no-deps ve-fairseq==0.12.3"
        ) from error


def write_dictionary(space: IdSpace, file: Path) -> None:
    """fairseq's own writer; the counts are 1 because nothing uses them."""
    from fairseq.data import Dictionary

    dictionary = Dictionary()
    for tokenizer_id in space.dictionary_ids:
        dictionary.add_symbol(str(tokenizer_id), n=1)
    dictionary.save(str(file))


def write_part(folder: Path, prefix: str, parts: Iterable[tuple[NDArray, NDArray]], values: int) -> None:
    """Writes PREFIX.bin and PREFIX.idx: what fairseq's MMapIndexedDatasetBuilder would write, item for item.

    Args:
        folder: of the data-bin.
        prefix: as train.en-de.en.
        parts: (elements of the items end to end, size of each item), one after the other.
        values: how many different values there may be.
    """
    from fairseq.data.indexed_dataset import (
        MMapIndexedDataset,
        best_fitting_int_dtype,
        data_file_path,
        index_file_path,
    )

    dtype = best_fitting_int_dtype(values)
    path = str(folder / prefix)
    all_sizes: list[NDArray] = []
    elements = 0
    with open(data_file_path(path), "wb") as data:
        for flat, sizes in parts:
            data.write(np.ascontiguousarray(flat, dtype=dtype).tobytes())
            all_sizes.append(sizes)
            elements += len(flat)
        if not elements:
            # No link in the whole split: fairseq's reader maps the file into memory, and an empty one cannot be mapped.
            # The index points at none of these bytes.
            data.write(bytes(8))
    with MMapIndexedDataset.Index.writer(index_file_path(path), dtype) as index:
        index.write(np.concatenate(all_sizes).tolist() if all_sizes else [])
