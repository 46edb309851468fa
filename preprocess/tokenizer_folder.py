"""Makes DATA_BIN/tokenizer: a Hugging Face folder that is copied, built from a single file, or trained here."""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import TOKENIZER_FILES, open_tokenizer

from . import sentencepiece_model
from .cleaning import strict_lines
from .run_options import TRAINED

log = logging.getLogger(__name__)

# Ids 0 to 4 of a vocabulary that is trained here.
SPECIAL_PIECES = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_SENTENCEPIECE_NAMES = sentencepiece_model.SPECIAL_PIECES

_CONFIGURATION = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
# The names in tokenizers that are neither BERT's nor SentencePiece's.
_OTHER_NAMES = ({"cls": "<|begin_of_text|>", "pad": "<|pad|>", "sep": "<|end_of_text|>", "mask": "<|mask|>"},)
# For these classes, the ids and pieces made here are those that transformers makes with protobuf.
_SENTENCEPIECE_CLASSES = (
    *("XLMRobertaTokenizer", "CamembertTokenizer", "AlbertTokenizer", "BigBirdTokenizer"),
    *("DebertaV2Tokenizer", "T5Tokenizer", "MBartTokenizer"),
)
_MAX_LENGTH = 512  # pieces; the number of positions of BERT models
_GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast"}  # transformers uses the tokenizer.json unchanged


def make(source: Path, folder: Path) -> Any:
    """Fills `folder` from `--tokenizer`: a folder, a tokenizer.json, a vocab.txt or a SentencePiece .model.

    A folder keeps its files and its ids. A .model file alone has the ids of the sentencepiece library. XLM-R's ids
    differ: for those, give the folder with its sentencepiece.bpe.model. Raises InputError.

    Returns what AutoTokenizer opens from `folder`; None if it was not opened yet. Opening a large one takes seconds.
    """
    if source.is_dir():
        return _copy(source, folder)
    if not source.exists():
        raise InputError(
            f"The tokenizer {source} does not exist. Looked for a Hugging Face tokenizer folder, a tokenizer.json, "
            "a vocab.txt or a SentencePiece .model of that name; or train one with --train-tokenizer wordpiece "
            "--vocab-size N."
        )
    if source.suffix == ".json":
        return _from_json(source, folder)
    if source.suffix == ".txt":
        return _from_vocab(source, folder)
    if source.suffix == ".model":
        return write_sentencepiece(sentencepiece_model.read(source.read_bytes(), source), folder)
    raise InputError(
        f"The tokenizer {source} must be a folder, a tokenizer.json, a vocab.txt or a SentencePiece .model."
    )


def _copy(source: Path, folder: Path) -> Any:
    # Files are copied, because saving them with transformers would change bytes.
    names = [name for name in TOKENIZER_FILES if (source / name).is_file()]
    models = [name for name in names if name.endswith(".model")]
    if not any(name not in _CONFIGURATION for name in names):
        raise InputError(f"{source} contains no tokenizer. Looked for {', '.join(TOKENIZER_FILES)}.")
    config = _read_json(source / "tokenizer_config.json") if "tokenizer_config.json" in names else {}
    model_config = _read_json(source / "config.json") if (source / "config.json").is_file() else {}
    if "auto_map" in config:
        log.warning(
            "%s needs code from its folder (auto_map), which is never run. A class of transformers is used instead.",
            source,
        )
    if not (config.get("tokenizer_class") or model_config.get("tokenizer_class") or model_config.get("model_type")):
        # The class is unknown, so the main file is used as if it had been given alone.
        if "tokenizer.json" in names:
            return _from_json(source / "tokenizer.json", folder, config)
        if names == ["vocab.txt"]:
            return _from_vocab(source / "vocab.txt", folder)
        if models and "sentencepiece.bpe.model" not in models:
            return make(source / models[0], folder)
    if "tokenizer_class" not in config and model_config:
        names.append("config.json")  # then AutoTokenizer knows the class only from the model's type
    folder.mkdir(parents=True)
    for name in names:
        shutil.copyfile(source / name, folder / name)
    if "tokenizer.json" not in names and models:
        _convert_sentencepiece(source, folder, models, config, model_config)
    opened = open_tokenizer(folder)
    if "do_lower_case" not in config and _state_casing(source, folder, config, opened):
        opened = open_tokenizer(folder)
    _warn_of_casing(opened, source)
    return opened


