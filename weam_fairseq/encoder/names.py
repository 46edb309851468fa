"""Finds out where transformers' loader puts each tensor of a folder. Needs no table of names.

A folder's tensors can have older names (`gamma`), lack the base model's prefix, or combine several tensors of the model
(a fused query, key and value). transformers' loader knows all of this. Here it loads numbers instead of weights: each
tensor of the folder is filled with its own number, and the numbers in the loaded model show where it went.
"""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weam_fairseq.common.command import machine_error
from weam_fairseq.common.errors import InputError, reason_of
from weam_fairseq.encoder.huggingface import names_without_ties, quiet, zero_biases


class TensorPlace(NamedTuple):
    """The tensor of the model's state dict that receives some rows of a folder's tensor, starting at `first_row`."""

    name: str
    first_row: int


class Slot(NamedTuple):
    """One tensor of a folder.

    Attributes:
        name, dtype: its name and type in the folder.
        places: where its rows go in the model, in order; empty if the model has no such tensor.
    """

    name: str
    dtype: str
    places: list[TensorPlace]


class Placed(NamedTuple):
    """A folder's weights in a model.

    Attributes:
        model: the model with the weights, in fp32.
        slots: all tensors of the folder, in the order of its files.
        missing: parameters of the model that the folder lacks.
    """

    model: Any
    slots: list[Slot]
    missing: list[str]


def place(model_class: Any, config: Any, tensors: dict[str, Tensor], where: str) -> Placed:
    """Loads a folder's tensors into a model, and finds out where each one went.

    Args:
        model_class: a transformers class with a masked-LM head.
        tensors: tensors of the folder, by name.
        where: the folder, for messages.

    Raises:
        InputError: the weights do not fit the config, or transformers changes their values while loading.
    """
    # Numbers first, so that their models are freed before the one with the weights is built.
    places = _places(model_class, config, tensors, where)
    slots = _order_rows(places, model_class, config, tensors, where)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for parameters that the folder lacks
        model = _load(model_class, config, tensors, where)
    state = model.state_dict()
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for slot in slots:
        is_lost = not slot.places and slot.name in parameters
        if is_lost or (slot.places and not torch.equal(gather(slot, state), tensors[slot.name].float())):
            raise InputError(
                f"transformers must load {slot.name} of {where} unchanged, but changes its values. So this folder "
                "cannot be exported again as it was."
            )
    covered = {name for filled in places.values() for name in filled}
    missing = [name for name in names_without_ties(model) if name in parameters and name not in covered]
    zero_biases(model, missing)
    return Placed(model, slots, missing)


def tensors_of(names: set[str], model_class: Any, config: Any, tensors: dict[str, Tensor], where: str) -> list[str]:
    """Returns the names of a folder's tensors that fill a parameter in `names`, or none of the model's at all."""
    places = _places(model_class, config, tensors, where)
    return [name for name, filled in places.items() if not filled or names.intersection(filled)]


def gather(slot: Slot, state: dict[str, Tensor]) -> Tensor:
    """Assembles a folder's tensor from the model's state dict."""
    parts = [state[place.name] for place in slot.places]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _places(model_class: Any, config: Any, tensors: dict[str, Tensor], where: str) -> dict[str, list[str]]:
    """Returns the names of the model's tensors that each of the folder's tensors fills."""
    names = list(tensors)
    # Half-integers, because no parameter of a new head starts with such a value.
    numbers = {name: torch.tensor(n + 0.5).expand(tensors[name].shape) for n, name in enumerate(names)}
    numbered_model = _load(model_class, config, numbers, where)
    state = numbered_model.state_dict()
    receivers: dict[str, list[str]] = {name: [] for name in names}
    for name in names_without_ties(numbered_model):
        value = state[name]
        number = float(value.flatten()[0]) - 0.5 if value.numel() else -1
        if number in range(len(names)) and bool((value == number + 0.5).all()):
            receivers[names[int(number)]].append(name)
    return receivers


def _order_rows(
    places: dict[str, list[str]], model_class: Any, config: Any, tensors: dict[str, Tensor], where: str
) -> list[Slot]:
    """Returns the slots. The places of fused tensors are in the order of their rows."""
    first_rows = dict.fromkeys((name for targets in places.values() for name in targets), 0)
    if any(len(targets) > 1 for targets in places.values()):
        rows = {name: _row_numbers(value) for name, value in tensors.items()}
        numbered_state = _load(model_class, config, rows, where).state_dict()
        for name in first_rows:
            first_rows[name] = int(numbered_state[name].flatten()[0])
    return [
        Slot(
            name,
            str(tensors[name].dtype).removeprefix("torch."),
            sorted((TensorPlace(target, first_rows[target]) for target in targets), key=lambda place: place.first_row),
        )
        for name, targets in places.items()
    ]


def _row_numbers(like: Tensor) -> Tensor:
    if not like.dim():
        return torch.zeros(())
    return torch.arange(len(like), dtype=torch.float32).view(-1, *[1] * (like.dim() - 1)).expand(like.shape)


def _load(model_class: Any, config: Any, tensors: dict[str, Tensor], where: str) -> Any:
    try:
        with quiet():
            model, report = model_class.from_pretrained(
                None,
                config=copy.deepcopy(config),
                state_dict=dict(tensors),
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # we report them below
            )
    # transformers may raise any exception here. The user needs the folder and the reason.
    except Exception as error:
        if machine_error(error) is not None:
            raise
        raise InputError(f"The weights of {where} must fit its config.json, but do not: {reason_of(error)}.") from error
    if mismatched := sorted(report["mismatched_keys"]):
        name, shape, expected = mismatched[0]
        raise InputError(
            f"The weights of {where} must have the shapes that its config.json describes, but "
            f"{len(mismatched)} have others. The first is {name}: {tuple(shape)} instead of {tuple(expected)}."
        )
    return model.eval()
