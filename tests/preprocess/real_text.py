"""Real sentences of many languages, where they are at hand.

They are not part of the repository: WEAM_TEST_DATA names a folder that holds bitext/en-XX.tsv.xz. What is tested on
them is tested on small texts of the repository too.
"""

from __future__ import annotations

import lzma
import os
from pathlib import Path

DATA = Path(os.environ.get("WEAM_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
BITEXT = sorted((DATA / "bitext").glob("en-*.tsv.xz"))
LANGUAGES = [file.name[3:-7] for file in BITEXT]
WHY_SKIPPED = f"no {DATA / 'bitext'}: set WEAM_TEST_DATA"


def sentences(lang: str, count: int) -> list[str]:
    """`count` sentences of a language, from all over its file."""
    text = lzma.decompress((DATA / "bitext" / f"en-{lang}.tsv.xz").read_bytes()).decode("utf-8")
    lines = [line.split("\t")[1] for line in text.split("\n") if line]
    return lines[:: max(1, len(lines) // count)][:count]
