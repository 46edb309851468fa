"""What a published folder holds besides the weights that train: carried, as bytes, through every later training.

Pooler, next-sentence head, config.json, tokenizer files and other small files, and where in the model each tensor of
the folder is. A checkpoint has it as one uint8 tensor in the safetensors format: no optimizer, no weight decay and no
half precision can touch it.
"""

import json
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..common.documents import parse_json, shown
from ..common.errors import InputError
from ..databin import MOST_TOKENIZER_BYTES, TOKENIZER_FILES
from .names import Place, Slot

# Larger files are weights in another format, or belong to no encoder.
MOST_BYTES = 1 << 20
# Weights, whatever their size, and what a folder has for a version control or a cache.
WEIGHT_SUFFIXES = (
    ".safetensors",
    ".bin",
    ".h5",
    ".msgpack",
    ".ot",
    ".onnx",
    ".onnx_data",
    ".pt",
    ".pth",
    ".ckpt",
    ".gguf",
)
_CODE_SUFFIXES = (".py", ".pyc", ".so", ".sh", ".pkl", ".pickle")
README = "README.md"  # the model card: read for the new one, which takes its place


class Published(NamedTuple):
    """A published folder without its trainable weights.

    Attributes:
        about: `folder` (its name), `revision` (the commit, where it came from the Hub), `weights` (file -> SHA-256),
            `missing` (parameters of the model that the folder lacked: a new head), `card` (what its model card says).
        slots: every tensor of the folder, in the order of its files.
        files: config.json, the tokenizer's and other small files, byte for byte, by their path in the folder.
        tensors: those that the model does not have.
    """

    about: dict[str, Any]
    slots: list[Slot]
    files: dict[str, bytes]
    tensors: dict[str, Tensor]


def read_files(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The small files of a folder, and the paths of those that are left out: code, and what is too large.

    Weights, the model card and hidden files are neither.
    """
    files, left_out = {}, []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        name = relative.as_posix()
        if not path.is_file() or any(part.startswith(".") for part in relative.parts) or name == README:
            continue
        if name.endswith(WEIGHT_SUFFIXES) or name.endswith(".index.json"):
            continue
        most = MOST_TOKENIZER_BYTES if name in TOKENIZER_FILES else MOST_BYTES
        if name.endswith(_CODE_SUFFIXES) or path.stat().st_size > most or len(relative.parts) > 2:
            left_out.append(name)
            continue
        files[name] = path.read_bytes()
    return files, left_out


def check_path(name: object, where: str) -> str:
    """A path within a folder from a checkpoint.

    Raises:
        InputError: it leads out of the folder, or is code or weights.
    """
    path = PurePosixPath(name) if isinstance(name, str) else None
    inside = path is not None and not path.is_absolute() and 1 <= len(path.parts) <= 2
    if (
        path is None
        or not inside
        or any(part.startswith(".") or "\\" in part or "\0" in part for part in path.parts)
        or str(path).endswith((*WEIGHT_SUFFIXES, *_CODE_SUFFIXES, ".index.json"))
        or str(path) == README
    ):
        raise InputError(f"{where} must carry small files of a model's folder, but carries {shown(name)}.")
    return str(path)


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
        [Slot(name, dtype, [Place(*place) for place in places]) for name, dtype, places in header["slots"]],
        {n.removeprefix("file:"): _as_bytes(value) for n, value in parts.items() if n.startswith("file:")},
        {n.removeprefix("tensor:"): value for n, value in parts.items() if n.startswith("tensor:")},
    )


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _as_bytes(values: Tensor) -> bytes:
    return values.cpu().numpy().tobytes()
