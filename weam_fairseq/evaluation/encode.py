"""Texts to vectors: the mean state of chosen pieces at chosen layers.

Shapes: `B` sequences in a batch, `T` positions, `D` width, `K` requested layers, `G` groups of positions over all
texts. A *position* counts pieces, special ones included. A *group* is a set of positions whose states are averaged:
all pieces of a sentence, or the pieces of one word.

A text longer than the model's limit is read in windows that overlap by half. Each piece is taken from the window in
which it is farthest from an edge, so no piece is lost and every piece has context.

Models that were not trained for retrieval are read at a fixed layer, which is never tuned on reported data. XTREME's
scripts take entry 7 of the 12 layers above the embeddings of base models and entry 13 of the 24 layers of large
models, counted from 0: layers 8 and 14 here, where 0 is the embeddings. awesome-align and simalign also read layer 8
of mBERT. For other depths, the layer is two thirds of the way up, rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import words_of_characters
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.terminal import progress

if TYPE_CHECKING:
    import torch


# The positions of one group.
Group = list[int]


class Pieces(NamedTuple):
    """Texts as the folder's tokenizer writes them, each a sequence of its own.

    Attributes:
        inputs: model inputs by name, one list of ids a text.
        special: for each text and position, whether the piece is a special one.
        offsets: for each text and position, the characters `[start, end)` of the text that the piece covers.
        cut: how many texts exceeded the model's length limit and were cut.
        long: how many texts exceed the model's length limit and are not cut.
    """

    inputs: dict[str, list[list[int]]]
    special: list[list[bool]]
    offsets: list[list[tuple[int, int]]]
    cut: int = 0
    long: int = 0

    def length(self, index: int) -> int:
        return len(self.special[index])


class GroupStates(NamedTuple):
    """*Shape:* `values` is `(K, G, D)`, float32, layer 0 the embeddings; `filled` is `(G,)`.

    A group without positions (a word that the tokenizer drops) is not filled.
    """

    values: np.ndarray
    filled: np.ndarray


class Window(NamedTuple):
    """A stretch of one text that the model takes at once.

    Attributes:
        text: which text.
        inputs: model inputs by name.
        places: for each position of the text that is read here, its position in the window.
    """

    text: int
    inputs: dict[str, list[int]]
    places: dict[int, int]

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))


def tokenize(folder: Folder, texts: Sequence[str], cut: bool = False) -> Pieces:
    """Tokenizes raw texts. With `cut`, texts beyond the model's length limit are cut; either way they are counted."""
    batch = folder.tokenizer(
        list(texts),
        truncation=cut,
        max_length=folder.max_pieces if cut else None,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    return Pieces(
        inputs={name: batch[name] for name in folder.input_names},
        special=[[bool(flag) for flag in row] for row in batch["special_tokens_mask"]],
        offsets=[[(int(start), int(end)) for start, end in row] for row in batch["offset_mapping"]],
        cut=sum(bool(encoding.overflowing) for encoding in batch.encodings),
        long=sum(len(row) > folder.max_pieces for row in batch["special_tokens_mask"]),
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
        word_of_char = words_of_characters(words)
        row: list[Group] = [[] for _ in words]
        for position, (start, end) in enumerate(offsets):
            if not special[position]:
                for word_idx in sorted({word for word in word_of_char[start:end] if word is not None}):
                    row[word_idx].append(position)
        groups.append(row)
    return groups


def batches_by_length(pieces: Pieces, batch_size: int) -> list[list[int]]:
    """Indices of texts, longest first: a batch pads little, and a lack of memory shows at once."""
    return _by_length([pieces.length(index) for index in range(len(pieces.special))], batch_size)


def padded_inputs(folder: Folder, pieces: Pieces, indices: Sequence[int]) -> dict[str, torch.Tensor]:
    """*Shape:* each input is `(B, T)`, on the folder's device."""
    return _pad(folder, {name: [values[index] for index in indices] for name, values in pieces.inputs.items()})


def group_states(
    folder: Folder,
    pieces: Pieces,
    groups: Sequence[Sequence[Group]],
    batch_size: int,
    label: str | None,
    layers: Sequence[int] | None = None,
) -> GroupStates:
    """Encodes every text once and averages the states of each group at each layer.

    Args:
        label: the progress bar's label; None shows no bar.
        layers: which ones, 0 being the embeddings; None is all of them.

    Raises:
        InputError: a state is not finite. Cosines of such states would still return a neighbor.
    """
    import torch

    firsts = np.cumsum([0] + [len(row) for row in groups])
    sizes = np.array([len(group) for row in groups for group in row], dtype=np.float32)
    rows = windows(pieces, folder.max_pieces)
    sums: np.ndarray | None = None
    # Not inference_mode: there autocast converts all weights again in each call.
    with torch.no_grad(), folder.autocast():
        for indices in _progress(_by_length([len(row) for row in rows], batch_size), label):
            batch = [rows[index] for index in indices]
            # The base model only: the vocabulary projection is the costliest product and is not needed here.
            states = folder.model.base_model(
                **_pad(folder, {name: [row.inputs[name] for row in batch] for name in pieces.inputs}),
                output_hidden_states=True,
            ).hidden_states
            if len({states_of_layer.shape[1] for states_of_layer in states}) > 1:
                raise InputError(
                    f"{folder.path} must have states of every piece at every layer, but "
                    f"{type(folder.model).__name__} pools pieces. Evaluate it after fine-tuning only."
                )
            group_idx, part = _group_sums(
                states if layers is None else [states[layer] for layer in layers],
                [_places_by_group(row, groups[row.text], int(firsts[row.text])) for row in batch],
            )
            if sums is None:
                sums = np.zeros((len(part), int(firsts[-1]), part.shape[-1]), dtype=np.float32)
            sums[:, group_idx] += part
    assert sums is not None, "readers refuse empty files"
    if not np.isfinite(sums).all():
        raise InputError(f"{folder.path} returns states that are not finite: its training diverged.")
    sums /= np.maximum(sizes, 1)[:, None]
    return GroupStates(sums, sizes > 0)


def windows(pieces: Pieces, max_pieces: int) -> list[Window]:
    """Every text in one window, or in several that overlap by half (special pieces aside)."""
    return [window for text in range(len(pieces.special)) for window in _text_windows(pieces, text, max_pieces)]


def _text_windows(pieces: Pieces, text: int, max_pieces: int) -> list[Window]:
    length = pieces.length(text)
    inputs = {name: values[text] for name, values in pieces.inputs.items()}
    if length <= max_pieces:
        return [Window(text, inputs, {position: position for position in range(length)})]
    special = pieces.special[text]
    before = special.index(False)
    after = special[::-1].index(False)
    size = max_pieces - before - after
    assert size >= 2, "the model has too few positions"
    step = size // 2
    starts = [*range(before, length - after - size, step), length - after - size]
    found = []
    for number, start in enumerate(starts):
        # Where two windows overlap, the middle of the overlap parts what is read in one from what is read in the other.
        first = before if number == 0 else (start + starts[number - 1] + size) // 2
        last = length - after if number == len(starts) - 1 else (starts[number + 1] + start + size) // 2
        found.append(
            Window(
                text,
                {
                    name: values[:before] + values[start : start + size] + values[length - after :]
                    for name, values in inputs.items()
                },
                {position: before + position - start for position in range(first, last)},
            )
        )
    return found


def _places_by_group(window: Window, groups: Sequence[Group], first: int) -> list[tuple[int, list[int]]]:
    """The groups, counted over all texts, that have positions in the window, and these."""
    found = []
    for number, group in enumerate(groups):
        places = [window.places[position] for position in group if position in window.places]
        if places:
            found.append((first + number, places))
    return found


def _group_sums(
    layers: Sequence[torch.Tensor], groups: Sequence[Sequence[tuple[int, list[int]]]]
) -> tuple[np.ndarray, np.ndarray]:
    """*Shape:* layers `(B, T, D)` each, and the groups of these B sequences, to `(groups,)` and `(K, groups, D)`.

    Two windows of one text may be in one batch, so a group may come twice: it is summed here.
    """
    import torch

    flat = [(row, group, places) for row, found in enumerate(groups) for group, places in found]
    group_idx, owner_of = np.unique([group for _, group, _ in flat], return_inverse=True)
    device = layers[0].device
    row = torch.tensor([row for row, _, places in flat for _ in places], dtype=torch.long, device=device)
    place = torch.tensor([place for _, _, places in flat for place in places], dtype=torch.long, device=device)
    owner = torch.tensor(
        [int(owner) for owner, (_, _, places) in zip(owner_of, flat, strict=True) for _ in places],
        dtype=torch.long,
        device=device,
    )
    sums = torch.zeros(len(layers), len(group_idx), layers[0].shape[-1], device=device)
    for number, layer in enumerate(layers):
        sums[number].index_add_(0, owner, layer[row, place].float())
    return group_idx.astype(np.int64), sums.cpu().numpy()


def _by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def _pad(folder: Folder, rows: dict[str, list[list[int]]]) -> dict[str, torch.Tensor]:
    batch = folder.tokenizer.pad(rows, padding=True, padding_side="right", return_tensors="pt")
    return {name: values.to(folder.device) for name, values in batch.items()}


def _progress(batches: list[list[int]], label: str | None) -> Iterator[list[int]]:
    return iter(batches) if label is None else progress(batches, label, "batches", len(batches))


# Texts that are tokenized and sorted by length together. Bounds the memory of pieces (for a million entities).
CHUNK = 8192


class WordStates(NamedTuple):
    """*Shape:* `values` `(L + 1, G, D)` and `filled` `(G,)`, as in `GroupStates`; `pieces` and `groups` made them."""

    values: np.ndarray
    filled: np.ndarray
    pieces: Pieces
    groups: list[list[Group]]


def word_states(folder: Folder, sentences: Sequence[Sequence[str]], batch_size: int, label: str) -> WordStates:
    """The mean states of each word's pieces, at every layer, in its sentence (words joined with single spaces)."""
    pieces = tokenize(folder, [" ".join(words) for words in sentences])
    groups = word_groups(pieces, sentences)
    return WordStates(*group_states(folder, pieces, groups, batch_size, label), pieces, groups)


class SentenceVectors(NamedTuple):
    """*Shape:* `values` `(N, D)`, or `(K, N, D)` for several layers, float32; `long` counts texts that were read in
    windows."""

    values: np.ndarray
    long: int


def sentence_vectors(folder: Folder, texts: Sequence[str], layer: int, batch_size: int, label: str) -> SentenceVectors:
    """Encodes each text at one layer, 0 being the embeddings.

    Raises:
        InputError: a text has no pieces, or a state is not finite.
    """
    vectors = layer_vectors(folder, texts, batch_size, label, [layer])
    return vectors._replace(values=vectors.values[0])


def layer_vectors(
    folder: Folder, texts: Sequence[str], batch_size: int, label: str, layers: Sequence[int] | None = None
) -> SentenceVectors:
    """`sentence_vectors` at several layers, or all, from one pass over the texts."""
    parts, long = [], 0
    starts = range(0, len(texts), CHUNK)
    for number, start in enumerate(starts, start=1):
        chunk = texts[start : start + CHUNK]
        part = label if len(starts) == 1 else f"{label}, part {number} of {len(starts)}"
        pieces = tokenize(folder, chunk)
        states = group_states(folder, pieces, sentence_groups(pieces), batch_size, part, layers)
        check_filled(states, partial(quoted, chunk), f"{label}:", folder)
        parts.append(states.values)
        long += pieces.long
    return SentenceVectors(np.concatenate(parts, axis=1), long)


def check_filled(states: GroupStates, named: Callable[[int], str], what: str, folder: Folder) -> None:
    """Raises InputError: a sentence has no pieces. `named` makes the name of the sentence with that number."""
    if not states.filled.all():
        name = named(int(np.flatnonzero(~states.filled)[0]))
        raise InputError(
            f"{what} {name} has no pieces in the tokenizer of {folder.path}. Remove it and its translation."
        )


def quoted(texts: Sequence[str], number: int) -> str:
    return repr(texts[number])


_PUBLISHED = {12: 8, 24: 14}


def fixed_layer(depth: int) -> int:
    """The layer, 0 being the embeddings, for a model of `depth` layers."""
    return _PUBLISHED.get(depth, max(1, round(2 * depth / 3)))


def depth_of(folder: Folder) -> int:
    """How many layers the model has above its embeddings."""
    return int(folder.model.config.num_hidden_layers)


def layer_label(layer: int, depth: int) -> str:
    """For the signature, such as `8of12`."""
    return f"{layer}of{depth}"
