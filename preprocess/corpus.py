"""Raw sentence pairs: read strictly, line for line; what is dropped or repaired is counted by reason.

`line_idx` is the 0-based line of the input file. It stays with every pair, because links made elsewhere are
given one per input line.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from .errors import InputError

# No hyphen and no dot: both separate the parts of a data-bin's file names.
_PAIR_NAME = re.compile(r"([A-Za-z][A-Za-z0-9_]*)-([A-Za-z][A-Za-z0-9_]*)")
_READERS = {".gz": gzip.decompress, ".xz": lzma.decompress}

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
    """A file as the manifest names it. `sha256` is over the bytes on disk, so over the compressed ones."""

    file: str
    sha256: str
    lines: int


class SentencePair(NamedTuple):
    line_idx: int
    source: str
    target: str


class Corpus(NamedTuple):
    """The pairs of one `--pair` that survived, in input order, and an account of the others."""

    spec: PairSpec
    inputs: tuple[InputFile, ...]
    read: int
    pairs: list[SentencePair]
    dropped: Counter[str]
    repaired: Counter[str]


class TextFile(NamedTuple):
    lines: list[str]
    input: InputFile
    repaired: Counter[str]


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


def parse_pairs(texts: Iterable[str]) -> list[PairSpec]:
    """All `--pair` options. Raises InputError for a name that is given twice."""
    specs = [parse_pair(text) for text in texts]
    for name, count in Counter(spec.name for spec in specs).items():
        if count > 1:
            raise InputError(f"--pair {name} is given {count} times. Join its files into one, or name it once.")
    return specs


def read_text(path: Path) -> TextFile:
    """Lines of a UTF-8 file, `.gz` and `.xz` included. Raises InputError with the line of invalid UTF-8.

    Only "\\n" ends a line: U+2028, U+0085 and the like are text, and a reader that splits on them (as
    `str.splitlines` does) shifts every later line against the other side.
    """
    data = _read_bytes(path)
    raw_lines = _decompress(path, data).split(b"\n")
    if raw_lines[-1] == b"":
        raw_lines.pop()
    if not raw_lines:
        raise InputError(f"{path} is empty. Give a file with one sentence pair a line.")
    repaired: Counter[str] = Counter()
    lines = [_decode(path, number, raw) for number, raw in enumerate(raw_lines, start=1)]
    if lines[0].startswith("\ufeff"):
        lines[0] = lines[0].removeprefix("\ufeff")
        repaired["byte order mark"] += 1
    for index, line in enumerate(lines):
        if line.endswith("\r"):
            lines[index] = line.rstrip("\r")
            repaired["CR at line end"] += 1
    return TextFile(lines, InputFile(path.name, hashlib.sha256(data).hexdigest(), len(lines)), repaired)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} is not there. Check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _decompress(path: Path, data: bytes) -> bytes:
    reader = _READERS.get(path.suffix)
    if reader is None:
        return data
    try:
        return reader(data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path} is not a whole {path.suffix} file ({error}). Fetch or compress it again.") from error


def _decode(path: Path, number: int, raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} line {number:,}: byte {error.start + 1} is not valid UTF-8 (0x{raw[error.start]:02x}). "
            "Convert the file to UTF-8 or remove the line from both sides."
        ) from None


def read_excluded(paths: Iterable[Path]) -> set[str]:
    """Sentences that must not be trained on: every line of every file, and every tab-separated column of it."""
    excluded: set[str] = set()
    for path in paths:
        for line in read_text(path).lines:
            excluded.add(line.strip())
            excluded.update(column.strip() for column in line.split("\t"))
    excluded.discard("")
    return excluded


def read_corpus(spec: PairSpec, excluded: Collection[str] = ()) -> Corpus:
    """Reads one `--pair` and drops what is empty, excluded or double. Raises InputError when nothing is left."""
    source, target, texts = _read_tsv(spec.files[0]) if len(spec.files) == 1 else _read_two(*spec.files)
    dropped: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    pairs = []
    for line_idx, (a, b) in enumerate(zip(source, target, strict=True)):
        key = (a.strip(), b.strip())
        reason = _reason_to_drop(key, seen, excluded)
        if reason is not None:
            dropped[reason] += 1
            continue
        seen.add(key)
        pairs.append(SentencePair(line_idx, a, b))
    corpus = Corpus(
        spec, tuple(t.input for t in texts), len(source), pairs, dropped, sum((t.repaired for t in texts), Counter())
    )
    if not pairs:
        raise nothing_kept(corpus)
    return corpus


def nothing_kept(corpus: Corpus) -> InputError:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in corpus.dropped.items())
    return InputError(f"{corpus.spec.name}: none of {corpus.read:,} pairs is left (dropped: {reasons}).")


def _reason_to_drop(key: tuple[str, str], seen: set[tuple[str, str]], excluded: Collection[str]) -> str | None:
    if not all(key):
        return EMPTY_SIDE
    if key[0] in excluded or key[1] in excluded:
        return EXCLUDED
    return DUPLICATE if key in seen else None


def _read_tsv(path: Path) -> tuple[list[str], list[str], list[TextFile]]:
    text = read_text(path)
    source, target = [], []
    for number, line in enumerate(text.lines, start=1):
        columns = line.split("\t")
        if len(columns) != 2:
            raise InputError(
                f"{path} line {number:,}: must hold exactly one tab, between the two sentences, "
                f"but holds {len(columns) - 1}. Remove or mend the line."
            )
        source.append(columns[0])
        target.append(columns[1])
    return source, target, [text]


def _read_two(source_path: Path, target_path: Path) -> tuple[list[str], list[str], list[TextFile]]:
    source, target = read_text(source_path), read_text(target_path)
    if len(source.lines) != len(target.lines):
        raise InputError(
            f"{source_path} has {len(source.lines):,} lines but {target_path} has {len(target.lines):,}. "
            "Line n of one must translate line n of the other: fetch or cut both again."
        )
    return source.lines, target.lines, [source, target]
