"""weam-evaluate: from a Hugging Face folder to scores with their signatures."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weam_fairseq.errors import InputError
from weam_fairseq.evaluation import hub
from weam_fairseq.evaluation.data_files import alternatives
from weam_fairseq.evaluation.fine_tuning.recipe import PRECISIONS, SELECTIONS, TRAIN_ON, FineTuning
from weam_fairseq.evaluation.hf_folder import hash_files, load_folder, open_folder
from weam_fairseq.evaluation.measurement import Measurement, Setting
from weam_fairseq.evaluation.scores import Score, installed_versions, make_score, write_scores
from weam_fairseq.evaluation.task import Task, Training
from weam_fairseq.evaluation.tasks import (
    TASKS,
    check_language,
    check_split,
    data_files,
    find_task,
    languages_there,
    read_data,
)
from weam_fairseq.threads import wait_without_spinning

EXAMPLE = """example:
  weam-evaluate sentence-retrieval --model runs/demo/hf/weam --name weam --data runs/demo/heldout \\
      --languages de,es,zh --out runs/demo/scores.jsonl
  weam-evaluate xnli --model runs/demo/hf/weam --data xtreme/download --languages all --seeds 1,2,3 \\
      --out scores.jsonl
  weam-evaluate xquad mlqa --model runs/demo/hf/weam --data xtreme/download --languages de,es,zh \\
      --train-file tydiqa.goldp.en.train.json --hold-out 300 --epochs 2 --out scores.jsonl
"""

_DEFAULT_BATCH = 64
_DEFAULT_SPLIT = "heldout"

# Hyper-parameters by the option that sets them.
_RECIPE_OPTIONS = (
    *("epochs", "learning_rate", "batch_size", "max_length", "doc_stride", "warmup", "weight_decay", "precision"),
)

# What to say of counts that a task leaves in a score's detail.
_REMARKS = {
    "sentences_cut": "sentences were longer than the model takes and were cut",
    "sentences_split": "sentences were longer than the model takes and were read in parts",
    "repeated_left_out": "sentences stand there more than once and were left out",
    "links_left_out": "entries of the gold file are no links",
    "links_outside": "gold links point outside their sentences and can be hit by none",
    "links_without_pieces": "links were left out because a word of theirs has no pieces",
    "sentences_without_masks": "sentences had no piece to mask",
    "pairs_cut": "pairs were longer than --max-length and were cut",
    "choices_cut": "choices with their prompt were longer than --max-length and were cut",
    "questions_cut": "questions were longer than 64 pieces (or half of --max-length) and were cut",
    "empty_answers": "questions got an empty answer",
    "words_without_pieces": "words have no pieces and went in as the unknown piece",
    "words_too_long": "words alone are longer than --max-length and went in as the unknown piece",
    "ids_repeated": "questions have an id that others have too (it goes on with # and a number)",
    "same_answer": "examples all got the same answer: the model has learnt nothing that shows here",
    "seen_in_training": "examples are in the training data, text for text",
}
_TRAINING_REMARKS = {
    "pairs_cut": "training pairs were longer than --max-length and were cut",
    "pairs_without_label": "training pairs have no label that the task knows and were left out",
    "answers_not_in_context": "training answers are not in their context at their place and were left out",
    "questions_cut": "training questions were longer than 64 pieces (or half of --max-length) and were cut",
    "words_without_pieces": "training words have no pieces and went in as the unknown piece",
    "words_too_long": "training words alone are longer than --max-length and went in as the unknown piece",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the tasks. Returns the exit code: 0, or 2 after one sentence on stderr."""
    options = _parser().parse_args(argv)
    wait_without_spinning()
    scores: list[Score] = []
    code = 0
    try:
        tasks = [find_task(name) for name in dict.fromkeys(options.task)]
        for task in tasks:
            for seed in _seeds(options, task):
                new = evaluate(task, options, seed)
                if options.out is not None:
                    write_scores(options.out, new)  # at once: the next fine-tuning may take hours
                scores += new
    except (InputError, OSError) as error:
        print(f"weam-evaluate: error: {error}", file=sys.stderr)
        code = 2
    if scores:
        _print_warnings(scores)
        print(format_table(scores))
    return code


