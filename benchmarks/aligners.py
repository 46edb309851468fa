"""Alignment error rate of every aligner on hand-made links, with real bitext to train on.

    python benchmarks/aligners.py --data ../shared/data --results runs/aligners.jsonl --table docs/aligners.md

The gold sentences are aligned together with the bitext, in one training. Gold words stay as they are; those of the
bitext come from our segmenters. Each row of results is written immediately and is not made again: with the same
`--results`, an interrupted run continues. Without `--data`, only the table is written, from the results.

Measures our fast_align, trained with and without agreement, sil-thot's eflomal, and the programs fast_align and eflomal
if they are on the PATH.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from weam_preprocess import aligners
from weam_preprocess.aligners.lines import WordPair, aligner_line, count_lines
from weam_preprocess.words import segmenter

from weam_fairseq.evaluation.benchmarks.word_alignment import score_alignments
from weam_fairseq.evaluation.readers import GoldLinks, read_gold

SYMMETRIZATIONS = ("intersect", "grow-diag-final-and", "forward")
BEGIN, END = "<!-- written by benchmarks/aligners.py -->", "<!-- end -->"


class GoldSet(NamedTuple):
    """Files `NAME.src-tgt` and `NAME.gold`; their source is `source_lang`. The bitext is `en-LANG.tsv.xz`."""

    file: str
    source_lang: str
    target_lang: str

    @property
    def pair(self) -> str:
        return f"{self.source_lang}-{self.target_lang}"

    @property
    def lang(self) -> str:
        return self.target_lang if self.source_lang == "en" else self.source_lang


GOLD_SETS = (
    GoldSet("de-en.dev", "de", "en"),
    GoldSet("awesome-zhen.dev", "zh", "en"),
    GoldSet("xlwa-en-es.dev", "en", "es"),
    GoldSet("en-fr", "en", "fr"),
    GoldSet("awesome-jaen", "ja", "en"),
    GoldSet("en-hi", "en", "hi"),
    GoldSet("xlwa-en-ru", "en", "ru"),
    GoldSet("ro-en", "ro", "en"),  # without bitext in the shared data: for encoders only
)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.data is not None:
        for gold_set in GOLD_SETS:
            if options.pairs is None or gold_set.pair in options.pairs.split(","):
                _measure_pair(gold_set, options)
    table = "\n".join(_table(_read_results(options.results)))
    if options.table is None:
        print(table)
    else:
        _put_into(options.table, table)
    return 0


def _measure_pair(gold_set: GoldSet, options: argparse.Namespace) -> None:
    done = {(row["pair"], row["aligner"]) for row in _read_results(options.results)}
    todo = [found for found in _variants(options) if (gold_set.pair, found[0]) not in done]
    if not (options.data / "bitext" / f"en-{gold_set.lang}.tsv.xz").is_file():
        todo = [found for found in todo if found[1] == "encoder"]
    if not todo:
        return
    options.results.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="weam-benchmark-") as folder:
        words = Path(folder, "words.txt")
        only_gold = all(name == "encoder" for _, name, _ in todo)
        _write_words(gold_set, options.data, 0 if only_gold else options.limit, words)
        for label, name, settings in todo:
            print(f"{gold_set.pair} {label} …", file=sys.stderr, flush=True)
            row = _measure(label, name, settings, gold_set, options.data, words)
            with options.results.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")


def _variants(options: argparse.Namespace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The name in the results, and what to build, of each implementation that can run here."""
    for encoder in options.encoder:
        label, _, folder = encoder.rpartition("=")
        for method in ("softmax", "argmax", "itermax"):
            yield (
                f"encoder {label or Path(folder).name} ({method})",
                "encoder",
                {"model": Path(folder), "method": method},
            )
    for name in filter(None, options.aligners.split(",")):
        if name not in ("fast_align", "eflomal"):
            raise SystemExit(f"--aligners must be of fast_align and eflomal, but one is {name!r}.")
        if name == "fast_align":
            yield "fast_align (agreement)", name, {}
            yield "fast_align (independent)", name, {"agreement": False}
        else:
            yield "eflomal (sil-thot)", name, {}
        if shutil.which({"fast_align": "fast_align", "eflomal": "eflomal-align"}[name]):
            yield f"{name} (program)", name, {"implementation": "program"}


def _write_words(gold_set: GoldSet, data: Path, limit: int, words: Path) -> None:
    """Gold pairs first, then up to `limit` pairs of bitext, the gold set's source side first."""
    with words.open("w", encoding="utf-8", newline="\n") as stream:
        for pair in _gold_words(gold_set, data):
            stream.write(aligner_line(pair) + "\n")
        for pair in islice(_bitext_words(gold_set, data), limit):
            stream.write(aligner_line(pair) + "\n")


