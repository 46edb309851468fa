"""Our reader of fairseq's memory-mapped format against fairseq's own writer."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import indexed_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from weam_fairseq.common.errors import InputError
from weam_fairseq.data.indexed_file import IndexedFile


def write(prefix: Path, items: list[list[int]], values: int) -> Path:
    builder = indexed_dataset.make_builder(f"{prefix}.bin", impl="mmap", vocab_size=values)
    for item in items:
        builder.add_item(torch.tensor(item, dtype=torch.int64))
    builder.finalize(f"{prefix}.idx")
    return prefix


@settings(max_examples=40, deadline=None)
@given(data=st.data(), values=st.sampled_from([100, 70_000, 1 << 40]))
def test_items_in_any_order_and_any_number(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, values: int
) -> None:
    numbers = st.lists(st.integers(0, values - 1), max_size=4)
    items = [[7], *data.draw(st.lists(numbers, max_size=6))]  # an empty file cannot be mapped
    chosen = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=8))
    opened = IndexedFile(write(tmp_path_factory.mktemp("indexed") / "part", items, values))
    for file in (opened, pickle.loads(pickle.dumps(opened))):
        assert len(file) == len(items)
        assert file.sizes.tolist() == [len(item) for item in items]
        taken = file.take(np.array(chosen, dtype=np.int64))
        assert taken.flat.dtype == np.int64
        assert taken.flat.tolist() == [number for idx in chosen for number in items[idx]]
        assert taken.sizes.tolist() == [len(items[idx]) for idx in chosen]


@pytest.mark.parametrize("suffix", ["idx", "bin"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    prefix = write(tmp_path / "part", [[1, 2, 3], [4]], 10)
    file = Path(f"{prefix}.{suffix}")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=rf"part\.{suffix} must .*Run weam-preprocess again"):
        IndexedFile(prefix)


def test_another_format_is_refused(tmp_path: Path) -> None:
    prefix = write(tmp_path / "part", [[1]], 10)
    Path(f"{prefix}.idx").write_bytes(b"TNTIDX\x00\x00" + bytes(50))
    with pytest.raises(InputError, match=r"must be an index in fairseq's mmap format"):
        IndexedFile(prefix)


@pytest.mark.parametrize(
    ("sizes", "begins", "elements", "sentence"),
    [
        ([3, 1], [0, 6], 5, r"part\.bin must hold the 8 bytes that part\.idx claims, but has 10"),
        ([3, 1], [0, 6], 3, r"part\.bin must hold the 8 bytes that part\.idx claims, but has 6"),
        ([2**31 - 1, 2**31 - 1], [0, 2 * (2**31 - 1)], 4, r"must hold the 8,589,934,588 bytes that part\.idx claims"),
        ([-1, 5], [0, -2], 4, r"part\.idx must list items that lie end to end"),
        ([3, 1], [0, 4], 4, r"part\.idx must list items that lie end to end"),
        ([3, 1], [0, 7], 4, r"part\.idx must list items that lie end to end"),
        ([3, 1], [0, 1 << 62], 4, r"part\.idx must list items that lie end to end"),
        ([0, 0], [0, 0], 3, r"part\.bin must hold the 0 bytes that part\.idx claims, but has 6"),
    ],
)
def test_an_index_that_does_not_match_its_file_is_refused(
    tmp_path: Path, sizes: list[int], begins: list[int], elements: int, sentence: str
) -> None:
    (tmp_path / "part.bin").write_bytes(bytes(2 * elements))
    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQ", 1, 8, len(sizes))
    (tmp_path / "part.idx").write_bytes(head + np.array(sizes, np.int32).tobytes() + np.array(begins).tobytes())
    with pytest.raises(InputError, match=sentence):
        IndexedFile(tmp_path / "part")


@pytest.mark.parametrize(("version", "code", "count"), [(2, 8, 0), (1, 77, 0), (1, 6, 0), (1, 8, 1 << 60), (1, 8, 3)])
def test_an_index_of_another_kind_is_refused(tmp_path: Path, version: int, code: int, count: int) -> None:
    (tmp_path / "part.bin").write_bytes(bytes(8))
    (tmp_path / "part.idx").write_bytes(b"MMIDIDX\x00\x00" + struct.pack("<QBQ", version, code, count))
    with pytest.raises(InputError, match=r"part\.idx must be an index in fairseq's mmap format"):
        IndexedFile(tmp_path / "part")
