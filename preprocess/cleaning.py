"""Turns raw lines into sentence pairs: repairs them, or drops them for a reason. `clean` is a pure function of a chunk.

A pair is dropped for the first of these reasons, in this order: a line over the reader's limit, invalid UTF-8, not one
tab; an empty side; an excluded side; too long; length ratio; a copy; a wrong language. All later stages see only the
repaired text, so pieces, words and links agree with each other.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.documents import parse_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.text_files import is_json_lines

from .corpus import EMPTY_SIDE, EXCLUDED, SentencePair, comparable
from .raw import RawChunk, RawReader
from .report import Account
from .words import base_language

INVALID_UTF8 = "invalid UTF-8"
NOT_ONE_TAB = "not one tab"
TOO_FEW_COLUMNS = "too few columns"
NOT_A_PAIR = "not a JSON object with both texts"
COPY = "source equals target"
WRONG_LANGUAGE = "wrong language"

BYTE_ORDER_MARK = "byte order mark"
CR = "CR at line end"
CONTROLS = "control characters"

# The controls of C0 and C1 and U+007F, except tab and U+0085: a Unicode line separator, which is text here, like
# U+2028. "\n" cannot occur.
_LINE_ENDS = re.compile("\r\n|\n|\r")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f]")

_LINES = 10_000  # that are held in memory

# The language identifier (142 languages, BSD, 5 MB), and its codes that differ from ours.
LANGUAGE_PACKAGE = "py3langid"
_PY3LANGID_CODES = {"nb": "no"}

# The probability of a language for a text, divided by the probability of the likeliest language.
Scorer = Callable[[str], float]


@dataclass(frozen=True)
class Rules:
    """Where the sides of a line are, and what is dropped besides unusable pairs.

    Lengths are of a side without the white space around it.

    `strict`: a line that cannot be split (too long for the reader, invalid UTF-8, not one tab) is an error.
    `max_chars`: characters of a side. Limits the tokenizers' time; the filter for length is `--max-pieces`.
    `max_ratio`: the longer side over the shorter, in UTF-8 bytes. 9 is the ratio of Moses's clean-corpus-n.perl, the
        limit of GIZA++, there in words; OpusFilter's LengthRatioFilter defaults to 3, in words. Chinese, Japanese and
        Thai have no words before they are segmented, and fewer characters for the same text; bytes balance that.
    `drop_copies`: drop pairs whose sides are equal (a hard rule of Bicleaner); otherwise they are kept and noted.
    `min_language_score`: drop pairs with a side that scores less for its language; None is off. The score is the
        probability of py3langid (a descendant of langid.py, the default of OpusFilter's LanguageIDFilter; about 7,000
        sentences a second) relative to the likeliest language, because one word has a low probability in every
        language. At 0.05, of 1,000 short Tatoeba sentences in each of 18 languages, 0 to 0.3 % are below it for their
        own language, and 97 to 100 % for English (English ones: 99.6 % for German).
    `columns`: source and target in a file of both: column numbers from 1 of tab-separated text, or keys of JSON Lines
        such as `translation.en`. None: one tab between the sides, or the pair's languages as keys.
    """

    strict: bool = False
    max_chars: int | None = 5_000
    max_ratio: float | None = 9.0
    drop_copies: bool = False
    min_language_score: float | None = None
    columns: tuple[str, str] | None = None


class Cleaned(NamedTuple):
    """The kept pairs, in input order, and the account of all lines of the chunk."""

    pairs: list[SentencePair]
    account: Account


def clean(
    chunk: RawChunk,
    rules: Rules,
    excluded: Collection[str] = frozenset(),
    scorers: tuple[Scorer, Scorer] | None = None,
    languages: tuple[str, str] = ("source", "target"),
) -> Cleaned:
    """Decodes, repairs and filters a chunk.

    `scorers` are those of the two languages, for `min_language_score`. `languages` are keys of JSON Lines.

    Raises InputError, with file and line, only with `rules.strict`.
    """
    account = Account(read=chunk.size)
    pairs: list[SentencePair] = []
    columns = [lines(chunk, side_idx, account.repaired) for side_idx in range(len(chunk.sides))]
    split = _splitter(chunk, rules.columns, languages)
    for index, line in enumerate(zip(*columns, strict=True)):
        line_idx = chunk.first_line_idx + index
        sides = _two_sides(line, split)
        if sides is None:
            found = malformed(chunk, index, rules.columns)
            if rules.strict:
                raise InputError(found.sentence)
            account.drop(found.reason, line_idx, *(side[index] for side in chunk.sides))
            continue
        source = mend(sides[0], account.repaired)
        target = mend(sides[1], account.repaired)
        reason = _reason_to_drop(source.strip(), target.strip(), rules, excluded, scorers)
        if reason is not None:
            account.drop(reason, line_idx, source, target)
            continue
        pairs.append(SentencePair(line_idx, source, target))
        if source.strip() == target.strip():
            account.noted[COPY] += 1
    assert len(pairs) == account.kept
    return Cleaned(pairs, account)


def lines(chunk: RawChunk, side_idx: int, repaired: Counter[str]) -> list[str | None]:
    """The lines of one side, without byte order mark; None for lines that cannot be decoded."""
    found = [_decoded(raw) if len(raw) <= chunk.max_line_bytes else None for raw in chunk.sides[side_idx]]
    if chunk.first_part_line_idx == 0 and found[0] is not None and found[0].startswith("\ufeff"):
        repaired[BYTE_ORDER_MARK] += 1
        found[0] = found[0].removeprefix("\ufeff")
    return found


def strict_lines(paths: Sequence[Path]) -> Iterator[str]:
    """The lines of files in which every line counts: vocabularies, excluded sentences.

    Raises InputError for a line that is too long or not valid UTF-8.
    """
    for path in filter(is_json_lines, paths):
        raise InputError(f"{path} must be plain or tab-separated text, but is JSON Lines. Export it as text.")
    for chunk in RawReader([(path,) for path in paths], _LINES):
        for index, text in enumerate(lines(chunk, 0, Counter())):
            if text is None:
                raise InputError(malformed(chunk, index).sentence)
            yield text


def _decoded(raw: bytes) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def mend(side: str, repaired: Counter[str]) -> str:
    """A side without CR at its end and without control characters; those that are white space become a space.

    Moses's tokenizer (`s/[\\000-\\037]//g`) and BERT's normalizer remove them all.
    """
    # Everything that is removed is unprintable, and this test is four times as fast as a search.
    if side.isprintable():
        return side
    # At the end of the source too: `paste` makes such a TSV from two files with CR LF.
    if side.endswith("\r"):
        repaired[CR] += 1
        side = side.rstrip("\r")
    if _CONTROL.search(side):
        repaired[CONTROLS] += 1
        # "a\x0bb" is two words: a control that is white space must still separate them.
        side = _CONTROL.sub(lambda match: " " if match[0].isspace() else "", side)
    return side


Split = Callable[[str], tuple[str, str] | None]


def _splitter(chunk: RawChunk, columns: tuple[str, str] | None, languages: tuple[str, str]) -> Split:
    """How a line of one file becomes source and target.

    Raises:
        InputError: --columns gives keys for tab-separated text, or numbers for JSON Lines.
    """
    path = next(filter(is_json_lines, chunk.files), chunk.files[0])
    if len(chunk.sides) == 2:
        if is_json_lines(path):
            raise InputError(f"{path} must be the only file of its pair, because JSON Lines hold both sentences.")
        return lambda line: None
    if columns is not None and columns[0].isdecimal() == is_json_lines(path):
        kind, needed = ("JSON Lines", "keys") if is_json_lines(path) else ("tab-separated text", "column numbers")
        raise InputError(f"--columns must give {needed} for {path}, which is {kind}, but is {','.join(columns)}.")
    if is_json_lines(path):
        keys = [[columns[side]] if columns else [f"translation.{languages[side]}", languages[side]] for side in (0, 1)]
        return lambda line: _of_json(line, keys)
    if columns is None:
        return _at_the_tab
    first, second = (int(number) - 1 for number in columns)
    return lambda line: _of_columns(line.split("\t"), first, second)


def _at_the_tab(line: str) -> tuple[str, str] | None:
    source, tab, target = line.partition("\t")
    return (source, target) if tab and "\t" not in target else None


def _of_columns(parts: list[str], first: int, second: int) -> tuple[str, str] | None:
    return (parts[first], parts[second]) if max(first, second) < len(parts) else None


def _of_json(line: str, keys: list[list[str]]) -> tuple[str, str] | None:
    """The texts under the first of each side's keys that the object has; a dot separates the keys of inner objects."""
    try:
        record = parse_json(line, "line", dict, nan=True)  # in fields that are not read
    except InputError:
        return None
    found = []
    for alternatives in keys:
        texts = (_value(record, key) for key in alternatives)
        found.append(next((text for text in texts if isinstance(text, str)), None))
    source, target = found
    # A tab or line end inside a sentence is white space.
    return None if source is None or target is None else (_LINE_ENDS.sub(" ", source), _LINE_ENDS.sub(" ", target))


