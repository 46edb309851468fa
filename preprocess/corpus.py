"""What a corpus is to the rest of the room: a `--pair`, its files, and one sentence pair.

`line_idx` is the 0-based line of the input, through all files of a pair. It stays with every pair, because links made
elsewhere are given one per input line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError

# No hyphen and no dot: both separate the parts of a data-bin's file names.
_PAIR_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_]*)-([A-Za-z][A-Za-z0-9_]*)")

EMPTY_SIDE = "empty side"
EXCLUDED = "in an excluded file"
DUPLICATE = "duplicate pair"


class PairSpec(NamedTuple):
    """One `--pair`: a name like `en-de`, its two languages, and one TSV file or two files of lines."""

    name: str
    source_lang: str
    target_lang: str
    files: tuple[Path, ...]


class InputFile(NamedTuple):
    """A file as the manifest names it. `sha256` is over the bytes on disk, so over the compressed ones.

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


def parse_pair(text: str) -> PairSpec:
    """Reads `en-de=FILE.tsv` or `en-de=FILE.en,FILE.de`. Raises InputError."""
    name, equals, files = text.partition("=")
    if not equals or not files:
        raise InputError(f"--pair must be like en-de=FILE.tsv or en-de=FILE.en,FILE.de, but is {text!r}.")
    match = _PAIR_NAME.fullmatch(name)
    if match is None:
        raise InputError(
            f"--pair {text!r}: the part before '=' must be two language codes joined by a hyphen, like en-de, "
            f"but is {name!r}."
        )
    source_lang, target_lang = match.groups()
    if source_lang == target_lang:
        raise InputError(f"--pair {text!r}: the two languages must differ, but both are {source_lang!r}.")
    # A comma separates two files, unless a file of just that name is there.
    parts = [files] if Path(files).is_file() else files.split(",")
    if len(parts) > 2 or not all(parts):
        raise InputError(f"--pair {text!r}: must name one TSV file or two files with a comma between them.")
    return PairSpec(name, source_lang, target_lang, tuple(Path(part) for part in parts))