def _convert_sentencepiece(
    source: Path, folder: Path, models: list[str], config: dict[str, Any], model_config: dict[str, Any]
) -> None:
    """Adds the tokenizer.json that AutoTokenizer makes from a SentencePiece model, so that it is made only once.

    transformers reads the model with protobuf, which may be missing, so sentencepiece_model.py reads it here. The ids
    are those of the folder's class. XLM-R's differ from the model's own. A sentencepiece.bpe.model is taken for XLM-R's
    if the folder does not name its class.
    """
    from tokenizers import AddedToken, Tokenizer, normalizers
    from tokenizers.models import Unigram
    from transformers.convert_slow_tokenizer import SLOW_TO_FAST_CONVERTERS
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    name = (
        config.get("tokenizer_class")
        or model_config.get("tokenizer_class")
        or TOKENIZER_MAPPING_NAMES.get(model_config.get("model_type") or "")
    )
    if name is None:
        name = "XLMRobertaTokenizer"
        _write_config(folder, _SENTENCEPIECE_NAMES, {**config, "tokenizer_class": name})
    file = source / models[0]
    model = sentencepiece_model.read(file.read_bytes(), file)
    if name.removesuffix("Fast") not in _SENTENCEPIECE_CLASSES or not sentencepiece_model.is_unigram(model):
        raise InputError(
            f"{source} must contain a tokenizer.json, but has only {file.name}, which can be read here only for "
            f"{', '.join(_SENTENCEPIECE_CLASSES)} with a Unigram model, not for {name}. Make the file once: pip "
            "install protobuf, then AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) in Python."
        )
    named = {key: _piece_of(value) for key, value in config.items() if key.endswith("_token") and value}
    vocab: Any = [(piece.text, piece.score) for piece in model.pieces]
    converter: Any = SLOW_TO_FAST_CONVERTERS.get(name.removesuffix("Fast"))
    if hasattr(converter, "convert_from_spm"):
        vocab = converter.convert_from_spm(vocab=vocab, **named)["vocab"]
    texts = [text for text, _ in vocab]
    unknown = named.get("unk_token", sentencepiece_model.special_pieces(model)["unk"])
    tokenizer = Tokenizer(Unigram(vocab, unk_id=texts.index(unknown) if unknown in texts else 0))
    if charsmap := model.normalizer["precompiled_charsmap"]:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap)])
    for text, special in sentencepiece_model.added_pieces(model):
        if text in texts:
            tokenizer.add_tokens([AddedToken(text, special=special, normalized=False)])
    # The class of the folder builds the rest around the vocabulary; the result is saved.
    tokenizer.save(str(folder / "tokenizer.json"))
    open_tokenizer(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))


def _piece_of(value: Any) -> str:
    """A special piece in tokenizer_config.json is a text, or an object with the text as its content."""
    return str(value["content"]) if isinstance(value, dict) else str(value)


class Casing(NamedTuple):
    """What a tokenizer does to text before splitting it."""

    lower_case: bool
    strip_accents: bool

    def __str__(self) -> str:
        return (
            f"{'lower-cases text' if self.lower_case else 'keeps capital letters'} and "
            f"{'strips' if self.strip_accents else 'keeps'} accents"
        )


# Capital letters and accents are kept.
CASED = Casing(lower_case=False, strip_accents=False)


def casing_of(pieces: Iterable[str]) -> Casing:
    """The text that a WordPiece vocabulary was made for: cased if some piece has a capital letter.

    Special pieces do not count. Without a capital letter the text was lower-cased; without an accent too, its accents
    were removed. A vocabulary without any letter that has a case counts as cased.
    """
    plain = [piece for piece in pieces if not re.fullmatch(r"\[.+\]|<.+>", piece)]
    if any(piece != piece.lower() for piece in plain) or all(piece == piece.upper() for piece in plain):
        return CASED
    text = unicodedata.normalize("NFD", "".join(plain))
    return Casing(lower_case=True, strip_accents=not any(unicodedata.category(char) == "Mn" for char in set(text)))