def _gold_words(gold_set: GoldSet, data: Path) -> Iterator[WordPair]:
    with (data / "gold_alignments" / f"{gold_set.file}.src-tgt").open(encoding="utf-8", newline="\n") as stream:
        for line in stream:
            source, target = line.rstrip("\n").split(" ||| ")
            yield source.split(" "), target.split(" ")


def _bitext_words(gold_set: GoldSet, data: Path) -> Iterator[WordPair]:
    english, other = segmenter("en"), segmenter(gold_set.lang)
    with lzma.open(data / "bitext" / f"en-{gold_set.lang}.tsv.xz", "rt", encoding="utf-8", newline="\n") as stream:
        for line in stream:
            en, xx = line.rstrip("\n").split("\t")
            pair = (english.words(en), other.words(xx))
            if all(pair):
                yield pair if gold_set.source_lang == "en" else pair[::-1]


def _measure(
    label: str, name: str, options: dict[str, Any], gold_set: GoldSet, data: Path, words: Path
) -> dict[str, Any]:
    """One training serves all symmetrizations: the model is applied to the gold pairs, which come first."""
    gold, left_out = _gold_links(data / "gold_alignments" / f"{gold_set.file}.gold", words.with_name("gold"))
    with tempfile.TemporaryDirectory(dir=words.parent) as folder:
        before = os.times()
        if name != "encoder":
            options = {"model": Path(folder, "model")} | options
            aligners.train(name, words, **options)
            options = {"model": options["model"]}
        aligner = aligners.build(name, **options)
        of_gold = Path(folder, "gold.txt")
        with words.open(encoding="utf-8", newline="\n") as lines:
            of_gold.write_text("".join(islice(lines, len(gold))), encoding="utf-8")
        hows = SYMMETRIZATIONS if options.get("method") != "itermax" else SYMMETRIZATIONS[:1]
        trained = os.times()
        found = {
            how: score_alignments(gold, [frozenset(item.links) for item in aligner.align_file(of_gold, how)])._asdict()
            for how in hows
        }
        after = trained if name != "encoder" else os.times()
    return {
        "pair": gold_set.pair,
        "aligner": label,
        "version": aligner.version,
        "words": {lang: segmenter(lang).name for lang in (gold_set.source_lang, gold_set.target_lang)},
        "trained_on": count_lines(words),
        "gold": len(gold),
        "gold_items_left_out": left_out,
        "seconds": round(after.elapsed - before.elapsed, 1),
        "cpu_seconds": round(_cpu(after) - _cpu(before), 1),
        "scores": found,
    }


def _gold_links(file: Path, copy: Path) -> tuple[list[GoldLinks], int]:
    """Without what is no link, which is counted: one published line holds `21--100`."""
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    kept = [[item for item in line if re.fullmatch("[0-9]+[-p][0-9]+", item)] for line in lines]
    copy.write_text("".join(" ".join(line) + "\n" for line in kept), encoding="utf-8")
    return read_gold(copy), sum(map(len, lines)) - sum(map(len, kept))


def _cpu(times: os.times_result) -> float:
    return times.user + times.system + times.children_user + times.children_system


def _read_results(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield "| pair | pairs trained on, gold | aligner | CPU s | intersect AER (P / R) | grow-diag-final-and | forward |"
    yield "|---|---|---|---:|---|---|---|"
    order = [gold_set.pair for gold_set in GOLD_SETS]
    last = None
    for row in sorted(rows, key=lambda row: (order.index(row["pair"]), row["aligner"])):
        head = ["", ""] if row["pair"] == last else [row["pair"], f"{row['trained_on']:,}, {row['gold']}"]
        cells = [_cell(row["scores"][how]) if how in row["scores"] else "" for how in SYMMETRIZATIONS]
        yield "| " + " | ".join([*head, row["aligner"], f"{row['cpu_seconds']:,.0f}", *cells]) + " |"
        last = row["pair"]


def _cell(score: dict[str, float]) -> str:
    return f"{score['aer']:.1f} ({score['precision']:.1f} / {score['recall']:.1f})"


def _put_into(file: Path, table: str) -> None:
    text = file.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise SystemExit(f"{file} must hold the lines {BEGIN} and {END}, between which the table goes.")
    file.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with bitext/ and gold_alignments/")
    parser.add_argument("--pairs", metavar="de-en,…", help="default: all gold sets")
    parser.add_argument("--aligners", default="fast_align,eflomal", help="default: fast_align,eflomal")
    parser.add_argument("--encoder", action="append", default=[], metavar="NAME=DIR", help="a Hugging Face folder")
    parser.add_argument("--limit", type=int, default=90_000, help="pairs of bitext at most (default 90,000)")
    parser.add_argument("--results", type=Path, required=True, metavar="FILE.jsonl", help="rows, one as each is done")
    parser.add_argument("--table", type=Path, metavar="FILE.md", help="file to write the table into (default: print)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
