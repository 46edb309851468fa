"""Words of a raw sentence, each with its character span, even if a segmenter changes the text.

Spans are half-open `(start, end)` in characters of the raw sentence. They are in order, do not overlap, hold no
white space, and together hold every character that is not white space: the words between two white spaces (a
*chunk*) are a partition of it. No word begins with a combining mark unless the chunk does.

This file knows which segmenter a language gets, and opens it. To add one, add its opener and a line in `_OPENERS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from weam_fairseq.common.errors import InputError

if TYPE_CHECKING:
    from .chunks import Cut, Segmenter

    # A segmenter's name, and the function that cuts a text; it gives None if it cannot.
    Opened = tuple[str, Callable[[str], Sequence[Cut] | None]]

_SUDACHI_LIMIT = 12_000  # characters: Sudachi accepts 49,149 bytes at a time, and a character has at most 4

# The segmenters to try for a language, in this order; every other language gets Moses' rules.
_BY_LANGUAGE = {
    "zh": ("rjieba", "jieba"),
    "yue": ("rjieba", "jieba"),
    "ja": ("sudachi", "fugashi"),
    "th": ("pythainlp",),
    "km": ("icu",),
    "lo": ("icu",),
    "my": ("icu",),
}

# Three-letter codes (jpn_Jpan) of the languages above and of those that sacremoses has rules for.
_CODES = (
    "asm=as ben=bn cat=ca ces=cs cmn=zh deu=de ell=el eng=en est=et fin=fi fra=fr gle=ga guj=gu hin=hi hun=hu isl=is "
    "ita=it jpn=ja kan=kn khm=km kor=ko lao=lo lav=lv lit=lt lvs=lv mal=ml mar=mr mya=my nld=nl ori=or ory=or pan=pa "
    "pol=pl por=pt ron=ro rus=ru slk=sk slv=sl spa=es swe=sv tam=ta tel=te tha=th zho=zh "
    # The second code that ISO 639-2 has for some of them.
    "bur=my chi=zh cze=cs dut=nl fre=fr ger=de gre=el ice=is rum=ro slo=sk"
)
_TWO_LETTERS = dict(item.split("=") for item in _CODES.split())


def _moses(lang: str) -> Opened:
    from .moses import moses_cutter

    cutter, known = moses_cutter(lang)
    return f"sacremoses {_version('sacremoses')}" + ("" if known else f" (rules of en, it has none for {lang})"), cutter


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _cutter(tokenize: Callable[[str], Iterable[str]]) -> Callable[[str], Sequence[Cut] | None]:
    from .chunks import cut_tokens

    return lambda text: cut_tokens(text, tokenize(text))


def _rjieba(lang: str) -> Opened:
    import rjieba

    return f"rjieba {_version('rjieba')}", _cutter(rjieba.cut)


def _jieba(lang: str) -> Opened:
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)  # otherwise it prints how long it took to load its dictionary
    return f"jieba {_version('jieba')}", _cutter(jieba.Tokenizer().lcut)


def _sudachi(lang: str) -> Opened:
    """Mode A (short units) agrees better with the words of hand-aligned Japanese than modes B and C."""
    import sudachidict_core  # noqa: F401 - the dictionary; sudachipy finds it by its name
    import sudachipy

    dictionary = sudachipy.Dictionary(dict="core")
    make = getattr(dictionary, "tokenizer", None) or dictionary.create  # its name before sudachipy 0.7
    tokenizer = make(mode=sudachipy.SplitMode.A)

    def tokenize(text: str) -> list[str]:
        stretches = (text[start : start + _SUDACHI_LIMIT] for start in range(0, len(text), _SUDACHI_LIMIT))
        return [morpheme.surface() for stretch in stretches for morpheme in tokenizer.tokenize(stretch)]

    name = f"sudachipy {_version('sudachipy')} (mode A, sudachidict_core {_version('sudachidict_core')})"
    return name, _cutter(tokenize)


def _fugashi(lang: str) -> Opened:
    import fugashi
    import unidic_lite

    # fugashi would prefer the full unidic if that is installed, so the dictionary is named.
    tagger = fugashi.Tagger(f'-r "{unidic_lite.DICDIR}/mecabrc" -d "{unidic_lite.DICDIR}"')
    name = f"fugashi {_version('fugashi')} (unidic-lite {_version('unidic-lite')})"
    return name, _cutter(lambda text: [node.surface for node in tagger(text)])


def _pythainlp(lang: str) -> Opened:
    # Otherwise its import makes a folder in the user's home for downloaded dictionaries.
    os.environ.setdefault("PYTHAINLP_READ_ONLY", "1")
    from pythainlp.tokenize import word_tokenize

    # newmm-safe is newmm, but does not run forever on long ambiguous text.
    tokenize = _cutter(lambda text: word_tokenize(text, engine="newmm-safe", keep_whitespace=True))
    return f"pythainlp {_version('pythainlp')} (newmm-safe)", tokenize


def _icu(lang: str) -> Opened:
    from icu4py.breakers import WordBreaker

    # A breaker returns all parts of the text, including white space.
    return f"icu4py {_version('icu4py')} ({lang})", _cutter(lambda text: WordBreaker(text, lang))


def _whitespace(lang: str) -> Opened:
    """Runs of letters and digits, and every other character by itself; for any language."""
    from .chunks import runs

    return "fallback: white space and punctuation", lambda text: [runs(chunk) for chunk in text.split()]


# The segmenters by kind, each with the packages that it needs, as for pip install.
_OPENERS: dict[str, tuple[Callable[[str], Opened], str]] = {
    "moses": (_moses, "sacremoses"),
    "rjieba": (_rjieba, "rjieba"),
    "jieba": (_jieba, "jieba"),
    "sudachi": (_sudachi, "sudachipy sudachidict_core"),
    "fugashi": (_fugashi, "fugashi unidic-lite"),
    "pythainlp": (_pythainlp, "pythainlp"),
    "icu": (_icu, "icu4py"),
    "whitespace": (_whitespace, ""),
}
KINDS = tuple(_OPENERS)


def check_segmenters(kinds: Mapping[str, str | None]) -> None:
    """Raises one InputError for all languages whose segmenter cannot be opened.

    Args:
        kinds: of each language code, as for `segmenter`.
    """
    missing = []
    for language, kind in kinds.items():
        try:
            segmenter(language, kind)
        except InputError as error:
            missing.append(str(error))
    if missing:
        raise InputError(" ".join(missing))


@cache
def segmenter(lang: str, kind: str | None = None) -> Segmenter:
    """The segmenter of a language code such as `de`, `zh_Hans` or `jpn_Jpan`; `kind` (one of KINDS) overrides.

    Raises InputError for another kind, and if no package for the language is installed.
    """
    from .chunks import Segmenter

    if kind is not None and kind not in _OPENERS:
        raise InputError(f"Words of {lang}: the segmenter must be one of {', '.join(KINDS)}, but is {kind!r}.")
    base, kinds = _choices(lang)
    wanted = kinds if kind is None else (kind,)
    for name in wanted:
        try:
            return Segmenter(*_OPENERS[name][0](base))
        except ImportError:
            continue
    raise InputError(
        f"Words of {lang} need a package that is not installed: "
        f"{' or '.join(f'pip install {_OPENERS[name][1]}' for name in wanted)}. "
        f"Without it, --words {lang}=whitespace splits at white space and punctuation only."
    )


def base_language(lang: str) -> str:
    """The two-letter code, if there is one, of a code such as `de`, `deu_Latn` or `zh-Hans`."""
    code = re.split("[_-]", lang.lower())[0]
    return _TWO_LETTERS.get(code, code)


def _choices(lang: str) -> tuple[str, tuple[str, ...]]:
    """The language's code without suffixes, and the kinds to try for it."""
    base, suffixes = base_language(lang), re.split("[_-]", lang.lower())[1:]
    # In Latin letters (pinyin, romaji) these languages have white space between words.
    return base, ("moses",) if "latn" in suffixes else _BY_LANGUAGE.get(base, ("moses",))
