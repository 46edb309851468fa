"""Marks the sentence pairs that are kept (the first of equal ones), and those that are held out for validation.

Pairs are compared by keys of 16 bytes, so the sentences themselves need not be in memory.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from weam_fairseq.common.errors import InputError

from .corpus import DUPLICATE, PairFiles, key, to_keys
from .prepare import read_prepared, read_sentences
from .report import Account
from .run_options import Options
from .work import Work, save_arrays

if TYPE_CHECKING:
    from .corpus import Keys

_Masks = list[NDArray[np.bool_]]  # one for each chunk of a language pair, of shape (sentence pairs,)
_TOP_BITS = 4


def mark_kept(options: Options, chunks: Mapping[str, range], accounts: Mapping[str, Account], work: Work) -> None:
    """Writes the part `kept` of every chunk. The held-out pairs are drawn by (seed, pair name).

    A pair that is held out of en-de is dropped from de-en, and counted there, so that nothing trains on it.
    """
    first, valid = {}, {}
    for pair in options.pairs:
        keys = [read_prepared(work, pair.name, number).keys for number in chunks[pair.name]]
        first[pair.name] = first_occurrences(keys)
        _drop(pair, chunks[pair.name], first[pair.name], DUPLICATE, accounts[pair.name], work)
        valid[pair.name] = _draw(options, pair, first[pair.name])
    for pair in options.pairs:
        reverse = f"{pair.target_lang}-{pair.source_lang}"
        kept = first[pair.name]
        if options.valid_size and reverse in first:
            held_out = _held_out_reversed(work, reverse, chunks[reverse], valid[reverse])
            trained = [
                ~(_among(read_prepared(work, pair.name, number).keys, held_out) & is_first & ~is_valid)
                for number, is_first, is_valid in zip(chunks[pair.name], kept, valid[pair.name], strict=True)
            ]
            _drop(pair, chunks[pair.name], trained, held_out_in(reverse), accounts[pair.name], work)
            kept = [is_first & left for is_first, left in zip(kept, trained, strict=True)]
            if not any((is_kept & ~is_valid).any() for is_kept, is_valid in zip(kept, valid[pair.name], strict=True)):
                raise InputError(
                    f"{pair.name}: --valid-size {options.valid_size:,} leaves nothing to train on, because all "
                    f"other pairs are held out in {reverse}. Choose a smaller number."
                )
        masks = zip(chunks[pair.name], kept, valid[pair.name], first[pair.name], strict=True)
        for number, is_kept, is_valid, is_first in masks:
            # kept (n,), valid (kept.sum(),): held out, first (n,): not a duplicate.
            arrays = {"kept": is_kept, "valid": is_valid[is_kept], "first": is_first}
            save_arrays(work.part(pair.name, "kept", number), arrays)


def held_out_in(pair: str) -> str:
    """The reason why a pair is dropped from the other order of languages."""
    return f"held out in {pair}"


def _draw(options: Options, pair: PairFiles, first: _Masks) -> _Masks:
    """Draws the pairs that are held out."""
    total = int(sum(mask.sum() for mask in first))
    if options.valid_size >= total:
        raise InputError(
            f"{pair.name}: --valid-size {options.valid_size:,} leaves nothing to train on, because only {total:,} "
            "pairs are kept. Choose a smaller number."
        )
    drawn = np.zeros(total, dtype=bool)
    drawn[random.Random(f"{options.seed}:{pair.name}").sample(range(total), options.valid_size)] = True
    masks = []
    start = 0
    for mask in first:
        end = start + int(mask.sum())
        valid = np.zeros(len(mask), dtype=bool)
        valid[mask] = drawn[start:end]
        masks.append(valid)
        start = end
    return masks


def _held_out_reversed(work: Work, name: str, chunks: Sequence[int], valid: _Masks) -> Keys:
    """The keys that the held-out pairs have in the other order of languages. Shape (pairs, 2)."""
    found = [
        key(target, source)
        for number, mask in zip(chunks, valid, strict=True)
        if mask.any()
        for (source, target), is_valid in zip(read_sentences(work, name, number), mask, strict=True)
        if is_valid
    ]
    return to_keys(found)


def _among(keys: Keys, wanted: Keys) -> NDArray[np.bool_]:
    """Which keys, shape (pairs, 2), are among the wanted ones. Shape (pairs,)."""
    both = np.dtype([("high", "<u8"), ("low", "<u8")])
    return np.isin(np.ascontiguousarray(keys).view(both).ravel(), np.ascontiguousarray(wanted).view(both).ravel())


def _drop(pair: PairFiles, chunks: Sequence[int], kept: _Masks, reason: str, account: Account, work: Work) -> None:
    """Counts the pairs of each chunk that are not in `kept`."""
    for number, mask in zip(chunks, kept, strict=True):
        if mask.all():
            continue
        line_idx = read_prepared(work, pair.name, number).line_idx
        for place, (source, target) in enumerate(read_sentences(work, pair.name, number)):
            if not mask[place]:
                account.drop(reason, int(line_idx[place]), source, target)


def first_occurrences(chunks: Sequence[Keys]) -> list[NDArray[np.bool_]]:
    """For each chunk of keys, shape (pairs, 2), which of its pairs no earlier pair equals. Shape (pairs,).

    Uses about 10 bytes for each pair besides the keys.
    """
    starts = np.cumsum([0, *map(len, chunks)])
    first = np.ones(starts[-1], dtype=bool)
    # Keys are spread evenly, so the top bits split the corpus into equal parts, which are sorted one at a time.
    for top in range(2**_TOP_BITS) if chunks else ():
        rows = [np.flatnonzero(chunk[:, 0] >> np.uint64(64 - _TOP_BITS) == top) for chunk in chunks]
        found = np.concatenate([chunk[row] for chunk, row in zip(chunks, rows, strict=True)])
        pair_idx = np.concatenate([row + start for row, start in zip(rows, starts[:-1], strict=True)])
        # lexsort is stable: among equal keys, the first in the input comes first.
        order = np.lexsort((found[:, 1], found[:, 0]))
        found = found[order]
        repeated = (found[1:] == found[:-1]).all(axis=1)
        first[pair_idx[order[1:][repeated]]] = False
    return [first[start:end] for start, end in pairwise(starts)]
