"""What the plugin reads of a data-bin besides the binaries: the manifest and the two id spaces.

Format: preprocess/README.md. Ids in the binaries are fairseq's (0 <s>, 1 <pad>, 2 </s>, 3 <unk>, then the lines of
dict.XX.txt); each symbol is a tokenizer id in decimal, so the dictionary is a recorded permutation. Everything that is
read from them is in tokenizer ids, as the model takes them.
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
SPECIAL = ("cls", "pad", "sep", "mask")  # and unk, which byte-level tokenizers lack
MAX_SEGMENTS = 16  # segment ids that a tokenizer may write; BERT has 2
# What a tokenizer's folder may hold: checkpoints and Hugging Face folders carry these names and no others.
CARRIED_FILES = ("config.json", *TOKENIZER_FILES)
MAX_TOKENIZER_BYTES = 1 << 28
_DICTIONARY_LINE = re.compile("[0-9]{1,10} [0-9]{1,10}")


@dataclass(frozen=True)
class Template:
    """Special pieces around one or two sentences, as tokenizer ids, with their segment ids.

    `before`, `between`, `after` hold (id, segment) for each special piece; `segments` the ids of the sentences.
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
        tokenizer_ids: (V,) int64, position = fairseq id, value = tokenizer id: a permutation of 0..V-1.
        pieces_sha256: hexadecimal digest of the tokenizer's pieces in the order of their ids.
        behaviour_sha256: hexadecimal digest of how the tokenizer writes a fixed list of sentences.
        pad, mask: tokenizer ids.
        special: (S,) tokenizer ids of all special pieces.
        pair, single: how one pair and one sentence are written.
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
        """How many segment ids a pair is written with."""
        specials = (*self.pair.before, *self.pair.between, *self.pair.after)
        return 1 + max(*self.pair.segments, *(segment for _, segment in specials))

    def ordinary(self) -> np.ndarray:
        """Tokenizer ids that a masked piece may be replaced by: all but the special ones, in the order of fairseq's."""
        return self.tokenizer_ids[~np.isin(self.tokenizer_ids, self.special)]


def read_manifest(data_bin: Path) -> dict[str, Any]:
    """Reads DATA_BIN/manifest.json.

    Raises:
        InputError: no manifest (not a data-bin, or an unfinished one), not JSON, or another format.
    """
    path = data_bin / "manifest.json"
    if not data_bin.is_dir():
        raise InputError(f"{data_bin} must be a folder made by weam-preprocess, but there is no such folder.")
    if not path.is_file():
        raise InputError(
            f"{data_bin} must hold manifest.json, but it does not: it was not made by weam-preprocess, or its making "
            "was interrupted. Run weam-preprocess again."
        )
    manifest: dict[str, Any] = read_json(path, dict, hint=AGAIN)
    if manifest.get("format") != FORMAT:
        raise InputError(f"{path} must say format {FORMAT!r}, but says {shown(manifest.get('format'))}.{AGAIN}")
    _check_manifest(manifest, path)
    return manifest


def _check_manifest(manifest: dict[str, Any], path: Path) -> None:
    """Raises InputError where a field is missing or cannot be what weam-preprocess writes."""
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
            raise InputError(f"{path} must have 64 hexadecimal digits as `tokenizer.{digest}`, but has others.{AGAIN}")
    ids = [value_at(manifest, f"tokenizer.special_ids.{name}", int, path, AGAIN) for name in SPECIAL]
    if "unk" in manifest["tokenizer"]["special_ids"]:
        ids.append(value_at(manifest, "tokenizer.special_ids.unk", int, path, AGAIN))
    ids += value_at(manifest, "tokenizer.all_special_ids", list, path, AGAIN)
    for name, sentences in (("pair", [SOURCE, TARGET]), ("single", [SOURCE])):
        written = value_at(manifest, f"tokenizer.template.{name}.ids", list, path, AGAIN)
        segments = value_at(manifest, f"tokenizer.template.{name}.segments", list, path, AGAIN)
        of_text = [each for each in written if each in (SOURCE, TARGET)]
        known = all(type(each) is int and 0 <= each < MAX_SEGMENTS for each in segments)
        if of_text not in (sentences, sentences[::-1]) or len(segments) != len(written) or not known:
            raise InputError(
                f"{path} must have, as `tokenizer.template.{name}`, {' and '.join(sentences)} among special pieces, "
                f"and a segment id below {MAX_SEGMENTS} for each, but has others.{AGAIN}"
            )
        ids += [each for each in written if each not in (SOURCE, TARGET)]
    wrong = [each for each in ids if type(each) is not int or not 0 <= each < size]
    if wrong:
        raise InputError(
            f"{path} must name special pieces by ids of its {size:,} pieces, but names one {shown(wrong[0])}.{AGAIN}"
        )