def _stated_casing(normalizer: Mapping[str, Any]) -> Casing | None:
    """What a normalizer, as tokenizer.json has it, does; None if it is not a BertNormalizer."""
    if normalizer.get("type") != "BertNormalizer":
        return None
    lower_case, strip = bool(normalizer.get("lowercase")), normalizer.get("strip_accents")
    return Casing(lower_case, lower_case if strip is None else bool(strip))


def _state(part: Any) -> dict[str, Any]:
    """A normalizer or pre-tokenizer as tokenizer.json has it. (The complete file has the vocabulary too.)"""
    content: dict[str, Any] = {} if part is None else json.loads(part.__getstate__())
    return content


def _state_casing(source: Path, folder: Path, config: Mapping[str, Any], auto: Any) -> bool:
    """Writes into tokenizer_config.json whether text is lower-cased, which BERT's class does by default.

    The tokenizer.json states it; for a vocab.txt it is guessed from the pieces. Returns whether the file changed.
    """
    opened = _stated_casing(_state(auto.backend_tokenizer.normalizer))
    if opened is None:
        return False
    if (source / "tokenizer.json").is_file():
        wanted = _stated_casing(_read_json(source / "tokenizer.json").get("normalizer") or {})
    elif (source / "vocab.txt").is_file():
        wanted = _guessed_casing(strict_lines([source / "vocab.txt"]), source)
    else:
        wanted = None
    if wanted is None or wanted == opened:
        return False
    stated = {**config, "do_lower_case": wanted.lower_case, "strip_accents": wanted.strip_accents}
    _write_json(folder / "tokenizer_config.json", stated)
    return True


def _guessed_casing(pieces: Iterable[str], source: Path) -> Casing:
    casing = casing_of(piece.rstrip("\r") for piece in pieces)
    capital = "no piece has a capital letter" if casing.lower_case else "its pieces have capital letters"
    log.warning(
        "%s does not state whether its text was lower-cased; %s, so the tokenizer %s. To change this, set "
        '"do_lower_case" and "strip_accents" in a tokenizer_config.json next to the vocabulary.',
        source,
        capital,
        casing,
    )
    return casing


def _warn_of_casing(auto: Any, source: Path) -> None:
    """Warns of a vocabulary that does not fit the tokenizer's treatment of capital letters."""
    backend = auto.backend_tokenizer
    if any("ByteLevel" in json.dumps(_state(part)) for part in (backend.normalizer, backend.pre_tokenizer)):
        return  # byte-level pieces write bytes as letters
    pieces = [piece for piece in auto.get_vocab() if not re.fullmatch(r"\[.+\]|<.+>", piece)]
    capital = sum(piece != piece.lower() for piece in pieces)
    lower = sum(piece != piece.upper() for piece in pieces)
    normalizer = backend.normalizer
    lower_cases = normalizer is not None and "A" not in normalizer.normalize_str("A")
    if lower_cases and capital > 0.01 * len(pieces):
        log.warning(
            "%s lower-cases text, but %s of its %s pieces have capital letters and will never be used. If its "
            'vocabulary is a cased one, set "do_lower_case" to false in its tokenizer_config.json.',
            source,
            f"{capital:,}",
            f"{len(pieces):,}",
        )
    elif not lower_cases and lower and not capital:
        log.warning(
            "%s keeps capital letters, but no piece of its vocabulary has one. If its vocabulary was made from "
            'lower-cased text, set "do_lower_case" to true in its tokenizer_config.json.',
            source,
        )


