"""Which segmenter a language gets."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import version

from weam_fairseq.common.errors import InputError

from . import dictionaries
from .moses import moses_cutter
from .segmenter import Segmenter

# What is tried for a language, in this order; every other language has Moses' rules.
_BY_LANGUAGE = {
    "zh": ("rjieba", "jieba"),
    "yue": ("rjieba", "jieba"),
    "ja": ("sudachi", "fugashi"),
    "th": ("pythainlp",),
    "km": ("icu",),
    "lo": ("icu",),
    "my": ("icu",),
}

# Codes of three letters (jpn_Jpan) of the languages above and of those that sacremoses has rules for.
_CODES = (
    "asm=as ben=bn cat=ca ces=cs cmn=zh deu=de ell=el eng=en est=et fin=fi fra=fr gle=ga guj=gu hin=hi hun=hu isl=is "
    "ita=it jpn=ja kan=kn khm=km kor=ko lao=lo lav=lv lit=lt lvs=lv mal=ml mar=mr mya=my nld=nl ori=or ory=or pan=pa "
    "pol=pl por=pt ron=ro rus=ru slk=sk slv=sl spa=es swe=sv tam=ta tel=te tha=th zho=zh "
    # The other code that ISO 639-2 has for some of them.
    "bur=my chi=zh cze=cs dut=nl fre=fr ger=de gre=el ice=is rum=ro slo=sk"
)
_TWO_LETTERS = dict(item.split("=") for item in _CODES.split())


def _moses(lang: str) -> dictionaries.Opened:
    cutter, known = moses_cutter(lang)
    return f"sacremoses {version('sacremoses')}" + ("" if known else f" (rules of en, it has none for {lang})"), cutter


# Each with the packages that it needs, as pip takes them.
_OPENERS: dict[str, tuple[Callable[[str], dictionaries.Opened], str]] = {
    "moses": (_moses, "sacremoses"),
    "rjieba": (dictionaries.rjieba, "rjieba"),
    "jieba": (dictionaries.jieba, "jieba"),
    "sudachi": (dictionaries.sudachi, "sudachipy sudachidict_core"),
    "fugashi": (dictionaries.fugashi, "fugashi unidic-lite"),
    "pythainlp": (dictionaries.pythainlp, "pythainlp"),
    "icu": (dictionaries.icu, "icu4py"),
    "whitespace": (dictionaries.whitespace, ""),
}
KINDS = tuple(_OPENERS)


@cache
def segmenter(lang: str, kind: str | None = None) -> Segmenter:
    """The segmenter of a language code such as `de`, `zh_Hans` or `jpn_Jpan`; `kind` (one of KINDS) overrides.

    Raises InputError for another kind, and when no package for the language is installed.
    """
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
        f"Without it, --words {lang}=whitespace cuts at white space and punctuation only."
    )


def _choices(lang: str) -> tuple[str, tuple[str, ...]]:
    """The language's code without suffixes, and the kinds to try for it."""
    code, *suffixes = re.split("[_-]", lang.lower())
    base = _TWO_LETTERS.get(code, code)
    # In Latin letters (pinyin, romaji) these languages do have white space between words.
    return base, ("moses",) if "latn" in suffixes else _BY_LANGUAGE.get(base, ("moses",))
