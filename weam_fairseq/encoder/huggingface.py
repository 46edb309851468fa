"""Runs any masked LM of transformers in two steps: the last layer's states, then selected rows through its own head.

Every `...ForMaskedLM` calls its base model and applies its head to the last hidden state. Here the base model runs
once. Then the model is called again with a stub in place of the base model. The stub returns the selected rows of the
states, exchanged or not. If the head ends in one matrix, the second call stops before it, so that the loss can be
computed without holding all logits. `check` compares both ways with the full model.

Shapes: B sentences, T positions, D width of the states, H width before the projection, V rows of the vocabulary,
M rows.
"""

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from weam_fairseq.common.command import machine_error
from weam_fairseq.common.errors import InputError, reason_of
from weam_fairseq.encoder.configs import UNTIED
from weam_fairseq.encoder.faster_parts import SharedEmbedding, output_embeddings

# Largest allowed difference of the logits, as a share of the largest logit: fp32 sums in another order.
TOLERANCE = 1e-5
# Exceptions of models that do not work with `MaskedLM`.
_MODEL_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError)


# Families that run with `MaskedLM`, but cannot be trained.
_UNTRAINABLE = {
    "reformer": "train on sequences of any length, but a reformer needs multiples of its chunk length",
    "mra": "work on any machine, but the attention of mra is zero without its own GPU kernel",
}


class UnsupportedModel(InputError):
    """The model's rows cannot be predicted one by one. The message says why."""


class Projection(NamedTuple):
    """Inputs and parameters of the head's last matrix: logits = rows @ weightᵀ + bias.

    rows: (M, H); weight: (V, H); bias: (V,).
    """

    rows: Tensor
    weight: Tensor
    bias: Tensor


def build(config: Any, where: str = "The model", weights: dict[str, Tensor] | None = None) -> Any:
    """Builds a masked LM in fp32 and training mode.

    Args:
        config: a PretrainedConfig of transformers.
        where: the source of the config, for messages.
        weights: a complete state dict; None: a new model with transformers' own initialization.

    Raises:
        UnsupportedModel: the model is no masked LM, or its rows cannot be predicted one by one.
        InputError: transformers cannot build a model from this config.
    """
    model_class = masked_lm_class(config, where)
    with quiet(), _refusals(where):
        # from_pretrained draws every weight once. The constructor would also draw a tied head, as large as the word
        # embeddings, and discard it.
        state = {} if weights is None else dict(weights)
        model = model_class.from_pretrained(None, config=config, state_dict=state, dtype=torch.float32).train()
    if weights is None:
        zero_biases(model, [name for name, _ in model.named_parameters()])
    return _untie(model)


def zero_biases(model: Any, names: list[str]) -> None:
    """Sets the biases among these parameters to zero.

    If a checkpoint lacks them, transformers leaves uninitialized memory in the biases of some heads (data2vec-text,
    fnet, longformer, luke, nystromformer).
    """
    for name in names:
        if name.rpartition(".")[2] == "bias":
            model.get_parameter(name).data.zero_()


def skeleton(config: Any, where: str = "The model") -> Any:
    """Builds the model without allocating its weights."""
    model_class = masked_lm_class(config, where)
    with torch.device("meta"), _refusals(where):
        return _untie(model_class(config))


@contextmanager
def _refusals(where: str) -> Iterator[None]:
    try:
        yield
    # transformers may raise any exception here. The user needs the name of the model and the reason.
    except Exception as error:
        if machine_error(error) is not None:
            raise
        raise InputError(
            f"{where} must describe a model that transformers can build, but does not: {reason_of(error)}."
        ) from error


def _untie(model: Any) -> Any:
    """Unties weights that have their own values in a published folder although its config ties them."""
    for name in ties_of(model) & {*getattr(model.config, UNTIED, ())}:
        module, _, leaf = name.rpartition(".")
        parent = model.get_submodule(module)
        setattr(parent, leaf, nn.Parameter(getattr(parent, leaf).detach().clone()))
    return model


def ties_of(model: Any) -> set[str]:
    """Returns the names of the weights that are tied to others."""
    return {*(getattr(model, "all_tied_weights_keys", None) or {})}


