"""Any masked LM of transformers: its last layer's states, and chosen rows through its own head.

Every `...ForMaskedLM` calls its base model, takes the last hidden state and applies its head. So the base model runs
once; rows of its states, exchanged or not, go through the head by a second call of the whole model, in which a stub
hands out the rows in the place of the base model. Where the head ends in one matrix, that call stops before it, and
the loss is computed without all logits at once. `check` compares both ways with the full model.

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
from weam_fairseq.encoder import attention
from weam_fairseq.encoder.configs import UNTIED
from weam_fairseq.encoder.dropout import Dropout
from weam_fairseq.encoder.embeddings import SharedEmbedding, can_share

# Largest difference between two ways to the same logits, as a share of the largest logit: fp32 sums in another order.
TOLERANCE = 1e-5
# What a model raises that is of another form than `MaskedLM` takes.
_OF_OTHER_MODELS = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, AssertionError)


# Families whose class runs, but cannot be trained by it.
_CANNOT = {
    "reformer": "train on sequences of any length, but a reformer trains on multiples of its chunks only",
    "mra": "attend on any machine, but the attention of mra is zero without a GPU kernel of its own",
}


class UnsupportedModel(InputError):
    """A model whose rows cannot be predicted one by one, and why."""


class Projected(NamedTuple):
    """What the last matrix of the head needs: logits = rows @ weightᵀ + bias.

    rows: (M, H); weight: (V, H); bias: (V,).
    """

    rows: Tensor
    weight: Tensor
    bias: Tensor


class Parts(NamedTuple):
    """Which of our faster parts a model trains with, and for the others why not (None: active)."""

    attention: str | None
    dropout: str | None
    embedding_gradient: str | None

    def describe(self) -> str:
        """One sentence for the log."""
        names = {name.replace("_", " "): reason for name, reason in self._asdict().items()}
        active = [name for name, reason in names.items() if reason is None]
        inactive = [f"{name} ({reason})" for name, reason in names.items() if reason is not None]
        return f"faster parts: {', '.join(active) or 'none'}" + (
            f"; not used: {', '.join(inactive)}" if inactive else ""
        )


def build(config: Any, where: str = "The model", weights: dict[str, Tensor] | None = None) -> Any:
    """A masked LM in fp32 and training mode.

    Args:
        config: a PretrainedConfig of transformers.
        where: where the config is from, for the message.
        weights: its state dict, all of it; None: a new model with transformers' own initialisation.

    Raises:
        UnsupportedModel: no masked LM, or one whose rows cannot be predicted one by one.
        InputError: transformers does not build a model of this config.
    """
    model_class = masked_lm_class(config, where)
    with quiet(), _refusals(where):
        # Without a state dict transformers draws every weight once; by its constructor a tied head is drawn too, as
        # large as the word embeddings, and thrown away.
        state = {} if weights is None else dict(weights)
        model = model_class.from_pretrained(None, config=config, state_dict=state, dtype=torch.float32).train()
    if weights is None:
        zero_biases(model, [name for name, _ in model.named_parameters()])
    return _untie(model)


def zero_biases(model: Any, names: list[str]) -> None:
    """Biases that a checkpoint lacks. transformers leaves those of some heads (data2vec-text, fnet, longformer, luke,
    nystromformer) as the memory happens to be."""
    for name in names:
        if name.rpartition(".")[2] == "bias":
            model.get_parameter(name).data.zero_()


def skeleton(config: Any, where: str = "The model") -> Any:
    """`build`, without memory for the weights."""
    model_class = masked_lm_class(config, where)
    with torch.device("meta"), _refusals(where):
        return _untie(model_class(config))


@contextmanager
def _refusals(where: str) -> Iterator[None]:
    try:
        yield
    # transformers raises whatever its checks raise; the question is the same: which config, and why not.
    except Exception as error:
        if machine_error(error) is not None:
            raise
        raise InputError(
            f"{where} must describe a model that transformers builds, but does not: {reason_of(error)}."
        ) from error


def _untie(model: Any) -> Any:
    """Takes weights apart that a published folder has apart, although its config ties them."""
    for name in ties_of(model) & {*getattr(model.config, UNTIED, ())}:
        module, _, leaf = name.rpartition(".")
        parent = model.get_submodule(module)
        setattr(parent, leaf, nn.Parameter(getattr(parent, leaf).detach().clone()))
    return model


def ties_of(model: Any) -> set[str]:
    """Names of the weights that are tied to others."""
    return {*(getattr(model, "all_tied_weights_keys", None) or {})}


def masked_lm_class(config: Any, where: str = "The model") -> Any:
    """transformers' class with a masked-LM head for a config.

    Raises:
        UnsupportedModel: there is none, or its rows cannot be predicted one by one.
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
    more = _inputs_besides_text(config, model_class)
    if more:
        raise UnsupportedModel(f"{where} must take text alone, but {model_class.__name__} takes {more}.")
    if model_type in _CANNOT:
        raise UnsupportedModel(f"{where} must {_CANNOT[model_type]}.")
    return model_class


