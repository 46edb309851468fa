"""Pure: computes a masked-LM head in closed form, for an encoder that was published without one.

Training through a random head harms a good encoder, because its gradients are meaningless for hundreds of updates. A
head of the form dense -> activation -> LayerNorm -> projection + bias needs no training if it is the linear
discriminant of the pieces. This assumes that the mean state at a masked position is linear in the embedding of the
masked piece.

    h | v ~ Normal(μ + B' (e_v - m), Σ)
    log p(v | h) = log π_v + (h - μ)' W (e_v - m) - ½ (e_v - m)' B W (e_v - m) + terms without v,   W = Σ⁻¹ B'

B is a ridge regression of states on embeddings, Σ the covariance of its residuals, and π the frequency of the pieces.
The dense layer holds W and an offset, which keeps the activation in its linear range and which LayerNorm removes. The
bias holds log π and the quadratic term.

Shapes: B sentences, T positions, N masked rows, D width of the states, E width of the embeddings, V rows of the
vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weam_fairseq.common.errors import InputError
from weam_fairseq.encoder.huggingface import MaskedLM

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Candidate ridges, as shares of the mean variance of a state, and candidate scales of the discriminant. Held-out rows
# decide.
RIDGES = (0.1, 0.3, 1.0, 3.0)
SCALES = (0.5, 0.7, 0.85, 1.0, 1.2)
# As a share of the mean variance of an embedding. Values from 0.3 to 2 make little difference.
EMBEDDING_RIDGE = 1.0
# With this offset GELU and similar activations are nearly linear for states of standard deviation 1.
OFFSET = 3.0
# Share of the probability that is divided equally among all pieces, including those that the text lacks.
SMOOTHING = 0.01
# The search for ridge and scale uses this many held-out rows and most frequent pieces.
SEARCH_ROWS, SEARCH_PIECES = 1000, 20_000
ROWS_AT_ONCE, PIECES_AT_ONCE = 128, 16_384

DENSE, BIAS, NOTHING = "dense layer and bias", "bias only", "nothing"

Batch = tuple[Mapping[str, Tensor], Tensor, Tensor]


class FitReport(NamedTuple):
    """The result of the fit, measured on held-out rows.

    Attributes:
        nats_before: loss of the original head.
        nats_after: loss of the resulting head.
        nats_unigram: loss of the piece frequencies alone.
        accuracy_after: share of rows where the head's first choice is the masked piece.
        rows: number of rows used for fitting.
        ridge: the chosen ridge, as a share of the mean variance of a state; 0 if the dense layer is not fitted.
        scale: the weight of LayerNorm; 0 if the dense layer is not fitted.
        how: the fitted part: `dense layer and bias`, `bias only` or `nothing`.
        seconds: total time, including the encoder's pass over the batches.
    """

    nats_before: float
    nats_after: float
    nats_unigram: float
    accuracy_after: float
    rows: int
    ridge: float
    scale: float
    how: str
    seconds: float


def fit_head(
    model: PreTrainedModel,
    batches: Iterable[Batch],
    frequencies: Tensor,
    *,
    fit_dense: bool = True,
    held_out_share: float = 0.1,
    seed: int = 1,
) -> FitReport:
    """Sets the parameters of a new masked-LM head so that it predicts masked pieces without training.

    If the head does not have the form dense -> activation -> LayerNorm -> projection, only its bias is fitted. If the
    fitted head does not predict held-out rows better, the original head is restored. The encoder does not change. An
    untied projection becomes a copy of the input embeddings if the head then predicts better.

    Args:
        model: a Hugging Face model for masked language modeling.
        batches: for each batch, the inputs of the base model (`input_ids` (B, T), …), the (N,) masked rows of the
            flattened (B * T) batch, and the (N,) ids of the masked pieces.
        frequencies: (V,) or fewer: counts of the pieces in the training text.
        fit_dense: False if only the bias is new.
        held_out_share: share of held-out sentences. They decide ridge and scale and give the reported figures.
        seed: seed for the choice of held-out sentences.

    Raises:
        InputError: fewer than two sentences have masked pieces, or all frequencies are 0.
    """
    started = time.perf_counter()
    with _evaluating(model), torch.no_grad():
        train, held = _split(_encode(model, batches), held_out_share, seed)
        parts = _find_parts(model, width=train.states.shape[1])
        log_prior = _log_prior(frequencies.to(train.states.device), rows=len(parts.tables[0]))
        unigram = float(-log_prior[held.targets].mean())
        before = _score(model, held)
        original = best = _Outcome(before, NOTHING, 0.0, 0.0, _copies(parts))
        if fit_dense and parts.dense is not None and (fit := _search(parts, train, held, log_prior)) is not None:
            _put(fit, parts, log_prior)
            fitted = _Outcome(_score(model, held), DENSE, fit.ridge, fit.norm_weight, _copies(parts))
            best = min(best, fitted, key=_nats)
        if parts.bias is not None and best.score.nats >= unigram:
            _restore(original.parameters)
            parts.bias.copy_(log_prior)
            best = min(best, _Outcome(_score(model, held), BIAS, 0.0, 0.0, _copies(parts)), key=_nats)
        _restore(best.parameters)
    return FitReport(
        nats_before=before.nats,
        nats_after=best.score.nats,
        nats_unigram=unigram,
        accuracy_after=best.score.accuracy,
        rows=len(train.targets),
        ridge=best.ridge,
        scale=best.scale,
        how=best.how,
        seconds=time.perf_counter() - started,
    )


class _Rows(NamedTuple):
    """Masked rows: states (N, D) in single precision, targets (N,), and each row's sentence (N,)."""

    states: Tensor
    targets: Tensor
    sentences: Tensor

    def where(self, chosen: Tensor) -> _Rows:
        return _Rows(*(column[chosen] for column in self))


