"""Texts to vectors: the mean state of chosen pieces at every layer.

Shapes: `B` sentences in a batch, `T` positions, `D` width, `L` layers, `G` groups of positions over all sentences.
A *position* counts pieces with the special ones; a *group* is the positions whose states are averaged: all
pieces of a sentence, or the pieces of one word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from weam_fairseq.errors import InputError
from weam_fairseq.evaluation.hf_folder import Folder

if TYPE_CHECKING:
    import torch

# The positions of one group.
Group = list[int]


class Pieces(NamedTuple):
    """Texts as the folder's tokenizer writes them, each a sequence of its own.

    Attributes:
        inputs: model inputs by name, one list of ids a text.
        special: for each text and position, whether the template put that piece there.
        offsets: for each text and position, the characters `[start, end)` of the text that the piece covers.
        cut: how many texts were longer than the model takes, and were cut.
    """

    inputs: dict[str, list[list[int]]]
    special: list[list[bool]]
    offsets: list[list[tuple[int, int]]]
    cut: int

    def length(self, index: int) -> int:
        return len(self.special[index])


class GroupStates(NamedTuple):
    """*Shape:* `values` is `(L + 1, G, D)`, float32, layer 0 the embeddings; `filled` is `(G,)`.

    A group without positions (a word that the tokenizer drops, or one behind a cut) is not filled.
    """

    values: np.ndarray
    filled: np.ndarray


def tokenize(folder: Folder, texts: Sequence[str]) -> Pieces:
    """Tokenises raw texts, cutting (and counting) those longer than the model takes."""
    batch = folder.tokenizer(
        list(texts),
        truncation=True,
        max_length=folder.max_pieces,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    return Pieces(
        inputs={name: batch[name] for name in folder.input_names},
        special=[[bool(flag) for flag in row] for row in batch["special_tokens_mask"]],
        offsets=[[(int(start), int(end)) for start, end in row] for row in batch["offset_mapping"]],
        cut=sum(bool(encoding.overflowing) for encoding in batch.encodings),
    )


def sentence_groups(pieces: Pieces) -> list[list[Group]]:
    """One group a text: every piece that is not special."""
    return [[[position for position, special in enumerate(row) if not special]] for row in pieces.special]


def word_groups(pieces: Pieces, sentences: Sequence[Sequence[str]]) -> list[list[Group]]:
    """One group a word, for texts that are `sentences` joined with single spaces.

    A piece belongs to every word that its characters overlap, so a SentencePiece piece with its leading space
    belongs to the word alone, and a piece that spans two words to both.
    """
    groups = []
    for words, special, offsets in zip(sentences, pieces.special, pieces.offsets, strict=True):
        word_of_char = _word_of_char(words)
        row: list[Group] = [[] for _ in words]
        for position, (start, end) in enumerate(offsets):
            if not special[position]:
                for word_idx in sorted({word for word in word_of_char[start:end] if word is not None}):
                    row[word_idx].append(position)
        groups.append(row)
    return groups


def _word_of_char(words: Sequence[str]) -> list[int | None]:
    owners: list[int | None] = []
    for word_idx, word in enumerate(words):
        owners += [word_idx] * len(word) + [None]
    return owners


def batches_by_length(pieces: Pieces, batch_size: int) -> list[list[int]]:
    """Indices of texts, longest first: a batch pads little, and a lack of memory shows at once."""
    order = sorted(range(len(pieces.special)), key=lambda index: (-pieces.length(index), index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padded_inputs(folder: Folder, pieces: Pieces, indices: Sequence[int]) -> dict[str, torch.Tensor]:
    """*Shape:* each input is `(B, T)`, on the folder's device."""
    rows = {name: [values[index] for index in indices] for name, values in pieces.inputs.items()}
    batch = folder.tokenizer.pad(rows, padding=True, return_tensors="pt")
    return {name: values.to(folder.device) for name, values in batch.items()}


def group_states(
    folder: Folder, pieces: Pieces, groups: Sequence[Sequence[Group]], batch_size: int, label: str
) -> GroupStates:
    """Encodes every text once and averages the states of each group at each layer.

    Raises:
        InputError: a state is not finite; cosines of such states would name a neighbour all the same.
    """
    import torch

    firsts = np.cumsum([0] + [len(row) for row in groups])
    values: np.ndarray | None = None
    with torch.inference_mode():
        for indices in _progress(batches_by_length(pieces, batch_size), label):
            # The base model only: the vocabulary projection is the costliest product and is not needed here.
            layers = folder.model.base_model(
                **padded_inputs(folder, pieces, indices), output_hidden_states=True
            ).hidden_states
            group_idx = np.concatenate([np.arange(firsts[index], firsts[index + 1]) for index in indices])
            means = _group_means(layers, [groups[index] for index in indices])
            if values is None:
                values = np.zeros((len(layers), int(firsts[-1]), means.shape[-1]), dtype=np.float32)
            values[:, group_idx] = means
    assert values is not None, "readers refuse empty files"
    if not np.isfinite(values).all():
        raise InputError(f"{folder.path} gives states that are not finite: its training diverged.")
    return GroupStates(values, np.array([bool(group) for row in groups for group in row]))


def _group_means(layers: Sequence[torch.Tensor], groups: Sequence[Sequence[Group]]) -> np.ndarray:
    """*Shape:* layers `(B, T, D)` each and the groups of these B sentences to `(L + 1, groups, D)`."""
    import torch

    flat = [(row_idx, group) for row_idx, row in enumerate(groups) for group in row]
    row = torch.tensor([row_idx for row_idx, group in flat for _ in group], dtype=torch.long)
    position = torch.tensor([position for _, group in flat for position in group], dtype=torch.long)
    sizes = np.array([len(group) for _, group in flat])
    filled = sizes > 0
    # The states of a group stand together, so a sum over each run of rows is all that is needed.
    firsts = (np.cumsum(sizes) - sizes)[filled]
    means = np.zeros((len(layers), len(flat), layers[0].shape[-1]), dtype=np.float32)
    if filled.any():
        for number, layer in enumerate(layers):
            states = layer[row.to(layer.device), position.to(layer.device)].float().cpu().numpy()
            means[number, filled] = np.add.reduceat(states, firsts, axis=0) / sizes[filled, None]
    return means


def _progress(batches: list[list[int]], label: str) -> Iterator[list[int]]:
    bar: Any = tqdm(batches, desc=label, unit="batch", leave=False, disable=None)
    yield from bar
