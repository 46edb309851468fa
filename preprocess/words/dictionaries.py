"""Segmenters with a dictionary, for languages that do not put white space between words; and without any, the fallback.

Each function opens one and gives its name and what cuts a text. Raises ImportError when its package is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from importlib.metadata import version

from .chunks import Cut, clinging, cut_tokens

Opened = tuple[str, Callable[[str], Sequence[Cut] | None]]

_SUDACHI_LIMIT = 12_000  # characters: Sudachi takes 49,149 bytes at once, and a character has up to 4


def _cutter(tokenize: Callable[[str], Iterable[str]]) -> Callable[[str], Sequence[Cut] | None]:
    return lambda text: cut_tokens(text, tokenize(text))


def rjieba(lang: str) -> Opened:
    import rjieba

    return f"rjieba {version('rjieba')}", _cutter(rjieba.cut)


def jieba(lang: str) -> Opened:
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)  # it tells on standard error how long its dictionary took
    return f"jieba {version('jieba')}", _cutter(jieba.Tokenizer().lcut)


def sudachi(lang: str) -> Opened:
    """Mode A, the short units: on hand-aligned Japanese they agree with the annotators' words better than B and C."""
    import sudachidict_core  # noqa: F401 - the dictionary; sudachipy finds it by its name
    import sudachipy

    dictionary = sudachipy.Dictionary(dict="core")
    make = getattr(dictionary, "tokenizer", None) or dictionary.create  # its name before sudachipy 0.7
    tokenizer = make(mode=sudachipy.SplitMode.A)

    def tokenize(text: str) -> list[str]:
        stretches = (text[start : start + _SUDACHI_LIMIT] for start in range(0, len(text), _SUDACHI_LIMIT))
        return [morpheme.surface() for stretch in stretches for morpheme in tokenizer.tokenize(stretch)]

    name = f"sudachipy {version('sudachipy')} (mode A, sudachidict_core {version('sudachidict_core')})"
    return name, _cutter(tokenize)


def fugashi(lang: str) -> Opened:
    import fugashi
    import unidic_lite

    # Named, since fugashi would rather take the full unidic where that is installed.
    tagger = fugashi.Tagger(f'-r "{unidic_lite.DICDIR}/mecabrc" -d "{unidic_lite.DICDIR}"')
    name = f"fugashi {version('fugashi')} (unidic-lite {version('unidic-lite')})"
    return name, _cutter(lambda text: [node.surface for node in tagger(text)])


def pythainlp(lang: str) -> Opened:
    # Else its import makes a folder in the user's home, for dictionaries that it could download.
    os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")
    from pythainlp.tokenize import word_tokenize

    # newmm-safe is newmm, but a long stretch with many readings does not take it for ever.
    tokenize = _cutter(lambda text: word_tokenize(text, engine="newmm-safe", keep_whitespace=True))
    return f"pythainlp {version('pythainlp')} (newmm-safe)", tokenize


def icu(lang: str) -> Opened:
    from icu4py.breakers import WordBreaker

    # A breaker gives every stretch of the text, white space included.
    return f"icu4py {version('icu4py')} ({lang})", _cutter(lambda text: WordBreaker(text, lang))


def whitespace(lang: str) -> Opened:
    """Not a segmenter of any language: runs of letters and digits, and every other character alone."""
    return "fallback: white space and punctuation", lambda text: [_runs(chunk) for chunk in text.split()]


@lru_cache(1 << 17)
def _runs(chunk: str) -> Cut:
    kinds = [char.isalnum() or char == "_" or char in clinging() for char in chunk]
    inner = (
        idx for idx in range(1, len(chunk)) if not (kinds[idx] and kinds[idx - 1]) and chunk[idx] not in clinging()
    )
    return (*inner, len(chunk))
