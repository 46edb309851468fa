"""Reads the special ids and digests of a Hugging Face tokenizer, for conversion.

weam-preprocess writes the same facts into a data-bin's manifest (preprocess/README.md) with its own code.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError, reason_of
from weam_fairseq.common.tokenizers import PROBES, VOCABULARY_FILES, id_range, named_special_ids


class TokenizerFacts(NamedTuple):
    """Facts that a checkpoint records about its tokenizer.

    Attributes:
        pieces: number of pieces, including unused ids.
        special_ids: ids of cls, pad, sep, mask and, if the tokenizer has one, unk.
        pieces_sha256: digest of the pieces in the order of their ids.
        behaviour_sha256: digest of the output for `PROBES`.
    """

    pieces: int
    special_ids: dict[str, int]
    pieces_sha256: str
    behaviour_sha256: str


def read_tokenizer(folder: Path) -> TokenizerFacts:
    """Opens the tokenizer of a folder with AutoTokenizer.

    Raises:
        InputError: there is no tokenizer, it has no fast form, or it lacks special pieces.
    """
    tokenizer = _open(folder)
    rust = tokenizer.backend_tokenizer
    rust.no_truncation()
    rust.no_padding()
    special = named_special_ids(tokenizer, folder)
    vocabulary: dict[str, int] = rust.get_vocab(with_added_tokens=True)
    ids = id_range(vocabulary, folder)
    lines = "".join(f"{number}\t{piece}\n" for number, piece in sorted((n, p) for p, n in vocabulary.items()))
    encoded = (rust.encode(probe, add_special_tokens=False).ids for probe in PROBES)
    return TokenizerFacts(
        len(ids),
        special,
        hashlib.sha256(lines.encode()).hexdigest(),
        hashlib.sha256("".join(" ".join(map(str, row)) + "\n" for row in encoded).encode()).hexdigest(),
    )


def _has_protobuf() -> bool:
    return find_spec("google") is not None and find_spec("google.protobuf") is not None


def _open(folder: Path) -> Any:
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in VOCABULARY_FILES):
        raise InputError(f"{folder} must hold a tokenizer, but has none of {', '.join(VOCABULARY_FILES)}.")
    models = [name for name in VOCABULARY_FILES if name.endswith(".model") and (folder / name).is_file()]
    if models and not (folder / "tokenizer.json").is_file() and not _has_protobuf():
        raise InputError(
            f"{folder} must hold a tokenizer.json, but has only {models[0]}, which transformers reads with protobuf. "
            f"Copy the tokenizer.json of DATA_BIN/tokenizer into it, from a data-bin that weam-preprocess made with "
            f"--tokenizer {folder}, or pip install protobuf."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # transformers may raise any exception here. The user needs the folder and the reason.
    except Exception as error:
        settings = folder / "tokenizer_config.json"
        if settings.is_file() and "auto_map" in read_json(settings, dict):
            raise InputError(
                f"{folder} must hold a tokenizer of one of transformers' classes, but needs its own code, which is "
                "never run. Put the tokenizer.json of that tokenizer there, or choose another model."
            ) from None
        raise InputError(
            f"{folder} must hold a tokenizer that AutoTokenizer loads, but does not: {reason_of(error)}."
        ) from error
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise InputError(f"The tokenizer of {folder} must have a fast (Rust) form, but has none.")
    return tokenizer
