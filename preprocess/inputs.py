"""Which files a language pair is read from: `--pair`, given once or several times for the same pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from weam_fairseq.common.errors import InputError

from .corpus import parse_pair


class PairFiles(NamedTuple):
    """A name like `en-de`, its two languages, and its parts in the order given.

    A part is one TSV file or two files of lines, and its lines follow those of the part before it.
    """

    name: str
    source_lang: str
    target_lang: str
    parts: tuple[tuple[Path, ...], ...]


def parse_pair_files(texts: Iterable[str]) -> list[PairFiles]:
    """All `--pair` options, as `parse_pair` reads them; the same name again adds a part.

    Pairs come in the order of their first option. Raises InputError.
    """
    pairs: dict[str, PairFiles] = {}
    for text in texts:
        spec = parse_pair(text)
        before = pairs.get(spec.name, PairFiles(spec.name, spec.source_lang, spec.target_lang, ()))
        parts = (*before.parts, spec.files)
        # A file that stands twice is a slip: its pairs would all be duplicates, or translate themselves.
        for file, count in Counter(file for part in parts for file in part).items():
            if count > 1:
                raise InputError(f"--pair {spec.name} names {file} twice. Name each file once.")
        pairs[spec.name] = before._replace(parts=parts)
    _check_case(pairs.values())
    return list(pairs.values())


def _check_case(pairs: Iterable[PairFiles]) -> None:
    """Raises InputError for one language under two names, which would be two languages to everything that follows."""
    spelled: dict[str, str] = {}
    for pair in pairs:
        for lang in (pair.source_lang, pair.target_lang):
            before = spelled.setdefault(lang.lower(), lang)
            if before != lang:
                raise InputError(f"--pair: a language must have one code, but one is {before} here and {lang} there.")
