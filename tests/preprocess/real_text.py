"""Real sentences of many languages, where they are at hand.

They are not part of the repository: WEAM_TEST_DATA names a folder that holds bitext/en-XX.tsv.xz. What is tested on
them is tested on small texts of the repository too. WEAM_TEST_ALL=1 takes all sentences instead of some.
"""

from __future__ import annotations

import lzma
import os
from pathlib import Path

DATA = Path(os.environ.get("WEAM_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
BITEXT = sorted((DATA / "bitext").glob("en-*.tsv.xz"))
LANGUAGES = [file.name[3:-7] for file in BITEXT]
SIDES = [side for lang in LANGUAGES for side in ((lang, "en"), (lang, lang))]  # file, language
WHY_SKIPPED = f"no {DATA / 'bitext'}: set WEAM_TEST_DATA"
ALL = os.environ.get("WEAM_TEST_ALL") == "1"


def sentences(lang: str, count: int, language: str | None = None) -> list[str]:
    """`count` sentences of the file en-`lang`, from all over it: of `lang`, or of the `language` en."""
    text = lzma.decompress((DATA / "bitext" / f"en-{lang}.tsv.xz").read_bytes()).decode("utf-8")
    column = 0 if language == "en" else 1
    lines = [line.split("\t")[column] for line in text.split("\n") if line]
    return lines[:: max(1, len(lines) // count)][:count]


def some_or_all(side: tuple[str, str]) -> list[str]:
    """300 sentences of a side; with WEAM_TEST_ALL=1 every one."""
    return sentences(side[0], 10**9 if ALL else 300, side[1])
