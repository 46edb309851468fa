"""Data-bins of three pairs, made once in the scratch folder."""

from __future__ import annotations

import lzma
import subprocess
import sys
from pathlib import Path

PAIRS = ("en-de", "en-es", "en-zh")
LINES = 8_000  # of each pair; contestants.PAIRS_USED are taken of all three
ROOT = Path(__file__).resolve().parents[2]


def make_data_bins(data: Path | None, scratch: Path) -> list[Path]:
    """One folder with the pairs that there are; links by `intersect` of a statistical aligner."""
    folder = scratch / "data-bin"
    if (folder / "manifest.json").is_file():
        return [folder]
    if data is None:
        texts, tokenizer = _corpus_of_the_demo(scratch), ["--train-tokenizer", "wordpiece", "--vocab-size", "8000"]
    else:
        texts, tokenizer = _bitext(data, scratch), ["--tokenizer", str(data / "vocab" / "mbert" / "vocab.txt")]
    command = [str(Path(sys.executable).parent / "weam-preprocess"), *tokenizer, "--aligner", "fast_align"]
    for pair, file in texts.items():
        command += ["--pair", f"{pair}={file}"]
    subprocess.run([*command, "--valid-size", "200", "--destdir", str(folder)], check=True, stdout=sys.stderr)
    return [folder]


def text_of(scratch: Path, pair: str) -> Path:
    """The text of a pair that `make_data_bins` used."""
    for file in (scratch / f"{pair}.tsv", scratch / "corpus" / f"train.{pair}.tsv"):
        if file.is_file():
            return file
    raise SystemExit("The part links needs the text of the data-bins: leave out --data-bins, or name other --parts.")


def _bitext(data: Path, scratch: Path) -> dict[str, Path]:
    made = {}
    for pair in PAIRS:
        made[pair] = scratch / f"{pair}.tsv"
        with lzma.open(data / "bitext" / f"{pair}.tsv.xz", "rt", encoding="utf-8", newline="\n") as lines:
            some = [line for line, _ in zip(lines, range(LINES), strict=False)]
        made[pair].write_text("".join(some), encoding="utf-8", newline="\n")
    return made


def _corpus_of_the_demo(scratch: Path) -> dict[str, Path]:
    corpus = scratch / "corpus"
    subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "demo_corpus.py"), str(corpus)], check=True, stdout=sys.stderr
    )
    return {pair: corpus / f"train.{pair}.tsv" for pair in PAIRS}