def _inputs_besides_text(config: Any, model_class: Any) -> str:
    """What a class was trained on besides text, in words; empty: nothing."""
    modalities = model_class.input_modalities
    others = {modalities} if isinstance(modalities, str) else set(modalities)
    others = {f"{name}s" for name in others - {"text"}}
    if "bbox" in inspect.signature(model_class.forward).parameters:
        others.add("places on a page")
    if hasattr(config, "type_vocab_sizes"):
        others.add("rows and columns of a table")
    return " and ".join(sorted(others))


class MaskedLM:
    """A masked LM of transformers, with the two steps of WEAM: states of a batch, then rows through the head.

    It holds the model but is no module: parameters, modes and devices are the model's.

    Args:
        model: of a class that `masked_lm_class` gives.
        head: a second model that shares the base of the first (`with_own_head`); None: the model's own head.

    Attributes:
        stops_before_projection: whether `project` gives the head's last matrix; `check` finds it out.

    Raises:
        UnsupportedModel: the model has no base model of the usual form.
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

    def states(self, inputs: dict[str, Tensor]) -> Tensor:
        """The last layer's states, (B, T, D), of inputs as the base model takes them."""
        assert self.base is not None
        found: Tensor = self.base(**inputs, return_dict=True).last_hidden_state
        return found

    def logits(self, rows: Tensor) -> Tensor:
        """(M, D) -> (M, V), by the family's own head."""
        found: Tensor = self._call_head(rows).logits[0]
        return found

    def project(self, rows: Tensor) -> Projected:
        """(M, D) -> the head's last matrix and what it is applied to. Only where `stops_before_projection`."""
        found = self._output()
        assert found is not None
        parent, name, linear = found
        parent._modules[name] = nn.Identity()
        try:
            transformed = self._call_head(rows).logits[0]
        finally:
            parent._modules[name] = linear
        bias = linear.bias if linear.bias is not None else linear.weight.new_zeros(len(linear.weight))
        return Projected(transformed, self._table(linear), bias)

    def _table(self, linear: nn.Linear) -> Tensor:
        embedding = self.model.get_input_embeddings()
        if isinstance(embedding, SharedEmbedding) and linear.weight is embedding.weight:
            return embedding.projection()
        return linear.weight

    def release(self) -> None:
        """Lets go of the embeddings' table, which belongs to the graph of the last `states`."""
        embedding = self.model.get_input_embeddings()
        if isinstance(embedding, SharedEmbedding):
            embedding.table = None

    def _call_head(self, rows: Tensor) -> Any:
        stub = _Stub(self.base, rows.unsqueeze(0))
        before = self.head._modules[self._name]
        self.head._modules[self._name] = stub
        try:
            return self.head(input_ids=rows.new_zeros(1, len(rows), dtype=torch.int64), return_dict=True)
        finally:
            self.head._modules[self._name] = before

    def _output(self) -> tuple[nn.Module, str, nn.Linear] | None:
        """The last matrix of the head: its module's parent, its name there, and itself; None: no plain nn.Linear."""
        linear = _output_embeddings(self.head)
        if type(linear) is not nn.Linear:
            return None
        for parent in self.head.modules():
            for name, module in parent._modules.items():
                if module is linear:
                    return parent, name, linear
        return None

    def check(self) -> float:
        """Compares both steps with the full model on a fixed padded batch; decides `stops_before_projection`.

        Returns:
            the largest difference of the logits, as a share of the largest.

        Raises:
            UnsupportedModel: the model does not run on text alone, or its head gives other logits for a row alone than
                within its sentence.
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
            full, states = self.full_logits(inputs), self.states(inputs)
        except _OF_OTHER_MODELS as error:
            raise UnsupportedModel(
                f"A model must run on pieces and an attention mask alone, but {name} does not: {reason_of(error)}."
            ) from error
        if states.shape[:2] != full.shape[:2]:
            raise UnsupportedModel(
                f"A model must have one state for each piece, but {name} has states of shape {tuple(states.shape)} for "
                f"{tuple(inputs['input_ids'].shape)} pieces."
            )
        return states, full

    def _compare(self, rows: Tensor, wanted: Tensor) -> float:
        """(M, D) states and the (M, V) logits that the full model gives for them."""
        name, scale = type(self.model).__name__, wanted.abs().max().clamp_min(1e-30)
        try:
            by_rows = float((self.logits(rows) - wanted).abs().max() / scale)
        except _OF_OTHER_MODELS as error:
            raise UnsupportedModel(
                f"A head must take the last hidden state alone, but that of {name} does not: {reason_of(error)}."
            ) from error
        if not by_rows <= TOLERANCE:
            raise UnsupportedModel(
                f"A head must look at one row at a time, but that of {name} gives logits that differ by {by_rows:.1e} "
                f"of the largest (allowed {TOLERANCE:.0e})."
            )
        self.stops_before_projection = False
        if self._output() is not None:
            try:
                found = torch.nn.functional.linear(*self.project(rows))
                self.stops_before_projection = (
                    found.shape == wanted.shape and float((found - wanted).abs().max() / scale) <= TOLERANCE
                )
            except _OF_OTHER_MODELS:
                pass  # a head that does more after its last matrix: all logits are computed
        return by_rows

    def full_logits(self, inputs: dict[str, Tensor]) -> Tensor:
        """(B, T, V) logits of the whole model, as transformers computes them."""
        found: Tensor = self.model(**inputs, return_dict=True).logits
        return found


class _Stub(nn.Module):
    """Takes the place of a base model: hands out states that are there, and the base's attributes."""

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
    """A base model's output with the last hidden state alone; whatever else a family's class reads of it is None."""
    from transformers.modeling_outputs import BaseModelOutput

    class States(BaseModelOutput):  # type: ignore[misc]
        def __getattr__(self, name: str) -> None:
            if name.startswith("_"):
                raise AttributeError(name)

    return States


