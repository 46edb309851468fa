"""fast_align's model in array operations: IBM model 2 with a prior for the diagonal (Dyer, Chahuneau and Smith 2013).

A target word j of m comes from no word with probability 0.08, or from source word i of n with a probability that is
proportional to exp(tension * h(i, j)), where h(i, j) = -|i / n - j / m| (their equations 1 and 2). The word itself has
probability t(target | source). Four passes of expectation maximization estimate t, with a Dirichlet prior of 0.01 by
variational Bayes, and the tension (their section 3). A fifth pass finds the links. The other direction swaps source and
target.

With agreement (Liang, Taskar and Klein 2006), the last two passes count a link as often as both directions agree on it:
by the product of their posteriors. What they do not agree on counts as a link to no word.

How it is fast. All pairs of one shape (n, m) make blocks (B, n, m) of cells. Each cell has the index of its entry
(source word, target word) in the tables, which serve both directions. So a pass is a gather, a few operations on small
blocks, and a scatter. The index is made by sorting the cells of a few source words at a time.

Two processes share the training, each with half of the blocks and of the entries. The halves and the order of all sums
are fixed, so the result is the same to the bit whether one process or two compute it.

Shapes: N sentence pairs, C cells (the sum of n * m), E entries (different word pairs), S source words, T target words,
B sentence pairs of a block with n source and m target words each.

`python -m weam_preprocess.aligners.diagonal_model` trains in a process of its own, so that its memory is free again:
see `main`.
"""

from __future__ import annotations

import argparse
import mmap
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .base import SMALLEST_PROBABILITY, Links

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]

# The defaults of fast_align with the flags -d -o -v of its README.
ITERATIONS = 5
NULL = 0.08
FIRST_TENSION = 4.0
TENSIONS = (0.1, 14.0)
ALPHA = 0.01
FIRST_AGREED = 2  # the first pass, from 0, in which both directions must agree
# fast_align gives this to words that were never seen together. Here it is the least probability of any two words, so
# that a trained model needs no entries below it.
UNSEEN = np.float32(1e-9)

SEPARATOR = b" ||| "  # between the sides of a line

# The files of a model.
WORDS = ("words.source.txt", "words.target.txt")
TABLES = "tables.npz"

_BLOCK = 1 << 15  # cells of a block: its arrays stay in the processor's cache
_SORTED = 1 << 22  # cells that are sorted at a time
_PLACE = np.uint64(22)  # the bits for a place among them
_CHUNK = 1 << 16  # entries at a time


class Side(NamedTuple):
    """One side of all pairs.

    words: the number of every word, pair by pair.
    sizes: (N,) how many words each pair has.
    """

    words: Ints
    sizes: Ints

    @property
    def starts(self) -> NDArray[np.int64]:
        return np.cumsum(self.sizes, dtype=np.int64) - self.sizes


class Block(NamedTuple):
    """Pairs `first` to `last` of the sorted pairs, all with n source and m target words; `cell` is their first cell."""

    n: int
    m: int
    first: int
    last: int
    cell: int

    @property
    def cells(self) -> slice:
        return slice(self.cell, self.cell + (self.last - self.first) * self.n * self.m)


class Vocabulary(NamedTuple):
    """The words of both sides by number."""

    source: list[bytes]
    target: list[bytes]


@dataclass
class Direction:
    """One direction of the model.

    axis: the axis of a block (B, n, m) over which its posteriors sum to 1: 1 if target words come from source words, 2
        if source words come from target words.
    table: (E + 1,) the probability of each entry; the last one is that of word pairs without an entry.
    null: (T + 1,) or (S + 1,) the probability of each word if it comes from no word; the last one is an unknown word's.
    """

    axis: int
    table: Floats
    null: Floats
    tension: float

    def prior(self, n: int, m: int) -> Floats:
        """(n, m): the probability of each cell before the words are known; sums to 1 - NULL over `axis`."""
        weights = np.exp(self.tension * feature(n, m))
        return ((1 - NULL) * weights / weights.sum(self.axis - 1, keepdims=True)).astype(np.float32)