class _Parts(NamedTuple):
    """The parts of a head.

    Attributes:
        tables: (V, E) each: the projection's weight, and the input embeddings if they are separate and of that shape.
        bias: (V,) bias of the projection, or None.
        dense, norm: None if the head has another form or no bias.
    """

    tables: list[nn.Parameter]
    bias: nn.Parameter | None
    dense: nn.Linear | None
    norm: nn.Module | None


class _Fit(NamedTuple):
    """A discriminant in the form of a head: LayerNorm(activation(h weight' + bias)) * norm_weight, and its bias.

    Attributes:
        weight, bias: (E, D) and (E,) of the dense layer. The bias is None if the layer has none.
        table: the embeddings e_v that it was fitted for.
        centre, quadratic: (E,) and (E, E): the bias of v is log π_v - ½ (e_v - centre)' quadratic (e_v - centre).
    """

    nats: float
    ridge: float
    weight: Tensor
    bias: Tensor | None
    norm_weight: float
    table: nn.Parameter
    centre: Tensor
    quadratic: Tensor


class _Score(NamedTuple):
    nats: float
    accuracy: float


class _Outcome(NamedTuple):
    score: _Score
    how: str
    ridge: float
    scale: float
    parameters: list[tuple[nn.Parameter, Tensor]]


