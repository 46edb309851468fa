"""What became of a run: counts by language pair, in the table and in the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from .corpus import InputFile
from .dropped import Account
from .inputs import PairFiles


class MadeBy(NamedTuple):
    """What aligned a pair: the names that the manifest gives, and the folder of its model, if it has one.

    max_words: a pair with a side of more words got no links; None where there is no such limit.
    """

    name: str
    version: str
    model: Path | None
    card: dict[str, Any] | None
    max_words: int | None = None


class PairReport(NamedTuple):
    """Counts of one language pair, train and valid together; shares are of pieces, both as (source, target).

    `files` are those of each part; `probabilities` says whether the links have them.
    """

    pair: PairFiles
    files: list[tuple[InputFile, ...]]
    account: Account
    train: int
    valid: int
    word_links: int
    piece_links: int
    linked_pieces: tuple[float, float]
    pieces_per_word: tuple[float, float]
    probabilities: bool
    made_by: MadeBy


class Report(NamedTuple):
    pairs: list[PairReport]
    aligner: str
    probabilities: bool
    vocab_size: int
    seconds: dict[str, float]
    explained: list[str]
