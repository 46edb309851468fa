"""Where a model is: a folder on this machine, or a name on the Hugging Face Hub. The only place that resolves names."""

import re
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError, reason_of

# A name on the Hub: an owner and a model, or a model alone.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
# What is downloaded: no code, and of the weights one format. Modules of sentence-transformers have folders: 1_Pooling.
_SMALL = ["*.json", "*.txt", "*.model", "*.md", "*.yaml", "*.yml", "*.jinja", "*.codes", "*.vocab", "LICEN?E", "NOTICE"]
_SAFETENSORS = ["model*.safetensors", "[0-9]_*/*.safetensors", "[0-9]_*/*.bin"]
_BIN = ["pytorch_model*.bin"]
_OTHER_FORMATS = ["onnx/*", "openvino/*", "coreml/*"]


class Resolved(NamedTuple):
    """A model on this machine.

    Attributes:
        name: as it was asked for.
        folder: with its files.
        revision: the commit that was downloaded; None: a folder was named.
    """

    name: str
    folder: Path
    revision: str | None


def is_name(model: str | Path) -> bool:
    """Whether it can be a name on the Hub, since no file or folder of that name is on this machine."""
    return _NAME.fullmatch(str(model)) is not None and not Path(model).exists()


def resolve(model: str | Path, *, revision: str | None = None, weights: bool = True) -> Resolved:
    """The folder of a model.

    Args:
        model: a folder, or a name on the Hub, which is downloaded into the cache of huggingface_hub.
        revision: branch, tag or commit of a name; None: main.
        weights: download the weights too; without them, config and tokenizer.

    Raises:
        InputError: no such folder, and no such name on the Hub, or the Hub cannot be reached.
    """
    name, folder = str(model), Path(model)
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"--revision must go with a name on the Hugging Face Hub, but {name} is a folder.")
        return Resolved(name, folder, None)
    if not is_name(model):
        found = "a file" if folder.exists() else "neither"
        raise InputError(
            f"{name} must be a Hugging Face folder on this machine or a name on the Hub (owner/model), but is {found}. "
            "Check the path."
        )
    folder = _download(name, revision, _SMALL + _SAFETENSORS * weights)
    if weights and not list(folder.glob("model*.safetensors")):
        folder = _download(name, folder.name, _BIN)
    return Resolved(name, folder, folder.name)


def label(folder: Path) -> str:
    """How a manifest names a folder: its name alone, or NAME@COMMIT where it lies in the Hub's cache."""
    snapshots = folder.parent
    if snapshots.name == "snapshots" and snapshots.parent.name.startswith("models--"):
        return f"{snapshots.parent.name.removeprefix('models--').replace('--', '/')}@{folder.name}"
    return folder.name


def _download(name: str, revision: str | None, patterns: list[str]) -> Path:
    """A snapshot in the Hub's cache: its folder has the name of the commit."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=_OTHER_FORMATS))
    # huggingface_hub raises its own errors, those of its HTTP library and of the system.
    except Exception as error:
        at = "" if revision is None else f" at revision {revision}"
        raise InputError(
            f"{name}{at} must be a folder on this machine or a model of the Hugging Face Hub, but there is no such "
            f"folder, and the download failed: {reason_of(error)}. On a machine with access run hf download {name} "
            f"--local-dir {name.rpartition('/')[2]}, copy that folder here and give its path."
        ) from error
