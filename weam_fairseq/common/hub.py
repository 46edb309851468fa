"""Where a model is: a folder on this machine, or a name on the Hugging Face Hub. The only place that resolves names."""

import re
from pathlib import Path
from typing import NamedTuple

from .errors import InputError, reason_of

# A name on the Hub: an owner and a model, or a model alone.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


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
            raise InputError(f"--revision must go with a name on the Hub, but {name} is a folder.")
        return Resolved(name, folder, None)
    if folder.exists() or not _NAME.fullmatch(name) or name.startswith("."):
        raise InputError(
            f"{name} must be a Hugging Face folder on this machine or a name on the Hub (owner/model), but is neither."
        )
    return _download(name, revision, weights=weights)


def _download(name: str, revision: str | None, *, weights: bool) -> Resolved:
    from huggingface_hub import snapshot_download

    # Code of a repository is never downloaded, and weights only in torch's formats.
    ignored = ["*.py", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.onnx_data", "onnx/*", "openvino/*", "*.gguf", "*.pkl"]
    if not weights:
        ignored += ["*.safetensors", "*.bin"]
    try:
        folder = Path(snapshot_download(name, revision=revision, ignore_patterns=ignored))
    # huggingface_hub raises its own errors, those of its HTTP library and of the system.
    except Exception as error:
        at = "" if revision is None else f" at revision {revision}"
        raise InputError(
            f"{name} must be a folder on this machine or a model on the Hugging Face Hub{at} that can be downloaded, but "
            f"no such folder exists and the download failed ({reason_of(error)}). On a machine with access run: hf "
            f"download {name} --local-dir {name.rpartition('/')[2]}; copy the folder here and give its path."
        ) from error
    return Resolved(name, folder, folder.name if re.fullmatch("[0-9a-f]{40}", folder.name) else revision)