def _nats(outcome: _Outcome) -> float:
    return outcome.score.nats if math.isfinite(outcome.score.nats) else math.inf


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _encode(model: PreTrainedModel, batches: Iterable[Batch]) -> _Rows:
    """Computes the last layer's states at all masked rows."""
    encoded = []
    sentences = 0
    for inputs, rows, targets in batches:
        states = model.base_model(**{name: tensor.to(model.device) for name, tensor in inputs.items()})[0]
        size, length = states.shape[:2]
        rows = rows.to(model.device)
        encoded.append(_Rows(states.flatten(0, 1)[rows].float(), targets.to(model.device), rows // length + sentences))
        sentences += size
    if not encoded:
        raise InputError("Fitting a new head needs masked pieces, but there is no batch. Use more text.")
    return _Rows(*(torch.cat(columns) for columns in zip(*encoded, strict=True)))


def _split(rows: _Rows, held_out_share: float, seed: int) -> tuple[_Rows, _Rows]:
    """Splits by sentence, because the rows of one sentence are similar."""
    sentences = rows.sentences.unique()
    if len(sentences) < 2:
        raise InputError(
            f"Fitting a new head needs two or more sentences with masked pieces, but there are {len(sentences)}. Use "
            "more text, or mask more pieces."
        )
    count = min(max(1, round(held_out_share * len(sentences))), len(sentences) - 1)
    chosen = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(seed))[:count]
    is_held = torch.isin(rows.sentences, sentences[chosen.to(sentences.device)])
    return rows.where(~is_held), rows.where(is_held)


def _find_parts(model: PreTrainedModel, width: int) -> _Parts:
    """Finds the parts of the head by their shapes among the modules outside the base model."""
    base_modules = set(model.base_model.modules())
    head_modules = [module for module in model.modules() if module not in base_modules]
    inputs: Any = model.get_input_embeddings().weight
    projection = model.get_output_embeddings()
    # DeBERTa-v2 calls its dense layer the output embeddings, and projects on the input embeddings.
    if len(getattr(projection, "weight", ())) != len(inputs):
        projection = None
    tables = [inputs if projection is None else projection.weight]
    if tables[0] is not inputs and tables[0].shape == inputs.shape:
        tables.append(inputs)
    pieces, embedded = tables[0].shape
    biases = {id(p): p for module in head_modules for p in module.parameters(recurse=False) if p.shape == (pieces,)}
    bias = getattr(projection, "bias", None)
    if bias is None and len(biases) == 1:
        (bias,) = biases.values()
    dense = [
        module
        for module in head_modules
        if isinstance(module, nn.Linear) and module is not projection and module.weight.shape == (embedded, width)
    ]
    norms = [module for module in head_modules if getattr(module, "weight", None) is not None]
    norms = [module for module in norms if module.weight.shape == (embedded,)]
    if bias is None or len(dense) != 1 or len(norms) != 1:
        return _Parts(tables, bias, None, None)
    return _Parts(tables, bias, dense[0], norms[0])


def _log_prior(frequencies: Tensor, rows: int) -> Tensor:
    """(V,) log of each piece's smoothed share of the text."""
    counts = F.pad(frequencies.double(), (0, rows - len(frequencies)))
    if counts.sum() <= 0:
        raise InputError("Fitting a new head needs the frequencies of the pieces, but all are 0. Use more text.")
    return ((1 - SMOOTHING) * counts / counts.sum() + SMOOTHING / rows).log().float()


def _search(parts: _Parts, train: _Rows, held: _Rows, log_prior: Tensor) -> _Fit | None:
    """Finds the fit that predicts held-out rows best, with GELU as activation and only the most frequent pieces."""
    assert parts.dense is not None
    rows = held.where(torch.arange(0, len(held.targets), math.ceil(len(held.targets) / SEARCH_ROWS)))
    frequent = log_prior.topk(min(SEARCH_PIECES, len(log_prior))).indices
    pieces, targets = torch.cat([rows.targets, frequent]).unique(return_inverse=True)
    targets = targets[: len(rows.targets)]
    best = None
    for table in parts.tables:
        embedded = table[pieces].float()
        for fit in _fits(train, table, has_bias=parts.dense.bias is not None):
            states = F.linear(rows.states, fit.weight, fit.bias)
            products = F.layer_norm(F.gelu(states), states.shape[1:]) @ embedded.T * fit.norm_weight
            products -= _quadratic_term(embedded, fit)
            for scale in SCALES:
                nats = float(F.cross_entropy(products * scale + log_prior[pieces], targets))
                if math.isfinite(nats) and (best is None or nats < best.nats):
                    best = fit._replace(nats=nats, norm_weight=scale * fit.norm_weight, quadratic=scale * fit.quadratic)
    return best


def _fits(rows: _Rows, table: nn.Parameter, has_bias: bool) -> Iterator[_Fit]:
    """Yields the discriminant for each ridge."""
    mean = rows.states.mean(0).double()
    states = rows.states.double() - mean
    embedded = table[rows.targets].double()
    centre = embedded.mean(0)
    embedded -= centre
    state_covariance, cross_covariance, embedding_covariance = (
        left.T @ right / len(states) for left, right in ((states, states), (states, embedded), (embedded, embedded))
    )
    means = torch.linalg.solve(_ridged(embedding_covariance, EMBEDDING_RIDGE), cross_covariance.T)  # (E, D): B
    for ridge in RIDGES:
        total = _ridged(state_covariance, ridge)
        weight = torch.linalg.solve(total - cross_covariance @ means, means.T)  # (D, E): Σ⁻¹ B
        quadratic = means @ weight
        spread = float((states @ weight).std(correction=0))
        weight /= spread
        bias = OFFSET - mean @ weight
        if not has_bias:
            # Replaces the constant 1 by the direction whose product with a state is 1 with the least variance.
            constant = torch.linalg.solve(total, mean)
            weight += torch.outer(constant / (mean @ constant), bias)
        yield _Fit(
            nats=math.inf,
            ridge=ridge,
            weight=weight.T.float(),
            bias=bias.float() if has_bias else None,
            norm_weight=spread,
            table=table,
            centre=centre.float(),
            quadratic=quadratic.float(),
        )


def _ridged(covariance: Tensor, share: float) -> Tensor:
    """Adds a share of the mean variance to the diagonal. The mean variance is 0 if all vectors are equal."""
    variance = covariance.diagonal().mean().clamp_min(1e-12)
    return covariance + share * variance * torch.eye(len(covariance)).to(covariance)


def _quadratic_term(embedded: Tensor, fit: _Fit) -> Tensor:
    """(V, E) -> (V,), the term that the bias subtracts."""
    centred = embedded - fit.centre
    return (centred @ fit.quadratic * centred).sum(1) / 2


def _put(fit: _Fit, parts: _Parts, log_prior: Tensor) -> None:
    """Writes the fit into the head."""
    assert parts.bias is not None
    assert parts.dense is not None
    assert parts.norm is not None
    if fit.table is not parts.tables[0]:
        parts.tables[0].copy_(fit.table)
    parts.dense.weight.copy_(fit.weight)
    if fit.bias is not None:
        parts.dense.bias.copy_(fit.bias)
    for name, parameter in parts.norm.named_parameters():
        parameter.fill_(fit.norm_weight if name == "weight" else 0.0)
    # In slices, because a float32 copy of the whole table would be the largest tensor here.
    for start in range(0, len(log_prior), PIECES_AT_ONCE):
        chunk = slice(start, start + PIECES_AT_ONCE)
        parts.bias[chunk] = log_prior[chunk] - _quadratic_term(fit.table[chunk].float(), fit)


def _copies(parts: _Parts) -> list[tuple[nn.Parameter, Tensor]]:
    """Copies the parameters that a fit changes."""
    changed = [parts.bias] if parts.bias is not None else []
    if parts.dense is not None and parts.norm is not None:
        changed += [*parts.dense.parameters(), *parts.norm.parameters()]
        changed += parts.tables[:1] if len(parts.tables) > 1 else []
    return [(parameter, parameter.detach().clone()) for parameter in changed]


def _restore(parameters: list[tuple[nn.Parameter, Tensor]]) -> None:
    for parameter, value in parameters:
        parameter.copy_(value)


def _score(model: PreTrainedModel, rows: _Rows) -> _Score:
    """Scores the model's own head, a few rows at a time: all logits would be N * V numbers."""
    nats, right, head = 0.0, 0, MaskedLM(model)
    for states, targets in zip(rows.states.split(ROWS_AT_ONCE), rows.targets.split(ROWS_AT_ONCE), strict=True):
        logits = head.logits(states.to(model.dtype)).float()
        nats += float(F.cross_entropy(logits, targets, reduction="sum"))
        right += int((logits.argmax(1) == targets).sum())
    return _Score(nats / len(rows.targets), right / len(rows.targets))
