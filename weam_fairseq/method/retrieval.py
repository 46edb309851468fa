"""Sentence retrieval on validation pairs, from a model in training: does the run help or harm the encoder?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from weam_fairseq.common.errors import InputError
from weam_fairseq.data.layout import Ragged, lay_out_singles
from weam_fairseq.data.split import Pair
from weam_fairseq.encoder.huggingface import longest_sequence
from weam_fairseq.method.dataset import WordExchangeDataset
from weam_fairseq.method.modeling import WordExchange

_BATCH = 64  # sentence pairs encoded together


class Retrieval(NamedTuple):
    """How often a sentence's translation is the nearest sentence of the other language, in percent.

    Attributes:
        layer: the layer with the best mean, counted from 0, the embeddings.
        forward, backward: source to target and target to source at that layer, each the mean over the language pairs.
    """

    layer: int
    forward: float
    backward: float

    @property
    def mean(self) -> float:
        return (self.forward + self.backward) / 2


@torch.no_grad()
def measure(model: WordExchange, data: WordExchangeDataset, pairs: int) -> Retrieval:
    """Measures with the mean of the states of a sentence's pieces (without special ones), at every layer, and keeps the
    best layer. weam-evaluate's `sentence-retrieval` has the same vectors.

    Args:
        model: in evaluation mode.
        data: the validation pairs.
        pairs: sentence pairs to measure, divided evenly among the language pairs.

    Raises:
        InputError: all pairs are too long for the model.
    """
    per_language_pair = max(2, pairs // len(data.splits))
    starts = np.cumsum(data.pair_sizes) - data.pair_sizes
    accuracies = []
    for start, size in zip(starts.tolist(), data.pair_sizes.tolist(), strict=True):
        read = _read(model, data, np.arange(start, start + min(size, per_language_pair)))
        if read:
            accuracies.append(_accuracies(*_vectors(model, data, read), _texts(read)))
    if not accuracies:
        raise InputError("No validation pair is short enough for the model. Preprocess with a smaller --max-pieces.")
    by_layer = torch.stack(accuracies).mean(dim=0)
    layer = int(by_layer.mean(dim=1).argmax())
    forward, backward = by_layer[layer].tolist()
    return Retrieval(layer, forward, backward)


def _read(model: WordExchange, data: WordExchangeDataset, indices: np.ndarray) -> list[Pair]:
    """Pairs of similar length follow each other, which needs little padding. Like training, leaves out long ones."""
    pairs = data.__getitems__(indices[np.argsort(data.sizes[indices], kind="stable")].tolist())
    longest = longest_sequence(model.masked_lm)
    if longest is None:
        return pairs
    single = data.vocabulary.single
    most = longest - len(single.before) - len(single.after)
    return [pair for pair in pairs if max(len(pair.source), len(pair.target)) <= most]


class Texts(NamedTuple):
    """(pairs,) each: equal numbers for equal sentences of one side. Any of several equal sentences is right."""

    source: Tensor
    target: Tensor


def _accuracies(source: Tensor, target: Tensor, texts: Texts) -> Tensor:
    """(layers, 2) percent in both directions, of unit vectors (layers, pairs, D)."""
    similarity = source @ target.transpose(1, 2)
    hits = []
    for dim, keys in ((2, texts.target), (1, texts.source)):
        keys = keys.to(similarity.device)
        hits.append((keys[similarity.argmax(dim=dim)] == keys).float().mean(dim=1))
    return 100 * torch.stack(hits, dim=1)


def _texts(pairs: Sequence[Pair]) -> Texts:
    sides = [[pair.source.tobytes() for pair in pairs], [pair.target.tobytes() for pair in pairs]]
    numbers = [{text: number for number, text in enumerate(side)} for side in sides]
    return Texts(*(torch.tensor([of[text] for text in side]) for of, side in zip(numbers, sides, strict=True)))


def _vectors(model: WordExchange, data: WordExchangeDataset, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Unit vectors of both sides, (layers, pairs, D) each."""
    device = next(model.parameters()).device
    sides: tuple[list[Tensor], list[Tensor]] = ([], [])
    for start in range(0, len(pairs), _BATCH):
        batch = pairs[start : start + _BATCH]
        source, target = Ragged.of([p.source for p in batch]), Ragged.of([p.target for p in batch])
        layout = lay_out_singles(source, target, data.vocabulary.single, data.vocabulary.pad)
        tokens, mask, segments, positions = (
            torch.from_numpy(np.ascontiguousarray(each)).to(device)
            for each in (layout.tokens, layout.attended, layout.segments, layout.positions)
        )
        pieces = torch.zeros(tokens.shape, device=device)
        pieces.view(-1)[torch.from_numpy(np.concatenate([layout.source_rows, layout.target_rows])).to(device)] = 1
        weights = pieces / pieces.sum(dim=1, keepdim=True)
        inputs = model.inputs(tokens, mask, segments, positions)
        layers = model.base(**inputs, output_hidden_states=True, return_dict=True).hidden_states
        layers = [states for states in layers if states.shape[1] == mask.shape[1]]  # funnel pools the later ones
        pooled = torch.stack([torch.einsum("btd,bt->bd", states.float(), weights) for states in layers])
        unit = torch.nn.functional.normalize(pooled, dim=-1)
        for side, vectors in zip(sides, unit.split(len(batch), dim=1), strict=True):
            side.append(vectors)
    return torch.cat(sides[0], dim=1), torch.cat(sides[1], dim=1)
