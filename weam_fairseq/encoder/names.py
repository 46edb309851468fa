"""Which tensor of a folder goes where in transformers' model: asked of transformers' own loader, with no table.

A folder's tensors can have older names (`gamma`), lack the base model's prefix, or hold several of the model's tensors
in one (a fused query, key and value). transformers' loader knows. Here it loads numbers in the place of the weights:
each tensor is filled with a number of its own, which tells afterwards where it went.
"""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weam_fairseq.common.command import machine_error
from weam_fairseq.common.errors import InputError, reason_of
from weam_fairseq.encoder.huggingface import names_without_ties, quiet, zero_biases


class Place(NamedTuple):
    """Where rows of a folder's tensor are in the model: a tensor of its state dict, all of it."""

    name: str
    first_row: int


class Slot(NamedTuple):
    """One tensor of a folder.

    Attributes:
        name, dtype: in the folder.
        places: of its rows, in their order; empty: the model has no such tensor.
    """

    name: str
    dtype: str
    places: list[Place]


class Placed(NamedTuple):
    """A folder's weights in a model.

    Attributes:
        model: with the weights, in fp32.
        slots: every tensor of the folder, in the order of its files.
        missing: parameters of the model that the folder lacks.
    """

    model: Any
    slots: list[Slot]
    missing: list[str]


def place(model_class: Any, config: Any, tensors: dict[str, Tensor], where: str) -> Placed:
    """Loads a folder's tensors into a model, and finds out where each went.

    Args:
        model_class: a transformers class with a masked-LM head.
        tensors: of the folder, by name.
        where: the folder, for messages.

    Raises:
        InputError: the weights do not fit the config, or transformers changes their values while loading.
    """
    # The numbers first: their models are gone before that of the weights comes.
    places = _places(model_class, config, tensors, where)
    slots = _order_rows(places, model_class, config, tensors, where)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of what the folder lacks
        model = _load(model_class, config, tensors, where)
    state = model.state_dict()
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for slot in slots:
        lost = not slot.places and slot.name in parameters
        if lost or (slot.places and not torch.equal(gather(slot, state), tensors[slot.name].float())):
            raise InputError(
                f"transformers must load {slot.name} of {where} as it is, but changes its values: this folder cannot "
                "be given back unchanged."
            )
    covered = {name for found in places.values() for name in found}
    missing = [name for name in names_without_ties(model) if name in parameters and name not in covered]
    zero_biases(model, missing)
    return Placed(model, slots, missing)


def gather(slot: Slot, state: dict[str, Tensor]) -> Tensor:
    """A folder's tensor from the model's state dict."""
    parts = [state[place.name] for place in slot.places]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _places(model_class: Any, config: Any, tensors: dict[str, Tensor], where: str) -> dict[str, list[str]]:
    """The model's tensors that each of the folder's fills."""
    names = list(tensors)
    # Halves: no parameter of a new head begins with such a value.
    numbers = {name: torch.tensor(n + 0.5).expand(tensors[name].shape) for n, name in enumerate(names)}
    filled = _load(model_class, config, numbers, where)
    state = filled.state_dict()
    found: dict[str, list[str]] = {name: [] for name in names}
    for name in names_without_ties(filled):
        value = state[name]
        number = float(value.flatten()[0]) - 0.5 if value.numel() else -1
        if number in range(len(names)) and bool((value == number + 0.5).all()):
            found[names[int(number)]].append(name)
    return found


def _order_rows(
    places: dict[str, list[str]], model_class: Any, config: Any, tensors: dict[str, Tensor], where: str
) -> list[Slot]:
    """The slots, with the places of fused tensors in the order of their rows."""
    first_rows = dict.fromkeys((name for found in places.values() for name in found), 0)
    if any(len(found) > 1 for found in places.values()):
        rows = {name: _row_numbers(value) for name, value in tensors.items()}
        went = _load(model_class, config, rows, where).state_dict()
        for name in first_rows:
            first_rows[name] = int(went[name].flatten()[0])
    return [
        Slot(
            name,
            str(tensors[name].dtype).removeprefix("torch."),
            sorted((Place(each, first_rows[each]) for each in found), key=lambda place: place.first_row),
        )
        for name, found in places.items()
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
                ignore_mismatched_sizes=True,  # reported instead
            )
    # transformers raises whatever its checks raise; the question is the same: which folder, and why not.
    except Exception as error:
        if machine_error(error) is not None:
            raise
        raise InputError(f"The weights of {where} must fit its config.json, but do not: {reason_of(error)}.") from error
    if other := sorted(report["mismatched_keys"]):
        name, found, wanted = other[0]
        raise InputError(
            f"The weights of {where} must have the shapes that its config.json asks for, but {len(other)} have others, "
            f"{name} the first: {tuple(found)} and not {tuple(wanted)}."
        )
    return model.eval()
