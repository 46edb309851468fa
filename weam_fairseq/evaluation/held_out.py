"""The user's own held-out pairs: the validation pairs of a data-bin, or a file of sentence pairs.

The pairs of a data-bin are pieces already, so only models with its tokenizer can read them. They come with the
aligner's word links. A file can be read by any model, and --gold adds word links made by hand.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.data.databin import (
    Template,
    check_pair,
    choose_pairs,
    read_manifest,
    read_symbols,
    read_vocabulary,
)
from weam_fairseq.data.split import open_split, read_pairs
from weam_fairseq.evaluation import readers
from weam_fairseq.evaluation.benchmarks.word_alignment import WordsOfPositions, words_of_positions
from weam_fairseq.evaluation.encode import Pieces, tokenize
from weam_fairseq.evaluation.hf_folder import Folder, hash_files
from weam_fairseq.evaluation.readers import GoldLinks, WordLink, split_words

# Half of the pairs choose the layer and half are measured: fewer than ten decide nothing.
FEWEST_PAIRS = 20
MOST_PAIRS = 2000
UNNAMED = "source-target"


@dataclass(frozen=True)
class TextSide:
    """One side of a file, as text."""

    language: str
    texts: list[str]

    @property
    def keys(self) -> Sequence[Hashable]:
        """Sentences with the same key are the same sentence."""
        return self.texts

    def pieces(self, folder: Folder, start: int, end: int, cut: bool = False) -> Pieces:
        return tokenize(folder, self.texts[start:end], cut)

    def words(self, folder: Folder, start: int, end: int) -> tuple[Pieces, list[WordsOfPositions]]:
        """Words are separated by spaces."""
        words = [split_words(text) for text in self.texts[start:end]]
        pieces = tokenize(folder, [" ".join(each) for each in words])
        return pieces, words_of_positions(pieces, words)

    def named(self, number: int) -> str:
        return repr(self.texts[number])


@dataclass(frozen=True)
class PieceSide:
    """One side of a data-bin: tokenizer ids, and the word that each piece belongs to."""

    language: str
    sentences: list[np.ndarray]
    word_numbers: list[np.ndarray]
    template: Template

    @property
    def keys(self) -> Sequence[Hashable]:
        return [sentence.tobytes() for sentence in self.sentences]

    def pieces(self, folder: Folder, start: int, end: int, cut: bool = False) -> Pieces:
        before, after = self.template.before, self.template.after
        most = folder.max_pieces - len(before) - len(after)
        segment = self.template.segments[0]
        sentences = [each[:most] if cut else each for each in self.sentences[start:end]]
        sizes = [len(each) for each in sentences]
        rows = [[(piece, segment) for piece in each.tolist()] for each in sentences]
        rows = [[*before, *row, *after] for row in rows]
        inputs = {
            "input_ids": [[piece for piece, _ in row] for row in rows],
            "token_type_ids": [[number for _, number in row] for row in rows],
            "attention_mask": [[1] * len(row) for row in rows],
        }
        return Pieces(
            inputs={name: inputs[name] for name in folder.input_names},
            special=[[True] * len(before) + [False] * size + [True] * len(after) for size in sizes],
            offsets=[],
            long=sum(len(row) > folder.max_pieces for row in rows),
        )

    def words(self, folder: Folder, start: int, end: int) -> tuple[Pieces, list[WordsOfPositions]]:
        first = len(self.template.before)
        # A piece of white space alone has a number after those of the words. The aligner never links it.
        vocabulary = folder.tokenizer.get_vocab()
        spaces = [vocabulary[piece] for piece in ("▁", "Ġ") if piece in vocabulary]
        owners = [
            {first + place: [int(word)] for place, word in enumerate(row) if ids[place] not in spaces}
            for ids, row in zip(self.sentences[start:end], self.word_numbers[start:end], strict=True)
        ]
        return self.pieces(folder, start, end), owners

    def named(self, number: int) -> str:
        return f"of pair {number}"


@dataclass(frozen=True)
class HeldOut:
    """The held-out pairs of one language pair.

    Attributes:
        split: the score's split, `valid` or `bitext`.
        links: the aligner's links between words; None for a file.
        gold: links made by hand; None without --gold.
        data, gold_data: hashes of the files.
        of: how many pairs there were, if only a part is measured; else 0.
    """

    pair: str
    split: str
    source: TextSide | PieceSide
    target: TextSide | PieceSide
    data: str
    links: list[frozenset[WordLink]] | None = None
    gold: list[GoldLinks] | None = None
    gold_data: str = ""
    of: int = 0

    def __len__(self) -> int:
        return len(self.source.keys)


def read_data_bin(data_bin: Path, languages: Sequence[str] | None, most: int) -> list[HeldOut]:
    """Reads the validation pairs.

    Args:
        languages: pairs such as en-de; None: all.
        most: pairs to read of each language pair, taken at even distances.

    Raises:
        InputError: the folder is not a data-bin, or it has too few validation pairs.
    """
    if not (data_bin / "manifest.json").is_file():
        raise InputError(
            f"--data {data_bin} is not a data-bin (it has no manifest.json). Give the --destdir of weam-preprocess, or "
            "pairs with --bitext FILE.tsv. (Folders with evaluation files are for named tasks: weam-evaluate --help.)"
        )
    manifest = read_manifest(data_bin)
    pairs = choose_pairs(list(languages) if languages else None, manifest, data_bin, "--languages")
    vocabulary = read_vocabulary(manifest, read_symbols(data_bin, manifest))
    found = []
    for name in pairs:
        if not any(data_bin.glob(f"valid.{name}.*.idx")):
            raise InputError(
                f"{data_bin} must hold validation pairs of {name}, but does not. Run weam-preprocess again with "
                "--valid-size 500, or give pairs that no model was trained on with --bitext FILE.tsv."
            )
        split = open_split(data_bin, "valid", name)
        count = len(split.source)
        _check_enough(count, f"the validation split of {name} in {data_bin}")
        chosen = _chosen(count, most)
        rows = list(read_pairs(split, 0, chosen, chosen, vocabulary.tokenizer_ids))
        source, target = name.split("-")
        found.append(
            HeldOut(
                pair=name,
                split="valid",
                source=PieceSide(source, [r.source for r in rows], [r.source_words for r in rows], vocabulary.single),
                target=PieceSide(target, [r.target for r in rows], [r.target_words for r in rows], vocabulary.single),
                data=hash_files(sorted(data_bin.glob(f"valid.{name}.*")) + sorted(data_bin.glob(f"valid.*.{name}*"))),
                links=[
                    frozenset((int(row.source_words[i]), int(row.target_words[j])) for i, j in row.links)
                    for row in rows
                ],
                of=count if count > len(rows) else 0,
            )
        )
    return found


def pieces_digest(data_bin: Path) -> str:
    return str(read_manifest(data_bin)["tokenizer"]["pieces_sha256"])


def check_tokenizer(name: str, folder: Path, data_bin: Path) -> None:
    """Raises InputError unless the model has the tokenizer of the data-bin."""
    from weam_fairseq.common.tokenizers import read_tokenizer

    if read_tokenizer(folder).pieces_sha256 != pieces_digest(data_bin):
        raise InputError(
            f"{data_bin} stores the pieces of another tokenizer than that of {name}. Give the held-out pairs as text, "
            "with --bitext FILE.tsv in place of --data: every model can read them."
        )


def read_bitext(path: Path, languages: str | None, gold: Path | None, gold_from: int | None, most: int) -> HeldOut:
    """Reads `source<TAB>target` lines and, with `gold`, one line of links a pair.

    Raises:
        InputError: a line is malformed, there are too few pairs, or the gold links do not fit.
    """
    pair = UNNAMED if languages is None else check_pair(languages, "--languages")
    source, target = pair.split("-")
    rows = readers.read_pairs(path)
    _check_enough(len(rows), str(path))
    links = None
    if gold is not None:
        sizes = [(len(split_words(row.source)), len(split_words(row.target))) for row in rows]
        links = _read_gold(gold, gold_from, sizes, path)
    chosen = _chosen(len(rows), most).tolist()
    found = HeldOut(
        pair=pair,
        split="bitext",
        source=TextSide(source, [rows[k].source for k in chosen]),
        target=TextSide(target, [rows[k].target for k in chosen]),
        data=hash_files([path]),
        gold=None if links is None else [links[k] for k in chosen],
        gold_data="" if gold is None else hash_files([path, gold]),
        of=len(rows) if len(rows) > len(chosen) else 0,
    )
    _check_sure(found.gold, gold)
    return found


def _read_gold(path: Path, first_word: int | None, sizes: list[tuple[int, int]], pairs: Path) -> list[GoldLinks]:
    count = len(readers.read_lines(path))
    if count != len(sizes):
        raise InputError(
            f"--gold {path} must have one line for each pair of {pairs}, but has {count:,} lines for {len(sizes):,} "
            "pairs. Give a line of links for each pair, empty for a pair without links."
        )
    return readers.read_gold(path, first_word, sizes)


def _check_sure(gold: list[GoldLinks] | None, path: Path | None) -> None:
    if gold is not None and not (_any_sure(gold[::2]) and _any_sure(gold[1::2])):
        raise InputError(
            f"--gold {path} must have sure links (written i-j) on even and on odd lines, because one half chooses the "
            "layer and the other is measured, but one half has none. Add links, or leave --gold out."
        )


def _any_sure(gold: Sequence[GoldLinks]) -> bool:
    sets: Sequence[AbstractSet[WordLink]] = [each.sure for each in gold]
    return any(sets)


def _check_enough(count: int, where: str) -> None:
    if count < FEWEST_PAIRS:
        raise InputError(
            f"{where} must have at least {FEWEST_PAIRS} pairs, because half of them choose the layer and the other "
            f"half is measured, but has {count}. A few hundred pairs give a useful interval."
        )


def _chosen(count: int, most: int) -> np.ndarray:
    """At most `most` numbers below `count`, at even distances."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(np.int64)
