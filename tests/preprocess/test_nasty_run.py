"""Nasty lines through the whole of it: no row of the data-bin has the pieces, words or links of another line.

What a row must hold is worked out here once more, one line at a time, from README's rules: the exported tokenizer and
the segmenter see that line alone, and every line is given links that no other line is likely to have.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_nasty_lines import CHARS, LINE, NASTY, documented, files, is_text
from weam_preprocess import pipeline, tokenizer_folder
from weam_preprocess.corpus import parse_pair_files
from weam_preprocess.spans import Span
from weam_preprocess.words import segmenter

indexed_dataset = pytest.importorskip("fairseq.data.indexed_dataset")

Lines = list[tuple[bytes, bytes]]
Links = list[tuple[int, int]]
LANGUAGES = ("en", "de")
PLAIN = (b"An ordinary line.", "Eine gewöhnliche Zeile.".encode())


class Row(NamedTuple):
    """Of the data-bin: tokenizer ids and words of each side, piece links."""

    ids: tuple[list[int], ...]
    words: tuple[list[int], ...]
    links: Links


@pytest.fixture(scope="module", params=["wordpiece", "unigram"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One piece or more for nearly every character that the lines hold."""
    folder = tmp_path_factory.mktemp(request.param) / "tokenizer"
    kept = [text for *_, found in NASTY.values() if not isinstance(found, str) for text in found]
    if request.param == "unigram":
        tokenizer_folder.train_tokenizer("unigram", [*kept, *CHARS.split(), *map(bytes.decode, PLAIN)], 200, folder)
        return folder
    every = "".join([*kept, CHARS, *map(bytes.decode, PLAIN)])
    letters = sorted(char for char in set(every) if char.isprintable())
    pieces = [*tokenizer_folder.SPECIAL_PIECES.values(), "The", "##ouse", *letters, *(f"##{char}" for char in letters)]
    tokenizer_folder.write_wordpiece({piece: idx for idx, piece in enumerate(dict.fromkeys(pieces))}, folder)
    return folder


def texts(lines: Lines) -> list[tuple[str, str] | None]:
    """What is left of the lines once they are mended; None for those that are no UTF-8."""
    found: list[tuple[str, str] | None] = []
    for line_idx, (source, target) in enumerate(lines):
        try:
            found.append((documented(source, line_idx, tsv=False), documented(target, line_idx, tsv=False)))
        except UnicodeDecodeError:
            found.append(None)
    return found


def links_of(line_idx: int, text: tuple[str, str] | None) -> Links:
    sizes = [len(segmenter(lang).spans(side)) for lang, side in zip(LANGUAGES, text or ("", ""), strict=True)]
    if not all(sizes):
        return []
    return sorted({(7 * line_idx % sizes[0], 5 * line_idx % sizes[1]), (sizes[0] - 1, 0)})


def run(lines: Lines, tokenizer: Path, folder: Path, **more: Any) -> None:
    for language, content in zip(LANGUAGES, files(lines), strict=True):
        (folder / f"text.{language}").write_bytes(content)
    of_lines = [links_of(line_idx, text) for line_idx, text in enumerate(texts(lines))]
    (folder / "links").write_text("".join(" ".join(f"{i}-{j}" for i, j in links) + "\n" for links in of_lines))
    pairs = tuple(parse_pair_files([f"en-de={folder / 'text.en'},{folder / 'text.de'}"]))
    links = {"en-de": folder / "links"}
    pipeline.run(
        pipeline.Options(pairs, folder / "bin", tokenizer=tokenizer, aligner="precomputed", links=links, **more)
    )


