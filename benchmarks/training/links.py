"""Measures how long aligners take for the word links of a bitext. Each runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from shutil import which
from typing import Any

PAIRS = 8_000  # the first ones of the text


def names() -> list[str]:
    """Ours, the default aligner (the package sil-thot), and the program fast_align if it is on the PATH."""
    return ["fast_align", "eflomal", *(["fast_align (program)"] if which("fast_align") else [])]


def write_words(text: Path, languages: tuple[str, str], words: Path) -> None:
    """The words of the text's first pairs, as weam-preprocess passes them to an aligner."""
    from weam_preprocess.aligners.lines import aligner_line
    from weam_preprocess.words import segmenter

    segmenters = [segmenter(language) for language in languages]
    with text.open(encoding="utf-8", newline="\n") as lines, words.open("w", encoding="utf-8", newline="\n") as out:
        for line in islice(lines, PAIRS):
            source, target = (
                one.words(side) for one, side in zip(segmenters, line.rstrip("\n").split("\t"), strict=True)
            )
            if source and target:
                out.write(aligner_line((source, target)) + "\n")


def measure(name: str, words: Path) -> dict[str, Any]:
    """Seconds, and processor seconds, of one aligner from the start of its process to its last link."""
    before, start = os.times(), time.perf_counter()
    told = subprocess.run([sys.executable, __file__, name, str(words)], check=True, stdout=subprocess.PIPE, text=True)
    seconds, after = time.perf_counter() - start, os.times()
    cpu = sum(getattr(after, f"children_{kind}") - getattr(before, f"children_{kind}") for kind in ("user", "system"))
    pairs, links = map(int, told.stdout.split())
    return {"seconds": seconds, "cpu_seconds": cpu, "pairs": pairs, "links": links}


def _align(name: str, words: Path) -> None:
    from weam_preprocess import aligners

    options = {"implementation": "program"} if name.endswith("(program)") else {}
    pairs = links = 0
    for aligned in aligners.build(name.split(" ")[0], **options).align_file(words):
        pairs, links = pairs + 1, links + len(aligned.links)
    print(pairs, links)


if __name__ == "__main__":
    _align(sys.argv[1], Path(sys.argv[2]))
