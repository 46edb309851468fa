"""Word links of the kept pairs: chunk by chunk if the aligner looks at one pair at a time, otherwise all
pairs of two languages together.

With a model, or an encoder, the links of a sentence pair need no other pair. So any number of workers can align chunks,
and a resumed run aligns only the missing ones. Without a model, the aligner trains on the text that it aligns, so it
needs all of it. The links are the same either way (docs/aligners.md).
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from weam_fairseq.common.documents import read_json

from . import aligners, binarize
from .aligners import models
from .aligners.base import Aligner, ArrayAligner, Links
from .aligners.directions import (
    DirectionalAligner,
    Lines,
    Outputs,
    cut,
    directions_of,
    read_joined,
    temporary_folder,
)
from .aligners.lines import token_lines
from .prepare import AGAIN, SIDES, read_prepared, read_sentences
from .spans import select_spans
from .work import Work, load_arrays, written
from .workers import Pool

log = logging.getLogger(__name__)

CUT = "sentences cut by the aligner"


@dataclass(frozen=True)
class Alignment:
    """What a worker needs to align a chunk."""

    work: Work
    pair: str
    recipe: aligners.AlignerRecipe
    symmetrize: str


def align(how: Alignment, chunks: range, aligner: Aligner, pool: Pool) -> None:
    """Writes the part `links` of every chunk that does not have it."""
    todo = [number for number in chunks if not how.work.part(how.pair, "links", number).is_file()]
    if not todo:
        return
    if not aligner.by_pair:
        _align_together(how, chunks, aligner, pool)
        return
    # An aligner that uses all cores of this machine runs here, one chunk after the other.
    run: Callable[..., Iterable[int]] = pool.map if pool.elsewhere or not aligner.own_cores else map
    for _ in _shown(how, "align", todo, run(_align_chunk, ((how, number) for number in todo))):
        pass


def train(how: Alignment, chunks: range, pool: Pool) -> Path:
    """Trains on all kept pairs, unless that is done already. Returns the model's folder, inside the work folder."""
    recipe = how.recipe
    model = how.work.part(how.pair, "aligner", suffix="")
    if not (model / models.FILE).is_file():
        words = _write_all_words(how, chunks, pool)
        models.train(built(recipe), words, model, how.pair)
        words.unlink()
    return model


def read_noted(work: Work, pair: str, chunks: Iterable[int]) -> Counter[str]:
    """What the manifest notes about the alignment: sentences that were cut."""
    noted: Counter[str] = Counter()
    for number in chunks:
        file = work.part(pair, "noted", number, ".json")
        if file.is_file():
            noted.update(read_json(file, dict, hint=AGAIN))
    return noted


def _align_chunk(job: tuple[Alignment, int]) -> int:
    """Writes a chunk's part of the stage `links`. Returns the chunk's number."""
    how, number = job
    aligner = built(how.recipe)
    lines = _word_lines(how, number, aligner.cased)
    found = Links.of([])
    if lines:
        words = how.work.part(how.pair, "chunk", number, ".txt")
        _write_lines(words, lines)
        if isinstance(aligner, ArrayAligner):
            found = Links.joined(aligner.link_arrays(words, how.symmetrize))
        else:
            found = Links.of(list(aligner.align_file(words, how.symmetrize)))
        words.unlink()
        if aligner.cut:
            with written(how.work.part(how.pair, "noted", number, ".json")) as partial:
                partial.write_text(json.dumps({CUT: aligner.cut}), encoding="utf-8")
    binarize.save_links(how.work, how.pair, number, found)
    return number


@cache
def built(recipe: aligners.AlignerRecipe) -> Aligner:
    """Opened once in each process."""
    return aligners.kind_of(recipe.name).build(recipe)


