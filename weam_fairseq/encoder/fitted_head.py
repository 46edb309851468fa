"""A new masked-LM head in closed form, for encoders that are published without one.

Training through a head of random weights wrecks a good encoder. A head `dense -> activation -> LayerNorm -> projection`
needs no training to be useful: its bias is the log frequency of the pieces, and its dense layer is a ridge regression
from the states at masked places to the embedding of the piece that was there. What counts is the product with all
embeddings, so the target is the embedding times the inverse of their covariance (a linear discriminant).

Shapes: M masked rows, D width of the states, H width before the projection, V rows of the vocabulary.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .huggingface import MaskedLM

# Tried on held-out rows. Ridge: a share of the mean variance of the states. Scale: the weight of LayerNorm.
RIDGES = (0.03, 0.1, 0.3, 1.0)
SCALES = (0.4, 0.6, 0.8, 1.0)
# Of a piece that the text does not have, in occurrences.
SMOOTHING = 0.5
# What the dense layer adds to its outputs, whose standard deviation is 1: GELU and ReLU are nearly linear there, and
# LayerNorm takes it away.
OFFSET = 3.0
HELD_OUT_IN_SEARCH = 600  # rows
ROWS_AT_ONCE = 128

Batches = Iterable[tuple[dict[str, Tensor], Tensor, Tensor]]


class FitReport(NamedTuple):
    """What the fit gave, on rows that it did not see.

    Attributes:
        how: `dense layer and bias`, `bias only` or `nothing`.
        nats_before, nats_unigram, nats_after: mean negative log-likelihood of a masked piece with the head as it was,
            with the frequencies of the pieces alone, and with the fitted head.
        accuracy_after: share of masked pieces that are predicted right.
        rows: that the head was fitted to.
        ridge, scale: that were chosen; 0 where no dense layer was fitted.
        seconds: of the whole fit.
    """

    how: str
    nats_before: float
    nats_unigram: float
    nats_after: float
    accuracy_after: float
    rows: int
    ridge: float
    scale: float
    seconds: float


class _Layers(NamedTuple):
    """The parts of a head that the fit sets; None: the head has none, or it is not new."""

    dense: nn.Linear | None
    norm: nn.LayerNorm | None
    bias: Tensor | None


def fit_head(
    model: Any,
    batches: Batches,
    frequencies: Tensor,
    missing: Collection[str],
    *,
    held_out_share: float = 0.1,
    seed: int = 1,
) -> FitReport:
    """Sets the new parameters of a head in place; others keep their values.

    Args:
        model: a transformers model with a masked-LM head, in evaluation mode.
        batches: inputs of the base model, masked rows of the flattened batch (N,), and the pieces there (N,).
        frequencies: (V,) occurrences of each piece in the training text.
        missing: names of the model's new parameters.
        held_out_share: of the masked rows, which choose ridge and scale.
        seed: draws the held-out rows.
    """
    start = time.perf_counter()
    new = {id(parameter) for name, parameter in model.named_parameters() if name in set(missing)}
    head = MaskedLM(model)
    head.check()
    with torch.no_grad():
        _copy_embeddings(model, new)
        states, targets = _states_at(head, batches)
        order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed)).to(targets.device)
        held = order[: max(1, int(held_out_share * len(order)))]
        rest = order[len(held) :]
        layers = _layers(model, new)
        before, _ = _measure(head, states[held], targets[held])
        log_shares = torch.log((frequencies.to(states.device) + SMOOTHING).float())
        log_shares -= torch.logsumexp(log_shares, 0)
        unigram = float(-log_shares[targets[held]].mean())
        how, ridge, scale = "nothing", 0.0, 0.0
        if layers.bias is not None:
            layers.bias.copy_(log_shares)
            how = "bias only"
        if layers.dense is not None and layers.norm is not None and layers.bias is not None and len(rest) > 1:
            found = _fit_dense(head, layers, states, targets, rest, held, frequencies.to(states.device))
            if found is not None:
                how, (ridge, scale) = "dense layer and bias", found
        after, hits = _measure(head, states[held], targets[held])
    seconds = time.perf_counter() - start
    return FitReport(how, before, unigram, after, hits, len(rest), ridge, scale, seconds)


def _states_at(head: MaskedLM, batches: Batches) -> tuple[Tensor, Tensor]:
    """(M, D) states at the masked rows, and (M,) the pieces there."""
    states, targets = [], []
    for inputs, rows, pieces in batches:
        states.append(head.states(inputs).flatten(0, 1)[rows].float())
        targets.append(pieces)
    return torch.cat(states), torch.cat(targets)


def _copy_embeddings(model: Any, new: set[int]) -> None:
    """A new projection that is not tied starts as the word embeddings, where their shapes agree."""
    words, output = model.get_input_embeddings().weight, model.get_output_embeddings()
    if isinstance(output, nn.Linear) and id(output.weight) in new and output.weight.shape == words.shape:
        output.weight.copy_(words)


def _layers(model: Any, new: set[int]) -> _Layers:
    """The head's parts, found by their form: outside the base model, one nn.Linear and one nn.LayerNorm besides the
    projection."""
    base = getattr(model, model.base_model_prefix)
    inside = {id(module) for module in base.modules()}
    output = model.get_output_embeddings()
    outside = [module for module in model.modules() if id(module) not in inside and module is not output]

    def only(kind: type[nn.Module]) -> Any:
        found = [module for module in outside if isinstance(module, kind)]
        fits = len(found) == 1 and all(id(parameter) in new for parameter in found[0].parameters())
        return found[0] if fits else None

    bias = output.bias if isinstance(output, nn.Linear) else None
    dense, norm = only(nn.Linear), only(nn.LayerNorm)
    if dense is not None and isinstance(output, nn.Linear) and dense.out_features != output.in_features:
        dense = None
    return _Layers(dense, norm, bias if bias is not None and (id(bias) in new) else None)


def _fit_dense(
    head: MaskedLM,
    layers: _Layers,
    states: Tensor,
    targets: Tensor,
    rest: Tensor,
    held: Tensor,
    frequencies: Tensor,
) -> tuple[float, float] | None:
    """The ridge and the scale that are best on held-out rows, with their weights in the head; None: the bias alone is
    as good, and the dense layer is as it was."""
    dense, norm = layers.dense, layers.norm
    assert dense is not None
    assert norm is not None
    kept = [parameter.clone() for module in (dense, norm) for parameter in module.parameters()]
    output = head.model.get_output_embeddings()
    solve = _regression(states[rest], _discriminants(output.weight, frequencies, targets[rest]), dense.bias is not None)
    search = held[:HELD_OUT_IN_SEARCH]
    if norm.bias is not None:
        norm.bias.zero_()
    best, chosen = _unigram_nats(head, layers, targets[search]), None
    weights = {}
    for ridge, scale in product(RIDGES, SCALES):
        if ridge not in weights:
            weights[ridge] = solve(ridge)
        _set(dense, norm, *weights[ridge], scale)
        nats, _ = _measure(head, states[search], targets[search])
        if nats < best:
            best, chosen = nats, (ridge, scale)
    if chosen is None:
        parameters = [parameter for module in (dense, norm) for parameter in module.parameters()]
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
        return None
    _set(dense, norm, *weights[chosen[0]], chosen[1])
    return chosen


def _unigram_nats(head: MaskedLM, layers: _Layers, targets: Tensor) -> float:
    assert layers.bias is not None
    return float(-torch.log_softmax(layers.bias.float(), 0)[targets].mean())


def _discriminants(embeddings: Tensor, frequencies: Tensor, targets: Tensor) -> Tensor:
    """(M, H): (E[target] - mean) S, with S the inverse of the embeddings' covariance, weighted by frequency, plus its
    own mean diagonal."""
    share = (frequencies / frequencies.sum()).float()
    seen = torch.nonzero(share).flatten()
    rows = embeddings[seen].float()
    mean = share[seen] @ rows
    centred = rows - mean
    covariance = (centred * share[seen].unsqueeze(1)).T @ centred
    covariance += torch.eye(len(covariance), device=covariance.device) * covariance.diagonal().mean()
    return torch.linalg.solve(covariance.double(), (embeddings[targets].float() - mean).double().T).T


def _regression(states: Tensor, wanted: Tensor, has_bias: bool) -> Callable[[float], tuple[Tensor, Tensor | None]]:
    """Ridge -> the dense layer's weight (H, D) and bias (H,), whose outputs have standard deviation 1 around OFFSET.

    Without a bias the offset comes from the mean state: its share in every state is nearly the same. The regression
    then sees what is at right angles to it.
    """
    x = states.double()
    mean = x.mean(0)
    direction = mean / mean.square().sum()
    x = x - mean if has_bias else x - (x @ direction).unsqueeze(1) * mean
    wanted = wanted - wanted.mean(0)
    square, cross = x.T @ x, x.T @ wanted
    variance = square.diagonal().mean()

    def solve(ridge: float) -> tuple[Tensor, Tensor | None]:
        regularised = square + ridge * variance * torch.eye(len(square), device=square.device, dtype=square.dtype)
        weight = torch.linalg.solve(regularised, cross)
        weight = weight / (x @ weight).std()
        if has_bias:
            return weight.T.float(), (OFFSET - mean @ weight).float()
        across = weight - torch.outer(direction, mean @ weight)
        return (across.T + OFFSET * direction).float(), None

    return solve


def _set(dense: nn.Linear, norm: nn.LayerNorm, weight: Tensor, bias: Tensor | None, scale: float) -> None:
    dense.weight.copy_(weight)
    if bias is not None:
        dense.bias.copy_(bias)
    norm.weight.fill_(scale)


def _measure(head: MaskedLM, rows: Tensor, targets: Tensor) -> tuple[float, float]:
    """Mean nats of the targets, and the share of them that are the most likely piece."""
    nats = hits = 0.0
    for part in _parts(len(rows)):
        logits = F.linear(*head.project(rows[part])) if head.stops_before_projection else head.logits(rows[part])
        nats += float(F.cross_entropy(logits.float(), targets[part], reduction="sum"))
        hits += float((logits.argmax(1) == targets[part]).sum())
    return nats / len(rows), hits / len(rows)


def _parts(rows: int) -> Iterator[slice]:
    for start in range(0, rows, ROWS_AT_ONCE):
        yield slice(start, start + ROWS_AT_ONCE)
