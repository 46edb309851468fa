"""Pure: reads fairseq's memory-mapped format, many items at once. fairseq's own reader reads one item at a time.

PREFIX.bin contains the elements of all items end to end. PREFIX.idx contains a magic number, a version, the element
type and the number of items, then the size of each item (int32) and the offset of its first byte (int64).
"""

import struct
from pathlib import Path

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.data.layout import Ragged

_HEAD = struct.Struct("<9sQBQ")
_MAGIC = b"MMIDIDX\x00\x00"
# The integer types of _code_to_dtype in fairseq/data/indexed_dataset.py.
_DTYPES = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16, 9: np.uint32}


class IndexedFile:
    """The items of PREFIX.bin and PREFIX.idx.

    Attributes:
        sizes: (items,) int32.

    Raises:
        InputError: the files are not in fairseq's format or do not belong together.
    """

    def __init__(self, prefix: Path, *, check: bool = True) -> None:
        self._prefix = prefix
        index = Path(f"{prefix}.idx")
        with index.open("rb") as stream:
            head = stream.read(_HEAD.size)
        magic, version, code, count = _HEAD.unpack(head) if len(head) == _HEAD.size else (b"", 0, 0, 0)
        if magic != _MAGIC or version != 1 or code not in _DTYPES or index.stat().st_size != _HEAD.size + 12 * count:
            raise InputError(
                f"{index} must be an index in fairseq's mmap format, version 1, but is not, or is truncated. "
                "Run weam-preprocess again."
            )
        stored = np.memmap(index, mode="r") if count else np.zeros(_HEAD.size, dtype=np.uint8)
        self.sizes = np.frombuffer(stored, np.int32, count, _HEAD.size)
        self._begins = np.frombuffer(stored, np.int64, count, _HEAD.size + 4 * count)
        dtype = np.dtype(_DTYPES[code])
        data = Path(f"{prefix}.bin")
        elements, left_over = divmod(data.stat().st_size, dtype.itemsize)
        if check:
            self._check(index, data, elements * dtype.itemsize + left_over, dtype.itemsize)
        self._data = np.frombuffer(np.memmap(data, mode="r"), dtype, elements)

    def _check(self, index: Path, data: Path, byte_count: int, itemsize: int) -> None:
        """Raises InputError unless the index describes items that lie end to end in a file of `byte_count` bytes."""
        sizes = self.sizes.astype(np.int64)
        ends = np.cumsum(sizes)
        total = int(ends[-1]) if len(ends) else 0
        if len(sizes) and (int(sizes.min()) < 0 or not np.array_equal(self._begins, (ends - sizes) * itemsize)):
            raise InputError(
                f"{index} must list items that lie end to end, as weam-preprocess writes them, but does not. "
                "Run weam-preprocess again."
            )
        # If all items are empty, weam-preprocess writes eight bytes, because an empty file cannot be mapped.
        if byte_count != total * itemsize and (total or byte_count != 8):
            raise InputError(
                f"{data} must hold the {total * itemsize:,} bytes that {index.name} claims, but has {byte_count:,}. "
                "Run weam-preprocess again."
            )

    def __len__(self) -> int:
        return len(self.sizes)

    def take(self, indices: np.ndarray) -> Ragged:
        """Reads the items at `indices`, in this order."""
        sizes = self.sizes[indices].astype(np.int64)
        ends = np.cumsum(sizes)
        begins = self._begins[indices] // self._data.itemsize
        places = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(begins - ends + sizes, sizes)
        return Ragged(self._data[places].astype(np.int64), sizes)

    # A memory map cannot be sent to a worker process, so workers reopen the files, which the trainer has checked.
    def __getstate__(self) -> Path:
        return self._prefix

    def __setstate__(self, prefix: Path) -> None:
        self.__init__(prefix, check=False)  # type: ignore[misc]