def rows(databin: Path) -> list[Row]:
    special = json.loads((databin / "manifest.json").read_text(encoding="utf-8"))["tokenizer"]["special_ids"]
    ids = [special[name] for name in ("cls", "pad", "sep", "unk")]
    ids += [int(line.split()[0]) for line in (databin / "dict.en.txt").read_text().splitlines()]

    def column(name: str) -> list[list[int]]:
        dataset = indexed_dataset.MMapIndexedDataset(str(databin / f"train.{name}"))
        return [dataset[place].tolist() for place in range(len(dataset))]

    pieces = [[[ids[idx] for idx in item] for item in column(f"en-de.{language}")] for language in LANGUAGES]
    words = [column(f"words.en-de.{language}") for language in LANGUAGES]
    links = [list(zip(flat[::2], flat[1::2], strict=True)) for flat in column("align.en-de")]
    return [Row(*row) for row in zip(zip(*pieces, strict=True), zip(*words, strict=True), links, strict=True)]


def kept(databin: Path, count: int) -> list[int]:
    """The input lines that dropped.tsv does not name; it names the first 20 of each reason."""
    told = [row.split("\t") for row in (databin / "dropped.tsv").read_text(encoding="utf-8").split("\n")[1:-1]]
    dropped = {int(row[2]) - 1 for row in told}
    assert len(dropped) == len(told)
    return [line_idx for line_idx in range(count) if line_idx not in dropped]


def shared(one: Span, other: Span) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def expected(line_idx: int, text: tuple[str, str], auto: Any) -> Row:
    ids, owners, touched = [], [], []
    for language, side in zip(LANGUAGES, text, strict=True):
        words = segmenter(language).spans(side)
        encoded = auto(side, add_special_tokens=False, return_offsets_mapping=True)
        ids.append(encoded["input_ids"])
        names = auto.convert_ids_to_tokens(encoded["input_ids"])
        # A piece of white space alone is of no word; before a sentence ▁ has the span of the first character.
        spans = [
            (start, start) if name == "\u2581" or not side[start:end].strip() else (start, end)
            for name, (start, end) in zip(names, encoded["offset_mapping"], strict=True)
        ]
        alone = len(words)
        of_pieces = []
        for span in spans:
            shares = [shared(span, word) for word in words]
            of_pieces.append(shares.index(max(shares)) if any(shares) else alone)
            alone += not any(shares)
        owners.append(of_pieces)
        touched.append([[p for p, span in enumerate(spans) if shared(span, word)] for word in words])
    links = {(p, q) for i, j in links_of(line_idx, text) for p in touched[0][i] for q in touched[1][j]}
    return Row(tuple(ids), tuple(owners), sorted(links))


def check(lines: Lines, databin: Path) -> int:
    """How many rows there are."""
    from transformers import AutoTokenizer

    auto = AutoTokenizer.from_pretrained(str(databin / "tokenizer"))
    found, line_idxs, mended = rows(databin), kept(databin, len(lines)), texts(lines)
    assert len(found) == len(line_idxs)
    for row, line_idx in zip(found, line_idxs, strict=True):
        text = mended[line_idx]
        assert text is not None
        assert row._replace(links=sorted(row.links)) == expected(line_idx, text, auto), lines[line_idx]
    return len(found)


@pytest.mark.parametrize("workers", [1, 2])
def test_nasty_corpus(tokenizer: Path, workers: int, tmp_path: Path) -> None:
    lines = [(source, target) for source, target, _ in NASTY.values()]
    run(lines, tokenizer, tmp_path, chunk=5, workers=workers)
    wanted = sum(not isinstance(found, str) for *_, found in NASTY.values())
    # Of those that cleaning leaves, one or two have no piece.
    assert wanted - 2 <= check(lines, tmp_path / "bin") <= wanted


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(st.tuples(LINE, LINE), min_size=4, max_size=18), chunk=st.integers(1, 7))
def test_fuzzed_lines(lines: Lines, chunk: int, tokenizer: Path) -> None:
    lines = [*lines, PLAIN]
    assume(all(map(is_text, files(lines))))
    with tempfile.TemporaryDirectory() as folder:
        run(lines, tokenizer, Path(folder), chunk=chunk)
        assert check(lines, Path(folder, "bin")) >= 1
