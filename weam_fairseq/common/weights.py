"""Reads, writes and loads the weights of a Hugging Face folder: safetensors or .bin, one or several files.

Code in the folder never runs.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from weam_fairseq.common.command import is_out_of_memory
from weam_fairseq.common.documents import check_name, read_json, shown, value_at
from weam_fairseq.common.errors import InputError, reason_of
from weam_fairseq.common.files import file_sha256, whole_file

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS, BIN = "model.safetensors", "pytorch_model.bin"


class Weights(NamedTuple):
    """The tensors of a folder by name, as stored, and the SHA-256 of its weight files by file name."""

    tensors: dict[str, Tensor]
    sha256: dict[str, str]


def read_weights(folder: Path) -> Weights:
    """Reads model.safetensors, otherwise pytorch_model.bin, or the parts that their .index.json lists.

    Raises:
        InputError: there are no weights, a part is missing or truncated, or a pickle contains more than tensors.
    """
    files = weight_files(folder)
    if not files:
        raise InputError(
            f"{folder} must hold {SAFETENSORS} or {BIN}, as one file or as parts with an index, but does not."
        )
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= _read_safetensors(file) if file.suffix == ".safetensors" else _read_pickle(file)
    return Weights(tensors, {file.name: file_sha256(file) for file in files})


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights (as transformers chooses them): safetensors, else .bin; one file or parts.

    Raises:
        InputError: the index is malformed, or a part is missing.
    """
    return next((files for name in (SAFETENSORS, BIN) if (files := _parts(folder, name))), [])


def load_model(folder: Path, auto_class: str, purpose: str, **options: Any) -> tuple[Any, set[str]]:
    """Loads a folder with a class of transformers, in fp32: from local files, and from a .bin only tensors.

    Args:
        auto_class: such as AutoModelForMaskedLM.
        purpose: ends the sentence "FOLDER does not load …".
        options: more arguments of from_pretrained.

    Returns:
        The model, and the names of its weights that the folder lacks. transformers initializes those at random.

    Raises:
        InputError: the folder has no weights, or does not load.
    """
    import torch
    import transformers

    if not (files := weight_files(folder)):
        raise InputError(f"{folder} has no {SAFETENSORS} or {BIN}, in one file or in shards.")
    # Callers report missing weights, and long texts are cut or windowed. transformers would warn of both.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model, info = getattr(transformers, auto_class).from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=all(file.suffix == ".safetensors" for file in files),
            weights_only=True,
            output_loading_info=True,
            dtype=torch.float32,  # otherwise that of the file: fp16 would change results unnoticed
            **options,
        )
    # transformers may raise any exception here. The user needs the folder and the reason.
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if "trust_remote_code" in str(error):  # transformers would advise the user to run that code
            raise InputError(
                f"{folder} must hold a model of one of transformers' classes, but needs code from its folder, which is "
                "never run here. Choose another model."
            ) from None
        raise InputError(f"{folder} does not load {purpose}: {reason_of(error)}") from error
    return model, set(info["missing_keys"])


def is_weight_file(name: str) -> bool:
    """Whether `read_weights` reads files of that name."""
    return (
        re.fullmatch(r"(model(-\d+-of-\d+)?\.safetensors|pytorch_model(-\d+-of-\d+)?\.bin)(\.index\.json)?", name)
        is not None
    )


def write_weights(tensors: dict[str, Tensor], folder: Path) -> None:
    """Writes model.safetensors. Copies tensors that share memory."""
    from safetensors.torch import save_file

    separate: dict[str, Tensor] = {}
    written: set[int] = set()
    for name, value in tensors.items():
        copied = value.contiguous()
        if copied.data_ptr() in written:
            copied = copied.clone()
        written.add(copied.data_ptr())
        separate[name] = copied
    with whole_file(folder / SAFETENSORS) as partial:
        save_file(separate, partial, metadata={"format": "pt"})


def _parts(folder: Path, name: str) -> list[Path]:
    single_file, index = folder / name, folder / f"{name}.index.json"
    if single_file.is_file():
        return [single_file]
    if not index.is_file():
        return []
    weight_map = value_at(read_json(index, dict), "weight_map", dict, index)
    # The parts lie next to the index. Their suffix determines the format.
    names = sorted({check_name(part, index) for part in weight_map.values()})
    if not names or not all(part.endswith(Path(name).suffix) for part in names):
        raise InputError(f"{index} must name parts that end in {Path(name).suffix}, but names {shown(names)}.")
    missing = [part for part in names if not (folder / part).is_file()]
    if missing:
        raise InputError(
            f"{index} lists {len(names)} parts, but these are missing: {', '.join(missing)}. Download them again."
        )
    return [folder / part for part in names]


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(file))
    except SafetensorError as error:
        raise InputError(f"{file} must be a complete safetensors file, but cannot be read: {error}.") from error


def _read_pickle(file: Path) -> dict[str, Tensor]:
    import torch

    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{file} must hold only tensors, but contains more. None of it was run: {str(error).splitlines()[0]}"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise InputError(
            f"{file} must be complete, but cannot be read to its end: {str(error).splitlines()[0]}."
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:  # raised for malformed data
        raise InputError(f"{file} must hold weights, but does not: {type(error).__name__}: {error}.") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{file} must be a mapping from names to tensors, but is not.")
    return dict(state)
