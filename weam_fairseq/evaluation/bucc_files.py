"""BUCC 2018 (Zweigenbaum et al. 2018): two collections of sentences with ids, and the pairs among them.

A text file holds `id<TAB>sentence` lines, a gold file `id<TAB>id` lines, the other language first.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.metrics.mining import IdPair
from weam_fairseq.evaluation.prediction_files import read_id_pairs
from weam_fairseq.evaluation.readers import read_lines

LANGUAGES = ("de", "fr", "ru", "zh")


class Collection(NamedTuple):
    """The different sentences of a file.

    A sentence on several lines has no one id. As in LASER's and XTREME's code it is mined with, once, and its pair is
    left out afterwards.

    Attributes:
        ids: of each sentence; None for one that is on several lines.
        repeated: how many lines hold such a sentence.
    """

    ids: list[str | None]
    sentences: list[str]
    repeated: int


class BuccSplit(NamedTuple):
    source: Collection
    english: Collection
    gold: set[IdPair]


class Bucc(NamedTuple):
    dev: BuccSplit
    test: BuccSplit


def read_bucc(*paths: Path) -> Bucc:
    """Reads the source, English and gold files of dev, then those of test.

    Raises:
        InputError: a line is malformed, an id stands twice, or a gold pair names an id that there is not.
    """
    return Bucc(_read_split(*paths[:3]), _read_split(*paths[3:]))


def _read_split(source: Path, english: Path, gold: Path) -> BuccSplit:
    ids, english_ids = _read_rows(source), _read_rows(english)
    pairs = read_id_pairs(gold)
    if not pairs:
        raise InputError(f"{gold} holds no pair.")
    for one, other in sorted(pairs):
        if one not in ids or other not in english_ids:
            raise InputError(f"{gold}: the pair {one} {other} must name ids of {source} and {english}, in this order.")
    return BuccSplit(_collection(ids), _collection(english_ids), pairs)


def _read_rows(path: Path) -> dict[str, str]:
    rows: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        name, tab, sentence = line.partition("\t")
        if not tab or not name or not sentence.strip():
            raise InputError(f"{path}:{number}: the line must hold an id, one tab and a sentence, but holds {line!r}.")
        if name in rows:
            raise InputError(f"{path}:{number}: the id {name} is listed twice.")
        rows[name] = sentence.strip()
    if not rows:
        raise InputError(f"{path} is empty.")
    return rows


def _collection(rows: dict[str, str]) -> Collection:
    count = Counter(rows.values())
    by_sentence: dict[str, str | None] = {}
    for name, sentence in rows.items():
        by_sentence[sentence] = name if count[sentence] == 1 else None
    repeated = sum(lines for lines in count.values() if lines > 1)
    return Collection(list(by_sentence.values()), list(by_sentence), repeated)
