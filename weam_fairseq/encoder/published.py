"""Carries the rest of a published folder through every training: all of it except the trainable weights.

This includes the pooler, next-sentence head, config.json, tokenizer files and other small files, and the place of each
tensor in the model. A checkpoint holds it as one uint8 tensor in the safetensors format, so that no optimizer, weight
decay or half precision changes it.
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weam_fairseq.common.documents import parse_json, read_json, shown
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import TOKENIZER_FILES
from weam_fairseq.common.weights import BIN, SAFETENSORS, is_weight_file, read_weights
from weam_fairseq.data.databin import MAX_TOKENIZER_BYTES
from weam_fairseq.encoder.names import Slot, TensorPlace

# Larger files are weights in another format, or do not belong to an encoder.
MAX_BYTES = 1 << 20
MAX_MODULE_BYTES = 1 << 24
# Suffixes of carried files: settings, tokenizer files and texts. No code, no pickles.
_SUFFIXES = (".json", ".txt", ".model", ".md", ".yaml", ".yml", ".jinja", ".codes", ".vocab")
_LEGAL = ("LICENSE", "LICENCE", "NOTICE")
# The export writes a new model card. The other files describe the published weights.
README = "README.md"
_TRAINING_RESULTS = {"trainer_state.json", "all_results.json", "eval_results.json", "train_results.json"}
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
MODULES = "modules.json"  # of sentence-transformers: lists the folders of the modules after the encoder


class Published(NamedTuple):
    """A published folder without its trainable weights.

    Attributes:
        about: `folder` (its name), `revision` (the commit, if it came from the Hub), `weights` (file -> SHA-256),
            `missing` (parameters of the model that the folder lacked: a new head), `card` (facts from its model card),
            `layers` (how many were kept, and of how many, if it was cut).
        slots: all tensors of the folder, in the order of its files.
        files: config.json, tokenizer files and other small files: path in the folder -> bytes.
        tensors: tensors that the model does not have.
    """

    about: dict[str, Any]
    slots: list[Slot]
    files: dict[str, bytes]
    tensors: dict[str, Tensor]


def read_files(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Reads the small files of a folder. Also returns the names of skipped files.

    Skipped are code, weights in other formats, results and large files. Neither list contains the weights that
    transformers loads, the model card and hidden files. Weights of a sentence-transformers module are included, as
    safetensors.

    Raises:
        InputError: a module's weights cannot be read or contain more than tensors.
    """
    files, left_out = {}, []
    modules = _module_folders(folder)
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name in modules:
            for inner in sorted(path.iterdir()):
                name = f"{path.name}/{inner.name}"
                if is_carried(name) and _is_small(inner, folder, MAX_BYTES):
                    files[name] = inner.read_bytes()
                elif inner.name not in (SAFETENSORS, BIN):
                    left_out.append(name)
            files |= _module_weights(path, folder)
        elif path.name.startswith(".") or path.name == README or is_weight_file(path.name):
            continue
        elif path.is_file() and is_carried(path.name) and _is_small(path, folder, _max_bytes(path.name)):
            files[path.name] = path.read_bytes()
        else:
            left_out.append(f"{path.name}/" if path.is_dir() else path.name)
    return files, left_out


def is_carried(name: str) -> bool:
    """Whether a path in a folder belongs to a carried file: at most one level deep and of a known kind."""
    parts = name.split("/")
    if len(parts) > 2 or not all(_PLAIN.fullmatch(part) for part in parts) or name in (README, *_TRAINING_RESULTS):
        return False
    if name.endswith(".index.json"):
        return False
    return name.endswith(_SUFFIXES) or parts[-1].startswith(_LEGAL) or (len(parts) == 2 and parts[1] == SAFETENSORS)


def check_path(name: object, where: str) -> str:
    """Checks a path from a checkpoint.

    Raises:
        InputError: the path leads out of the folder, or weam-from-hf does not carry such files.
    """
    if not isinstance(name, str) or not is_carried(name):
        raise InputError(f"{where} must carry only small files of a model's folder, but carries {shown(name)}.")
    return name


def _max_bytes(name: str) -> int:
    return MAX_TOKENIZER_BYTES if name in TOKENIZER_FILES else MAX_BYTES


def _is_small(path: Path, folder: Path, limit: int) -> bool:
    """Whether a file has at most `limit` bytes and lies in the folder or, as a link, in the Hub's cache next to it.

    Other links are not followed, because the linked file would be published with the trained model.

    Raises:
        InputError: a tokenizer file is such a link.
    """
    root, file = folder.resolve(), path.resolve()
    inside = file.is_relative_to(root) or file.is_relative_to(root.parent.parent / "blobs")
    if not inside and path.name in TOKENIZER_FILES:
        raise InputError(f"{path} must be a file of the model's folder, but is a link to {file}. Copy it there.")
    return inside and file.is_file() and file.stat().st_size <= limit


def _module_folders(folder: Path) -> set[str]:
    if not (folder / MODULES).is_file():
        return set()
    # A damaged list is an error, because otherwise the weights of its modules would be silently left out.
    modules = read_json(folder / MODULES, list)
    paths = [module.get("path") for module in modules if isinstance(module, dict)]
    return {path for path in paths if isinstance(path, str) and _PLAIN.fullmatch(path)}


def _module_weights(module: Path, folder: Path) -> dict[str, bytes]:
    from safetensors.torch import save

    name = f"{module.name}/{SAFETENSORS}"
    if _is_small(module / SAFETENSORS, folder, MAX_MODULE_BYTES):
        read_weights(module)
        return {name: (module / SAFETENSORS).read_bytes()}
    if _is_small(module / BIN, folder, MAX_MODULE_BYTES):
        return {name: save(read_weights(module).tensors, metadata={"format": "pt"})}
    return {}


def pack(published: Published) -> Tensor:
    """Packs the folder into one uint8 tensor."""
    from safetensors.torch import save

    header = json.dumps({"about": published.about, "slots": published.slots}).encode()
    parts = {"header": _as_tensor(header)}
    parts |= {f"file:{name}": _as_tensor(content) for name, content in published.files.items()}
    parts |= {f"tensor:{name}": value.contiguous() for name, value in published.tensors.items()}
    return _as_tensor(save(parts))


def unpack(packed: Tensor) -> Published | None:
    """Reverses `pack`. Returns None for an empty tensor (a model trained from scratch)."""
    from safetensors.torch import load

    if not len(packed):
        return None
    parts = load(_as_bytes(packed))
    header = parse_json(_as_bytes(parts["header"]), "the checkpoint's record of a published folder", dict)
    return Published(
        header["about"],
        [Slot(name, dtype, [TensorPlace(*place) for place in places]) for name, dtype, places in header["slots"]],
        {n.removeprefix("file:"): _as_bytes(value) for n, value in parts.items() if n.startswith("file:")},
        {n.removeprefix("tensor:"): value for n, value in parts.items() if n.startswith("tensor:")},
    )


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)


def _as_bytes(values: Tensor) -> bytes:
    return values.cpu().numpy().tobytes()
