"""Sentences to one vector each: the mean state of their pieces (special ones left out) at one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.encode import group_states, sentence_groups, tokenize
from weam_fairseq.evaluation.hf_folder import Folder

# Texts that are tokenised and sorted by length together. It bounds the memory that pieces take (a million entities).
CHUNK = 8192


class SentenceVectors(NamedTuple):
    """*Shape:* `values` `(N, D)`, float32; `long` texts are longer than the model takes and were read in windows."""

    values: np.ndarray
    long: int


def sentence_vectors(folder: Folder, texts: Sequence[str], layer: int, batch_size: int, label: str) -> SentenceVectors:
    """Encodes each text at one layer, 0 being the embeddings.

    Raises:
        InputError: a text has no pieces, or a state is not finite.
    """
    parts, long = [], 0
    starts = range(0, len(texts), CHUNK)
    for number, start in enumerate(starts, start=1):
        chunk = texts[start : start + CHUNK]
        part = label if len(starts) == 1 else f"{label}, part {number} of {len(starts)}"
        pieces = tokenize(folder, chunk)
        states = group_states(folder, pieces, sentence_groups(pieces), batch_size, part, [layer])
        if not states.filled.all():
            text = chunk[int(np.flatnonzero(~states.filled)[0])]
            raise InputError(
                f"{label}: {text!r} has no pieces in the tokenizer of {folder.path}. Remove it from the file."
            )
        parts.append(states.values[0])
        long += pieces.long
    return SentenceVectors(np.concatenate(parts), long)