def evaluate(task: Task, options: argparse.Namespace, seed: int = 1) -> list[Score]:
    """Reads the data first, so that a mistake in it shows before a model is loaded."""
    setting = Setting(
        data=options.data,
        languages=(),
        source_language=options.source_language,
        split=options.split or (task.splits[0] if task.splits else _DEFAULT_SPLIT),
        seed=seed,
        batch_size=_DEFAULT_BATCH if options.batch_size is None else options.batch_size,
        predictions=options.predictions,
        fine_tuning=_fine_tuning(options) if task.training is not None else None,
    )
    setting = _from_hub(task, setting, options) if str(options.data).startswith(hub.PREFIX) else setting
    setting = replace(setting, languages=_languages(task, options.languages, setting))
    _check(task, setting)
    files = data_files(task, setting)
    data = read_data(task, files)
    if task.training is None:
        folder = load_folder(options.model, options.device, task.needs_head)
    else:
        folder = open_folder(options.model, options.device)
    measurements = task.measure(folder, data, setting)
    hashes = {language: hash_files(list(dict.fromkeys(paths))) for language, paths in files.items()}
    # Some tasks name their figures by the pair; one of the source language comes from all files.
    hashes |= {setting.pair(language): found for language, found in hashes.items()}
    every = list(dict.fromkeys(path for paths in files.values() for path in paths))
    hashes.setdefault(setting.source_language, hash_files(every))
    return [
        make_score(
            _with_relative_paths(measurement, options.out),
            task=task.name,
            model=options.name or options.model.resolve().name,
            checkpoint=folder.checkpoint,
            data=hashes[measurement.language],
            seed=setting.seed,
            versions=installed_versions(),
        )
        for measurement in measurements
    ]