def feature(n: int, m: int) -> NDArray[np.float64]:
    """(n, m): h(i, j), 0 on the diagonal and at least -1."""
    return -np.abs(np.arange(1, n + 1)[:, None] / n - np.arange(1, m + 1) / m)


def _observed(n: int, m: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, m) for each direction: the feature whose mean the program fast_align takes from the text.

    It counts the chosen word from 1, but the other one from 0. The tension then ends near 7. With the exact feature it
    ends near 12, and the links of 254 de-en pairs have an alignment error rate of 37.8 instead of 37.2. So we
    take the same feature as the program.
    """
    i, j = np.arange(1, n + 1)[:, None], np.arange(1, m + 1)
    return -np.abs(i / n - (j - 1) / m), -np.abs((i - 1) / n - j / m)


def shared(shape: int | tuple[int, ...], kind: Any) -> NDArray[Any]:
    """An array of zeros that this process shares with the processes that it forks."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return np.frombuffer(mmap.mmap(-1, max(1, size)), np.uint8)[:size].view(kind).reshape(shape)


class Text(NamedTuple):
    """Sentence pairs in numbers. An unknown word has the number after all known words."""

    source: Side
    target: Side


def read_text(lines: Iterable[bytes], known: tuple[list[bytes], list[bytes]] | None = None) -> tuple[Text, Vocabulary]:
    """The pairs of lines `source words ||| target words`; a side may be empty.

    known: the words of a model. Without them, all words are known, and the most frequent ones come first: frequent
    entries are then near each other in memory.
    """
    numbers: list[dict[bytes, int]]
    numbers = [{}, {}] if known is None else [{word: n for n, word in enumerate(words)} for words in known]
    words: tuple[list[int], list[int]] = ([], [])
    sizes: tuple[list[int], list[int]] = ([], [])
    for line in lines:
        source, _, target = line.rstrip(b"\n").partition(SEPARATOR)  # a word may contain "|||"
        for side, text in enumerate((source, target)):
            tokens, of_word = text.split(), numbers[side]
            if known is None:
                words[side].extend([of_word.setdefault(token, len(of_word)) for token in tokens])
            else:
                unknown = len(of_word)
                words[side].extend([of_word.get(token, unknown) for token in tokens])
            sizes[side].append(len(tokens))
    sides, vocabulary = [], []
    for side in (0, 1):
        flat, names = np.array(words[side], dtype=np.int32), list(numbers[side])
        if known is None:
            order = np.argsort(-np.bincount(flat, minlength=len(names)), kind="stable")
            rank = np.empty(len(order), dtype=np.int32)
            rank[order] = np.arange(len(order), dtype=np.int32)
            flat, names = rank[flat], [names[number] for number in order]
        sides.append(Side(flat, np.array(sizes[side], dtype=np.int32)))
        vocabulary.append(names)
    return Text(*sides), Vocabulary(*vocabulary)


class Cells:
    """The pairs sorted by shape, their blocks, and the entry of every cell."""

    def __init__(self, text: Text) -> None:
        source, target = text
        self.order = np.lexsort((target.sizes, source.sizes))
        self.source, self.target = _sorted(source, self.order), _sorted(target, self.order)
        self._source_starts, self._target_starts = self.source.starts, self.target.starts
        self.blocks = list(_blocks(self.source.sizes, self.target.sizes))
        sizes = self.source.sizes.astype(np.int64) * self.target.sizes
        self.starts = np.cumsum(sizes) - sizes
        self.count = int(sizes.sum())

    def halves(self) -> tuple[list[Block], list[Block]]:
        """Two parts of the blocks, with about half of the cells each."""
        ends = np.array([block.cells.stop for block in self.blocks], dtype=np.int64)
        middle = int(np.searchsorted(ends, self.count / 2)) + 1
        return self.blocks[:middle], self.blocks[middle:]

    def words(self, block: Block) -> tuple[Ints, Ints]:
        """(B, n) source words and (B, m) target words of a block."""
        first, n, m, size = block.first, block.n, block.m, block.last - block.first
        at, to = int(self._source_starts[first]), int(self._target_starts[first])
        return (
            self.source.words[at : at + size * n].reshape(size, n),
            self.target.words[to : to + size * m].reshape(size, m),
        )


