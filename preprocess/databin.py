"""Writes the data-bin's files in fairseq's formats, without fairseq: importing it takes longer than writing.

fairseq's id space: `<s>`, `<pad>`, `</s>`, `<unk>` are 0 to 3: the tokenizer's cls, pad, sep and unk, or what
`first_ids` gives for a missing one. Every other tokenizer id is a line of the dictionary, in increasing order, from 4
on. Symbols are numbers, because fairseq splits lines at white space and pieces may contain some.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weam_fairseq.common.tokenizers import first_ids

MANIFEST = "manifest.json"

# The unit of a link's probability is one part in this many.
CERTAIN = 10_000

# The head of an .idx file (fairseq/data/indexed_dataset.py, MMapIndexedDataset.Index): magic, version, type of the
# elements, number of items; then the size of each item as int32, and where it begins in bytes as int64.
_INDEX_MAGIC = b"MMIDIDX\x00\x00"
_INDEX_VERSION = 1
_DTYPE_CODES = {np.dtype(np.int64): 5, np.dtype(np.uint16): 8, np.dtype(np.uint32): 9}


class IdSpace:
    """Maps tokenizer ids to fairseq ids."""

    def __init__(self, ids: Sequence[int], special_ids: Mapping[str, int]) -> None:
        first = first_ids(special_ids, ids)
        self.dictionary_ids = [i for i in sorted(ids) if i not in first]
        self._to_fairseq = np.full(max(ids) + 1, -1, dtype=np.int64)
        for fairseq_id, tokenizer_id in enumerate(first + self.dictionary_ids):
            self._to_fairseq[tokenizer_id] = fairseq_id
        self.size = len(first) + len(self.dictionary_ids)
        self.unknown = special_ids.get("unk")  # the tokenizer's id, if it has one

    def fairseq_ids(self, tokenizer_ids: Sequence[int] | NDArray) -> NDArray[np.int64]:
        converted = self._to_fairseq[np.asarray(tokenizer_ids, dtype=np.int64)]
        assert (converted >= 0).all(), "the tokenizer gave an id that is not in its vocabulary"
        return converted


def write_dictionary(space: IdSpace, file: Path) -> None:
    """The file that fairseq's Dictionary saves; the counts are 1 because nothing uses them."""
    lines = "".join(f"{tokenizer_id} 1\n" for tokenizer_id in space.dictionary_ids)
    file.write_text(lines, encoding="utf-8", newline="\n")


def write_part(folder: Path, prefix: str, parts: Iterable[tuple[NDArray, NDArray]], values: int) -> None:
    """Writes PREFIX.bin and PREFIX.idx, byte for byte what fairseq's MMapIndexedDatasetBuilder writes.

    Args:
        folder: of the data-bin.
        prefix: as train.en-de.en.
        parts: (elements of the items end to end, size of each item), one after the other.
        values: the number of different values that are possible.
    """
    dtype = _smallest_dtype(values)
    all_sizes: list[NDArray] = [np.zeros(0, dtype=np.int32)]
    elements = 0
    with (folder / f"{prefix}.bin").open("wb") as data:
        for flat, sizes in parts:
            data.write(np.ascontiguousarray(flat, dtype=dtype).tobytes())
            all_sizes.append(sizes.astype(np.int32))
            elements += len(flat)
        if not elements:
            # The split has no link at all. fairseq maps the file into memory, which fails for an empty file. The index
            # refers to none of these bytes.
            data.write(bytes(8))
    sizes = np.concatenate(all_sizes)
    pointers = (np.cumsum(sizes, dtype=np.int64) - sizes) * dtype.itemsize
    with (folder / f"{prefix}.idx").open("wb") as index:
        index.write(_INDEX_MAGIC + struct.pack("<QBQ", _INDEX_VERSION, _DTYPE_CODES[dtype], len(sizes)))
        index.write(sizes.tobytes() + pointers.tobytes())


def _smallest_dtype(values: int) -> np.dtype[Any]:
    """As fairseq's `best_fitting_int_dtype` chooses."""
    return np.dtype(np.uint16 if values < 65_500 else np.uint32 if values < (1 << 32) - 1 else np.int64)