def _value(record: Any, key: str) -> Any:
    """The value under a key, or else under the keys of inner objects that its dots separate."""
    if not isinstance(record, dict) or key in record:
        return record.get(key) if isinstance(record, dict) else None
    outer, dot, inner = key.partition(".")
    return _value(record.get(outer), inner) if dot else None


def _two_sides(line: tuple[str | None, ...], split: Split) -> tuple[str, str] | None:
    """Source and target; None if the line cannot be split."""
    if len(line) == 2:
        source, target = line
        return None if source is None or target is None else (source, target)
    if line[0] is None:
        return None
    return split(line[0])


class Malformed(NamedTuple):
    reason: str
    sentence: str


def malformed(chunk: RawChunk, index: int, columns: tuple[str, str] | None = None) -> Malformed:
    """Why `_two_sides` cannot split this line."""
    for path, side in zip(chunk.files, chunk.sides, strict=True):
        where = f"{path} line {chunk.first_part_line_idx + index + 1:,}"
        if len(side[index]) > chunk.max_line_bytes:
            return Malformed(
                f"line over {chunk.max_line_bytes:,} bytes",
                f"{where}: must have at most {chunk.max_line_bytes:,} bytes, but has more. "
                "Remove the line from both sides, or check that the file is text.",
            )
        try:
            side[index].decode("utf-8")
        except UnicodeDecodeError as error:
            return Malformed(
                INVALID_UTF8,
                f"{where}: byte {error.start + 1} is not valid UTF-8 (0x{side[index][error.start]:02x}). "
                "Convert the file to UTF-8 or remove the line from both sides.",
            )
    if is_json_lines(chunk.files[0]):
        keys = ",".join(columns) if columns else "the languages of the pair"
        return Malformed(
            NOT_A_PAIR,
            f"{where}: must be a JSON object with a text for {keys}. Correct the line, or give --columns.",
        )
    tabs = chunk.sides[0][index].count(b"\t")
    if columns is not None:
        return Malformed(
            TOO_FEW_COLUMNS,
            f"{where}: must have columns {' and '.join(columns)}, but has {tabs + 1}. Correct the line or --columns.",
        )
    return Malformed(
        NOT_ONE_TAB,
        f"{where}: must hold exactly one tab, between the two sentences, but holds {tabs}. Remove or correct the line.",
    )


