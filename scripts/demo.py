#!/usr/bin/env python3
"""Runs the demo: prepares its corpus and the links of held-out pairs, then calls weam-study, weam-show and weam-report.

Give the same command again to resume an interrupted demo.

Example: scripts/demo.py --run-dir runs/demo
"""

import argparse
import json
import os
import sys
from pathlib import Path

import demo_corpus
import yaml
from tqdm import tqdm

from weam_fairseq.common.command import run_command
from weam_fairseq.common.files import whole_folder, write_text

CONFIG = Path(__file__).parent / "configs" / "demo.yaml"
PAIRS = [f"en-{language}" for language in demo_corpus.LANGUAGES]
# --short: updates of the base and of the cells.
SHORT = (60, 20)
# The report shows these pairs of the validation split with their links and predictions.
EXAMPLES = ["3", "11"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/demo"), help="folder of the study")
    parser.add_argument("--short", action="store_true", help="the same steps with few updates: a test, not a result")
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
        link_held_out(run_dir / "corpus", run_dir / "heldout")
    config = shortened(run_dir) if short else CONFIG
    status = study.main([str(config), "--data", str(run_dir), "--study-dir", str(run_dir), "--jobs", "2"])
    if status == 0 and not (run_dir / "examples.json").is_file():
        data_bin = next(run_dir.glob("data/*/data-bin"))
        chosen = ["--pair", *PAIRS, "--index", *EXAMPLES, "--json", str(run_dir / "examples.json")]
        status = show.main([str(weam_checkpoint(run_dir)), str(data_bin), *chosen])
    return status or report.main([str(run_dir)])


def shortened(run_dir: Path) -> Path:
    """The config with few updates, written into the run folder."""
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for options, updates in zip((config["base"]["train"], config["continued"]), SHORT, strict=True):
        options |= {"max-update": updates, "warmup-updates": updates // 10, "save-interval-updates": updates // 4}
    write_text(run_dir / CONFIG.name, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    return run_dir / CONFIG.name


def link_held_out(corpus: Path, held_out: Path) -> None:
    """Writes words and links of the held-out pairs. Another aligner than that of the training links makes these links.

    It learns from training and held-out text together, because it needs more than 500 pairs.
    """
    from weam_preprocess import aligners, words

    aligner = aligners.build("eflomal")
    with whole_folder(held_out) as folder:
        for pair in tqdm(PAIRS, desc=f"links by {aligner.name}"):
            name = f"heldout.{pair}"
            text = [(corpus / f"{part}.{pair}.tsv").read_text(encoding="utf-8") for part in ("heldout", "train")]
            segmenters = [words.segmenter(language) for language in pair.split("-")]
            lines = [line.split("\t") for line in "".join(text).split("\n")[:-1]]
            segmented = [(segmenters[0].words(source), segmenters[1].words(target)) for source, target in lines]
            links = aligner.align(segmented, "intersect").links[: demo_corpus.HELD_OUT]
            sides = [f"{' '.join(s)} ||| {' '.join(t)}\n" for s, t in segmented[: demo_corpus.HELD_OUT]]
            write_text(folder / f"{name}.tsv", text[0])
            write_text(folder / f"{name}.src-tgt", "".join(sides))
            write_text(folder / f"{name}.gold", "".join(" ".join(f"{i}-{j}" for i, j in of) + "\n" for of in links))


def weam_checkpoint(run_dir: Path) -> Path:
    cells = [json.loads(line) for line in (run_dir / "cells.jsonl").read_text(encoding="utf-8").splitlines()]
    log = next(cell["train_log"] for cell in cells if cell["objective"] == "weam")
    return (run_dir / log).parent / "checkpoints" / "checkpoint_last.pt"


if __name__ == "__main__":
    sys.exit(run_command("demo.py", main))
