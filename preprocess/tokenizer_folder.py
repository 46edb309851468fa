"""Makes DATA_BIN/tokenizer: a Hugging Face folder, copied from one, built around a bare file, or trained here."""

from __future__ import annotations

import importlib
import io
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any

from weam_fairseq.common.documents import read_json
from weam_fairseq.common.errors import InputError

from . import sentencepiece_model
from .cleaning import strict_lines
from .pieces import open_auto_tokenizer

log = logging.getLogger(__name__)

# Ids 0 to 4 of a vocabulary that is trained here.
SPECIAL_PIECES = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_SENTENCEPIECE_NAMES = sentencepiece_model.SPECIAL_PIECES
TRAINED = ("wordpiece", "bpe", "unigram")
SAMPLED = ("bpe", "unigram")  # SentencePiece's trainer holds all sentences that it is given

# Everything that AutoTokenizer may read. Saving through transformers would change bytes, so the files are copied.
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
_MAX_LENGTH = 512  # positions of the BERT family, pieces
_GENERIC = {"tokenizer_class": "PreTrainedTokenizerFast"}  # transformers takes the tokenizer.json as it is


def make(source: Path, folder: Path) -> None:
    """Fills `folder` from `--tokenizer`: a folder, a tokenizer.json, a vocab.txt or a SentencePiece .model.

    A folder keeps its files and its ids. A .model file by itself has the ids of the sentencepiece library: for those
    of XLM-R, which are others, give the folder that its sentencepiece.bpe.model is in. Raises InputError.
    """
    if source.is_dir():
        _copy(source, folder)
    elif not source.exists():
        raise InputError(
            f"The tokenizer {source} is not there. Looked for a Hugging Face tokenizer folder, a tokenizer.json, "
            "a vocab.txt or a SentencePiece .model of that name; or train one with --train-tokenizer wordpiece "
            "--vocab-size N."
        )
    elif source.suffix == ".json":
        _from_json(source, folder)
    elif source.suffix == ".txt":
        _from_vocab(source, folder)
    elif source.suffix == ".model":
        write_sentencepiece(sentencepiece_model.read(source.read_bytes(), source), folder)
    else:
        raise InputError(
            f"The tokenizer {source} must be a folder, a tokenizer.json, a vocab.txt or a SentencePiece .model."
        )


def _copy(source: Path, folder: Path) -> None:
    names = [name for name in _TOKENIZER_FILES if (source / name).is_file()]
    if not any(name not in ("tokenizer_config.json", "special_tokens_map.json") for name in names):
        raise InputError(f"{source} holds no tokenizer. Looked for {', '.join(_TOKENIZER_FILES)}.")
    config = _read_json(source / "tokenizer_config.json") if "tokenizer_config.json" in names else {}
    if "auto_map" in config:
        log.warning(
            "%s asks for code of its own (auto_map), which is never run: transformers' own classes read it.", source
        )
    if "tokenizer_class" not in config and (source / "config.json").is_file():
        names.append("config.json")  # then only the model's type tells AutoTokenizer which class it is
    folder.mkdir(parents=True)
    for name in names:
        shutil.copyfile(source / name, folder / name)
    if "tokenizer.json" not in names and any(name.endswith(".model") for name in names):
        _convert_slow(source, folder, known="tokenizer_config.json" in names or "config.json" in names)


def _convert_slow(source: Path, folder: Path, known: bool) -> None:
    """Adds the tokenizer.json that AutoTokenizer makes of a SentencePiece model, so that it is made this once.

    Unless the folder says what its model belongs to, a sentencepiece.bpe.model is taken for XLM-R's.
    """
    try:
        importlib.import_module("sentencepiece.sentencepiece_model_pb2")  # transformers reads the model with it
    # protobuf raises an error of its own when it is older than what sentencepiece was built with.
    except Exception as error:
        raise InputError(
            f"{source} holds a SentencePiece model and no tokenizer.json; to make one needs protobuf ({error}). "
            "Install it: pip install -U protobuf"
        ) from error
    if not known and (folder / "sentencepiece.bpe.model").is_file():
        _write_config(folder, _SENTENCEPIECE_NAMES, {"tokenizer_class": "XLMRobertaTokenizer"})
    open_auto_tokenizer(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))


