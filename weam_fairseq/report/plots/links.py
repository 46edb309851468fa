"""Sentence pairs of a data-bin with their piece links: read from its validation split, and drawn.

In a drawing the source is above and the target below, with a line for each link. A pair that is wider than the page is
cut into blocks, where few links cross the cut.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.data.databin import read_symbols, read_tokenizer_files, read_vocabulary
from weam_fairseq.data.split import open_split, read_pairs

_MOST_PAIRS = 6  # language pairs that are shown
_OF_A_PAIR = 2  # sentence pairs of each
_SOUGHT = 200  # the first sentence pairs, among which pairs of a readable length are chosen
_READABLE = range(5, 41)  # pieces

_FONT = 15  # pixels
_GAP = 15
_MARGIN = 6
_WIDEST = 700.0  # of a row of words
_SOURCE_LINE, _TARGET_LINE = 20, 112  # baselines in a block
_LINK_TOP, _LINK_BOTTOM = 28, 94
_HEIGHT, _BETWEEN = 122, 26  # of a block, and between two
_UNEVEN = 1.15  # how much longer than the mean a row may be
_CROSSING = 3  # words by which a block may be shorter to have one crossing link less

_NARROW = set("iljtfrI.,;:!|'’()[]\"-‐ ")
_BROAD = set("mwMWABCDGHKNOQRUVXY@%&—")


class DrawnPair(NamedTuple):
    """A sentence pair as pieces; `links` are pairs of piece_idx. `number` counts the pairs of the validation split."""

    pair: str
    number: int
    source: list[str]
    target: list[str]
    links: list[tuple[int, int]]
    texts: tuple[str, str]

    def draw(self) -> str:
        label = f"{len(self.links)} piece links between “{self.texts[0]}” and “{self.texts[1]}”"
        return draw_links(self.source, self.target, self.links, label)


class LinkedSentences(NamedTuple):
    """`left_out`: sentences on what is missing, and why."""

    shown: list[DrawnPair]
    left_out: list[str]


def read_sentences(data_bin: Path, manifest: dict[str, Any]) -> LinkedSentences:
    """A few validation pairs of each language pair. A data-bin that cannot be read is named in `left_out`."""
    pairs = list(manifest["pairs"])
    left_out = [f"Not shown: sentences of {', '.join(pairs[_MOST_PAIRS:])}."] if len(pairs) > _MOST_PAIRS else []
    shown: list[DrawnPair] = []
    try:
        tokenizer = _tokenizer(data_bin, manifest)
        tokenizer_ids = read_vocabulary(manifest, read_symbols(data_bin, manifest)).tokenizer_ids
        for pair in pairs[:_MOST_PAIRS]:
            if manifest["pairs"][pair].get("valid"):
                shown += _read_pair(data_bin, pair, tokenizer_ids, tokenizer)
            else:
                left_out.append(f"{pair} has no validation pairs to show.")
    except InputError as error:
        left_out.append(f"Sentences cannot be shown. {error}")
    return LinkedSentences(shown, left_out)


def _tokenizer(data_bin: Path, manifest: dict[str, Any]) -> Any:
    from tokenizers import Tokenizer

    content = read_tokenizer_files(data_bin, manifest).get("tokenizer.json")
    if content is None:
        raise InputError(f"{data_bin / manifest['tokenizer']['folder']} must hold tokenizer.json, but does not.")
    return Tokenizer.from_buffer(content)


def _read_pair(data_bin: Path, pair: str, tokenizer_ids: np.ndarray, tokenizer: Any) -> list[DrawnPair]:
    split = open_split(data_bin, "valid", pair)
    sizes = np.stack([split.source.sizes[:_SOUGHT], split.target.sizes[:_SOUGHT]])
    readable = np.flatnonzero(((sizes >= _READABLE.start) & (sizes < _READABLE.stop)).all(axis=0))
    chosen = np.sort([*readable, *np.setdiff1d(np.arange(sizes.shape[1]), readable)][:_OF_A_PAIR])
    return [
        DrawnPair(
            pair=pair,
            number=each.index + 1,
            source=[_piece(tokenizer, number) for number in each.source.tolist()],
            target=[_piece(tokenizer, number) for number in each.target.tolist()],
            links=[(int(i), int(j)) for i, j in each.links],
            texts=(tokenizer.decode(each.source.tolist()), tokenizer.decode(each.target.tolist())),
        )
        for each in read_pairs(split, 0, chosen, chosen, tokenizer_ids)
    ]


def _piece(tokenizer: Any, number: int) -> str:
    """The piece's text, or its name in the tokenizer if it is only a part of a character's bytes."""
    text = tokenizer.decode([number], skip_special_tokens=False).strip()
    return text if text and "\ufffd" not in text else str(tokenizer.id_to_token(number))


class _Word(NamedTuple):
    text: str
    middle: float
    block: int


class _Block(NamedTuple):
    source: range
    target: range


def draw_links(source: Sequence[str], target: Sequence[str], links: Sequence[tuple[int, int]], label: str) -> str:
    """An `<svg>` element. Words without a link are grey; `label` is read out in place of the drawing."""
    blocks = list(_blocks(source, target, links))
    sources = [[source[i] for i in block.source] for block in blocks]
    targets = [[target[j] for j in block.target] for block in blocks]
    width = max(map(_row_width, [*sources, *targets])) + 2 * _MARGIN
    height = (_HEIGHT + _BETWEEN) * len(blocks) - _BETWEEN
    above = [word for number, row in enumerate(sources) for word in _place(row, width, number)]
    below = [word for number, row in enumerate(targets) for word in _place(row, width, number)]
    parts = [_curve(above[i], below[j]) for i, j in links]
    parts += _words(above, {i for i, _ in links}, _SOURCE_LINE) + _words(below, {j for _, j in links}, _TARGET_LINE)
    return (
        f'<svg class="links" role="img" aria-label="{escape(label)}" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" font-size="{_FONT}" text-anchor="middle">{"".join(parts)}</svg>'
    )


def _blocks(source: Sequence[str], target: Sequence[str], links: Sequence[tuple[int, int]]) -> Iterator[_Block]:
    """Cuts both sides so that every row fits; between cuts that fit, few links cross and rows are long."""
    longest = max(_row_width(source), _row_width(target))
    widest = min(_WIDEST, _UNEVEN * longest / math.ceil(longest / _WIDEST)) if longest else _WIDEST
    i = j = 0
    while True:
        last_i, last_j = _fitting(source, i, widest), _fitting(target, j, widest)
        if (last_i, last_j) != (len(source), len(target)):
            cuts = [(a, b) for a in range(i, last_i + 1) for b in range(j, last_j + 1) if (a, b) != (i, j)]
            crossing = {(a, b): sum((s < a) != (t < b) for s, t in links) for a, b in cuts}
            last_i, last_j = max(cuts, key=lambda cut: sum(cut) - _CROSSING * crossing[cut])
        yield _Block(range(i, last_i), range(j, last_j))
        i, j = last_i, last_j
        if (i, j) == (len(source), len(target)):
            return


def _fitting(words: Sequence[str], start: int, widest: float) -> int:
    """The end of the longest row from `start` that fits. It has at least one word."""
    end = start
    while end < len(words) and (end == start or _row_width(words[start : end + 1]) <= widest):
        end += 1
    return end


def _words(words: Sequence[_Word], linked: set[int], baseline: int) -> list[str]:
    classes = ["linked" if idx in linked else "unlinked" for idx in range(len(words))]
    return [
        f'<text class="{name}" x="{word.middle:.1f}" y="{_top(word) + baseline}">{escape(word.text)}</text>'
        for word, name in zip(words, classes, strict=True)
    ]


def _curve(source: _Word, target: _Word) -> str:
    top, bottom = _top(source) + _LINK_TOP, _top(target) + _LINK_BOTTOM
    half = (top + bottom) / 2
    start, end = f"{source.middle:.1f}", f"{target.middle:.1f}"
    return f'<path d="M{start} {top}C{start} {half:.0f} {end} {half:.0f} {end} {bottom}"/>'


def _top(word: _Word) -> int:
    return word.block * (_HEIGHT + _BETWEEN)


def _place(words: Sequence[str], width: float, block: int) -> list[_Word]:
    """Words from left to right, the row in the middle."""
    x = (width - _row_width(words)) / 2
    placed = []
    for word in words:
        placed.append(_Word(word, x + _text_width(word) / 2, block))
        x += _text_width(word) + _GAP
    return placed


def _row_width(words: Sequence[str]) -> float:
    return sum(_text_width(word) for word in words) + _GAP * max(0, len(words) - 1)


def _text_width(text: str) -> float:
    """A generous estimate in pixels, because the page's font is unknown."""
    return _FONT * sum(_character_width(character) for character in text)


def _character_width(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in _NARROW:
        return 0.36
    return 0.8 if character in _BROAD else 0.58
