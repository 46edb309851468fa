#!/usr/bin/env python3
"""The main job, whole, on real text: what `make demo` runs. Every step is a command that a user can type.

corpus -> weam-preprocess -> weam-train (a base, then mlm, tlm, weam and shuffled from it) -> weam-to-hf
-> weam-evaluate -> weam-report

A step whose output is there is not run again, so an interrupted demo goes on where it stopped.

Example: scripts/demo.py --run-dir runs/demo
"""

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import demo_corpus
from tqdm import tqdm

from weam_fairseq.common.errors import InputError

LANGUAGES = list(demo_corpus.LANGUAGES)
PAIRS = [f"en-{language}" for language in LANGUAGES]
TASKS = ["sentence-retrieval", "word-retrieval", "masked-pieces"]
BASE = "base"
CONTINUED = ["mlm", "tlm", "weam", "shuffled"]
BIN = Path(sys.executable).parent
# Shown with links and predictions in the report: pairs of the validation split.
EXAMPLES = [3, 11]


class Settings(NamedTuple):
    """What decides the result; a run folder made with others is not gone on with."""

    arch: str = "weam_mini"
    vocabulary: int = 8000
    valid_size: int = 200
    batch_size: int = 32
    base_updates: int = 800
    base_lr: float = 1e-3
    updates: int = 200
    lr: float = 5e-4
    mask_prob: float = 0.3
    symmetrize: str = "intersect"
    seed: int = 1


SHORT = Settings(base_updates=60, updates=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, default=Path("runs/demo"), help="where everything is written")
    parser.add_argument("--short", action="store_true", help="the same code with few updates: a test, not a result")
    args = parser.parse_args()
    try:
        run(args.run_dir, SHORT if args.short else Settings())
    except (RuntimeError, InputError, subprocess.CalledProcessError) as error:
        sys.exit(f"demo.py: error: {error}")


class StepFailed(RuntimeError):
    """A command of the demo did not end well."""


class Journal:
    """settings.json of a run folder: what was run, with what, and how long it took."""

    def __init__(self, run_dir: Path, settings: Settings) -> None:
        self.path = run_dir / "settings.json"
        self.content: dict = {
            "title": "WEAM demo: en-de, en-es, en-zh",
            "options": settings._asdict(),
            "models": [BASE, *CONTINUED],
            "commands": {},
            "seconds": {},
            "trained": {},
            "corpus": {},
            "versions": {
                "python": platform.python_version(),
                **{p: version(p) for p in ("weam-fairseq", "ve-fairseq", "torch", "transformers", "numpy")},
            },
        }
        if self.path.is_file():
            there = json.loads(self.path.read_text(encoding="utf-8"))
            if there["options"] != self.content["options"]:
                raise StepFailed(
                    f"{run_dir} was made with {there['options']}, not with {self.content['options']}: remove it or "
                    "name another folder with --run-dir."
                )
            self.content = there

    def note(self, part: str, name: str, value: object) -> None:
        self.content[part][name] = value
        beside = self.path.with_name("settings.json.incomplete")
        beside.write_text(json.dumps(self.content, ensure_ascii=False, indent=1), encoding="utf-8")
        beside.replace(self.path)

    def timed(self, name: str, step: Callable[[], None]) -> None:
        print(f"\n== {name}", flush=True)
        started = time.perf_counter()
        try:
            step()
        finally:
            seconds = time.perf_counter() - started
            # A step that was interrupted and gone on with costs the sum of its parts.
            self.note("seconds", name, round(self.content["seconds"].get(name, 0) + seconds, 1))
        print(f"   {seconds:.0f} s", flush=True)


