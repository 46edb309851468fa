"""A Hugging Face folder, loaded for evaluation: weights, tokenizer, and the hash that identifies the checkpoint.

Only local files and transformers' own classes are used. Code in a folder never runs.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError, reason_of
from weam_fairseq.common.tokenizers import VOCABULARY_FILES, max_pieces, open_tokenizer
from weam_fairseq.common.weights import load_model, weight_files
from weam_fairseq.evaluation.fine_tuning.head import Head


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
        """Inputs that the tokenizer returns and the model accepts (DistilBERT, for example, takes no token types)."""
        accepted = inspect.signature(self.model.base_model.forward).parameters
        return [name for name in self.tokenizer.model_input_names if name in accepted]

    def limited(self, max_pieces: int) -> Folder:
        """With at most `max_pieces` in an input."""
        return replace(self, max_pieces=min(self.max_pieces, max_pieces))

    def autocast(self) -> AbstractContextManager[Any]:
        import torch

        from weam_fairseq.encoder.huggingface import autocast

        return autocast(self.device.split(":")[0], torch.bfloat16 if self.precision == "bf16" else None)


def load_folder(path: Path, device: str = "cpu", needs_head: bool = True, precision: str = "fp32") -> Folder:
    """Loads `path` with AutoModelForMaskedLM and AutoTokenizer.

    Raises:
        InputError: the folder, a file in it or the device is missing, or the checkpoint lacks weights that are
            used. Random weights would give a score at chance level instead of an error.
    """
    check_folder(path, device)
    return Folder(
        path=path,
        model=(model := _load_model(path, needs_head).to(device).eval()),
        tokenizer=(tokenizer := open_tokenizer(path)),
        checkpoint=checkpoint_hash(path, tokenizer),
        device=device,
        max_pieces=max_pieces(model.config, tokenizer),
        precision=precision,
    )


def open_folder(path: Path, device: str = "cpu") -> Folder:
    """The folder without its weights (`model` is None), for tasks that load them under a head of their own.

    Raises:
        InputError: the folder, a file in it or the device is missing.
    """
    import transformers

    check_folder(path, device)
    try:
        config = transformers.AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever its checks raise
        raise InputError(f"{path}/config.json does not load: {reason_of(error)}") from error
    tokenizer = open_tokenizer(path)
    return Folder(path, None, tokenizer, checkpoint_hash(path, tokenizer), device, max_pieces(config, tokenizer))


def checkpoint_hash(path: Path, tokenizer: Any) -> str:
    """The first 12 hexadecimal digits of a SHA-256 over all that decides what the model gives for a text: its weights
    (all shards, in order of name), its configuration, and how the loaded tokenizer makes pieces."""
    digest = hashlib.sha256()
    _add_files(digest, weight_files(path))
    config = read_json(path / "config.json", dict)
    for name in ("transformers_version", "_name_or_path"):
        config.pop(name, None)
    for part in (config, _piece_maker(tokenizer)):
        digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:12]


def _piece_maker(tokenizer: Any) -> dict[str, Any]:
    """The tokenizer as it was loaded: versions of transformers build different ones from the same files."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    for name in ("truncation", "padding"):  # what the last call asked for
        backend.pop(name, None)
    names = ("model_input_names", "model_max_length", "padding_side", "truncation_side", "special_tokens_map")
    return {"backend": backend, **{name: getattr(tokenizer, name, None) for name in names}}


def hash_files(paths: Sequence[Path]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 over the files' bytes, one after the other."""
    digest = hashlib.sha256()
    _add_files(digest, paths)
    return digest.hexdigest()[:12]


def _add_files(digest: Any, paths: Sequence[Path]) -> None:
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)


def check_folder(path: Path, device: str) -> None:
    """Raises InputError: the folder, a file in it or the device is missing."""
    _check_files(path)
    _check_device(device)


def _check_files(path: Path) -> None:
    if not path.is_dir():
        raise InputError(
            f"the model folder {path} does not exist. Give --model a Hugging Face folder, a name on the Hub, or a "
            "checkpoint (.pt) of weam-train."
        )
    if not (path / "config.json").is_file():
        raise InputError(
            f"{path} has no config.json, so it is not a Hugging Face folder. Give a checkpoint (.pt) of weam-train, or "
            "a folder that weam-to-hf wrote."
        )
    if not weight_files(path):
        raise InputError(f"{path} has no model.safetensors or pytorch_model.bin, in one file or in shards.")
    if not any((path / name).is_file() for name in VOCABULARY_FILES):
        raise InputError(
            f"{path} has no tokenizer (one of {', '.join(VOCABULARY_FILES)}). Copy the tokenizer files into the folder."
        )


def find_device(name: str) -> str:
    """`auto` is CUDA, else Apple's MPS, else the CPU."""
    import torch

    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_device(device: str) -> None:
    import torch

    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError("--device mps was asked for, but torch sees no Apple GPU. Use --device cpu.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("--device cuda was asked for, but torch sees no CUDA device. Use --device cpu.")


def _load_model(path: Path, needs_head: bool) -> Any:
    model, lacking = load_model(path, "AutoModelForMaskedLM", "as a masked language model")
    prefix = model.base_model_prefix + "."
    missing = sorted(key for key in lacking if needs_head or key.startswith(prefix))
    if missing:
        raise InputError(
            f"{path}: the checkpoint lacks {len(missing)} weights that this task uses, such as {missing[0]}. "
            "Export the complete model, with its masked-language-model head."
        )
    return model


class HeadedModel(NamedTuple):
    """`new` lists the weights that were initialized from the seed; `pooler`: BERT's pooler is among them."""

    model: Any
    new: list[str]
    pooler: bool


def put_head_on(path: Path, head: Head, seed: int, device: str) -> HeadedModel:
    """Loads the encoder in `path` under a new head, whose weights follow from the seed.

    Raises:
        InputError: the checkpoint lacks weights of the encoder itself. BERT's pooler may be new: a masked language
            model does not train it, and many exports leave it out.
    """
    import torch

    torch.manual_seed(seed)
    model, lacking = _load(path, head, labelled=True)
    prefix = model.base_model_prefix + "."
    new = sorted(lacking)
    of_encoder = [key for key in new if key.startswith(prefix)]
    lost = [key for key in of_encoder if not key.startswith(prefix + "pooler.")]
    if lost:
        raise InputError(
            f"{path}: the checkpoint lacks {len(lost)} weights of its encoder, such as {lost[0]}. "
            "Export the complete model."
        )
    return HeadedModel(model.to(device), new, len(of_encoder) > 0)


def load_fine_tuned(path: Path, head: Head, device: str) -> Any:
    """Loads a folder that fine-tuning wrote; every weight must be there."""
    model, lacking = _load(path, head, labelled=False)
    if lacking:
        raise InputError(f"{path} lacks {len(lacking)} weights. Remove the folder and fine-tune again.")
    return model.to(device).eval()


def _load(path: Path, head: Head, labelled: bool) -> tuple[Any, set[str]]:
    names = dict(enumerate(head.labels))
    labels: dict[str, Any] = {}
    if labelled and names:
        labels = {"id2label": names, "label2id": {label: number for number, label in names.items()}}
    return load_model(path, head.auto_class, f"under a head for {head.name}", **labels)