def _from_json(source: Path, folder: Path, config: Mapping[str, Any] | None = None) -> Any:
    """`config`: the content of a tokenizer_config.json that names no class."""
    content = _read_json(source)
    try:
        names = _special_names(source, content, config or {})
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"The special pieces in {source} or its tokenizer_config.json must be texts, or objects with `content`, "
            f"but one is not ({type(error).__name__}: {error}). Download the folder again."
        ) from None
    bert = names == SPECIAL_PIECES and content.get("model", {}).get("type") == "WordPiece"
    folder.mkdir(parents=True)
    shutil.copyfile(source, folder / "tokenizer.json")
    _write_config(folder, names, {**(config or {}), **(_bert_options(content) if bert else _GENERIC)})
    opened = open_tokenizer(folder)
    _warn_of_casing(opened, source)
    return opened


def _special_names(source: Path, content: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """The special pieces of a tokenizer.json by their role; unk only if there is one.

    They are those of the configuration, or else those with usual names: BERT's, then SentencePiece's, then others.
    """
    added = {item["content"] for item in content.get("added_tokens", []) if isinstance(item, dict)}
    found = {name: _piece_of(config[f"{name}_token"]) for name in SPECIAL_PIECES if config.get(f"{name}_token")}
    for names in (SPECIAL_PIECES, _SENTENCEPIECE_NAMES):
        if added.issuperset(names.values()):
            return {**names, **found}
    for names in (SPECIAL_PIECES, _SENTENCEPIECE_NAMES, *_OTHER_NAMES):
        found = {**{name: piece for name, piece in names.items() if piece in added}, **found}
    missing = [name for name in SPECIAL_PIECES if name not in found and name != "unk"]
    if missing:
        raise InputError(
            f"{source} must name its special pieces, but its added_tokens hold none for {', '.join(missing)} under a "
            f"usual name ({', '.join(SPECIAL_PIECES.values())}; {', '.join(_SENTENCEPIECE_NAMES.values())}). Give the "
            "complete Hugging Face folder, with the tokenizer_config.json that names them."
        )
    return found


def _from_vocab(source: Path, folder: Path) -> None:
    """A vocab.txt does not state its casing, so its pieces decide."""
    pieces = [line.rstrip("\r") for line in strict_lines([source])]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    missing = [piece for piece in SPECIAL_PIECES.values() if piece not in vocab]
    if missing:
        raise InputError(f"{source} must hold one WordPiece piece a line, including {', '.join(missing)}.")
    if len(vocab) < len(pieces):
        raise InputError(f"{source} holds a piece twice: {len(pieces):,} lines, {len(vocab):,} different pieces.")
    write_wordpiece(vocab, folder, _guessed_casing(pieces, source))


def write_wordpiece(vocab: Mapping[str, int], folder: Path, casing: Casing = CASED) -> None:
    """Writes tokenizer.json, vocab.txt and tokenizer_config.json of a BERT tokenizer, a cased one by default."""
    from tokenizers import AddedToken

    tokenizer = bare_wordpiece(vocab, casing)
    tokenizer.post_processor = _bert_template(vocab)
    # In the order of their ids, so that none is renumbered.
    for piece in sorted(SPECIAL_PIECES.values(), key=vocab.__getitem__):
        tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False)])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    ordered = sorted(vocab, key=vocab.__getitem__)
    (folder / "vocab.txt").write_text("".join(piece + "\n" for piece in ordered), encoding="utf-8", newline="\n")
    told = {"lowercase": casing.lower_case, "strip_accents": casing.strip_accents}
    _write_config(folder, SPECIAL_PIECES, _bert_options({"normalizer": told}))


def bare_wordpiece(vocab: Mapping[str, int], casing: Casing = CASED) -> Any:
    """BERT's normalizer and pre-tokenizer (each Chinese character by itself), without special pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(dict(vocab), unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=casing.strip_accents, lowercase=casing.lower_case
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def _bert_template(vocab: Mapping[str, int]) -> Any:
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )


def _bert_options(content: Mapping[str, Any]) -> dict[str, object]:
    """The options that the BERT class uses for its normalizer when it loads; they must agree with tokenizer.json."""
    normalizer = content.get("normalizer") or {}
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": bool(normalizer.get("lowercase", False)),
        "strip_accents": normalizer.get("strip_accents", False),
        "tokenize_chinese_chars": bool(normalizer.get("handle_chinese_chars", True)),
    }


def _write_config(folder: Path, names: Mapping[str, str], options: Mapping[str, object]) -> None:
    special = {f"{name}_token": piece for name, piece in names.items()}
    _write_json(folder / "tokenizer_config.json", {"model_max_length": _MAX_LENGTH, **options, **special})


def _write_json(file: Path, content: Mapping[str, object]) -> None:
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8", newline="\n")


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path, dict)
    return content


def write_sentencepiece(model: sentencepiece_model.SentencePieceModel, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json of a SentencePiece model."""
    tokenizer = sentencepiece_model.to_hugging_face(model)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_config(folder, sentencepiece_model.special_pieces(model), _GENERIC)


