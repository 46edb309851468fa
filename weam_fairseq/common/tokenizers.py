"""What is known of tokenizers: the files of a folder, special pieces and ids, fairseq's first four symbols."""

from collections.abc import Iterable, Mapping
from typing import Any

from weam_fairseq.common.errors import InputError

# At least one of these is a tokenizer; without any AutoTokenizer makes one up, of special pieces alone.
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
# Everything that AutoTokenizer may read.
TOKENIZER_FILES = (
    *VOCABULARY_FILES,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)

_FIRST = ("cls", "pad", "sep", "unk")  # fairseq's <s>, <pad>, </s>, <unk>


def named_special_ids(tokenizer: Any, folder: object) -> dict[str, int]:
    """Ids of cls, pad, sep, mask and, where the tokenizer has one of its own, unk.

    Byte-level tokenizers have a piece for every byte and so need no unk. `tokenizer` is what AutoTokenizer opened;
    where it names no cls or sep, they are the special pieces that it puts first and last.

    Raises:
        InputError: it lacks one of the four, or pad or mask shares its id with another.
    """
    first, last = _ends(tokenizer)
    found = {
        "cls": _first(tokenizer.cls_token_id, tokenizer.bos_token_id, first),
        "pad": tokenizer.pad_token_id,
        "sep": _first(tokenizer.sep_token_id, tokenizer.eos_token_id, last),
        "mask": tokenizer.mask_token_id,
    }
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise InputError(
            f"{folder} holds a tokenizer without the special pieces {', '.join(missing)}; a masked language model of "
            "sentence pairs needs cls, pad, sep and mask. Add them to the tokenizer, or choose another one."
        )
    shared = [name for name in ("pad", "mask") if list(found.values()).count(found[name]) > 1]
    if shared:
        raise InputError(
            f"{folder} must hold a tokenizer whose {' and '.join(shared)} has an id that no other special piece has, "
            f"but they share ids: {found}. Give each its own, or choose another tokenizer."
        )
    unk = _first(tokenizer.unk_token_id, _unk_of_model(tokenizer.backend_tokenizer))
    # Where unk shares its id (as in GPT-2), a piece of that id in a sentence is taken for what it is called there.
    own = {"unk": unk} if unk is not None and unk not in found.values() else {}
    order = ("cls", "pad", "sep", "unk", "mask")
    return {name: int(value) for name in order if (value := {**found, **own}.get(name)) is not None}


def id_range(vocabulary: Mapping[str, int], folder: object) -> range:
    """0 to the highest id. Ids without a piece (holes) count too: the model has a row for each.

    Raises:
        InputError: there are more holes than pieces.
    """
    pieces, size = len(set(vocabulary.values())), 1 + max(vocabulary.values())
    if size > 2 * pieces:
        raise InputError(
            f"{folder} must hold a tokenizer whose ids are about as many as its pieces, but it has {pieces:,} pieces "
            f"and ids up to {size - 1:,}. Check the ids in its tokenizer.json."
        )
    return range(size)


def first_ids(special_ids: Mapping[str, int], ids: Iterable[int]) -> list[int]:
    """The tokenizer ids of fairseq's ids 0 to 3: those of cls, pad, sep and unk.

    Where one is missing, or was already given, the lowest of `ids` that is no special piece and not yet given stands
    in for it, so that the dictionary remains a permutation of the tokenizer's ids.
    """
    given: list[int] = []
    others = (number for number in sorted(ids) if number not in set(special_ids.values()))
    for name in _FIRST:
        number = special_ids.get(name)
        given.append(next(others) if number is None or number in given else number)
    return given


def _ends(tokenizer: Any) -> tuple[int | None, int | None]:
    """The special pieces at the beginning and at the end of a sentence."""
    encoding = tokenizer("a")
    ids, sides = encoding["input_ids"], encoding.sequence_ids()
    return (ids[0] if sides and sides[0] is None else None), (ids[-1] if sides and sides[-1] is None else None)


def _unk_of_model(backend: Any) -> int | None:
    """What the tokenizer writes for unknown characters although its configuration does not name it."""
    piece = getattr(backend.model, "unk_token", None)
    return None if piece is None else backend.token_to_id(piece)


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