def _reason_to_drop(
    source: str,
    target: str,
    rules: Rules,
    excluded: Collection[str],
    scorers: tuple[Scorer, Scorer] | None,
) -> str | None:
    if not _has_text(source) or not _has_text(target):
        return EMPTY_SIDE
    if excluded and (comparable(source) in excluded or comparable(target) in excluded):
        return EXCLUDED
    if rules.max_chars is not None and max(len(source), len(target)) > rules.max_chars:
        return f"over {rules.max_chars:,} characters"
    if rules.max_ratio is not None and _ratio(source, target) > rules.max_ratio:
        return f"length ratio over {rules.max_ratio:g}"
    if rules.drop_copies and comparable(source) == comparable(target):
        return COPY
    if rules.min_language_score is not None:
        assert scorers is not None
        if min(scorers[0](source), scorers[1](target)) < rules.min_language_score:
            return WRONG_LANGUAGE
    return None


def _has_text(stripped: str) -> bool:
    """Whether there is more than white space, format characters (U+200B, U+FEFF, …) and control characters."""
    if not stripped:
        return False
    # Usually the first character decides: it is not white space, and no character of these categories is printable.
    if stripped[0].isprintable():
        return True
    return any(not char.isspace() and unicodedata.category(char) not in {"Cc", "Cf"} for char in stripped)


def _ratio(source: str, target: str) -> float:
    a, b = len(source.encode()), len(target.encode())
    return max(a, b) / min(a, b)


def read_excluded(paths: Sequence[Path]) -> frozenset[str]:
    """Every line, and every tab-separated column of it, repaired like the pairs.

    Raises InputError for a line that is too long or not valid UTF-8, even without `strict`: a test sentence that is
    skipped would be trained on.
    """
    excluded: set[str] = set()
    for text in strict_lines(paths):
        excluded.update(comparable(mend(side, Counter()).strip()) for side in (text, *text.split("\t")))
    return frozenset(excluded - {""})


def scorers(rules: Rules, languages: tuple[str, str]) -> tuple[Scorer, Scorer] | None:
    """The scorers of the two languages of a pair; None if the rules need no score. Raises InputError like `scorer`."""
    if rules.min_language_score is None:
        return None
    return scorer(languages[0]), scorer(languages[1])


def scorer(lang: str) -> Scorer:
    """The scorer of a language code such as `de` or `zh_Hans`; it gives 1 if no language is likelier.

    Raises InputError if the package is missing or does not know the language.
    """
    identifier = _identifier()
    base = base_language(lang)
    label = _PY3LANGID_CODES.get(base, base)
    if label not in identifier.labels:
        raise InputError(
            f"--min-language-score: py3langid does not know the language {lang!r}. Leave the option out for this "
            f"pair; it knows {', '.join(sorted(identifier.labels))}."
        )

    def score(text: str) -> float:
        ranked = identifier.rank(text)
        return dict(ranked)[label] / ranked[0][1]

    return score


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise InputError(
            "--min-language-score needs the package py3langid. Install it: pip install 'py3langid>=0.4'"
        ) from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
