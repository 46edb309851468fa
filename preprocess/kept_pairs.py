"""Which pairs are kept, the first of equal ones, and which of them are held out for validation."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from weam_fairseq.common.errors import InputError

from . import binarize
from .corpus import DUPLICATE
from .dropped import Account
from .duplicates import Keys, first_occurrences, key
from .inputs import PairFiles
from .options import Options
from .prepare import read_prepared, read_sentences
from .work import Work

_Masks = list[NDArray[np.bool_]]  # one for each chunk of a language pair, of shape (sentence pairs,)


def mark_kept(options: Options, chunks: Mapping[str, range], accounts: Mapping[str, Account], work: Work) -> None:
    """Marks the first of equal pairs, and those held out, which are drawn by (seed, pair name).

    What is held out of en-de is not trained on as de-en either: it is dropped there, and counted.
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
                    f"{pair.name}: --valid-size {options.valid_size:,} leaves nothing to train on, since the other "
                    f"pairs are held out in {reverse}. Choose a smaller one."
                )
        masks = zip(chunks[pair.name], kept, valid[pair.name], first[pair.name], strict=True)
        for number, is_kept, is_valid, is_first in masks:
            binarize.save_kept(work, pair.name, number, is_kept, is_valid[is_kept], is_first)


def held_out_in(pair: str) -> str:
    """The reason why a pair of the other order of languages is dropped."""
    return f"held out in {pair}"


def _draw(options: Options, pair: PairFiles, first: _Masks) -> _Masks:
    """Which pairs are held out."""
    total = int(sum(mask.sum() for mask in first))
    if options.valid_size >= total:
        raise InputError(
            f"{pair.name}: --valid-size {options.valid_size:,} leaves nothing to train on, since {total:,} pairs are "
            "kept. Choose a smaller one."
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
    return np.frombuffer(b"".join(found), dtype="<u8").reshape(-1, 2)


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
