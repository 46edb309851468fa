"""Opens tokenizers and gives facts about them: files, digests, special pieces and ids, fairseq's first four symbols."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError, reason_of

# A tokenizer needs at least one of these. Without them AutoTokenizer invents a tokenizer with only special pieces.
VOCABULARY_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
# All files that AutoTokenizer may read.
TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)

# What normalizers and pre-tokenizers treat differently: case, accents, compatibility forms, scripts, white space.
# Never change these: checkpoints carry a digest that is made from them.
PROBES = (
    "Hello, WORLD! don't e-mail",
    "Crème Brûlée ÀÉÎÕÜ naïve",
    "Straße ẞ İstanbul ı",
    "今天下雨吗？",
    "東京タワー ｶﾀｶﾅ",
    "Привет, Мир! ё",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "  two  spaces\tand a tab",
    "x² ½ ﬁne",
    "😀👍🏽 a\u200bb",
)
_FIRST = ("cls", "pad", "sep", "unk")  # fairseq's <s>, <pad>, </s>, <unk>

_UNLIMITED = 2**31 - 1
# In these models position rows start after the padding index, so fewer rows are usable than the config says.
_OF_ROBERTA = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text")
_SHIFTED_POSITIONS = (*_OF_ROBERTA, "ibert", "xmod", "luke", "longformer", "mpnet", "esm")


def open_tokenizer(folder: Path) -> Any:
    """Opens the tokenizer of a folder with AutoTokenizer, from local files. Code in the folder never runs.

    Raises:
        InputError: there is no tokenizer, transformers cannot load it, it has no fast (Rust) form, or it has more
            unused ids than pieces.
    """
    from transformers import AutoTokenizer

    found = [name for name in VOCABULARY_FILES if (folder / name).is_file()]
    if not found:
        raise InputError(f"{folder} must hold a tokenizer, but has none of {', '.join(VOCABULARY_FILES)}.")
    models = [name for name in found if name.endswith(".model")]
    if len(models) == len(found):
        _check_protobuf(folder, models)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    # transformers may raise any exception here. The user needs the folder and the reason.
    except Exception as error:
        if "tokenizer.json" in found:
            _check_json(folder / "tokenizer.json")
        elif models:
            _check_protobuf(folder, models)
        if _needs_code(folder, error):  # transformers would advise the user to run that code
            raise InputError(
                f"{folder} must hold a tokenizer of one of transformers' classes, but needs code from its folder, "
                "which is never run here. Choose another tokenizer, or make the data-bin with its tokenizer.json alone "
                "(weam-preprocess --tokenizer FOLDER/tokenizer.json)."
            ) from None
        raise InputError(
            f"{folder} must hold a tokenizer that AutoTokenizer loads, but does not: {reason_of(error)}."
        ) from error
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise InputError(f"{folder} must hold a tokenizer with a fast (Rust) form, but has none. Add a tokenizer.json.")
    id_range(tokenizer.get_vocab(), folder)  # before any use, because Rust's writer visits every id up to the largest
    return tokenizer


def _check_protobuf(folder: Path, models: Sequence[str]) -> None:
    """Raises InputError if protobuf is missing, with which transformers reads SentencePiece models."""
    if find_spec("google") is None or find_spec("google.protobuf") is None:
        raise InputError(
            f"{folder} must hold a tokenizer.json, but has only {models[0]}, which transformers reads with protobuf. "
            f"Copy the tokenizer.json of DATA_BIN/tokenizer into it, from a data-bin that weam-preprocess made with "
            f"--tokenizer {folder}, or pip install protobuf."
        )


def _needs_code(folder: Path, error: Exception) -> bool:
    """Whether AutoTokenizer failed because the class of the tokenizer is in the folder, not in transformers."""
    import transformers

    settings = folder / "tokenizer_config.json"
    config = read_json(settings, dict) if settings.is_file() else {}
    own_class = "auto_map" in config and not hasattr(transformers, str(config.get("tokenizer_class")))
    return own_class or "trust_remote_code" in str(error)


def _check_json(file: Path) -> None:
    """Raises InputError with the library's version if the tokenizers library cannot read the file."""
    from tokenizers import Tokenizer, __version__

    try:
        Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises nothing narrower
        raise InputError(
            f"{file} must be a tokenizer.json that tokenizers {__version__} can read, but is not: {reason_of(error)}. "
            "The file may be from a newer version (pip install -U tokenizers transformers), or damaged."
        ) from error