def with_own_head(model: Any) -> Any:
    """A copy of everything outside the base model: a head of its own, tied to the embeddings where the first one is.

    The copy shares no module with the model. In the place of its base it has an empty module, so that its state dict
    holds the head alone.
    """
    base = getattr(model, model.base_model_prefix)
    shared = {id(parameter): parameter for parameter in base.parameters()}
    return copy.deepcopy(model, {id(base): nn.Module(), **shared})


def check_batch(model: Any, takes: frozenset[str]) -> tuple[dict[str, Tensor], Tensor]:
    """A fixed padded batch of three sentences, and which of its (3, T) places are real."""
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
    """Whether a model has rows for two segments, and its base model takes their ids."""
    return "token_type_ids" in takes and (getattr(config, "type_vocab_size", 0) or 0) > 1


def use_faster_parts(model: Any) -> Parts:
    """Puts our attention, dropout and embedding gradient into a model, each where it fits; logits stay the same."""
    attention.register()
    without: dict[str, str | None] = dict.fromkeys(Parts._fields)
    try:
        fits = model._can_set_attn_implementation() and model.config._attn_implementation == "sdpa"
        if fits:
            model.set_attn_implementation(attention.NAME)
        else:
            without["attention"] = "the family has an attention of its own"
    except (AttributeError, ValueError, ImportError) as error:
        without["attention"] = reason_of(error)
    found = [module for module in model.modules() if type(module) is nn.Dropout]
    for module in found:
        module.__class__ = Dropout
    if not found:
        without["dropout"] = "the family has no torch.nn.Dropout"
    embedding = model.get_input_embeddings()
    if not can_share(embedding):
        without["embedding_gradient"] = "the family has word embeddings of its own kind"
    elif not is_tied(model):
        without["embedding_gradient"] = "the head has a matrix of its own"
    else:
        embedding.__class__ = SharedEmbedding
    return Parts(**without)