def format_table(scores: Sequence[Score]) -> str:
    """The scores as aligned columns."""
    rows = [("task", "model", "language", "seed", "metric", "value", "n", "beside it")]
    rows += [
        (
            score.task,
            score.model,
            score.language,
            str(score.seed),
            score.metric,
            f"{score.value:.1f}",
            f"{score.n:,}",
            _remark(score.detail),
        )
        for score in scores
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _remark(detail: Mapping[str, Any]) -> str:
    parts = []
    if "directions" in detail:
        parts += [f"{name} {value:.1f}" for name, value in detail["directions"].items()]
    for name, text in (
        ("precision", "precision {:.1f}"),
        ("recall", "recall {:.1f}"),
        ("unigram_bound", "unigram bound {:.1f}"),
        ("layer", "layer {}"),
        ("shared_pieces", "shared pieces alone {:.1f}"),
    ):
        if name in detail:
            parts.append(text.format(detail[name]))
    if "fine_tuned" in detail:
        dev = (
            f" of {len(detail['dev'])}, dev {detail['dev'][detail['epoch'] - 1]:.1f}" if detail["dev"] else ", the last"
        )
        parts.append(f"epoch {detail['epoch']}{dev}")
    if "oracle" in detail:
        parts.append(f"target-dev oracle: epoch {detail['oracle']['epoch']}")
    return ", ".join(parts)


def _print_warnings(scores: Sequence[Score]) -> None:
    said = set()
    for score in scores:
        counts = {**score.detail, **score.detail.get("notes", {})}
        trained = score.detail.get("training_notes", {})
        notes = [
            *((score.language, counts.get(name), meaning) for name, meaning in _REMARKS.items()),
            *((score.task, trained.get(name), meaning) for name, meaning in _TRAINING_REMARKS.items()),
        ]
        for where, count, meaning in notes:
            note = f"{where}: {count:,} {meaning}." if count else ""
            if note and (score.task, note) not in said:
                said.add((score.task, note))
                print(f"weam-evaluate: note: {note}", file=sys.stderr)
        if score.detail.get("pooler_new") and (score.task, "pooler") not in said:
            said.add((score.task, "pooler"))
            print(
                f"weam-evaluate: note: {score.task}: the folder has no pooler, so its weights were drawn by the seed.",
                file=sys.stderr,
            )


def _seeds(options: argparse.Namespace, task: Task) -> list[int]:
    try:
        seeds = list(dict.fromkeys(int(part) for part in options.seeds.split(",") if part.strip()))
    except ValueError:
        raise InputError(f"--seeds must be numbers such as 1,2,3, but is {options.seeds!r}.") from None
    if not seeds or min(seeds) < 0:
        raise InputError(f"--seed must be 0 or more, and --seeds such numbers, but is {options.seeds!r}.")
    return seeds if task.uses_seed else seeds[:1]


def _fine_tuning(options: argparse.Namespace) -> FineTuning:
    work = options.work
    if work is None and options.out is not None:
        work = options.out.parent / "fine-tuned"
    if work is None:
        raise InputError(
            "a task that fine-tunes keeps its models and predictions: give --out FILE (they go to `fine-tuned` beside "
            "it), or --work DIR."
        )
    values = {name: getattr(options, name) for name in _RECIPE_OPTIONS if getattr(options, name) is not None}
    return FineTuning(
        work=work,
        train_on=options.train_on,
        train_files=tuple(options.train_file),
        dev_files=tuple(options.dev_file),
        hold_out=options.hold_out,
        train_examples=options.train_examples,
        select=options.select,
        oracle=options.oracle,
        values=values,
        save_every=options.save_every,
    )


def _from_hub(task: Task, setting: Setting, options: argparse.Namespace) -> Setting:
    """The same with the folder into which the Hub's rows were written."""
    text = options.languages
    chosen = list(task.languages or ()) if text == "all" else [part.strip() for part in text.split(",") if part.strip()]
    check_split(task, setting.split)
    for language in chosen:
        check_language(task, language)
    work = _fine_tuning(options).work
    return replace(setting, data=hub.folder_of(task.name, str(options.data), chosen, setting.split, work))


def _languages(task: Task, text: str, setting: Setting) -> tuple[str, ...]:
    """`all` is every language of the benchmark, `present` each that has files; the missing ones are named."""
    if text not in ("all", "present"):
        return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not setting.data.is_dir():
        raise InputError(f"the data folder {setting.data} is not there. Give --data the evaluation files' folder.")
    there = languages_there(task, setting)
    missing = [language for language in task.languages or () if language not in there]
    if missing and text == "all":
        have = f"There is for {','.join(there)}: give these, or `present`." if there else "There is for none."
        raise InputError(
            f"{task.name}: {setting.data} has no data (split {setting.split!r}) for {', '.join(missing)}. {have}"
        )
    if not there:
        raise InputError(f"{task.name}: {setting.data} has data (split {setting.split!r}) for no language.")
    if missing:
        print(
            f"weam-evaluate: note: {task.name}: no data (split {setting.split!r}) for {', '.join(missing)}.",
            file=sys.stderr,
        )
    return tuple(there)


def _check(task: Task, setting: Setting) -> None:
    if not setting.languages:
        raise InputError("--languages names no language. Give some, as in --languages de,es,zh.")
    if task.languages is None and setting.source_language in setting.languages:
        raise InputError(
            f"--languages names {setting.source_language!r}, which is the source language. "
            "Name the target languages only."
        )
    if setting.batch_size < 1:
        raise InputError(f"--batch-size must be at least 1 sentence, but is {setting.batch_size}.")


def _with_relative_paths(measurement: Measurement, out: Path | None) -> Measurement:
    """Prediction files as seen from the scores file, so that both can be moved together."""
    if out is None:
        return measurement
    detail = {
        name: os.path.relpath(value, out.parent) if name in ("predictions", "items") else value
        for name, value in measurement.detail.items()
    }
    return replace(measurement, detail=detail)


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
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        required=True,
        help="the evaluation files, or all tasks' folders",
    )
    parser.add_argument(
        "--languages",
        metavar="de,es,zh",
        required=True,
        help="target languages; `all`: every language of the task, `present`: each that has data",
    )
    parser.add_argument("--source-language", default="en", help="the other side of every pair (default: en)")
    parser.add_argument("--split", help="part of the data, as in the files' names (default: the task's first; heldout)")
    parser.add_argument(
        *("--seeds", "--seed"),
        metavar="1,2,3",
        default="1",
        help="a run for each, where chance plays (default: 1)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        help=f"examples at once: of an update (default: the task's), of encoding (default: {_DEFAULT_BATCH})",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="JSON lines file to add the scores to")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")
    parser.add_argument(
        "--predictions", metavar="DIR", type=Path, help="folder for predictions (default: in the fine-tuned folder)"
    )
    _add_fine_tuning(parser.add_argument_group("tasks that fine-tune (defaults: see the task)"))
    return parser


def _add_fine_tuning(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--work", metavar="DIR", type=Path, help="fine-tuned models, used again (default: `fine-tuned` beside --out)"
    )
    group.add_argument(
        *("--train-on",), choices=TRAIN_ON, default="english", help="English data, or its published translations"
    )
    group.add_argument(
        "--train-file",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="train on this English file instead; may be repeated",
    )
    group.add_argument(
        "--dev-file",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="choose the epoch on this English file instead; may be repeated",
    )
    group.add_argument(
        "--hold-out", metavar="N", type=int, default=0, help="choose the epoch on N examples of the training data"
    )
    group.add_argument("--select", choices=SELECTIONS, help="the epoch that is best on English dev, or the last")
    group.add_argument(
        "--oracle", action="store_true", help="also give, apart, the figure of the epoch best on the target's own dev"
    )
    group.add_argument(
        "--train-examples", metavar="N", type=int, default=0, help="train on N examples of the data (default: all)"
    )
    group.add_argument("--epochs", type=int, help="times that all training data is seen")
    group.add_argument("--learning-rate", type=float, help="at its peak, such as 2e-5")
    group.add_argument("--max-length", type=int, metavar="PIECES", help="of one input, special pieces included")
    group.add_argument("--doc-stride", type=int, metavar="PIECES", help="between the starts of a context's windows")
    group.add_argument("--warmup", type=int, metavar="UPDATES", help="a tenth of all updates at most")
    group.add_argument("--weight-decay", type=float, help="not of biases and LayerNorm")
    group.add_argument("--precision", choices=PRECISIONS, help="default: fp32")
    group.add_argument(
        "--save-every", metavar="UPDATES", type=int, default=500, help="an interrupted run goes on from there"
    )


def _describe(task: Task) -> str:
    files = ", ".join(_either(names) for names in task.files[:2])
    indent = f"  {'':<19}"
    lines = [f"  {task.name:<19}{task.summary} ({task.metric})", f"{indent}reads {files}; {task.citation}"]
    if task.languages is not None:
        lines.append(f"{indent}languages {' '.join(task.languages)}; splits {', '.join(task.splits)}")
    if task.training is not None:
        lines += [f"{indent}{line}" for line in _trains_on(task.training)]
    if task.published:
        lines.append(f"{indent}from {task.published}")
    return "\n".join(lines)


def _either(names: str | Sequence[str]) -> str:
    """The first two of several names, with the fields as a person writes them."""
    shown = [_plain(name) for name in alternatives(names if isinstance(names, str) else tuple(names))]
    return " or ".join(shown[:2]) + (", …" if len(shown) > 2 else "")


def _plain(name: str, language: str = "XX") -> str:
    fields = {"split": "SPLIT", "pair": "en-XX", "name": "NAME", "laser": "XXX"}
    return name.format(**fields, language=language, context=language, question=language)


def _trains_on(training: Training) -> list[str]:
    first = f"{_plain(training.before.files['english'][0])}, then " if training.before else ""
    lines = [f"trains on {first}{_plain(training.files['english'][0], 'en')}"]
    if "translate-train" in training.files:
        lines.append(f"with --train-on translate-train: {_plain(training.files['translate-train'][0])}")
    kept = f"the best epoch on {_plain(training.dev[0], 'en')}" if training.dev else "the last epoch"
    return [*lines, f"keeps {kept}; {training.recipe.text} ({training.source})"]


if __name__ == "__main__":
    sys.exit(main())
