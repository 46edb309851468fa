"""Which of a published folder's tensors is which of our parameters."""

import torch
from torch import Tensor

from ..common.errors import InputError
from ..encoder import Encoder
from .families import Family
from .keys import canonical, their_names, to_ours
from .published import Slot


def assign(family: Family, tensors: dict[str, Tensor], *, tie: bool, where: str, notes: list[str]) -> list[Slot]:
    """A slot for each tensor, in their order; those that are none of our parameters are carried as they are.

    Args:
        tie: config.json's tie_word_embeddings.
        where: the folder, for errors.
        notes: gets a sentence where the tensors overrule config.json.
    """
    layers = {int(part) for name in tensors for part in name.split(".") if part.isdecimal()}
    modules = [m.replace("{i}", str(i)) for m, _ in family.modules for i in (sorted(layers) if "{i}" in m else [0])]
    every = [f"{m}.{leaf}" for m in modules for leaf in ("weight", "bias")] + [ours for ours, _ in family.parameters]
    ours_of = {theirs: ours for ours, theirs in their_names(family, every).items()}
    headless = not any(name.startswith(family.prefix) for name in tensors)
    names = {name: canonical(family, name, headless=headless) for name in tensors}
    by_name = {full: tensors[name] for name, full in names.items()}

    second_name = {original: alias for alias, original in family.aliases if not alias.endswith(".weight")}

    def place(full: str) -> str | None:
        ours, original = ours_of.get(full), dict(family.aliases).get(full)
        alias = second_name.get(full)
        if alias in by_name and not torch.equal(by_name[alias], by_name[full]):
            return None  # transformers computes with the decoder's bias, and nothing with this one
        if original is None:
            return ours
        if ours is None or original not in by_name:  # a bias, or saved under its second name only
            return ours_of[original]
        same = torch.equal(by_name[full], by_name[original])
        if not same and tie:  # as transformers does
            notes.append(f"{full} differs from {original}, to which config.json ties it: the head keeps its own")
        return ours_of[original] if same and tie else ours

    dtypes = {name: str(value.dtype).removeprefix("torch.") for name, value in tensors.items()}
    return [Slot(name, place(full), dtypes[name]) for name, full in names.items()]


def fill(
    encoder: Encoder,
    family: Family,
    slots: list[Slot],
    tensors: dict[str, Tensor],
    order: Tensor,
    *,
    where: str,
    new_head: bool,
) -> None:
    """Puts the tensors into an encoder, in fp32, rows of the vocabulary in fairseq's order.

    Args:
        order: (V,) tokenizer id of each of our rows.
        new_head: the head may be missing, and then keeps the values that it has.

    Raises:
        InputError: a tensor has another shape than config.json says, or is missing.
    """
    own = encoder.state_dict()
    state: dict[str, Tensor] = {}
    for slot in slots:
        if slot.ours is None or slot.ours in state:
            continue
        value = tensors[slot.name]
        if slot.ours not in own:
            raise InputError(f"{where} holds {slot.name}, but config.json describes a model without it.")
        if value.shape != own[slot.ours].shape:
            raise InputError(
                f"{slot.name} of {where} must have the shape {tuple(own[slot.ours].shape)} that config.json asks for, "
                f"but has {tuple(value.shape)}."
            )
        state[slot.ours] = to_ours(slot.ours, value.float(), order)
    missing = {name: theirs for name, theirs in their_names(family, own).items() if name not in state}
    of_encoder = [theirs for name, theirs in missing.items() if not name.startswith("head.")]
    if of_encoder:
        raise InputError(f"{where} must hold every weight of its encoder, but lacks {', '.join(of_encoder)}.")
    if missing and not new_head:
        raise InputError(
            f"{where} must have a masked-LM head, but lacks {', '.join(missing.values())}. Pass --new-head to start a "
            "new one."
        )
    if new_head and not missing:
        raise InputError(f"{where} has a masked-LM head, which --new-head would throw away: leave --new-head out.")
    encoder.load_state_dict(own | state)