def is_tied(model: Any) -> bool:
    """Whether the head projects on the word embeddings."""
    output = _output_embeddings(model)
    return output is not None and output.weight is model.get_input_embeddings().weight


def _output_embeddings(model: Any) -> Any:
    """The module of the last projection; None: the family names none, so the head is used as a whole."""
    try:
        return model.get_output_embeddings()
    except (AttributeError, NotImplementedError):  # how transformers' classes without such a module answer
        return None


def names_without_ties(model: Any) -> list[str]:
    """Names of the state dict, in its order; of tensors that share memory the one that transformers saves."""
    state, ties = model.state_dict(), ties_of(model)
    kept: dict[int, str] = {}
    for name in sorted(state, key=lambda name: name in ties):
        kept.setdefault(state[name].data_ptr() or id(state[name]), name)
    names = set(kept.values())
    return [name for name in state if name in names]


def longest_sequence(model: Any) -> int | None:
    """Pieces of the longest sequence that a model has positions for; None: its positions have no end.

    A model on torch's meta device will do. RoBERTa's family counts positions from the padding's id + 1.
    """
    limits: list[int] = []
    for name, module in model.named_modules():
        # I-BERT's is no nn.Embedding.
        if name.endswith("position_embeddings") and isinstance(getattr(module, "weight", None), Tensor):
            pad = getattr(module, "padding_idx", None)
            limits.append(len(module.weight) - (0 if pad is None else pad + 1))
    for key in ("max_position_embeddings", "n_positions", "max_positions"):
        limit = getattr(model.config, key, None)
        if isinstance(limit, int) and limit > 0:
            limits.append(limit)
    return min(limits, default=None)


def first_position(masked_lm: MaskedLM) -> int:
    """The position id of a sentence's first piece, found by comparison with the model's own default.

    Raises:
        UnsupportedModel: the model takes no position ids, or other ones.
    """
    model = masked_lm.model
    where = f"--reset-positions must have a model that takes position ids, but {type(model).__name__}"
    if "position_ids" not in masked_lm.takes:
        raise UnsupportedModel(f"{where} takes none.")
    inputs, real = check_batch(model, masked_lm.takes)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            wanted = masked_lm.states(inputs)[real]
            for first in (0, (model.config.pad_token_id or 0) + 1):
                positions = torch.arange(real.shape[1], device=real.device).expand(real.shape) + first
                found = masked_lm.states({**inputs, "position_ids": positions})[real]
                if torch.allclose(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max())):
                    return first
    finally:
        model.train(training)
    raise UnsupportedModel(f"{where} numbers them in a way of its own.")


@contextmanager
def _without_constants(model: Any) -> Iterator[None]:
    """Gives parameters that are constant, as new biases are, other values for a while: a step that the two ways do
    differently must show."""
    generator = torch.Generator().manual_seed(0)
    kept = []
    for parameter in model.parameters():
        values = parameter.data
        if parameter.dim() == 1 and bool((values == values[:1]).all()):
            kept.append((parameter, values.clone()))
            noise = torch.randn(values.shape, generator=generator) * 0.1
            values.add_(noise.to(values))
    try:
        yield
    finally:
        for parameter, values in kept:
            parameter.data.copy_(values)


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and reports of missing weights, which we report ourselves."""
    from transformers.utils import logging as theirs

    bar, level = theirs.is_progress_bar_enabled(), theirs.get_verbosity()
    theirs.disable_progress_bar()
    theirs.set_verbosity(theirs.CRITICAL)
    try:
        yield
    finally:
        if bar:
            theirs.enable_progress_bar()
        theirs.set_verbosity(level)


def _device(model: Any) -> torch.device:
    return next(model.parameters()).device