def _sorted(side: Side, order: NDArray[np.int64]) -> Side:
    starts, sizes = side.starts[order], side.sizes[order]
    return Side(side.words[ranges(starts, sizes)], sizes)


def ranges(starts: NDArray[np.int64], sizes: NDArray[Any]) -> NDArray[np.int64]:
    """starts[0], starts[0] + 1, … sizes[0] numbers, then those of the next."""
    sizes = sizes.astype(np.int64)
    ends = np.cumsum(sizes)
    return np.repeat(starts - ends + sizes, sizes) + np.arange(int(ends[-1]) if len(ends) else 0)


def _blocks(source: Ints, target: Ints) -> Iterator[Block]:
    if not len(source):
        return
    changes = np.flatnonzero((np.diff(source) != 0) | (np.diff(target) != 0)) + 1
    cell = 0
    for first, last in zip([0, *changes.tolist()], [*changes.tolist(), len(source)], strict=True):
        n, m = int(source[first]), int(target[first])
        if n and m:
            step = max(1, _BLOCK // (n * m))
            for start in range(first, last, step):
                block = Block(n, m, start, min(start + step, last), cell)
                yield block
                cell = block.cells.stop


class Entries(NamedTuple):
    """The different word pairs, sorted.

    of_cell: (C,) the entry of each cell.
    rows: (S + 1,) the first entry of each source word.
    columns: (E,) the target word of each entry.
    """

    of_cell: Ints
    rows: NDArray[np.int64]
    columns: Ints


def make_entries(cells: Cells, vocabulary: Vocabulary) -> Entries:
    """Memory: the index and the columns, and 300 MB to sort."""
    source, target = cells.source, cells.target
    source_words, target_words = map(len, vocabulary)
    pair = np.repeat(np.arange(len(source.sizes)), source.sizes)
    order = np.argsort(source.words, kind="stable")  # the occurrences of each source word
    sizes = target.sizes[pair[order]].astype(np.int64)
    within = np.arange(len(pair)) - np.repeat(source.starts, source.sizes)
    begins = (cells.starts[pair] + within * target.sizes[pair])[order]
    words_from = target.starts[pair[order]]
    words = source.words[order]
    ends = np.cumsum(sizes)
    index = np.empty(cells.count, dtype=np.int32)
    rows = np.zeros(source_words + 1, dtype=np.int64)
    columns, entries = [], 0
    word_ends = np.searchsorted(words, np.arange(source_words), side="right")
    for first, last in _groups(words, ends, word_ends):
        part = slice(first, last)
        places = ranges(begins[part], sizes[part])
        keys = np.repeat((words[part] - words[first]).astype(np.int64) * target_words, sizes[part])
        keys += target.words[ranges(words_from[part], sizes[part])]
        keys, of_cell = _unique(keys)
        index[places] = of_cell + entries
        word = keys // target_words
        columns.append((keys - word * target_words).astype(np.int32))
        low, high = int(words[first]), int(words[last - 1]) + 1
        rows[low + 1 : high + 1] = np.bincount(word, minlength=high - low)
        entries += len(keys)
    return Entries(index, np.cumsum(rows), np.concatenate(columns) if columns else np.empty(0, np.int32))


def _groups(words: Ints, ends: NDArray[np.int64], word_ends: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of occurrences with all of their words and about `_SORTED` cells, or one word."""
    first = 0
    while first < len(words):
        before = int(ends[first - 1]) if first else 0
        fitting = int(np.searchsorted(ends, before + _SORTED, side="right"))
        last = fitting if fitting == len(words) else int(word_ends[words[fitting] - 1]) if words[fitting] else 0
        if last <= first:
            last = int(word_ends[words[first]])
        yield first, last
        first = last


def _unique(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The different keys, sorted, and the number of each key among them; keys below 2**42 when there are many."""
    if len(keys) <= 1 << int(_PLACE) and int(keys.max(initial=0)) < 1 << 42:
        # One sort of keys with their places is several times faster than argsort.
        packed = keys.astype(np.uint64) << _PLACE | np.arange(len(keys), dtype=np.uint64)
        packed.sort()
        ordered = (packed >> _PLACE).astype(np.int64)
        places = (packed & np.uint64((1 << int(_PLACE)) - 1)).astype(np.int64)
        new = np.ones(len(keys), dtype=bool)
        new[1:] = ordered[1:] != ordered[:-1]
        number = np.empty(len(keys), dtype=np.int64)
        number[places] = np.cumsum(new) - 1
        return ordered[new], number
    highest = int(keys.max(initial=0))
    if highest < 4 * len(keys):  # the target words beside one frequent word
        different = np.zeros(highest + 1, dtype=bool)
        different[keys] = True
        return np.flatnonzero(different), (np.cumsum(different) - 1)[keys]
    return np.unique(keys, return_inverse=True)


class Model(NamedTuple):
    """A trained model: target words from source words, and source words from target words.

    rows, columns: as in Entries. Word pairs that neither direction finds likelier than UNSEEN have no entry.
    """

    vocabulary: Vocabulary
    rows: NDArray[np.int64]
    columns: Ints
    forward: Direction
    reverse: Direction

    @property
    def directions(self) -> tuple[Direction, Direction]:
        return self.forward, self.reverse

    def save(self, folder: Path) -> None:
        forward, reverse = self.directions
        for name, words in zip(WORDS, self.vocabulary, strict=True):
            (folder / name).write_bytes(b"".join(word + b"\n" for word in words))
        with (folder / TABLES).open("wb") as file:
            np.savez(
                file,
                rows=self.rows,
                columns=self.columns,
                forward=forward.table,
                reverse=reverse.table,
                forward_null=forward.null,
                reverse_null=reverse.null,
                tensions=np.array([forward.tension, reverse.tension]),
            )

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Raises ValueError, KeyError or OSError for other files."""
        vocabulary = Vocabulary(*((folder / name).read_bytes().split(b"\n")[:-1] for name in WORDS))
        with np.load(folder / TABLES, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        tensions = arrays["tensions"].tolist()
        directions = [
            Direction(axis, arrays[name], arrays[f"{name}_null"], tension)
            for axis, name, tension in zip((1, 2), ("forward", "reverse"), tensions, strict=True)
        ]
        return cls(vocabulary, arrays["rows"], arrays["columns"], *directions)

    def pruned(self) -> Model:
        """Without the entries that no link can tell from word pairs without an entry."""
        forward, reverse = self.directions
        likely = (forward.table[:-1] > UNSEEN) | (reverse.table[:-1] > UNSEEN)
        rows = np.concatenate([[0], np.cumsum(likely, dtype=np.int64)])[self.rows]
        kept = np.append(likely, True)
        directions = [Direction(one.axis, one.table[kept], one.null, one.tension) for one in self.directions]
        return Model(self.vocabulary, rows, self.columns[likely], *directions)

    def find(self, cells: Cells) -> NDArray[np.int64]:
        """(C,) the entry of each cell of another text."""
        targets, unseen = len(self.vocabulary.target) + 1, len(self.columns)
        rows = np.repeat(np.arange(len(self.rows) - 1), np.diff(self.rows))
        entries = rows * targets + self.columns
        keys = np.empty(cells.count, dtype=np.int64)
        for block in cells.blocks:
            source, target = cells.words(block)
            keys[block.cells] = (source.astype(np.int64)[:, :, None] * targets + target[:, None, :]).reshape(-1)
        different, of_cell = _unique(keys)
        places = np.searchsorted(entries, different)
        found = np.append(entries, -1)[places] == different
        return np.where(found, places, unseen)[of_cell]


def train(
    text: Text,
    vocabulary: Vocabulary,
    agreement: bool = False,
    symmetrize: str | None = None,
    folder: Path | None = None,
    shown: Callable[[], None] = lambda: None,
) -> tuple[Model, Links | None]:
    """Estimates both directions, and finds the links of the text if `symmetrize` is given.

    folder: has room for temporary files.
    shown: called after each of ITERATIONS passes.
    """
    cells = Cells(text)
    entries = make_entries(cells, vocabulary)
    training = _Training(cells, entries, vocabulary)
    steps = _Halves(folder)
    for number in range(ITERATIONS - 1):
        steps.both(partial(training.expect, agree=agreement and number >= FIRST_AGREED))
        if number:
            training.set_tensions()
        steps.both(training.total)
        steps.both(training.maximize)
        steps.once(shown)
    model = Model(vocabulary, entries.rows, entries.columns, *training.directions)
    if symmetrize is not None:
        halves = steps.gather(lambda half: find_links(model, cells, training.blocks[half], entries.of_cell, symmetrize))
    steps.once(shown)
    steps.end()
    return model.pruned(), None if symmetrize is None else in_order(halves, len(cells.order))


class _Training:
    """Expectation maximization over shared arrays. Every step is done for one half."""

    def __init__(self, cells: Cells, entries: Entries, vocabulary: Vocabulary) -> None:
        self.cells, self.entries = cells, entries
        count, sizes = len(entries.columns), tuple(map(len, vocabulary))
        self.directions: list[Direction] = []
        # Of each direction and half: the counts of entries, given words and words from no word, and the feature's sum.
        self.counts: list[list[Floats]] = [[], []]
        self.totals: list[list[NDArray[np.float64]]] = [[], []]
        self.nulls: list[list[NDArray[np.float64]]] = [[], []]
        self.features = shared((2, 2), np.float64)
        for axis, given, made in ((1, *sizes), (2, *reversed(sizes))):
            table, null = shared(count + 1, np.float32), shared(made + 1, np.float32)
            table[:-1], null[:-1] = 1, 1  # the first pass sees the prior only
            table[-1], null[-1] = UNSEEN, UNSEEN
            self.directions.append(Direction(axis, table, null, FIRST_TENSION))
            for _ in range(2):
                self.counts[axis - 1].append(shared(count, np.float32))
                self.totals[axis - 1].append(shared(given, np.float64))
                self.nulls[axis - 1].append(shared(made, np.float64))
        self.blocks = cells.halves()
        middle = int(np.searchsorted(entries.rows, count // 2))
        self.rows = ((0, middle), (middle, len(entries.rows) - 1))
        self.shapes = _Shapes(cells)

    def expect(self, half: int, agree: bool) -> None:
        """Counts the links of the blocks of one half."""
        for direction in (0, 1):
            self.counts[direction][half][:] = 0
            self.nulls[direction][half][:] = 0
        self.features[:, half] = 0
        shape: tuple[int, int] | None = None
        for block in self.blocks[half]:
            if (block.n, block.m) != shape:
                shape = block.n, block.m
                priors, features = [one.prior(*shape) for one in self.directions], _observed(*shape)
            index, words = self.entries.of_cell[block.cells].astype(np.intp), self.cells.words(block)
            found = [
                posteriors(one, index, words, prior, block) for one, prior in zip(self.directions, priors, strict=True)
            ]
            together = found[0][0] * found[1][0] if agree else None
            for number, (cells, null) in enumerate(found):
                self.features[number, half] += float((cells.sum(0, dtype=np.float64) * features[number]).sum())
                if together is not None:
                    cells, null = together, np.maximum(1 - together.sum(number + 1), 0)
                np.add.at(self.counts[number][half], index, cells.reshape(-1))
                np.add.at(self.nulls[number][half], words[1 - number].reshape(-1), null.reshape(-1))

    def total(self, half: int) -> None:
        """Adds up the counts of each given word over the entries of one half."""
        for totals in self.totals:
            totals[half][:] = 0
        for low, high, part in self._rows(half):
            forward, reverse = (one[part] + other[part] for one, other in self.counts)
            sizes = np.diff(self.entries.rows[low : high + 1])
            having = np.flatnonzero(sizes)
            if len(having):
                starts = self.entries.rows[low:high][having] - part.start
                sums = np.add.reduceat(forward, starts, dtype=np.float64)
                self.totals[0][half][low + having] = sums + ALPHA * sizes[having]
            columns = self.entries.columns[part].astype(np.intp)
            np.add.at(self.totals[1][half], columns, reverse.astype(np.float64) + ALPHA)

    def maximize(self, half: int) -> None:
        """Sets the probabilities of the entries of one half."""
        scales = [exp_digamma(np.maximum(one + other, ALPHA)) for one, other in self.totals]
        for low, high, part in self._rows(half):
            sizes = np.diff(self.entries.rows[low : high + 1])
            of_given = np.repeat(scales[0][low:high], sizes), scales[1][self.entries.columns[part]]
            for direction, (one, other), scale in zip(self.directions, self.counts, of_given, strict=True):
                made = exp_digamma(one[part] + other[part] + np.float32(ALPHA)) / scale
                direction.table[part] = np.maximum(made, UNSEEN)
        if half == 0:
            for direction, nulls in zip(self.directions, self.nulls, strict=True):
                from_no_word = nulls[0] + nulls[1] + ALPHA
                made_by_none = exp_digamma(from_no_word) / exp_digamma(np.maximum(from_no_word.sum(), ALPHA))
                direction.null[:-1] = np.maximum(made_by_none, UNSEEN)

    def set_tensions(self) -> None:
        for direction, sums in zip(self.directions, self.features, strict=True):
            direction.tension = self.shapes.tension(direction, float(sums.sum()))

    def _rows(self, half: int) -> Iterator[tuple[int, int, slice]]:
        """Ranges of source words with about `_CHUNK` entries together, or one source word; and their entries."""
        rows = self.entries.rows
        low, last = self.rows[half]
        while low < last:
            high = int(np.searchsorted(rows, rows[low] + _CHUNK, side="right")) - 1
            high = min(max(high, low + 1), last)
            yield low, high, slice(int(rows[low]), int(rows[high]))
            low = high


def posteriors(
    direction: Direction, index: NDArray[np.intp], words: tuple[Ints, Ints], prior: Floats, block: Block
) -> tuple[Floats, Floats]:
    """(B, n, m) posteriors of the cells, and (B, m) or (B, n) that a word comes from no word. Their sum is 1."""
    cells = direction.table.take(index, mode="clip").reshape(-1, block.n, block.m)
    cells *= prior
    null = direction.null.take(words[2 - direction.axis], mode="clip")
    null *= np.float32(NULL)
    total = cells.sum(direction.axis)
    total += null
    np.reciprocal(total, out=total)
    cells *= np.expand_dims(total, direction.axis)
    null *= total
    return cells, null


def exp_digamma(x: Any) -> Any:
    """exp(digamma(x)) of positive numbers, within a relative error of 1e-5.

    digamma(x) = digamma(x + 4) - 1/x - 1/(x+1) - 1/(x+2) - 1/(x+3), and exp(digamma(z + 1/2)) = z + 1/(24 z) - …
    """
    number = x.dtype.type
    steps = 1 / x + 1 / (x + number(1)) + 1 / (x + number(2)) + 1 / (x + number(3))
    z = x + number(3.5)
    return (z + number(1 / 24) / z - number(37 / 5760) / (z * z * z)) * np.exp(-steps)


class _Shapes:
    """How many pairs have each shape."""

    def __init__(self, cells: Cells) -> None:
        sizes = np.stack([cells.source.sizes, cells.target.sizes], axis=1).astype(np.int64)
        self.shapes, self.pairs = np.unique(sizes[sizes.min(1) > 0], axis=0, return_counts=True)

    def tension(self, direction: Direction, observed: float) -> float:
        """Eight steps of gradient ascent towards the tension with the observed sum of the feature, as in fast_align."""
        n, m = (self.shapes if direction.axis == 1 else self.shapes[:, ::-1]).T  # each of m words chooses one of n
        words = int((m * self.pairs).sum())
        if not words:
            return direction.tension
        j = ranges(np.ones(len(m), dtype=np.int64), m)
        weights, n, m = (np.repeat(values, m) for values in (self.pairs / words, n, m))
        tension = direction.tension
        for _ in range(8):
            tension += 20 * (observed / words - float((weights * mean_feature(j, m, n, tension)).sum()))
            tension = min(max(tension, TENSIONS[0]), TENSIONS[1])
        return tension


def mean_feature(j: NDArray[Any], m: NDArray[Any], n: NDArray[Any], tension: float) -> NDArray[np.float64]:
    """The mean of h under the prior, for word j of m that chooses one of n words: the sum of two geometric series."""
    below = j * n // m
    ratio = np.exp(-tension / n)
    weight, total = np.zeros(len(j)), np.zeros(len(j))
    # From the diagonal up and down: the distance of the nearest word, and the number of words.
    for nearest, count in (((below + 1) / n - j / m, n - below), (j / m - below / n, below)):
        start = np.where(count > 0, np.exp(-tension * nearest), 0.0)
        power = ratio**count
        series = start * (1 - power) / (1 - ratio)
        steps = start * (ratio * (1 - power) / (1 - ratio) - count * power) / (1 - ratio)
        weight += series
        total -= nearest * series + steps / n
    return total / weight


class _Halves:
    """Two processes that do one half of each step, or one process that does one half after the other.

    half: the half of this process; None if it does both.
    folder: where there is room for the links of half of the pairs.
    """

    def __init__(self, folder: Path | None) -> None:
        self.half: int | None = None
        self._child = 0
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `end`
        if hasattr(os, "fork") and (os.cpu_count() or 1) > 1:
            here, there = os.pipe(), os.pipe()
            sys.stdout.flush()
            self._child = os.fork()
            self.half = 0 if self._child else 1
            self._inbox, self._outbox = (here[0], there[1]) if self._child else (there[0], here[1])
            for end in {*here, *there} - {self._inbox, self._outbox}:
                os.close(end)

    def both(self, step: Callable[[int], None]) -> None:
        if self.half is None:
            step(0)
            step(1)
            return
        try:
            step(self.half)
            os.write(self._outbox, b".")
            if os.read(self._inbox, 1) != b".":
                raise OSError("the other process stopped")
        except BaseException:
            if self.half:  # the parent then finds this process gone; the reason is only known here
                traceback.print_exc()
                os._exit(1)
            raise

    def once(self, step: Callable[[], None]) -> None:
        if self.half != 1:
            step()

    def gather(self, step: Callable[[int], Found]) -> list[Found]:
        """What `step` gives for both halves; in the forked process, nothing."""
        found: dict[int, Found] = {}

        def run(half: int) -> None:
            found[half] = step(half)
            if self.half == 1:
                np.savez(self._file, *found[half])
                self._file.flush()

        self.both(run)
        if self.half == 0:
            self._file.seek(0)
            with np.load(self._file, allow_pickle=False) as stored:
                found[1] = Found(*(stored[name] for name in stored.files))
        return [found[0], found[1]] if self.half != 1 else []

    def end(self) -> None:
        if self.half == 1:
            os._exit(0)
        if self._child:
            os.waitpid(self._child, 0)
            os.close(self._inbox)
            os.close(self._outbox)
        self._file.close()


class Found(NamedTuple):
    """Links in any order: (L,) the number of the pair, the source word, the target word, and the probability."""

    pair: NDArray[np.int64]
    source: Ints
    target: Ints
    probability: Floats


def find_links(model: Model, cells: Cells, blocks: Sequence[Block], index: NDArray[Any], symmetrize: str) -> Found:
    """Each word's most probable partner in both directions, joined by `symmetrize`; `index` gives cells' entries."""
    from .directions import JOINED
    from .directions import symmetrize as join

    found: list[tuple[NDArray[Any], ...]] = [tuple(np.empty(0, np.int64) for _ in Found._fields)]
    shape: tuple[int, int] | None = None
    for block in blocks:
        if (block.n, block.m) != shape:
            shape = block.n, block.m
            priors = [one.prior(*shape) for one in model.directions]
        here, words = index[block.cells].astype(np.intp), cells.words(block)
        both = [posteriors(one, here, words, prior, block) for one, prior in zip(model.directions, priors, strict=True)]
        chosen = [_chosen(of_cells, null, axis) for axis, (of_cells, null) in enumerate(both, start=1)]
        mean = both[0][0] if symmetrize == "forward" else (both[0][0] + both[1][0]) / 2
        if symmetrize in JOINED:
            joined = JOINED[symmetrize](*chosen)
        else:
            joined = np.zeros_like(chosen[0])
            for b, found_by in enumerate(zip(*chosen, strict=True)):
                forward, reverse = (list(zip(*one.nonzero(), strict=True)) for one in found_by)
                for link in join(block.n, block.m, forward, reverse, symmetrize):
                    joined[b][link] = True
        pair, i, j = joined.nonzero()
        found.append((cells.order[block.first + pair], i, j, mean[pair, i, j]))
    kinds = np.int64, np.int32, np.int32, np.float32
    return Found(
        *(np.concatenate(part).astype(kind) for part, kind in zip(zip(*found, strict=True), kinds, strict=True))
    )


def in_order(parts: Sequence[Found], pairs: int) -> Links:
    """The links of pairs 0 to `pairs` - 1."""
    pair, source, target, probability = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(pair, kind="stable")
    links = np.stack([source, target], axis=1)[order]
    return Links(
        np.bincount(pair, minlength=pairs).astype(np.int32), links, probability[order].clip(SMALLEST_PROBABILITY, 1)
    )


def apply(model: Model, words: Path, symmetrize: str) -> Iterator[Links]:
    """The links of the lines of a file, some thousand pairs at a time."""
    with words.open("rb") as lines:
        for part in _parts(lines):
            text, _ = read_text(part, model.vocabulary)
            cells = Cells(text)
            yield in_order([find_links(model, cells, cells.blocks, model.find(cells), symmetrize)], len(part))


def _parts(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    cells = 0
    for line in lines:
        source, _, target = line.partition(SEPARATOR)
        part.append(line)
        cells += (source.count(b" ") + 1) * (target.count(b" ") + 1)
        if cells >= _SORTED:
            yield part
            part, cells = [], 0
    if part:
        yield part


def _chosen(cells: Floats, null: Floats, axis: int) -> NDArray[np.bool_]:
    """(B, n, m) which cells are the most probable ones over `axis`; of equal ones the first, and no word before all."""
    last = np.ascontiguousarray(np.moveaxis(cells, axis, 2))
    best = last.argmax(2)
    linked = np.take_along_axis(last, best[:, :, None], 2)[:, :, 0] > null
    chosen = np.zeros(last.shape, dtype=bool)
    np.put_along_axis(chosen, best[:, :, None], linked[:, :, None], 2)
    return np.moveaxis(chosen, 2, axis)


def main() -> None:
    """Trains on a file of lines. Writes the model, its links, or both, into folders that exist."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", dest="words", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--links", type=Path)
    parser.add_argument("--symmetrize", default="intersect")
    parser.add_argument("--agreement", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="train on every n-th line, then apply the model to all")
    arguments = parser.parse_args()
    with arguments.words.open("rb") as lines:
        text, vocabulary = read_text(islice(lines, 0, None, arguments.every))
    report = partial(print, "ITERATION", file=sys.stderr, flush=True)
    wanted = arguments.symmetrize if arguments.links is not None and arguments.every == 1 else None
    model, links = train(text, vocabulary, arguments.agreement, wanted, arguments.words.parent, report)
    if arguments.model is not None:
        model.save(arguments.model)
    if arguments.links is not None:
        if links is None:
            links = Links.joined(apply(model, arguments.words, arguments.symmetrize))
        for name, values in links._asdict().items():
            np.save(arguments.links / f"{name}.npy", values)


if __name__ == "__main__":
    main()
