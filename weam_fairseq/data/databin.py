"""Reads a data-bin's manifest, dictionary and tokenizer files.

preprocess/README.md describes the format. The binary files contain fairseq's ids: 0 <s>, 1 <pad>, 2 </s>, 3 <unk>, then
the lines of dict.XX.txt. Each line is a tokenizer id in decimal, so the dictionary records a permutation. Our readers
return tokenizer ids, which the model uses.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weam_fairseq.common.documents import check_name, read_json, read_text, shown, value_at
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.tokenizers import TOKENIZER_FILES, VOCABULARY_FILES, first_ids

FORMAT = "weam-data-bin/1"
AGAIN = " Run weam-preprocess again."
SOURCE, TARGET = "A", "B"
SPECIAL = ("cls", "pad", "sep", "mask")  # and unk, except in byte-level tokenizers
MAX_SEGMENTS = 16  # limit on a tokenizer's segment ids; BERT has 2
# The only files of a tokenizer's folder that checkpoints and Hugging Face folders carry.
CARRIED_FILES = ("config.json", *TOKENIZER_FILES)
MAX_TOKENIZER_BYTES = 1 << 28
_DICTIONARY_LINE = re.compile("[0-9]{1,10} [0-9]{1,10}")


@dataclass(frozen=True)
class Template:
    """The special pieces around one or two sentences.

    Attributes:
        before, between, after: (tokenizer id, segment id) of each special piece.
        segments: segment id of each sentence.
    """

    before: tuple[tuple[int, int], ...]
    between: tuple[tuple[int, int], ...]
    after: tuple[tuple[int, int], ...]
    segments: tuple[int, int]

    def special_count(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


@dataclass(frozen=True)
class Vocabulary:
    """The id spaces of one data-bin.

    Attributes:
        tokenizer_ids: (V,) int64, tokenizer id of each fairseq id: a permutation of 0..V-1.
        pieces_sha256: hexadecimal digest of the tokenizer's pieces in the order of their ids.
        behaviour_sha256: hexadecimal digest of the tokenizer's output for a fixed list of sentences.
        pad, mask: tokenizer ids.
        special: (S,) tokenizer ids of all special pieces.
        pair, single: templates of a sentence pair and of a single sentence.
    """

    tokenizer_ids: np.ndarray
    pieces_sha256: str
    behaviour_sha256: str
    pad: int
    mask: int
    special: np.ndarray
    pair: Template
    single: Template

    def __len__(self) -> int:
        return len(self.tokenizer_ids)

    def segments(self) -> int:
        """Number of segment ids in a pair."""
        specials = (*self.pair.before, *self.pair.between, *self.pair.after)
        return 1 + max(*self.pair.segments, *(segment for _, segment in specials))

    def ordinary(self) -> np.ndarray:
        """Tokenizer ids that may replace a masked piece: all but the special pieces, in the order of fairseq's ids."""
        return self.tokenizer_ids[~np.isin(self.tokenizer_ids, self.special)]


def read_manifest(data_bin: Path) -> dict[str, Any]:
    """Reads DATA_BIN/manifest.json.

    Raises:
        InputError: there is no manifest (not a data-bin, or an unfinished one), or it is no JSON of this format.
    """
    path = data_bin / "manifest.json"
    if not data_bin.is_dir():
        raise InputError(f"{data_bin} must be a folder made by weam-preprocess, but there is no such folder.")
    if not path.is_file():
        raise InputError(
            f"{data_bin} must hold manifest.json, but does not: weam-preprocess did not make this folder, or was "
            "interrupted. Run weam-preprocess again."
        )
    manifest: dict[str, Any] = read_json(path, dict, hint=AGAIN)
    if manifest.get("format") != FORMAT:
        raise InputError(f"{path} must have the format {FORMAT!r}, but has {shown(manifest.get('format'))}.{AGAIN}")
    _check_manifest(manifest, path)
    return manifest


