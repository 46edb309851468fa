"""weam-evaluate: from a Hugging Face folder to scores with their signatures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from weam_fairseq.errors import InputError
from weam_fairseq.evaluation.hf_folder import hash_files, load_folder
from weam_fairseq.evaluation.measurement import Setting
from weam_fairseq.evaluation.scores import Score, installed_versions, make_score, write_scores
from weam_fairseq.evaluation.tasks import TASKS, Task, data_files, find_task, read_data
from weam_fairseq.threads import wait_without_spinning

EXAMPLE = """example:
  weam-evaluate sentence-retrieval --model runs/demo/hf/weam --name weam --data runs/demo/heldout \\
      --languages de,es,zh --out runs/demo/scores.jsonl
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the tasks. Returns the exit code: 0, or 2 after one sentence on stderr."""
    options = _parser().parse_args(argv)
    wait_without_spinning()
    try:
        tasks = [find_task(name) for name in dict.fromkeys(options.task)]
        scores = [score for task in tasks for score in evaluate(task, options)]
        if options.out is not None:
            write_scores(options.out, scores)
    except (InputError, OSError) as error:
        print(f"weam-evaluate: error: {error}", file=sys.stderr)
        return 2
    _print_warnings(scores)
    print(format_table(scores))
    return 0


def evaluate(task: Task, options: argparse.Namespace) -> list[Score]:
    """Reads the data first, so that a mistake in it shows before a model is loaded."""
    setting = Setting(
        data=options.data,
        languages=_languages(options.languages),
        source_language=options.source_language,
        split=options.split,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    _check(setting)
    files = data_files(task, setting)
    data = read_data(task, files)
    folder = load_folder(options.model, options.device, task.needs_head)
    measurements = task.measure(folder, data, setting)
    data_hash = hash_files([path for paths in files.values() for path in paths])
    return [
        make_score(
            measurement,
            task=task.name,
            model=options.name or options.model.resolve().name,
            checkpoint=folder.checkpoint,
            data=data_hash,
            seed=setting.seed,
            versions=installed_versions(),
        )
        for measurement in measurements
    ]


def format_table(scores: Sequence[Score]) -> str:
    """The scores as aligned columns."""
    rows = [("task", "model", "language", "metric", "value", "n", "beside it")]
    rows += [
        (score.task, score.model, score.language, score.metric, f"{score.value:.1f}", f"{score.n:,}", _remark(score))
        for score in scores
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _remark(score: Score) -> str:
    if "unigram_bound" in score.detail:
        return f"unigram bound {score.detail['unigram_bound']:.1f}"
    directions = ", ".join(f"{name} {value:.1f}" for name, value in score.detail["directions"].items())
    return f"{directions}, layer {score.detail['layer']}, shared pieces alone {score.detail['shared_pieces']:.1f}"


def _print_warnings(scores: Sequence[Score]) -> None:
    for score in scores:
        for name, meaning in (
            ("sentences_cut", "sentences were longer than the model takes and were cut"),
            ("links_without_pieces", "links were left out because a word of theirs has no pieces"),
            ("sentences_without_masks", "sentences had no piece to mask"),
        ):
            if count := score.detail.get(name):
                print(f"weam-evaluate: note: {score.language}: {count:,} {meaning}.", file=sys.stderr)


def _languages(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _check(setting: Setting) -> None:
    if not setting.languages:
        raise InputError("--languages names no language. Give some, as in --languages de,es,zh.")
    if setting.source_language in setting.languages:
        raise InputError(
            f"--languages names {setting.source_language!r}, which is the source language. "
            "Name the target languages only."
        )
    if setting.batch_size < 1:
        raise InputError(f"--batch-size must be at least 1 sentence, but is {setting.batch_size}.")
    if setting.seed < 0:
        raise InputError(f"--seed must be 0 or more, but is {setting.seed}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weam-evaluate",
        description="Scores a masked language model in a Hugging Face folder. Every number is 0–100, with a signature.",
        epilog="tasks:\n" + "\n".join(_describe(task) for task in TASKS) + "\n\n" + EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", metavar="TASK", nargs="+", help=", ".join(task.name for task in TASKS))
    parser.add_argument("--model", metavar="HF_DIR", type=Path, required=True, help="folder with a masked LM")
    parser.add_argument("--name", help="the model's name in the scores (default: the folder's name)")
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help="folder of the evaluation files")
    parser.add_argument("--languages", metavar="de,es,zh", required=True, help="target languages, separated by commas")
    parser.add_argument("--source-language", default="en", help="the other side of every pair (default: en)")
    parser.add_argument("--split", default="heldout", help="first part of the files' names (default: heldout)")
    parser.add_argument("--seed", type=int, default=1, help="decides which pieces are masked (default: 1)")
    parser.add_argument("--batch-size", type=int, default=64, help="sentences encoded at once (default: 64)")
    parser.add_argument("--out", metavar="FILE", type=Path, help="JSON lines file to add the scores to")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")
    return parser


def _describe(task: Task) -> str:
    files = " ".join(name.format(split="SPLIT", pair="en-XX") for name in task.files)
    return f"  {task.name:<19}{task.summary} ({task.metric})\n  {'':<19}reads {files}; {task.citation}"


if __name__ == "__main__":
    sys.exit(main())