def run(run_dir: Path, settings: Settings) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    journal = Journal(run_dir, settings)
    corpus, data_bin, held_out = run_dir / "corpus", run_dir / "data-bin", run_dir / "heldout"
    if not (corpus / "corpus.json").is_file():
        journal.timed("corpus", partial(demo_corpus.build, corpus))
    journal.note("corpus", "sources", json.loads((corpus / "corpus.json").read_text(encoding="utf-8"))["sources"])
    if not data_bin.is_dir():
        journal.timed("preprocess", partial(preprocess, journal, corpus, data_bin, settings))
    if not held_out.is_dir():
        journal.timed("links of held-out words", partial(link_held_out, corpus, held_out))
    for name in [BASE, *CONTINUED]:
        folder = run_dir / "models" / name
        # A training that has ended is not started again: fairseq would add one update to it.
        if name not in journal.content["trained"]:
            journal.timed(f"train {name}", partial(train, journal, run_dir, name, settings))
            journal.note("trained", name, settings.base_updates if name == BASE else settings.updates)
        if not (folder / "hf").is_dir():
            journal.timed(f"export {name}", partial(export, journal, name, folder))
    scores = run_dir / "scores.jsonl"
    for name in [BASE, *CONTINUED]:
        if not scored(scores, name):
            journal.timed(f"evaluate {name}", partial(evaluate, journal, run_dir, name))
    if not (run_dir / "examples.json").is_file():
        journal.timed("examples", partial(show, journal, run_dir, data_bin))
    command(journal, "report", ["weam-report", str(run_dir)])


def command(journal: Journal, name: str, words: list[str]) -> None:
    """Runs one of our console scripts and shows what it prints."""
    journal.note("commands", name, shlex.join(words))
    print(f"$ {shlex.join(words)}", flush=True)
    if subprocess.run([BIN / words[0], *words[1:]], env=environment()).returncode:
        raise StepFailed(f"the command above did not end well ({name})")


