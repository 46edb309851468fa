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
    unknown_pieces: tuple[float, float]
    probabilities: bool
    made_by: MadeBy


class Report(NamedTuple):
    pairs: list[PairReport]
    aligner: str
    probabilities: bool
    vocab_size: int
    seconds: dict[str, float]
    explained: list[str]


# A vocabulary that fits its text leaves far fewer pieces unknown: emoji and rare characters.
MOST_UNKNOWN = 0.01


def unknown_warnings(report: PairReport) -> list[str]:
    """A sentence for each language of which more than `MOST_UNKNOWN` of the pieces are unknown."""
    languages = (report.pair.source_lang, report.pair.target_lang)
    return [
        f"{report.pair.name}: {share:.1%} of the {language} pieces are unknown, and a model learns nothing of them. "
        "The vocabulary was probably made for other languages, or for lower-cased text while this tokenizer keeps "
        "capital letters. Choose another --tokenizer, or train one with --train-tokenizer."
        for language, share in zip(languages, report.unknown_pieces, strict=True)
        if share > MOST_UNKNOWN
    ]
