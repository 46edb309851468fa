"""Runs of weam-preprocess on a few hundred pairs, and what they must agree in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from conftest import GERMAN, write_tsv
from weam_preprocess import pipeline
from weam_preprocess.corpus import parse_pair_files
from weam_preprocess.pieces import PieceTokenizer
from weam_preprocess.spans import Span, unpack


def corpus(folder: Path, count: int = 300) -> Path:
    """Sentences with numbers in them, so that hardly two are equal; some twice, some to be dropped."""
    pairs = [(f"{a[:-1]} {n % 280}.", f"{b[:-1]} {n % 280}.") for n in range(count) for a, b in [GERMAN[n % 8]]]
    return write_tsv(folder / "en-de.tsv", [*pairs, ("", "leer"), ("A [SEP] B", "A B")])


def options(tsv: Path, destdir: Path, **more: object) -> pipeline.Options:
    common: dict[str, object] = {
        "train_tokenizer": "wordpiece",
        "vocab_size": 200,
        "valid_size": 20,
        "aligner": "fast_align",
    }
    return pipeline.Options(tuple(parse_pair_files([f"en-de={tsv}"])), destdir, **(common | more))  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class Pieces(NamedTuple):
    """One sentence: tokenizer ids, and half-open character spans in the raw sentence."""

    ids: list[int]
    spans: list[Span]


def pieces_of(tokenizer: PieceTokenizer, text: str) -> Pieces:
    ids, spans = tokenizer.encode_arrays([text])
    return Pieces(ids.tolist(), unpack(spans)[0])


def all_pieces(tokenizer: PieceTokenizer, texts: Iterable[str]) -> list[Pieces]:
    return [pieces_of(tokenizer, text) for text in texts]