class TokenizerFacts(NamedTuple):
    """Facts that a checkpoint and a data-bin record about their tokenizer.

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
    """Opens the tokenizer of a folder. Raises InputError as `open_tokenizer` does, or if it lacks special pieces."""
    tokenizer = open_tokenizer(folder)
    rust = tokenizer.backend_tokenizer
    rust.no_truncation()
    rust.no_padding()
    vocabulary: dict[str, int] = rust.get_vocab(with_added_tokens=True)
    return TokenizerFacts(
        len(id_range(vocabulary, folder)),
        named_special_ids(tokenizer, folder),
        pieces_sha256(vocabulary),
        behaviour_sha256(rust),
    )


def pieces_sha256(vocabulary: Mapping[str, int]) -> str:
    """Hexadecimal digest of the pieces in the order of their ids."""
    lines = "".join(f"{number}\t{piece}\n" for number, piece in sorted((n, p) for p, n in vocabulary.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def behaviour_sha256(backend: Any) -> str:
    """Hexadecimal digest of the ids that a Rust tokenizer gives for `PROBES`: one line a probe, separated by spaces."""
    rows = (backend.encode(probe, add_special_tokens=False).ids for probe in PROBES)
    return hashlib.sha256("".join(" ".join(map(str, row)) + "\n" for row in rows).encode()).hexdigest()


def named_special_ids(tokenizer: Any, folder: object) -> dict[str, int]:
    """Returns the ids of cls, pad, sep, mask and, if it has its own id, unk.

    Byte-level tokenizers have a piece for every byte, so they need no unk. `tokenizer` comes from AutoTokenizer. If it
    names no cls or sep, they are the special pieces that it puts first and last.

    Raises:
        InputError: one of the first four is missing, or pad or mask shares its id with another special piece.
    """
    first, last = _ends(tokenizer)
    special_ids = {
        "cls": _first(tokenizer.cls_token_id, tokenizer.bos_token_id, first),
        "pad": tokenizer.pad_token_id,
        "sep": _first(tokenizer.sep_token_id, tokenizer.eos_token_id, last),
        "mask": tokenizer.mask_token_id,
    }
    missing = [name for name, value in special_ids.items() if value is None]
    if missing:
        raise InputError(
            f"{folder} holds a tokenizer without the special pieces {', '.join(missing)}; a masked language model of "
            "sentence pairs needs cls, pad, sep and mask. Add them to the tokenizer, or choose another one."
        )
    shared = [name for name in ("pad", "mask") if list(special_ids.values()).count(special_ids[name]) > 1]
    if shared:
        raise InputError(
            f"{folder} must hold a tokenizer whose {' and '.join(shared)} has its own id, but special pieces share "
            f"ids: {special_ids}. Give each its own id, or choose another tokenizer."
        )
    unk = _first(tokenizer.unk_token_id, _unk_of_model(tokenizer.backend_tokenizer))
    # If unk shares its id with another special piece (as in GPT-2), the id means that other piece.
    unk_id = {"unk": unk} if unk is not None and unk not in special_ids.values() else {}
    order = ("cls", "pad", "sep", "unk", "mask")
    return {name: int(value) for name in order if (value := {**special_ids, **unk_id}.get(name)) is not None}


def id_range(vocabulary: Mapping[str, int], folder: object) -> range:
    """Returns the range from 0 to the highest id. It includes unused ids, because the model has a row for each.

    Raises:
        InputError: there is no piece, or there are more unused ids than pieces.
    """
    if not vocabulary:
        raise InputError(f"{folder} must hold a tokenizer with pieces, but its vocabulary is empty.")
    pieces, size = len(set(vocabulary.values())), 1 + max(vocabulary.values())
    if size > 2 * pieces:
        raise InputError(
            f"{folder} must hold a tokenizer with about as many ids as pieces, but it has {pieces:,} pieces and ids up "
            f"to {size - 1:,}. Check the ids in its tokenizer.json."
        )
    return range(size)


def max_pieces(config: Any, tokenizer: Any) -> int:
    """Returns the longest input of a model of transformers in pieces, special ones included."""
    # Models without a longest input (XLNet) have -1 or None, and their tokenizers a number like 10^30.
    longest = min(tokenizer.model_max_length, _UNLIMITED)
    rows = getattr(config, "max_position_embeddings", None) or 0
    if rows <= 0:
        return longest
    if config.model_type in _SHIFTED_POSITIONS:
        rows -= config.pad_token_id + 1
    return min(rows, longest)


def words_of_characters(words: Sequence[str]) -> list[int | None]:
    """Returns the word of each character of `words` joined with single spaces. A space belongs to no word (None)."""
    owners: list[int | None] = []
    for word_idx, word in enumerate(words):
        owners += [word_idx] * len(word) + [None]
    return owners


def first_ids(special_ids: Mapping[str, int], ids: Iterable[int]) -> list[int]:
    """Returns the tokenizer ids for fairseq's ids 0 to 3, which are cls, pad, sep and unk.

    If one of them is missing or already used, the lowest unused id of `ids` that is not a special piece replaces it. So
    the dictionary remains a permutation of the tokenizer's ids.
    """
    chosen: list[int] = []
    ordinary_ids = (number for number in sorted(ids) if number not in set(special_ids.values()))
    for name in _FIRST:
        number = special_ids.get(name)
        chosen.append(next(ordinary_ids) if number is None or number in chosen else number)
    return chosen


def _ends(tokenizer: Any) -> tuple[int | None, int | None]:
    """The ids of the special pieces at the beginning and the end of a sentence."""
    encoding = tokenizer("a")
    ids, sides = encoding["input_ids"], encoding.sequence_ids()
    return (ids[0] if sides and sides[0] is None else None), (ids[-1] if sides and sides[-1] is None else None)


def _unk_of_model(backend: Any) -> int | None:
    """The id that the tokenizer writes for unknown characters if its configuration does not name unk."""
    piece = getattr(backend.model, "unk_token", None)
    return None if piece is None else backend.token_to_id(piece)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