def masked_lm_class(config: Any, where: str = "The model") -> Any:
    """Returns transformers' class with a masked-LM head for a config.

    Raises:
        UnsupportedModel: there is no such class, or its rows cannot be predicted one by one.
    """
    from transformers import AutoModelForMaskedLM

    model_type = getattr(config, "model_type", None)
    mapping = AutoModelForMaskedLM._model_mapping
    if type(config) not in mapping:
        raise UnsupportedModel(
            f"{where} must be a masked language model, but model_type {model_type!r} has no masked-LM class in "
            "transformers."
        )
    model_class: Any = mapping[type(config)]
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModel(
            f"{where} must be an encoder, but {model_type} is an encoder-decoder: it has no states of both sentences "
            "to exchange."
        )
    if getattr(config, "is_decoder", False):
        raise UnsupportedModel(
            f"{where} must look at both sides of a piece, but its config sets is_decoder: it is a causal model."
        )
    extra_inputs = _inputs_besides_text(config, model_class)
    if extra_inputs:
        raise UnsupportedModel(f"{where} must take text alone, but {model_class.__name__} takes {extra_inputs}.")
    if model_type in _UNTRAINABLE:
        raise UnsupportedModel(f"{where} must {_UNTRAINABLE[model_type]}.")
    return model_class


def _inputs_besides_text(config: Any, model_class: Any) -> str:
    """Describes the inputs of a class besides text. Empty if there are none."""
    modalities = model_class.input_modalities
    others = {modalities} if isinstance(modalities, str) else set(modalities)
    others = {f"{name}s" for name in others - {"text"}}
    if "bbox" in inspect.signature(model_class.forward).parameters:
        others.add("positions on a page")
    if hasattr(config, "type_vocab_sizes"):
        others.add("rows and columns of a table")
    return " and ".join(sorted(others))


