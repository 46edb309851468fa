"""What a published folder holds besides the weights that train: carried, as bytes, through every later training.

Pooler, next-sentence head, position ids, config.json, tokenizer files, and under which name and type each tensor
stood. A checkpoint has it as one uint8 tensor in the safetensors format: no optimizer, no weight decay and no half
precision can touch it.
"""

import json
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..common.documents import parse_json
from ..databin import TOKENIZER_FILES

# Files of a published folder that are carried; from_hf names everything else but the weights as left out.
CARRIED_FILES = ("generation_config.json", *TOKENIZER_FILES)


class Slot(NamedTuple):
    """One tensor of the folder: its name and type there, and our parameter that holds it (None: carried as it is)."""

    name: str
    ours: str | None
    dtype: str


class Published(NamedTuple):
    """A published folder without its trainable weights.

    Attributes:
        about: `folder` (its name), `weights` (file -> SHA-256), `new_head` (it had no masked-LM head).
        slots: every tensor of the folder, in the order of its files.
        files: config.json and the tokenizer's files, byte for byte.
        tensors: those that no parameter of ours holds.
    """

    about: dict[str, Any]
    slots: list[Slot]
    files: dict[str, bytes]
    tensors: dict[str, Tensor]


def pack(published: Published) -> Tensor:
    """One uint8 tensor."""
    from safetensors.torch import save

    header = json.dumps({"about": published.about, "slots": published.slots}).encode()
    parts = {"header": _as_tensor(header)}
    parts |= {f"file:{name}": _as_tensor(content) for name, content in published.files.items()}
    parts |= {f"tensor:{name}": value.contiguous() for name, value in published.tensors.items()}
    return _as_tensor(save(parts))


def unpack(packed: Tensor) -> Published | None:
    """The folder that `pack` was given; None for an empty tensor (a model trained from scratch)."""
    from safetensors.torch import load

    if not len(packed):
        return None
    parts = load(_as_bytes(packed))
    header = parse_json(_as_bytes(parts["header"]), "the checkpoint's record of a published folder", dict)
    return Published(
        header["about"],
        [Slot(*slot) for slot in header["slots"]],
        {n.removeprefix("file:"): _as_bytes(value) for n, value in parts.items() if n.startswith("file:")},
        {n.removeprefix("tensor:"): value for n, value in parts.items() if n.startswith("tensor:")},
    )


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _as_bytes(values: Tensor) -> bytes:
    return values.cpu().numpy().tobytes()