def check_pair(name: object, where: Path | str) -> str:
    """The name of a language pair from a file, which becomes a part of file names and of a model card.

    Raises:
        InputError: no two codes of letters, digits and underscores with a hyphen between.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*-[A-Za-z][A-Za-z0-9_]*", name):
        raise InputError(f"{where} must name language pairs as en-de, but names {shown(name)}.")
    return check_name(name, where)


def read_tokenizer_files(data_bin: Path, manifest: dict[str, Any]) -> dict[str, bytes]:
    """The tokenizer's files, which go into every checkpoint: name -> content; files of other names are left out.

    Raises:
        InputError: the folder or a file leads out of the data-bin, is not there, too large, or not the recorded one.
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
                f"{file} must lie in its data-bin, since checkpoints carry it, but leads to {file.resolve()}. Put the "
                "file itself in its place."
            )
        if not file.is_file() or file.stat().st_size > MAX_TOKENIZER_BYTES:
            raise InputError(f"{file} must be a file of at most {MAX_TOKENIZER_BYTES:,} bytes, but is none.{AGAIN}")
        files[name] = file.read_bytes()
        _check_digest(file, files[name], recorded.get(name))
    if not files:
        raise InputError(f"{folder} must hold a tokenizer, but has none of {', '.join(VOCABULARY_FILES)}.{AGAIN}")
    return files


def read_dictionary(data_bin: Path, language: str, manifest: dict[str, Any]) -> list[str]:
    """The symbols of dict.XX.txt: fairseq's dictionary without its first four, in order.

    Raises:
        InputError: it is not there, not the one that the manifest records, or not written by weam-preprocess.
    """
    path = data_bin / f"dict.{language}.txt"
    if not path.is_file():
        raise InputError(f"{path} must be there, but is not.{AGAIN}")
    text = read_text(path, hint=AGAIN)
    _check_digest(path, text.encode(), manifest.get("dictionary", {}).get("sha256"))
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if not _DICTIONARY_LINE.fullmatch(line):
            raise InputError(f"{path}:{number} must be a tokenizer id and a count, but is {shown(line)}.{AGAIN}")
    return [line.split(" ")[0] for line in lines]


def read_symbols(data_bin: Path, manifest: dict[str, Any]) -> list[str]:
    """The dictionary that all languages of a data-bin share, as `read_dictionary` gives it.

    Raises:
        InputError: there is no language pair; a dictionary is missing or damaged; two differ.
    """
    languages = sorted({language for pair in manifest["pairs"] for language in pair.split("-")})
    if not languages:
        raise InputError(f"{data_bin} must hold a language pair, but its manifest names none.{AGAIN}")
    first = read_dictionary(data_bin, languages[0], manifest)
    for language in languages[1:]:
        if read_dictionary(data_bin, language, manifest) != first:
            raise InputError(
                f"All dictionaries of {data_bin} must be the same, but dict.{language}.txt differs from "
                f"dict.{languages[0]}.txt.{AGAIN}"
            )
    return first


def choose_pairs(wanted: list[str] | None, manifest: dict[str, Any], data_bin: Path, option: str) -> list[str]:
    """The language pairs to train on.

    Args:
        wanted: None: all of the data-bin.
        option: what the user calls them, for messages.

    Raises:
        InputError: one is not in the data-bin, is named twice, or joins a language with itself.
    """
    there = list(manifest["pairs"])
    pairs = there if wanted is None else wanted
    for pair in pairs:
        if pair not in there:
            raise InputError(f"{option} names {pair}, but {data_bin} holds {', '.join(there)}.")
        if len(set(pair.split("-"))) != 2:
            # Both sides would be the same file of the data-bin.
            raise InputError(
                f"A pair must join two languages, but {data_bin} holds {pair}. Leave it out with {option}."
            )
    if len(set(pairs)) != len(pairs) or not pairs:
        raise InputError(f"{option} must name each pair once, but is {','.join(pairs) or 'empty'}.")
    return pairs


def _check_digest(file: Path, content: bytes, recorded: object) -> None:
    if recorded is None:  # made by hand: weam-preprocess records all of them
        return
    if hashlib.sha256(content).hexdigest() != recorded:
        raise InputError(
            f"{file} must be the file that manifest.json records by its SHA-256, but was changed since: pieces would "
            f"be taken for others.{AGAIN}"
        )


def read_vocabulary(manifest: dict[str, Any], symbols: list[str]) -> Vocabulary:
    """The id spaces, from the manifest and the lines of a dictionary.

    Args:
        manifest: as `read_manifest` gives it.
        symbols: fairseq's dictionary without its first four symbols, in order; each a tokenizer id in decimal.

    Raises:
        InputError: the dictionary is not a permutation of the tokenizer's ids.
    """
    ids = manifest["tokenizer"]["special_ids"]
    if not all(re.fullmatch("[0-9]{1,10}", symbol) for symbol in symbols):
        raise InputError("Every symbol of a WEAM dictionary must be a tokenizer id in decimal: it was made elsewhere.")
    size = int(manifest["tokenizer"]["vocab_size"])
    plausible = size == len(symbols) + 4  # asked first: `size` is only what a manifest claims
    order = [*first_ids(ids, range(size)), *map(int, symbols)] if plausible else []
    tokenizer_ids = np.asarray(order, dtype=np.int64)
    if not plausible or not np.array_equal(np.sort(tokenizer_ids), np.arange(size)):
        raise InputError(
            f"The dictionary must hold each of the tokenizer's {size:,} ids once, four of them before its first line, "
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