def _check_manifest(manifest: dict[str, Any], path: Path) -> None:
    """Raises InputError if a field is missing or has a value that weam-preprocess cannot have written."""
    for name in value_at(manifest, "pairs", dict, path, AGAIN):
        check_pair(name, path)
    value_at(manifest, "aligner", dict, path, AGAIN)
    if "dictionary" in manifest:
        value_at(manifest, "dictionary.sha256", str, path, AGAIN)
    if "sha256" in value_at(manifest, "tokenizer", dict, path, AGAIN):
        value_at(manifest, "tokenizer.sha256", dict, path, AGAIN)
    check_name(value_at(manifest, "tokenizer.folder", str, path, AGAIN), path)
    size = value_at(manifest, "tokenizer.vocab_size", int, path, AGAIN)
    for digest in ("pieces_sha256", "behaviour_sha256"):
        if not re.fullmatch("[0-9a-f]{64}", value_at(manifest, f"tokenizer.{digest}", str, path, AGAIN)):
            raise InputError(f"{path} must have 64 hexadecimal digits as `tokenizer.{digest}`, but does not.{AGAIN}")
    ids = [value_at(manifest, f"tokenizer.special_ids.{name}", int, path, AGAIN) for name in SPECIAL]
    if "unk" in manifest["tokenizer"]["special_ids"]:
        ids.append(value_at(manifest, "tokenizer.special_ids.unk", int, path, AGAIN))
    ids += value_at(manifest, "tokenizer.all_special_ids", list, path, AGAIN)
    for name, sentences in (("pair", [SOURCE, TARGET]), ("single", [SOURCE])):
        written = value_at(manifest, f"tokenizer.template.{name}.ids", list, path, AGAIN)
        segments = value_at(manifest, f"tokenizer.template.{name}.segments", list, path, AGAIN)
        sentence_marks = [item for item in written if item in (SOURCE, TARGET)]
        valid = all(type(item) is int and 0 <= item < MAX_SEGMENTS for item in segments)
        if sentence_marks not in (sentences, sentences[::-1]) or len(segments) != len(written) or not valid:
            raise InputError(
                f"`tokenizer.template.{name}` in {path} is invalid: it must contain {' and '.join(sentences)} once, "
                f"and a segment id below {MAX_SEGMENTS} for every element.{AGAIN}"
            )
        ids += [item for item in written if item not in (SOURCE, TARGET)]
    wrong = [item for item in ids if type(item) is not int or not 0 <= item < size]
    if wrong:
        raise InputError(
            f"{path} must give special pieces ids from 0 to {size - 1:,}, but gives {shown(wrong[0])}.{AGAIN}"
        )


