"""Finds a model: a folder on this machine, or a name on the Hugging Face Hub. All names are resolved here."""

import re
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError, reason_of

# A name on the Hub: owner/model, or only the model.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
# Files to download: no code, and the weights in one format. Modules of sentence-transformers are folders: 1_Pooling.
_SMALL = ["*.json", "*.txt", "*.model", "*.md", "*.yaml", "*.yml", "*.jinja", "*.codes", "*.vocab", "LICEN?E", "NOTICE"]
_SAFETENSORS = ["model*.safetensors", "[0-9]_*/*.safetensors", "[0-9]_*/*.bin"]
_BIN = ["pytorch_model*.bin"]
_OTHER_FORMATS = ["onnx/*", "openvino/*", "coreml/*"]


class Resolved(NamedTuple):
    """A model on this machine.

    Attributes:
        name: the name or path that was requested.
        folder: the folder with its files.
        revision: the downloaded commit; None if a folder was requested.
    """

    name: str
    folder: Path
    revision: str | None


def is_name(model: str | Path) -> bool:
    """Whether `model` can be a name on the Hub: it has the right form, and no local file or folder has that name."""
    return _NAME.fullmatch(str(model)) is not None and not Path(model).exists()


def check_source(model: str | Path) -> None:
    """Checks, without a download, that `model` is a folder or can be a name on the Hub.

    Raises:
        InputError: it is neither.
    """
    if not Path(model).is_dir() and not is_name(model):
        kind = "a file" if Path(model).exists() else "neither"
        raise InputError(
            f"{model} must be a Hugging Face folder on this machine or a name on the Hub (owner/model), but is {kind}. "
            "Check the path."
        )


def resolve(model: str | Path, *, revision: str | None = None, weights: bool = True) -> Resolved:
    """Finds the folder of a model, and downloads it if necessary.

    Args:
        model: a folder, or a name on the Hub. Downloads go to the cache of huggingface_hub.
        revision: branch, tag or commit on the Hub; None: main.
        weights: also download the weights, not only config and tokenizer.

    Raises:
        InputError: the folder or the name on the Hub does not exist, or the Hub cannot be reached.
    """
    name, folder = str(model), Path(model)
    check_source(model)
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"--revision must go with a name on the Hugging Face Hub, but {name} is a folder.")
        return Resolved(name, folder, None)
    folder = _download(name, revision, _SMALL + _SAFETENSORS * weights)
    if weights and not list(folder.glob("model*.safetensors")):
        folder = _download(name, folder.name, _BIN)
        if not list(folder.glob("pytorch_model*.bin")):
            # Without a network, huggingface_hub returns a snapshot that an earlier download left incomplete.
            raise InputError(
                f"{name} must have model.safetensors or pytorch_model.bin (or parts of them), but they are neither in "
                f"the cache nor on the Hub, or the Hub cannot be reached. {_advice(name)}"
            )
    return Resolved(name, folder, folder.name)


def label(folder: Path) -> str:
    """Returns a folder's label for a manifest: its name, or NAME@COMMIT if it lies in the Hub's cache."""
    snapshots = folder.parent
    if snapshots.name == "snapshots" and snapshots.parent.name.startswith("models--"):
        return f"{snapshots.parent.name.removeprefix('models--').replace('--', '/')}@{folder.name}"
    return folder.name


def _download(name: str, revision: str | None, patterns: list[str]) -> Path:
    """Downloads a snapshot into the Hub's cache. Its folder is named after the commit."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=_OTHER_FORMATS))
    # huggingface_hub raises its own errors, those of its HTTP library and those of the operating system.
    except Exception as error:
        at_revision = "" if revision is None else f" at revision {revision}"
        raise InputError(
            f"{name}{at_revision} must be a folder on this machine or a model of the Hugging Face Hub, but there is no "
            f"such folder, and the download failed: {reason_of(error)}. {_advice(name)}"
        ) from error


def _advice(name: str) -> str:
    command = f"hf download {name} --local-dir {name.rpartition('/')[2]}"
    return f"On a machine with access, run {command}. Copy that folder here and give its path."
