"""BUCC 2018 (Zweigenbaum et al. 2018): two collections of sentences with ids, and the pairs among them.

A text file holds `id<TAB>sentence` lines, a gold file `id<TAB>id` lines, the other language first.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.metrics.mining import IdPair
from weam_fairseq.evaluation.prediction_files import read_id_pairs
from weam_fairseq.evaluation.readers import read_lines

LANGUAGES = ("de", "fr", "ru", "zh")


class Collection(NamedTuple):
    """Sentences that stand there once, by their ids; `repeated` lines hold a sentence that others hold too.

    A repeated sentence has no one id, so it is left out, as LASER's and XTREME's code does.
    """

    ids: list[str]
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
            raise InputError(f"{path}:{number}: the id {name} stands there twice.")
        rows[name] = sentence.strip()
    if not rows:
        raise InputError(f"{path} is empty.")
    return rows


def _collection(rows: dict[str, str]) -> Collection:
    count: dict[str, int] = {}
    for sentence in rows.values():
        count[sentence] = count.get(sentence, 0) + 1
    once = [(name, sentence) for name, sentence in rows.items() if count[sentence] == 1]
    return Collection([name for name, _ in once], [sentence for _, sentence in once], len(rows) - len(once))