def _from_json(source: Path, folder: Path) -> None:
    content = _read_json(source)
    added = {item["content"] for item in content.get("added_tokens", []) if isinstance(item, dict)}
    for names in (SPECIAL_PIECES, _SENTENCEPIECE_NAMES):
        if added.issuperset(names.values()):
            break
    else:
        raise InputError(
            f"{source}: its added_tokens must hold {', '.join(SPECIAL_PIECES.values())} "
            f"or {', '.join(_SENTENCEPIECE_NAMES.values())}. For other names give the whole Hugging Face folder."
        )
    bert = names is SPECIAL_PIECES and content.get("model", {}).get("type") == "WordPiece"
    folder.mkdir(parents=True)
    shutil.copyfile(source, folder / "tokenizer.json")
    _write_config(folder, names, _bert_options(content) if bert else _GENERIC)


def _from_vocab(source: Path, folder: Path) -> None:
    """A vocab.txt says nothing of casing: it is taken as cased, accents kept (multilingual BERT cased)."""
    pieces = [line.rstrip("\r") for line in strict_lines([source])]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    missing = [piece for piece in SPECIAL_PIECES.values() if piece not in vocab]
    if missing:
        raise InputError(f"{source} must hold one WordPiece piece a line, {', '.join(missing)} among them.")
    if len(vocab) < len(pieces):
        raise InputError(f"{source} holds a piece twice: {len(pieces):,} lines, {len(vocab):,} different pieces.")
    write_wordpiece(vocab, folder)


def write_wordpiece(vocab: Mapping[str, int], folder: Path) -> None:
    """Writes tokenizer.json, vocab.txt and tokenizer_config.json of a cased BERT tokenizer."""
    from tokenizers import AddedToken

    tokenizer = bare_wordpiece(vocab)
    tokenizer.post_processor = _bert_template(vocab)
    # In the order of their ids, so that none is renumbered.
    for piece in sorted(SPECIAL_PIECES.values(), key=vocab.__getitem__):
        tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False)])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    ordered = sorted(vocab, key=vocab.__getitem__)
    (folder / "vocab.txt").write_text("".join(piece + "\n" for piece in ordered), encoding="utf-8", newline="\n")
    _write_config(folder, SPECIAL_PIECES, _bert_options({}))


def bare_wordpiece(vocab: Mapping[str, int]) -> Any:
    """BERT's normaliser and pre-tokeniser (each Chinese character alone), cased, accents kept; no special pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordPiece(dict(vocab), unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False
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
    """What the BERT class puts into its normaliser when it loads: it must say what tokenizer.json says."""
    normalizer = content.get("normalizer") or {}
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": bool(normalizer.get("lowercase", False)),
        "strip_accents": normalizer.get("strip_accents", False),
        "tokenize_chinese_chars": bool(normalizer.get("handle_chinese_chars", True)),
    }


def _write_config(folder: Path, names: Mapping[str, str], options: Mapping[str, object]) -> None:
    config = {**options, "model_max_length": _MAX_LENGTH, **{f"{name}_token": piece for name, piece in names.items()}}
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8", newline="\n")


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
    """Trains one of TRAINED with at most `vocab_size` pieces, special ones included; same input, same bytes.

    wordpiece keeps every character of the text; bpe and unigram, which are SentencePiece's, the most frequent ones that
    cover `character_coverage` of it (0 to 1). Raises InputError when the pieces are too few for the characters.
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
            vocab_size=vocab_size - 1,  # <mask> is not SentencePiece's
            hard_vocab_limit=False,  # fewer, where the text has no more
            character_coverage=character_coverage,
            bos_id=0,
            pad_id=1,
            eos_id=2,
            unk_id=3,
            # No sampling (tokenizer_text.py has done it), no sentence left out for its length (bytes), and sums in one
            # order on every machine.
            input_sentence_size=0,
            shuffle_input_sentence=False,
            max_sentence_length=1 << 24,
            num_threads=4,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split()).rpartition("] ")[2]
        raise InputError(f"--vocab-size {vocab_size:,} does not do for {kind} pieces of this text: {reason}") from error
    return model.getvalue()


def train_wordpiece(sentences: Iterable[str], vocab_size: int, folder: Path) -> None:
    """Trains a WordPiece vocabulary of at most `vocab_size` pieces (all characters of the text are kept)."""
    special = list(SPECIAL_PIECES.values())
    # The trainer numbers the continuing characters (##a) in the order of a hash map, and ties between merges go by
    # number, so two trainings differ. A training without room for merges finds those characters; they then go in
    # first, sorted, and the second training is the same every time.
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