def environment() -> dict[str, str]:
    """No hub is asked: everything that the demo loads lies in its folder."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}


def preprocess(journal: Journal, corpus: Path, data_bin: Path, settings: Settings) -> None:
    words = ["weam-preprocess"]
    for pair in PAIRS:
        words += ["--pair", f"{pair}={corpus}/train.{pair}.tsv", "--exclude", f"{corpus}/heldout.{pair}.tsv"]
    words += ["--train-tokenizer", "wordpiece", "--vocab-size", str(settings.vocabulary)]
    words += ["--aligner", "fast_align", "--symmetrize", settings.symmetrize]
    words += ["--valid-size", str(settings.valid_size), "--seed", str(settings.seed), "--destdir", str(data_bin)]
    command(journal, "preprocess", words)


def link_held_out(corpus: Path, held_out: Path) -> None:
    """Words and links of the held-out pairs, by another aligner than the one that made the training links.

    It learns from training and held-out text together (it needs more than 500 pairs) and never from our links.
    """
    from weam_preprocess import aligners, words

    aligner = aligners.build("eflomal")
    beside = held_out.with_name("heldout.incomplete")
    beside.mkdir(exist_ok=True)
    for pair in tqdm(PAIRS, desc=f"links by {aligner.name}"):
        lines = [
            line.split("\t")
            for part in ("heldout", "train")
            for line in (corpus / f"{part}.{pair}.tsv").read_text(encoding="utf-8").split("\n")[:-1]
        ]
        cut = [words.segmenter(language) for language in pair.split("-")]
        segmented = [(cut[0].words(source), cut[1].words(target)) for source, target in lines]
        links = aligner.align(segmented, "intersect").links[: demo_corpus.HELD_OUT]
        (beside / f"heldout.{pair}.tsv").write_bytes((corpus / f"heldout.{pair}.tsv").read_bytes())
        (beside / f"heldout.{pair}.src-tgt").write_text(
            "".join(f"{' '.join(s)} ||| {' '.join(t)}\n" for s, t in segmented[: demo_corpus.HELD_OUT]),
            encoding="utf-8",
        )
        (beside / f"heldout.{pair}.gold").write_text(
            "".join(" ".join(f"{i}-{j}" for i, j in of) + "\n" for of in links), encoding="utf-8"
        )
    beside.replace(held_out)


def train(journal: Journal, run_dir: Path, name: str, settings: Settings) -> None:
    """Trains the base from nothing with `mlm`, the others from the base: same batches, same number of updates."""
    base = name == BASE
    updates = settings.base_updates if base else settings.updates
    folder = run_dir / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    words = ["weam-train", str(run_dir / "data-bin"), "--arch", settings.arch, "--pairs", ",".join(PAIRS)]
    words += ["--objective", "mlm" if base else name, "--mask-prob", str(settings.mask_prob)]
    words += ["--batch-size", str(settings.batch_size), "--num-workers", "1"]
    words += ["--distributed-world-size", "1"]  # also where there are several GPUs: the demo is one small training
    words += ["--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--weight-decay", "0.01", "--clip-norm", "1.0"]
    words += ["--lr", str(settings.base_lr if base else settings.lr), "--lr-scheduler", "polynomial_decay"]
    words += ["--warmup-updates", str(updates // 10), "--total-num-update", str(updates), "--max-update", str(updates)]
    words += ["--save-dir", str(folder), "--save-interval-updates", str(updates // 4), "--keep-interval-updates", "1"]
    words += ["--validate-interval-updates", str(updates // 4), "--no-epoch-checkpoints", "--seed", str(settings.seed)]
    words += ["--log-format", "json", "--log-interval", "10"]
    if not base:
        # Either sentence first: the models are scored on single sentences, which stand where a pair's first one does.
        words += ["--shuffle-order"]
        words += ["--finetune-from-model", str(run_dir / "models" / BASE / "checkpoint_last.pt")]
    journal.note("commands", f"train {name}", shlex.join(words))
    print(f"$ {shlex.join(words)}", flush=True)
    follow(words, updates, folder / "train.log", name)


def follow(words: list[str], updates: int, log: Path, name: str) -> None:
    """Runs a training, keeps its log, and shows it as a progress bar."""
    with (
        log.open("a", encoding="utf-8") as kept,
        tqdm(total=updates, desc=name, unit=" updates", mininterval=1) as bar,
        subprocess.Popen(
            [BIN / words[0], *words[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env=environment(),
        ) as process,
    ):
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            kept.write(line)
            last = line.strip() or last
            if " | train_inner | " in line:
                update = json.loads(line.rsplit(" | ", 1)[1])
                bar.update(int(update["num_updates"]) - bar.n)
                bar.set_postfix(loss=update["loss"])
    if process.returncode:
        raise StepFailed(f"training {name} ended with: {last} (whole log: {log})")


def export(journal: Journal, name: str, folder: Path) -> None:
    command(journal, f"export {name}", ["weam-to-hf", str(folder / "checkpoint_last.pt"), str(folder / "hf")])


def scored(scores: Path, name: str) -> bool:
    """Whether the figures of one model are there; weam-evaluate writes those of all tasks at once."""
    if not scores.is_file():
        return False
    return any(json.loads(line)["model"] == name for line in scores.read_text(encoding="utf-8").splitlines())


def evaluate(journal: Journal, run_dir: Path, name: str) -> None:
    words = ["weam-evaluate", *TASKS, "--model", str(run_dir / "models" / name / "hf"), "--name", name]
    words += ["--data", str(run_dir / "heldout"), "--languages", ",".join(LANGUAGES)]
    words += ["--out", str(run_dir / "scores.jsonl")]
    command(journal, f"evaluate {name}", words)


def show(journal: Journal, run_dir: Path, data_bin: Path) -> None:
    """Examples of every pair, from the `weam` model."""
    checkpoint = run_dir / "models" / "weam" / "checkpoint_last.pt"
    words = ["weam-show", str(checkpoint), str(data_bin), "--json", str(run_dir / "examples.json"), "--pair", *PAIRS]
    command(journal, "show", [*words, "--index", *map(str, EXAMPLES)])


if __name__ == "__main__":
    main()