def _align_together(how: Alignment, chunks: range, aligner: Aligner, pool: Pool) -> None:
    kept = {number: _first(how, number) for number in chunks}
    if aligners.kind_of(how.recipe.name).reads_links:
        aligner.line_idxs = _line_idxs(how, kept)  # type: ignore[attr-defined]
    words = _write_all_words(how, chunks, pool)
    sizes = [int(first.sum()) for first in kept.values()]
    if isinstance(aligner, DirectionalAligner):
        _align_directions(how, chunks, sizes, aligner, words, pool)
    elif isinstance(aligner, ArrayAligner):
        found = Links.joined(aligner.link_arrays(words, how.symmetrize))
        for number, part in zip(chunks, found.split(sizes), strict=True):
            binarize.save_links(how.work, how.pair, number, part)
    else:
        aligned = aligner.align_file(words, how.symmetrize)
        for number, size in zip(chunks, sizes, strict=True):
            binarize.save_links(how.work, how.pair, number, Links.of([next(aligned) for _ in range(size)]))
        assert next(aligned, None) is None, "one item of links for each pair"
    words.unlink()


def _align_directions(
    how: Alignment, chunks: range, sizes: Sequence[int], aligner: DirectionalAligner, words: Path, pool: Pool
) -> None:
    """The programs get all pairs at once; workers read and join their output chunk by chunk."""
    with temporary_folder(words) as folder:
        outputs = aligner.run(words, Path(folder), directions_of(how.symmetrize))
        parts = zip(chunks, cut(outputs, words, sizes), strict=True)
        jobs = (_Joining(how, number, outputs, words, lines) for number, lines in parts)
        run: Callable[..., Iterable[int]] = map if pool.elsewhere else pool.map
        for _ in _shown(how, "links", chunks, run(_join, jobs)):
            pass


class _Joining(NamedTuple):
    how: Alignment
    number: int
    outputs: Outputs
    words: Path
    lines: Lines


def _join(job: _Joining) -> int:
    aligned = list(read_joined(job.outputs, job.words, job.lines, job.how.symmetrize))
    binarize.save_links(job.how.work, job.how.pair, job.number, Links.of(aligned))
    return job.number


def _write_all_words(how: Alignment, chunks: range, pool: Pool) -> Path:
    """Writes the lines of all kept pairs, in order."""
    parts = {number: how.work.part(how.pair, "words", number, ".txt") for number in chunks}
    todo = [number for number, part in parts.items() if not part.is_file()]
    for _ in _shown(how, "words", todo, pool.map(_write_words, ((how, number) for number in todo))):
        pass
    words = how.work.part(how.pair, "words", suffix=".txt")
    with written(words) as partial, partial.open("wb") as stream:
        for part in parts.values():
            with part.open("rb") as lines:
                shutil.copyfileobj(lines, stream, 1 << 20)
    for part in parts.values():
        part.unlink()
    return words


def _write_words(job: tuple[Alignment, int]) -> int:
    how, number = job
    _write_lines(how.work.part(how.pair, "words", number, ".txt"), _word_lines(how, number, cased=False))
    return number


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    with written(file) as partial, partial.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(line + "\n" for line in lines)


def _word_lines(how: Alignment, number: int, cased: bool) -> list[str]:
    """The kept pairs of a chunk as an aligner sees them."""
    first = _first(how, number)
    words = read_prepared(how.work, how.pair, number).words
    pairs = [pair for pair, kept in zip(read_sentences(how.work, how.pair, number), first, strict=True) if kept]
    if not pairs:
        return []
    sides = (
        token_lines(sentences, select_spans(words[side], first), cased)
        for side, sentences in zip(SIDES, zip(*pairs, strict=True), strict=True)
    )
    return [f"{source} ||| {target}" for source, target in zip(*sides, strict=True)]


def _first(how: Alignment, number: int) -> NDArray[np.bool_]:
    """Which pairs of a chunk are kept: no duplicates, and not held out elsewhere."""
    return load_arrays(how.work.part(how.pair, "kept", number))["kept"]


def _line_idxs(how: Alignment, kept: dict[int, NDArray[np.bool_]]) -> list[int]:
    parts = (read_prepared(how.work, how.pair, number).line_idx[first] for number, first in kept.items())
    return [int(i) for line_idx in parts for i in line_idx]


def _shown(how: Alignment, what: str, todo: Sequence[int], results: Iterable[int]) -> Any:
    return tqdm(results, f"{what} ({how.pair})", len(todo), unit=" chunks", leave=False, disable=None)