def check_pair(name: object, where: Path | str) -> str:
    """Checks the name of a language pair from a file. It becomes part of file names and of a model card.

    Raises:
        InputError: the name is not two codes of letters, digits and underscores, joined by a hyphen.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*-[A-Za-z][A-Za-z0-9_]*", name):
        raise InputError(f"{where} must name language pairs like en-de, but names {shown(name)}.")
    return check_name(name, where)


def read_tokenizer_files(data_bin: Path, manifest: dict[str, Any]) -> dict[str, bytes]:
    """Reads the tokenizer's files, which every checkpoint carries: name -> content. Skips files with other names.

    Raises:
        InputError: the folder or a file is missing, is a link out of the data-bin, is too large, or differs from the
            recorded one.
    """
    path = data_bin / "manifest.json"
    folder = data_bin / check_name(manifest["tokenizer"]["folder"], path)
    recorded = manifest["tokenizer"].get("sha256", {})
    if not folder.is_dir():
        raise InputError(f"{data_bin} must hold its tokenizer's folder {folder.name}, but does not.{AGAIN}")
    files: dict[str, bytes] = {}
    for name in CARRIED_FILES:
        file = folder / name
        if not file.exists() and name not in recorded:
            continue
        if not file.resolve().is_relative_to(data_bin.resolve()):
            raise InputError(
                f"{file} must lie in its data-bin, because checkpoints carry it, but links to {file.resolve()}. "
                "Replace the link with the file itself."
            )
        if not file.is_file() or file.stat().st_size > MAX_TOKENIZER_BYTES:
            raise InputError(f"{file} must be a file of at most {MAX_TOKENIZER_BYTES:,} bytes, but is not.{AGAIN}")
        files[name] = file.read_bytes()
        _check_digest(file, files[name], recorded.get(name))
    if not files:
        raise InputError(f"{folder} must hold a tokenizer, but has none of {', '.join(VOCABULARY_FILES)}.{AGAIN}")
    return files


def read_dictionary(data_bin: Path, language: str, manifest: dict[str, Any]) -> list[str]:
    """Reads the symbols of dict.XX.txt: fairseq's dictionary without its first four symbols, in order.

    Raises:
        InputError: the file is missing, differs from the one that the manifest records, or was not written by
            weam-preprocess.
    """
    path = data_bin / f"dict.{language}.txt"
    if not path.is_file():
        raise InputError(f"{path} must exist, but does not.{AGAIN}")
    text = read_text(path, hint=AGAIN)
    _check_digest(path, text.encode(), manifest.get("dictionary", {}).get("sha256"))
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if not _DICTIONARY_LINE.fullmatch(line):
            raise InputError(f"{path}:{number} must be a tokenizer id and a count, but is {shown(line)}.{AGAIN}")
    return [line.split(" ")[0] for line in lines]


def read_symbols(data_bin: Path, manifest: dict[str, Any]) -> list[str]:
    """Reads the dictionary that all languages of a data-bin share, as `read_dictionary` does.

    Raises:
        InputError: there is no language pair, a dictionary is missing or damaged, or two dictionaries differ.
    """
    languages = sorted({language for pair in manifest["pairs"] for language in pair.split("-")})
    if not languages:
        raise InputError(f"{data_bin} must hold a language pair, but its manifest lists none.{AGAIN}")
    first = read_dictionary(data_bin, languages[0], manifest)
    for language in languages[1:]:
        if read_dictionary(data_bin, language, manifest) != first:
            raise InputError(
                f"All dictionaries of {data_bin} must be the same, but dict.{language}.txt differs from "
                f"dict.{languages[0]}.txt.{AGAIN}"
            )
    return first


def choose_pairs(requested: list[str] | None, manifest: dict[str, Any], data_bin: Path, option: str) -> list[str]:
    """Selects the language pairs to train on.

    Args:
        requested: names of pairs; None: all pairs of the data-bin.
        option: the option that names them, for messages.

    Raises:
        InputError: a pair is not in the data-bin, is named twice, or joins a language with itself.
    """
    available = list(manifest["pairs"])
    pairs = available if requested is None else requested
    for pair in pairs:
        if pair not in available:
            raise InputError(f"{option} names {pair}, but {data_bin} holds {', '.join(available)}.")
        if len(set(pair.split("-"))) != 2:
            # Both sides would be the same file.
            raise InputError(
                f"A pair must join two languages, but {data_bin} holds {pair}. Leave it out with {option}."
            )
    if len(set(pairs)) != len(pairs) or not pairs:
        raise InputError(f"{option} must name each pair once, but is {','.join(pairs) or 'empty'}.")
    return pairs


def _check_digest(file: Path, content: bytes, recorded: object) -> None:
    if recorded is None:  # not made by weam-preprocess, which records all digests
        return
    if hashlib.sha256(content).hexdigest() != recorded:
        raise InputError(
            f"{file} must have the SHA-256 that manifest.json records, but was changed since. Its ids may mean other "
            f"pieces now.{AGAIN}"
        )


def read_vocabulary(manifest: dict[str, Any], symbols: list[str]) -> Vocabulary:
    """Builds the id spaces from the manifest and a dictionary.

    Args:
        manifest: from `read_manifest`.
        symbols: fairseq's dictionary without its first four symbols, in order. Each is a tokenizer id in decimal.

    Raises:
        InputError: the dictionary is not a permutation of the tokenizer's ids.
    """
    ids = manifest["tokenizer"]["special_ids"]
    if not all(re.fullmatch("[0-9]{1,10}", symbol) for symbol in symbols):
        raise InputError(f"Every symbol of a WEAM dictionary must be a tokenizer id in decimal, but one is not.{AGAIN}")
    size = int(manifest["tokenizer"]["vocab_size"])
    plausible = size == len(symbols) + 4  # checked first, because the manifest may claim any size
    order = [*first_ids(ids, range(size)), *map(int, symbols)] if plausible else []
    tokenizer_ids = np.asarray(order, dtype=np.int64)
    if not plausible or not np.array_equal(np.sort(tokenizer_ids), np.arange(size)):
        raise InputError(
            f"The dictionary must list each of the tokenizer's {size:,} ids once, except the four that fairseq adds, "
            f"but its {len(symbols):,} lines do not.{AGAIN}"
        )
    templates = manifest["tokenizer"]["template"]
    return Vocabulary(
        tokenizer_ids=tokenizer_ids,
        pieces_sha256=manifest["tokenizer"]["pieces_sha256"],
        behaviour_sha256=manifest["tokenizer"]["behaviour_sha256"],
        pad=int(ids["pad"]),
        mask=int(ids["mask"]),
        special=np.sort(np.asarray(manifest["tokenizer"]["all_special_ids"], dtype=np.int64)),
        pair=_template(templates["pair"]),
        single=_template(templates["single"]),
    )


def _template(written: dict[str, Any]) -> Template:
    """Splits [cls, "A", sep, "B", sep] at its two sentences."""
    parts: list[list[tuple[int, int]]] = [[]]
    segments: list[int] = []
    for piece, segment in zip(written["ids"], written["segments"], strict=True):
        if piece in (SOURCE, TARGET):
            parts.append([])
            segments.append(int(segment))
        else:
            parts[-1].append((int(piece), int(segment)))
    if len(segments) == 1:  # a single sentence has nothing between
        parts.insert(1, [])
        segments.append(segments[0])
    before, between, after = (tuple(part) for part in parts)
    return Template(before, between, after, (segments[0], segments[1]))
