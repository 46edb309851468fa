"""A Hugging Face folder, loaded for evaluation: weights, tokenizer, and the hash that names its checkpoint.

Only local files are read and only transformers' own classes are used: a folder's own code never runs.
"""

from __future__ import annotations

import hashlib
import inspect
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError

# Any one of these makes a tokenizer that transformers can load.
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "spiece.model", "vocab.json")

# Their position rows start after the padding index, so two rows fewer are usable than the config says.
_SHIFTED_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert")


@dataclass(frozen=True)
class Folder:
    """A loaded model. `max_pieces` is the longest input in pieces, special ones included; `precision`: of states."""

    path: Path
    model: Any
    tokenizer: Any
    checkpoint: str
    device: str
    max_pieces: int
    precision: str = "fp32"

    @property
    def input_names(self) -> list[str]:
        """What the tokenizer gives and the model takes (DistilBERT, for one, takes no token types)."""
        accepted = inspect.signature(self.model.base_model.forward).parameters
        return [name for name in self.tokenizer.model_input_names if name in accepted]

    def autocast(self) -> AbstractContextManager[Any]:
        import torch

        return torch.autocast(self.device.split(":")[0], dtype=torch.bfloat16, enabled=self.precision == "bf16")


def load_folder(path: Path, device: str = "cpu", needs_head: bool = True, precision: str = "fp32") -> Folder:
    """Loads `path` with AutoModelForMaskedLM and AutoTokenizer.

    Raises:
        InputError: the folder, a file in it or the device is missing, or the checkpoint lacks weights that are
            used: weights that are made up at random would give a chance-level number instead of an error.
    """
    _check_files(path)
    _check_device(device)
    return Folder(
        path=path,
        model=(model := _load_model(path, needs_head).to(device).eval()),
        tokenizer=(tokenizer := _load_tokenizer(path)),
        checkpoint=checkpoint_hash(path),
        device=device,
        max_pieces=_max_pieces(model.config, tokenizer),
        precision=precision,
    )


def open_folder(path: Path, device: str = "cpu") -> Folder:
    """The folder without its weights (`model` is None), for tasks that load them under a head of their own.

    Raises:
        InputError: the folder, a file in it or the device is missing.
    """
    import transformers

    _check_files(path)
    _check_device(device)
    try:
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}/config.json does not load: {first_line(error)}") from error
    tokenizer = _load_tokenizer(path)
    return Folder(path, None, tokenizer, checkpoint_hash(path), device, _max_pieces(config, tokenizer))


def checkpoint_hash(path: Path) -> str:
    """The first 12 hexadecimal digits of the SHA-256 over the folder's weights (all shards, in order of name)."""
    return hash_files(sorted(path.glob("*.safetensors")))


def hash_files(paths: list[Path]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 over the files' bytes, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]


def _check_files(path: Path) -> None:
    if not path.is_dir():
        raise InputError(f"the model folder {path} is not there. Give --model a Hugging Face folder.")
    if not (path / "config.json").is_file():
        raise InputError(f"{path} has no config.json, so it is no Hugging Face folder. Export one with weam-to-hf.")
    if not any(path.glob("*.safetensors")):
        raise InputError(f"{path} has no model.safetensors. Save the model as safetensors, or export it again.")
    if not any((path / name).is_file() for name in TOKENIZER_FILES):
        raise InputError(f"{path} has no tokenizer (one of {', '.join(TOKENIZER_FILES)}). Copy its files there.")


def _check_device(device: str) -> None:
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("--device cuda was asked for, but torch sees no CUDA device. Use --device cpu.")


def _load_model(path: Path, needs_head: bool) -> Any:
    import safetensors
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model, info = transformers.AutoModelForMaskedLM.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} does not load as a masked language model: {first_line(error)}") from error
    prefix = model.base_model_prefix + "."
    missing = sorted(key for key in info["missing_keys"] if needs_head or key.startswith(prefix))
    if missing:
        raise InputError(
            f"{path}: the checkpoint lacks {len(missing)} weights that this task uses, such as {missing[0]}. "
            "Export the whole model, with its masked-language-model head."
        )
    return model


def _load_tokenizer(path: Path) -> Any:
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise InputError(f"the tokenizer in {path} does not load: {first_line(error)}") from error
    if not tokenizer.is_fast:
        raise InputError(f"the tokenizer in {path} gives no character offsets. Add a tokenizer.json.")
    return tokenizer


def _max_pieces(config: Any, tokenizer: Any) -> int:
    rows = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    if config.model_type in _SHIFTED_POSITIONS:
        rows -= config.pad_token_id + 1
    return min(rows, tokenizer.model_max_length)


def first_line(error: Exception) -> str:
    """What a library's error says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