def train_tokenizer(
    kind: str, sentences: Iterable[str], vocab_size: int, folder: Path, character_coverage: float = 0.9995
) -> None:
    """Trains one of TRAINED with at most `vocab_size` pieces, including special ones. Same input, same bytes.

    wordpiece keeps every character of the text. bpe and unigram, by SentencePiece, keep the most frequent characters
    that cover `character_coverage` of it (0 to 1). Raises InputError if there are fewer pieces than characters.
    """
    if kind == "wordpiece":
        train_wordpiece(list(sentences) if isinstance(sentences, Iterator) else sentences, vocab_size, folder)
    elif kind in TRAINED:
        data = _trained_sentencepiece(kind, sentences, vocab_size, character_coverage)
        write_sentencepiece(sentencepiece_model.read(data, "the trained model"), folder)
    else:
        raise InputError(f"--train-tokenizer must be one of {', '.join(TRAINED)}, but is {kind!r}.")


def _trained_sentencepiece(kind: str, sentences: Iterable[str], vocab_size: int, character_coverage: float) -> bytes:
    """A SentencePiece model of at most vocab_size - 1 pieces; `<s>`, `<pad>`, `</s>`, `<unk>` have ids 0 to 3."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type=kind,
            vocab_size=vocab_size - 1,  # without <mask>, which SentencePiece does not have
            hard_vocab_limit=False,  # fewer pieces if the text has no more
            character_coverage=character_coverage,
            bos_id=0,
            pad_id=1,
            eos_id=2,
            unk_id=3,
            # No sampling (tokenizer_text.py does it), no limit for the length of sentences (bytes), and sums in one
            # order on every machine.
            input_sentence_size=0,
            shuffle_input_sentence=False,
            max_sentence_length=1 << 24,
            num_threads=4,
            minloglevel=2,
        )
    except (RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(error).split()).rpartition("] ")[2]
        reason = re.sub(r" or decrease character_coverage with --character_coverage option", "", reason)
        raise InputError(f"--vocab-size {vocab_size:,} does not fit {kind} pieces of this text: {reason}") from error
    return model.getvalue()


def train_wordpiece(sentences: Iterable[str], vocab_size: int, folder: Path) -> None:
    """Trains a WordPiece vocabulary of at most `vocab_size` pieces (all characters of the text are kept)."""
    special = list(SPECIAL_PIECES.values())
    # The trainer numbers the continuing characters (##a) in the order of a hash map, and numbers decide ties between
    # merges, so two trainings differ. A first training without room for merges finds those characters. They come
    # first in the second training, sorted, so it gives the same result every time.
    characters = _trained_vocab(sentences, special, 0)
    continuing = sorted(piece for piece in characters if piece.startswith("##") and len(piece) == 3)
    trained = _trained_vocab(sentences, special + continuing, vocab_size)
    write_wordpiece(trained, folder)


def _trained_vocab(sentences: Iterable[str], first: list[str], vocab_size: int) -> dict[str, int]:
    from tokenizers.trainers import WordPieceTrainer

    tokenizer = bare_wordpiece({"[UNK]": 0})
    trainer = WordPieceTrainer(vocab_size=vocab_size, min_frequency=2, special_tokens=list(first), show_progress=False)
    length = len(sentences) if isinstance(sentences, Sized) else None
    tokenizer.train_from_iterator(sentences, trainer, length=length)
    return dict(tokenizer.get_vocab())
