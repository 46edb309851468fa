"""Which of a published folder's tensors is which of our parameters."""

import torch
from torch import Tensor

from ..common.documents import shown
from ..common.errors import InputError
from ..encoder import Encoder, EncoderConfig
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


def shapes_of(config: EncoderConfig, where: str) -> dict[str, torch.Size]:
    """The shape of each parameter, without memory for any.

    Raises:
        InputError: sizes that no model has.
    """
    limits = {"vocabulary": 1 << 26, "layers": 1_000, "width": 1 << 20, "feed_forward": 1 << 20, "positions": 1 << 20}
    limits |= {"heads": 1 << 20, "segments": 1 << 10}
    for name, limit in limits.items():
        size = getattr(config, name)
        least = 0 if name == "segments" else 1
        if type(size) is not int or not least <= size <= limit:
            raise InputError(f"{where} must describe a model with {least} to {limit:,} {name}, but says {shown(size)}.")
    if config.width % config.heads:
        raise InputError(f"{where} must describe heads that divide the width {config.width}, but says {config.heads}.")
    with torch.device("meta"):
        return {name: value.shape for name, value in Encoder(config).state_dict().items()}


def check_fit(
    config: EncoderConfig,
    family: Family,
    slots: list[Slot],
    tensors: dict[str, Tensor],
    *,
    where: str,
    new_head: bool,
) -> None:
    """Raises InputError when a tensor has another shape than config.json says, or is missing.

    Args:
        new_head: the head may be missing.
    """
    own = shapes_of(config, f"{where}/config.json")
    found = set()
    for slot in slots:
        if slot.ours is None or slot.ours in found:
            continue
        if slot.ours not in own:
            raise InputError(f"{where} holds {slot.name}, but config.json describes a model without it.")
        if tensors[slot.name].shape != own[slot.ours]:
            raise InputError(
                f"{slot.name} of {where} must have the shape {tuple(own[slot.ours])} that config.json asks for, "
                f"but has {tuple(tensors[slot.name].shape)}."
            )
        found.add(slot.ours)
    missing = {name: theirs for name, theirs in their_names(family, own).items() if name not in found}
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


def fill(encoder: Encoder, slots: list[Slot], tensors: dict[str, Tensor], order: Tensor) -> None:
    """Puts tensors that `check_fit` has checked into an encoder, in fp32, rows of the vocabulary in fairseq's order.

    A head that they do not hold keeps the values that it has.

    Args:
        order: (V,) tokenizer id of each of our rows.
    """
    state: dict[str, Tensor] = {}
    for slot in slots:
        if slot.ours is not None and slot.ours not in state:
            state[slot.ours] = to_ours(slot.ours, tensors[slot.name].float(), order)
    encoder.load_state_dict(encoder.state_dict() | state)
