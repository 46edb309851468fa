"""Which pairs are kept, the first of equal ones, and which of them are held out for validation."""

from __future__ import annotations

import random

import numpy as np

from weam_fairseq.common.errors import InputError

from . import binarize
from .corpus import DUPLICATE
from .dropped import Account
from .duplicates import first_occurrences
from .inputs import PairFiles
from .options import Options
from .prepare import read_prepared, read_sentences
from .work import Work


def mark_kept(options: Options, pair: PairFiles, chunks: range, account: Account, work: Work) -> None:
    """Marks the first of equal pairs, and those held out, which are drawn by (seed, pair name)."""
    masks = first_occurrences([read_prepared(work, pair.name, number).keys for number in chunks])
    for number, first in zip(chunks, masks, strict=True):
        if first.all():
            continue
        line_idx = read_prepared(work, pair.name, number).line_idx
        for place, (source, target) in enumerate(read_sentences(work, pair.name, number)):
            if not first[place]:
                account.drop(DUPLICATE, int(line_idx[place]), source, target)
    total = int(sum(mask.sum() for mask in masks))
    if options.valid_size >= total:
        raise InputError(
            f"{pair.name}: --valid-size {options.valid_size:,} leaves nothing to train on, since {total:,} pairs are "
            "kept. Choose a smaller one."
        )
    valid = np.zeros(total, dtype=bool)
    valid[random.Random(f"{options.seed}:{pair.name}").sample(range(total), options.valid_size)] = True
    start = 0
    for number, first in zip(chunks, masks, strict=True):
        end = start + int(first.sum())
        binarize.save_kept(work, pair.name, number, first, valid[start:end])
        start = end
