"""weam-preprocess --explain N: shows one pair in the terminal, from its line to its piece links."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .corpus import DUPLICATE, PairFiles
from .given_words import GivenWords
from .kept_pairs import held_out_in
from .pieces import PieceTokenizer
from .prepare import SIDES, Preparation, read_prepared, read_sentences, why_dropped
from .projection import project_batch
from .raw import RawReader
from .spans import select, select_spans, unpack
from .work import Work, load_arrays

_LINES = 1_000  # that are held in memory


def render(
    how: Preparation, pair: PairFiles, chunks: Sequence[int], line: int, tokenizer: PieceTokenizer, given: Path | None
) -> str:
    """The words, links, pieces and piece links of an input line, or why it was dropped.

    line: counted from 1 through all files of the language pair.
    given: the file of its given words, if any.
    """
    work = how.work
    for number in chunks:
        prepared = read_prepared(work, pair.name, number)
        place = int(np.searchsorted(prepared.line_idx, line - 1))
        if place == len(prepared.line_idx) or prepared.line_idx[place] != line - 1:
            continue
        kept = load_arrays(work.part(pair.name, "kept", number))
        texts = next(t for at, t in enumerate(read_sentences(work, pair.name, number)) if at == place)
        if not kept["kept"][place]:
            reverse = f"{pair.target_lang}-{pair.source_lang}"
            reason = held_out_in(reverse) if kept["first"][place] else DUPLICATE
            return f"{pair.name} line {line:,} was dropped: {reason}\n  {texts[0]}\n  {texts[1]}"
        return _explained(work, pair, number, place, line, texts, tokenizer)
    return _dropped(how, pair, line, given)


def _explained(
    work: Work, pair: PairFiles, number: int, place: int, line: int, texts: tuple[str, str], tokenizer: PieceTokenizer
) -> str:
    prepared = read_prepared(work, pair.name, number)
    only = np.zeros(len(prepared.line_idx), dtype=bool)
    only[place] = True
    words = {side: select_spans(prepared.words[side], only) for side in SIDES}
    pieces = {side: select_spans(prepared.pieces[side], only) for side in SIDES}
    ids = {side: select(prepared.ids[side], prepared.pieces[side].sizes, only).tolist() for side in SIDES}
    found = load_arrays(work.part(pair.name, "links", number))
    kept = load_arrays(work.part(pair.name, "kept", number))["kept"]
    among_kept = np.arange(len(found["sizes"])) == int(kept[:place].sum())
    links = select(found["links"], found["sizes"], among_kept)
    linked = project_batch(
        words["source"],
        words["target"],
        pieces["source"],
        pieces["target"],
        links.astype(np.int64),
        np.array([len(links)]),
    )
    of_pieces = {"source": linked.source_words, "target": linked.target_words}
    lines = [f"{pair.name} line {line:,}"]
    of_words: dict[str, list[str]] = {}
    for side, language, text in zip(SIDES, (pair.source_lang, pair.target_lang), texts, strict=True):
        of_words[side] = [text[a:b] for a, b in unpack(words[side])[0]]
        lines += [
            f"  {language}      {text}",
            f"  words   {_numbered(of_words[side])}",
            f"  pieces  {_numbered(tokenizer.names(ids[side]))}",
            f"  word of each piece  {' '.join(map(str, of_pieces[side].tolist()))}",
        ]
    named = (f"{i}-{j} {of_words['source'][i]}–{of_words['target'][j]}" for i, j in links.tolist())
    lines.append(f"  word links   {', '.join(named) or 'none'}")
    lines.append(f"  piece links  {' '.join(f'{p}-{q}' for p, q in linked.links.tolist()) or 'none'}")
    return "\n".join(lines)


def _numbered(items: Sequence[str]) -> str:
    return "  ".join(f"{number}:{item}" for number, item in enumerate(items))


def _dropped(how: Preparation, pair: PairFiles, line: int, given: Path | None) -> str:
    """Runs the first stage on this line alone, which gives the reason."""
    words = GivenWords(given) if given is not None else None
    for chunk in RawReader(pair.parts, _LINES):
        of_words = words.take(chunk.size) if words is not None else None
        place = line - 1 - chunk.first_line_idx
        if 0 <= place < chunk.size:
            alone = chunk._replace(
                first_line_idx=line - 1,
                first_part_line_idx=chunk.first_part_line_idx + place,
                sides=tuple([side[place]] for side in chunk.sides),
                given_words=[of_words[place]] if of_words is not None else None,
            )
            return f"{pair.name} line {line:,} was dropped: {why_dropped(how, alone)}"
    return f"{pair.name} has no line {line:,}"