class MaskedLM:
    """A masked LM of transformers with the two steps of WEAM: states of a batch, then rows through the head.

    It wraps the model but is not a module: the model keeps its parameters, mode and device.

    Args:
        model: a model of a class that `masked_lm_class` returns.
        head: a model with another head for the same base (`with_own_head`); None: the model's own head.

    Attributes:
        stops_before_projection: whether `project` can return the head's last matrix. `check` verifies it.
        unused: names of the parameters that no logit depends on, such as a pooler's. `check` finds them.

    Raises:
        UnsupportedModel: the model has no separate base model.
    """

    def __init__(self, model: Any, head: Any = None) -> None:
        self.model = model
        self.head = model if head is None else head
        self._name = model.base_model_prefix
        self.base: nn.Module | None = getattr(model, self._name, None)
        if self.base is None or self.base is model:
            raise UnsupportedModel(f"A masked LM must have a base model, but {type(model).__name__} has none.")
        names = inspect.signature(self.base.forward).parameters
        self.takes = frozenset(names)
        self.stops_before_projection = self._output() is not None
        self.unused: list[str] = []

    def states(self, inputs: dict[str, Tensor]) -> Tensor:
        """(B, T, D) states of the last layer for inputs of the base model."""
        assert self.base is not None
        states: Tensor = self.base(**inputs, return_dict=True).last_hidden_state
        return states

    def logits(self, rows: Tensor) -> Tensor:
        """(M, D) -> (M, V), with the family's own head."""
        logits: Tensor = self._call_head(rows).logits[0]
        return logits

    def project(self, rows: Tensor) -> Projection:
        """(M, D) -> the head's last matrix and its inputs. Requires `stops_before_projection`."""
        output = self._output()
        assert output is not None
        parent, name, linear = output
        parent._modules[name] = nn.Identity()
        try:
            transformed = self._call_head(rows).logits[0]
        finally:
            parent._modules[name] = linear
        bias = linear.bias if linear.bias is not None else linear.weight.new_zeros(len(linear.weight))
        return Projection(transformed, self._table(linear), bias)

    def _table(self, linear: nn.Linear) -> Tensor:
        embedding = self.model.get_input_embeddings()
        if isinstance(embedding, SharedEmbedding) and linear.weight is embedding.weight:
            return embedding.projection()
        return linear.weight

    def release(self) -> None:
        """Releases the embedding table that belongs to the autograd graph of the last `states`."""
        embedding = self.model.get_input_embeddings()
        if isinstance(embedding, SharedEmbedding):
            embedding.table = None

    def _call_head(self, rows: Tensor) -> Any:
        stub = _Stub(self.base, rows.unsqueeze(0))
        base = self.head._modules[self._name]
        self.head._modules[self._name] = stub
        try:
            return self.head(input_ids=rows.new_zeros(1, len(rows), dtype=torch.int64), return_dict=True)
        finally:
            self.head._modules[self._name] = base

    def _output(self) -> tuple[nn.Module, str, nn.Linear] | None:
        """Finds the head's last matrix: its parent, its name there, and itself. None if it is no plain nn.Linear."""
        # By its name in the model, because some families find it through the base, which a second head does not have.
        linear = output_embeddings(self.model)
        if type(linear) is not nn.Linear:
            return None
        path = next((path for path, module in self.model.named_modules() if module is linear), None)
        if path is None:
            return None
        parent, _, name = path.rpartition(".")
        own = self.head.get_submodule(path)
        assert isinstance(own, nn.Linear)
        return self.head.get_submodule(parent), name, own

    def check(self) -> float:
        """Compares both steps with the full model on a fixed padded batch. Sets `stops_before_projection` and `unused`.

        Returns:
            The largest difference of the logits, as a share of the largest logit.

        Raises:
            UnsupportedModel: the model does not run on text alone, or its head gives different logits for a single row
                than for the row within its sentence.
        """
        inputs, real = check_batch(self.model, self.takes)
        training = self.model.training
        self.model.eval()
        try:
            with (
                torch.no_grad(),
                torch.autocast(_device(self.model).type, enabled=False),
                _without_constants(self.model),
            ):
                states, full = self._run_whole(inputs)
                return self._compare(states[real], full[real])
        finally:
            self.model.train(training)

    def _run_whole(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        name = type(self.model).__name__
        try:
            with torch.enable_grad():
                full = self.full_logits(inputs)
            states = self.states(inputs)
        except _MODEL_ERRORS as error:
            raise UnsupportedModel(
                f"A model must run on pieces and an attention mask alone, but {name} does not: {reason_of(error)}."
            ) from error
        if states.shape[:2] != full.shape[:2]:
            raise UnsupportedModel(
                f"A model must have one state for each piece, but {name} has states of shape {tuple(states.shape)} for "
                f"{tuple(inputs['input_ids'].shape)} pieces."
            )
        used = _leaves(full)
        self.unused = [name for name, parameter in self.model.named_parameters() if id(parameter) not in used]
        return states, full.detach()

    def _compare(self, rows: Tensor, expected: Tensor) -> float:
        """Compares the head's logits for (M, D) states with the (M, V) logits of the full model."""
        name, scale = type(self.model).__name__, expected.abs().max().clamp_min(1e-30)
        try:
            difference = float((self.logits(rows) - expected).abs().max() / scale)
        except _MODEL_ERRORS as error:
            raise UnsupportedModel(
                f"A head must need only the last hidden state, but that of {name} does not: {reason_of(error)}."
            ) from error
        if not difference <= TOLERANCE:
            raise UnsupportedModel(
                f"A head must process each row on its own, but for single rows that of {name} gives other logits: they "
                f"differ by {difference:.1e} of the largest (allowed {TOLERANCE:.0e})."
            )
        self.stops_before_projection = False
        if self._output() is not None:
            try:
                logits = torch.nn.functional.linear(*self.project(rows))
                self.stops_before_projection = (
                    logits.shape == expected.shape and float((logits - expected).abs().max() / scale) <= TOLERANCE
                )
            except _MODEL_ERRORS:
                pass  # the head computes more after its last matrix, so all logits are computed
        return difference

    def full_logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """(B, T, V) logits of the full model, as transformers computes them."""
        logits: Tensor = self.model(**inputs, return_dict=True).logits
        return logits


class _Stub(nn.Module):
    """Replaces a base model: returns given states, and has the attributes of the base."""

    def __init__(self, base: Any, states: Tensor) -> None:
        super().__init__()
        object.__setattr__(self, "_base", base)
        object.__setattr__(self, "_states", states)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_base"), name)

    def forward(self, *_: Any, return_dict: bool | None = None, **__: Any) -> Any:
        return _states_class()(last_hidden_state=object.__getattribute__(self, "_states"))


@cache
def _states_class() -> Any:
    """A base model's output with only the last hidden state. All other values that a family's class reads are None."""
    from transformers.modeling_outputs import BaseModelOutput

    class States(BaseModelOutput):  # type: ignore[misc]
        def __getattr__(self, name: str) -> None:
            if name.startswith("_"):
                raise AttributeError(name)

    return States


def with_own_head(model: Any) -> Any:
    """Copies everything outside the base model: a second head, tied to the embeddings if the first one is.

    The copy shares no module with the model. Its base is an empty module, so its state dict contains only the head.
    """
    base = getattr(model, model.base_model_prefix)
    shared = {id(parameter): parameter for parameter in base.parameters()}
    return copy.deepcopy(model, {id(base): nn.Module(), **shared})


def check_batch(model: Any, takes: frozenset[str]) -> tuple[dict[str, Tensor], Tensor]:
    """Returns a fixed padded batch of three sentences, and which of its (3, T) positions are not padding."""
    config, device = model.config, _device(model)
    rows = model.get_input_embeddings().weight.shape[0]
    pad = config.pad_token_id or 0
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([9, 6, 3]).clamp(max=longest_sequence(model) or 9)
    width = int(lengths.max())
    tokens = torch.randint(rows, (len(lengths), width), generator=generator)
    tokens[tokens == pad] = (pad + 1) % rows
    real = torch.arange(width)[None, :] < lengths[:, None]
    tokens[~real] = pad
    inputs = {"input_ids": tokens, "attention_mask": real.long()}
    if takes_segments(config, takes):
        inputs["token_type_ids"] = (torch.arange(width)[None, :] >= lengths[:, None] // 2).long() * real
    return {name: value.to(device) for name, value in inputs.items()}, real.to(device)


def takes_segments(config: Any, takes: frozenset[str]) -> bool:
    """Whether a model has embeddings for two segments and its base model takes their ids."""
    return "token_type_ids" in takes and (getattr(config, "type_vocab_size", 0) or 0) > 1


def names_without_ties(model: Any) -> list[str]:
    """Returns the names of the state dict in order. Of tensors that share memory, the one that transformers saves."""
    state, ties = model.state_dict(), ties_of(model)
    kept: dict[int, str] = {}
    for name in sorted(state, key=lambda name: name in ties):
        kept.setdefault(state[name].data_ptr() or id(state[name]), name)
    names = set(kept.values())
    return [name for name in state if name in names]


def longest_sequence(model: Any) -> int | None:
    """Returns how many pieces the longest sequence of a model can have. None: there is no limit.

    The model may be on torch's meta device. RoBERTa's family counts positions from the padding id + 1.
    """
    limits: list[int] = []
    for name, module in model.named_modules():
        # That of I-BERT is not an nn.Embedding.
        if name.endswith("position_embeddings") and isinstance(getattr(module, "weight", None), Tensor):
            pad = getattr(module, "padding_idx", None)
            limits.append(len(module.weight) - (0 if pad is None else pad + 1))
    for key in ("max_position_embeddings", "n_positions", "max_positions"):
        limit = getattr(model.config, key, None)
        if isinstance(limit, int) and limit > 0:
            limits.append(limit)
    return min(limits, default=None)


def first_position(masked_lm: MaskedLM) -> int:
    """Returns the position id of a sentence's first piece, found by comparison with the model's default.

    Raises:
        UnsupportedModel: the model takes no position ids, or does not number them from 0 or the padding id + 1.
    """
    model = masked_lm.model
    where = f"--reset-positions needs a model that takes position ids, but {type(model).__name__}"
    if "position_ids" not in masked_lm.takes:
        raise UnsupportedModel(f"{where} takes none.")
    inputs, real = check_batch(model, masked_lm.takes)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            expected = masked_lm.states(inputs)[real]
            for first in (0, (model.config.pad_token_id or 0) + 1):
                positions = torch.arange(real.shape[1], device=real.device).expand(real.shape) + first
                states = masked_lm.states({**inputs, "position_ids": positions})[real]
                if torch.allclose(states, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max())):
                    others = masked_lm.states({**inputs, "position_ids": torch.full_like(positions, first)})[real]
                    if torch.equal(others, states):
                        raise UnsupportedModel(f"{where} ignores them, because it has relative positions only.")
                    return first
    finally:
        model.train(training)
    raise UnsupportedModel(f"{where} numbers them in another way.")


def _leaves(result: Tensor) -> set[int]:
    """Ids of the tensors with gradients that a result was computed from."""
    found: set[int] = set()
    seen: set[Any] = set()
    open_nodes = [result.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            open_nodes += [next_node for next_node, _ in node.next_functions]
            if hasattr(node, "variable"):
                found.add(id(node.variable))
    return found


@contextmanager
def _without_constants(model: Any) -> Iterator[None]:
    """Temporarily adds noise to constant parameters, such as new biases, so that `check` notices a skipped one."""
    generator = torch.Generator().manual_seed(0)
    original = []
    for parameter in model.parameters():
        values = parameter.data
        if parameter.dim() == 1 and bool((values == values[:1]).all()):
            original.append((parameter, values.clone()))
            noise = torch.randn(values.shape, generator=generator) * 0.1
            values.add_(noise.to(values))
    try:
        yield
    finally:
        for parameter, values in original:
            parameter.data.copy_(values)


@contextmanager
def autocast(device: str, dtype: torch.dtype | None) -> Iterator[None]:
    """torch's autocast on a type of device; off if `dtype` is None.

    Raises:
        InputError: transformers' code of the family mixes types in it (deberta, xmod).
    """
    try:
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            yield
    except RuntimeError as error:
        if dtype is None or "BFloat16" not in str(error):
            raise
        raise InputError(f"This model does not run in bfloat16: {reason_of(error)}. Give --precision fp32.") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hides transformers' progress bars and its reports of missing weights, which we report ourselves."""
    from transformers.utils import logging as transformers_logging

    bar, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    try:
        yield
    finally:
        if bar:
            transformers_logging.enable_progress_bar()
        transformers_logging.set_verbosity(level)


def _device(model: Any) -> torch.device:
    return next(model.parameters()).device
