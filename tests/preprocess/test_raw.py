"""Streaming reader: the lines that a plain split would give, in step on both sides, whatever the file is packed in."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weam_preprocess.corpus import PairFiles, parse_pair_files
from weam_preprocess.errors import InputError
from weam_preprocess.raw import RawChunk, RawReader

LINE = st.binary(max_size=12).filter(lambda raw: b"\n" not in raw)


def zstd(data: bytes) -> bytes:
    return pytest.importorskip("backports.zstd").compress(data)


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def read(*parts: tuple[Path, ...], size: int = 3, **options: int) -> tuple[list[RawChunk], RawReader]:
    reader = RawReader(parts, size, **options)
    return list(reader), reader


def refused(sentence: str, *parts: tuple[Path, ...]) -> None:
    with pytest.raises(InputError, match=sentence):
        read(*parts)


@given(st.lists(st.tuples(LINE, LINE), min_size=1), st.booleans(), st.integers(1, 9), st.integers(1, 20))
def test_lines_come_in_step(pairs: list[tuple[bytes, bytes]], ended: bool, size: int, max_line_bytes: int) -> None:
    """Blocks are as long as a line may be, so this also crosses their edges everywhere."""
    # A last line that is empty needs its line end to be one; the first line keeps others from looking like a format.
    ended = ended or not all(pairs[-1])
    pairs = [(b".", b"."), *pairs]
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for side, name in enumerate(("a", "b")):
            data = b"".join(pair[side] + b"\n" for pair in pairs)
            paths.append(write(Path(folder, name), data if ended else data[:-1]))
        chunks, reader = read(tuple(paths), size=size, max_line_bytes=max_line_bytes)
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.first_line_idx for chunk in chunks] == [size * i for i in range(len(chunks))]
    assert all(len(chunk.sides[0]) == len(chunk.sides[1]) == chunk.size <= size for chunk in chunks)
    for side in range(2):
        expected = [pair[side][: max_line_bytes + 1] for pair in pairs]
        assert [line for chunk in chunks for line in chunk.sides[side]] == expected
    assert [(file.sha256, file.lines) for file in reader.parts[0]] == [(sha256, len(pairs)) for sha256 in hashes]


@pytest.mark.parametrize("suffix", PACK)
def test_packed_files_hold_the_same_lines(tmp_path: Path, suffix: str) -> None:
    data = b"".join(b"%d\tx\n" % number for number in range(50_000))
    path = write(tmp_path / f"x.tsv{suffix}", PACK[suffix](data[:99]) + PACK[suffix](data[99:]))
    chunks, reader = read((path,), size=40_000)
    assert [chunk.size for chunk in chunks] == [40_000, 10_000]
    assert b"".join(line + b"\n" for chunk in chunks for line in chunk.sides[0]) == data
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert [[(file.file, file.sha256, file.lines) for file in part] for part in reader.parts] == [
        [(path.name, sha256, 50_000)]
    ]


def test_only_newlines_end_lines(tmp_path: Path) -> None:
    data = "a\u2028b\x0bc\u0085d\x1ce\rf\x00\n\ng".encode()
    [chunk], _ = read((write(tmp_path / "x", data),))
    assert chunk.sides == ([data[:-3], b"", b"g"],)


def test_parts_follow_each_other(tmp_path: Path) -> None:
    """A chunk never spans two parts; lines count on, and also from the beginning of each part."""
    tsv = write(tmp_path / "x.tsv", b"a\tA\nb\tB\nc\tC\n")
    source, target = write(tmp_path / "x.en", b"d\ne"), write(tmp_path / "x.de", b"D\nE\n")
    chunks, reader = read((tsv,), (source, target), size=2)
    assert [(c.number, c.first_line_idx, c.first_part_line_idx, c.size) for c in chunks] == [
        (0, 0, 0, 2),
        (1, 2, 2, 1),
        (2, 3, 0, 2),
    ]
    assert chunks[2].sides == ([b"d", b"e"], [b"D", b"E"])
    assert [[(file.file, file.lines) for file in part] for part in reader.parts] == [
        [("x.tsv", 3)],
        [("x.en", 2), ("x.de", 2)],
    ]


def test_an_endless_line_is_not_held_in_memory(tmp_path: Path) -> None:
    """And the lines after it are in step."""
    source = write(tmp_path / "x.en.gz", gzip.compress(b"a\n" + b"b" * (64 << 20) + b"\nc\n", 1))
    target = write(tmp_path / "x.de", b"A\nB\nC\n")
    tracemalloc.start()
    [chunk], _ = read((source, target))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20
    assert [line[:2] for line in chunk.sides[0]] == [b"a", b"bb", b"c"]
    assert [len(line) > chunk.max_line_bytes for line in chunk.sides[0]] == [False, True, False]
    assert chunk.sides[1] == [b"A", b"B", b"C"]


def test_chunks_of_long_lines_are_short(tmp_path: Path) -> None:
    """`size` lines of nearly the longest length each would not fit into memory."""
    path = write(tmp_path / "x.tsv.gz", gzip.compress((bytes(1 << 20) + b"\n") * 100, 1))
    reader = RawReader([(path,)], 100)
    assert max(chunk.size for chunk in reader) < 50
    assert reader.parts[0][0].lines == 100


def test_one_side_of_short_lines_does_not_run_ahead(tmp_path: Path) -> None:
    short = write(tmp_path / "x.en.gz", gzip.compress(b"\n" * (8 << 20), 1))
    long = write(tmp_path / "x.de.gz", gzip.compress(bytes(100 << 10) + b"\n"))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"x\.en\.gz has 8,388,608 lines but .*x\.de\.gz has 1\."):
        read((short, long), size=1 << 30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("streams", [1, 2])
def test_a_truncated_file(tmp_path: Path, suffix: str, streams: int) -> None:
    """Also where only the last of several streams is cut: its lines must not be missing from an exit code of 0."""
    one = PACK[suffix](b"".join(b"%d\tx\n" % number for number in range(5_000)))
    for length in (len(one) - 1, len(one) // 2, 20):
        path = write(tmp_path / f"x.tsv{suffix}", one * (streams - 1) + one[:length])
        refused(rf"x\.tsv\{suffix} holds \w+ data that are damaged, truncated, or followed by other bytes", (path,))


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("after", [b"X", b"garbage " * 10, b"\n", b"PK\x03\x04" + bytes(99)])
def test_bytes_after_the_last_stream(tmp_path: Path, suffix: str, after: bytes) -> None:
    path = write(tmp_path / "x", PACK[suffix](b"a\tb\n") + after)
    refused(r"x holds \w+ data that are damaged, truncated, or followed by other bytes", (path,))


@pytest.mark.parametrize("suffix", PACK)
def test_a_damaged_stream(tmp_path: Path, suffix: str) -> None:
    first, second = PACK[suffix](b"a\tb\n" * 99), bytearray(PACK[suffix](b"c\td\n" * 99))
    for place in (0, len(second) // 2, len(second) - 3):
        damaged = bytearray(second)
        damaged[place] ^= 0xFF
        path = write(tmp_path / "x", first + damaged)
        if suffix == ".zst" and place:  # frames have a checksum only on request
            continue
        refused(r"x holds \w+ data that are damaged", (path,))


def test_zero_bytes_after_an_xz_stream_are_part_of_the_format(tmp_path: Path) -> None:
    one = lzma.compress(b"a\n")
    [chunk], _ = read((write(tmp_path / "x", one + bytes(8) + one + bytes(4)),))
    assert chunk.sides == ([b"a", b"a"],)


@pytest.mark.parametrize("suffix", PACK)
def test_the_content_decides_and_not_the_name(tmp_path: Path, suffix: str) -> None:
    [chunk], _ = read((write(tmp_path / f"x{suffix}", b"plain\ttext\n"),))
    assert chunk.sides == ([b"plain\ttext"],)
    [chunk], _ = read((write(tmp_path / "x.tsv", PACK[suffix](b"a\tb\n")),))
    assert chunk.sides == ([b"a\tb"],)


@pytest.mark.parametrize(("lines", "others"), [(2, 1), (1, 2), (3, 9), (9, 3), (8, 7)])
def test_files_of_different_length(tmp_path: Path, lines: int, others: int) -> None:
    source, target = write(tmp_path / "t.en", b"a\n" * lines), write(tmp_path / "t.de", b"b\n" * others)
    refused(rf"t\.en has {lines} lines but .*t\.de has {others}\. Line n of one must translate", (source, target))


def test_an_empty_file(tmp_path: Path) -> None:
    empty, other = write(tmp_path / "t.en", b""), write(tmp_path / "t.de", b"b\n")
    refused(r"t\.en is empty", (empty,))
    refused(r"t\.en is empty", (other, empty))


def test_all_files_are_looked_for_before_the_first_is_read(tmp_path: Path) -> None:
    there = write(tmp_path / "t.tsv", b"a\tb\n")
    with pytest.raises(InputError, match=r"nowhere\.tsv does not exist\. Check the path"):
        RawReader([(there,), (tmp_path / "nowhere.tsv",)], 3)
    with pytest.raises(InputError, match=r"is a folder\. Name the files in it"):
        RawReader([(there,), (tmp_path,)], 3)


def test_zst_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    with pytest.raises(InputError, match=r"x is Zstandard data, which needs .* pip install backports\.zstd"):
        RawReader([(write(tmp_path / "x", b"\x28\xb5\x2f\xfd"),)], 3)


def test_a_pair_that_is_named_again_has_more_files() -> None:
    texts = ["en-de=a.tsv", "en-zh=t.en,t.zh", "en-de=b.tsv.gz", "en-de=c.en,c.de"]
    assert parse_pair_files(texts) == [
        PairFiles("en-de", "en", "de", ((Path("a.tsv"),), (Path("b.tsv.gz"),), (Path("c.en"), Path("c.de")))),
        PairFiles("en-zh", "en", "zh", ((Path("t.en"), Path("t.zh")),)),
    ]


@pytest.mark.parametrize("texts", [["en-de=a.tsv", "en-de=a.tsv"], ["en-de=a,a"], ["en-de=a,b", "en-de=c,b"]])
def test_a_file_named_twice(texts: list[str]) -> None:
    with pytest.raises(InputError, match=r"--pair en-de names [ab](\.tsv)? twice\. Name each file once"):
        parse_pair_files(texts)
