#!/usr/bin/env python3
"""Runs the demo: fetches a published encoder and text, links held-out pairs, then calls weam-study and weam-report.

Give the same command again to resume an interrupted demo.

Example: scripts/demo.py --run-dir runs/demo
"""

import argparse
import json
import os
import sys
from pathlib import Path

import demo_corpus
import published_encoder
from tqdm import tqdm

from weam_fairseq.common.command import run_command
from weam_fairseq.common.files import whole_folder, write_text

CONFIGS = Path(__file__).parent / "configs"
ENCODER = "e5-small"  # the folder that demo.yaml names
PAIRS = [f"en-{language}" for language in demo_corpus.LANGUAGES]
# Held-out pairs of each language pair, and training pairs that their aligner learns from (SHORT: with --short).
FULL, SHORT = (250, 3000), (100, 1500)
# The report shows these pairs of the validation split with their links and predictions.
EXAMPLES = ["3", "11"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--run-dir", type=Path, default=Path("runs/demo"), help="folder of the study")
    parser.add_argument("--short", action="store_true", help="the same steps with toy sizes: a test, not a result")
    args = parser.parse_args()
    # The demo is one small training, on machines with several GPUs too, and it reads local folders only.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    os.environ |= {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    return run(args.run_dir, args.short)


def run(run_dir: Path, short: bool) -> int:
    # Not before: they import libraries that read the environment.
    from weam_fairseq import show
    from weam_fairseq.report import report
    from weam_fairseq.study import cli as study

    demo_corpus.build(run_dir / "corpus")
    if not (run_dir / "heldout").is_dir():
        link_held_out(run_dir / "corpus", run_dir / "heldout", *(SHORT if short else FULL))
    if not short and not (run_dir / ENCODER).is_dir():
        published_encoder.main([str(run_dir / ENCODER)])
    config = CONFIGS / ("demo_short.yaml" if short else "demo.yaml")
    folders = ["--root", str(run_dir), "--data", str(run_dir), "--study-dir", str(run_dir)]
    # Two jobs with one thread each get more done than one job with two threads. They need 12 GiB of memory.
    status = study.main([str(config), *folders, "--jobs", "2"])
    if status == 0 and not (run_dir / "examples.json").is_file():
        data_bin = next(run_dir.glob("data/*/data-bin"))
        chosen = [*(f"--pair={pair}" for pair in PAIRS), *(f"--index={index}" for index in EXAMPLES)]
        files = [str(weam_checkpoint(run_dir)), str(data_bin), "--json", str(run_dir / "examples.json")]
        status = show.main([*files, *chosen])
    return status or report.main([str(run_dir)])


def link_held_out(corpus: Path, held_out: Path, count: int, learnt_from: int) -> None:
    """Writes words and links of the held-out pairs. Another aligner than that of the training links makes these links.

    Args:
        count: held-out pairs of each language pair.
        learnt_from: pairs of training text that the aligner learns from besides, because it needs more pairs.
    """
    from weam_preprocess import aligners, words

    aligner = aligners.build("eflomal")
    with whole_folder(held_out) as folder:
        for pair in tqdm(PAIRS, desc=f"links by {aligner.name}"):
            name, segmenters = f"heldout.{pair}", [words.segmenter(language) for language in pair.split("-")]
            chosen = read_lines(corpus / f"{name}.tsv")[:count]
            lines = [*chosen, *read_lines(corpus / f"train.{pair}.tsv")[:learnt_from]]
            segmented = [
                tuple(segmenter.words(side) for segmenter, side in zip(segmenters, line.split("\t"), strict=True))
                for line in lines
            ]
            links = aligner.align(segmented, "intersect").links[:count]
            sides = [" ||| ".join(map(" ".join, pair_words)) for pair_words in segmented[:count]]
            gold = [" ".join(f"{i}-{j}" for i, j in of_pair) for of_pair in links]
            for ending, content in (("tsv", chosen), ("src-tgt", sides), ("gold", gold)):
                write_text(folder / f"{name}.{ending}", "".join(f"{line}\n" for line in content))


def read_lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").split("\n")[:-1]


def weam_checkpoint(run_dir: Path) -> Path:
    cells = [json.loads(line) for line in (run_dir / "cells.jsonl").read_text(encoding="utf-8").splitlines()]
    log = next(cell["train_log"] for cell in cells if cell["objective"] == "weam")
    return (run_dir / log).parent / "checkpoints" / "checkpoint_last.pt"


if __name__ == "__main__":
    sys.exit(run_command("demo.py", main))
