"""The input of a run: language pairs, their files, and one sentence pair.

`line_idx` is the 0-based line of the input, counted through all files of a language pair. It stays with every sentence
pair, because files of links have one line for each input line.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.text_files import zip_members

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]


# No hyphen and no dot: both separate the parts of a data-bin's file names.
_PAIR_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_]*)-([A-Za-z][A-Za-z0-9_]*)")

EMPTY_SIDE = "empty side"
EXCLUDED = "in an excluded file"
DUPLICATE = "duplicate pair"


class PairFiles(NamedTuple):
    """A name like `en-de`, its two languages, and its parts in the order given.

    A part is one TSV file or two files of lines, and its lines follow those of the part before it.
    """

    name: str
    source_lang: str
    target_lang: str
    parts: tuple[tuple[Path, ...], ...]


class InputFile(NamedTuple):
    """A file as described in the manifest. `sha256` is that of the bytes on disk, so of the compressed ones.

    compression: `gzip`, `bzip2`, `xz`, `Zstandard` or None, by the file's content.
    """

    file: str
    sha256: str
    lines: int
    compression: str | None = None


class SentencePair(NamedTuple):
    line_idx: int
    source: str
    target: str


def parse_pair_files(texts: Iterable[str]) -> list[PairFiles]:
    """Reads all `--pair` options. The same name again adds a part.

    Pairs come in the order of their first option. Raises InputError.
    """
    pairs: dict[str, PairFiles] = {}
    for text in texts:
        pair = parse_pair(text)
        before = pairs[pair.name].parts if pair.name in pairs else ()
        parts = (*before, *pair.parts)
        # A file that is named twice is a mistake: its pairs would all be duplicates, or translate themselves.
        for file, count in Counter(file for part in parts for file in part).items():
            if count > 1:
                raise InputError(f"--pair {pair.name} names {file} twice. Name each file once.")
        pairs[pair.name] = pair._replace(parts=parts)
    _check_case(pairs.values())
    return list(pairs.values())


def _check_case(pairs: Iterable[PairFiles]) -> None:
    """Raises InputError for a language with two spellings, which later stages would take for two languages."""
    spelled: dict[str, str] = {}
    for pair in pairs:
        for lang in (pair.source_lang, pair.target_lang):
            before = spelled.setdefault(lang.lower(), lang)
            if before != lang:
                raise InputError(
                    f"--pair: a language must have one code, but one is both {before} and {lang}. Choose one."
                )


def parse_pair(text: str) -> PairFiles:
    """Reads `en-de=FILE.tsv`, `en-de=FILE.en,FILE.de`, or `en-de=FILE.zip` with two such files in it, as OPUS has them.

    Raises InputError.
    """
    name, equals, files = text.partition("=")
    if not equals or not files:
        raise InputError(f"--pair must be like en-de=FILE.tsv or en-de=FILE.en,FILE.de, but is {text!r}.")
    match = _PAIR_NAME.fullmatch(name)
    if match is None:
        own_hyphen = " Write a hyphen inside a code as an underscore: en-zh_CN." if name.count("-") > 1 else ""
        raise InputError(
            f"--pair {text!r}: the part before '=' must be two language codes joined by a hyphen, like en-de, "
            f"but is {name!r}.{own_hyphen}"
        )
    source_lang, target_lang = match.groups()
    if source_lang.lower() == target_lang.lower():
        raise InputError(f"--pair {text!r}: the two languages must differ, but both are {target_lang!r}.")
    parts = _split_files(files)
    if len(parts) > 2 or not all(parts):
        raise InputError(f"--pair {text!r}: must name one TSV file or two files with a comma between them.")
    paths = tuple(map(parse_path, parts))
    return PairFiles(name, source_lang, target_lang, (_in_zip(paths, (source_lang, target_lang)),))


def parse_path(text: str) -> Path:
    """A path after an equals sign, where the shell does not expand `~`."""
    if text.startswith("~") and not os.path.lexists(text):
        return Path(os.path.expanduser(text))
    return Path(text)


def _split_files(text: str) -> Sequence[str]:
    """A comma separates two files, unless it belongs to the name of a file that exists."""

    def exist(*names: str) -> bool:
        return all(name and os.path.exists(parse_path(name)) for name in names)

    if exist(text):
        return [text]
    ways = [(text[:at], text[at + 1 :]) for at, char in enumerate(text) if char == ","]
    existing = [way for way in ways if exist(*way)]
    return existing[0] if len(existing) == 1 else text.split(",")


def _in_zip(paths: tuple[Path, ...], languages: tuple[str, str]) -> tuple[Path, ...]:
    """Replaces a zip archive by its two files."""
    if len(paths) != 1 or not paths[0].is_file() or (members := zip_members(paths[0])) is None:
        return paths
    found = [[member for member in members if member.name.endswith(f".{language}")] for language in languages]
    if any(len(of_language) != 1 for of_language in found):
        shown = ", ".join(member.relative_to(paths[0]).as_posix() for member in members[:10])
        raise InputError(
            f"{paths[0]} must hold one file that ends in .{languages[0]} and one that ends in .{languages[1]}, but "
            f"holds {shown}. Name a TSV file in it as {paths[0]}/FILE, or two with a comma between them."
        )
    return tuple(of_language[0] for of_language in found)


def key(source: str, target: str) -> bytes:
    """16 bytes that identify a pair, without the white space around its sides.

    The probability that two different pairs of a corpus of a billion share a key is about 10^-21.
    """
    # No line contains "\\n", so two different pairs never give the same bytes.
    return hashlib.blake2b(
        f"{comparable(source.strip())}\n{comparable(target.strip())}".encode(), digest_size=16
    ).digest()


def comparable(text: str) -> str:
    """The text in Unicode's form NFC (accents may be characters of their own) and without a leading byte order mark."""
    text = text.lstrip("\ufeff")
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def keys(pairs: Iterable[SentencePair]) -> Keys:
    """The keys of pairs. Shape (pairs, 2)."""
    return to_keys(key(pair.source, pair.target) for pair in pairs)


def to_keys(found: Iterable[bytes]) -> Keys:
    """Results of `key` as an array. Shape (pairs, 2)."""
    import numpy as np

    return np.frombuffer(b"".join(found), dtype="<u8").reshape(-1, 2)
