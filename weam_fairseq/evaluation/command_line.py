"""weam-evaluate's options and its help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from weam_fairseq.evaluation import hub
from weam_fairseq.evaluation.data_files import alternatives
from weam_fairseq.evaluation.fine_tuning.recipe import ANSWER_DECODINGS, PRECISIONS, SELECTIONS, TRAIN_ON
from weam_fairseq.evaluation.task import Task, Training
from weam_fairseq.evaluation.tasks import TASKS

EXAMPLE = """example:
  weam-evaluate sentence-retrieval --model runs/demo/hf/weam --name weam --data runs/demo/heldout \\
      --languages de,es,zh --out runs/demo/scores.jsonl
  weam-evaluate xnli --model runs/demo/hf/weam --data xtreme/download --languages all --seeds 1,2,3 \\
      --out scores.jsonl
  weam-evaluate xquad mlqa --model runs/demo/hf/weam --data xtreme/download --languages de,es,zh \\
      --train-file tydiqa.goldp.en.train.json --hold-out 300 --epochs 2 --out scores.jsonl
"""

DEFAULT_BATCH = 64
_MODEL_HELP = "folder with a masked LM, or its name on the Hugging Face Hub"

_TRAINING_GROUP = "tasks that fine-tune (defaults: see the task)"


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weam-evaluate",
        description="Scores a masked language model in a Hugging Face folder. Every number is 0–100, with a signature.",
        epilog="tasks:\n" + "\n".join(_describe(task) for task in TASKS) + "\n\n" + EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", metavar="TASK", nargs="+", help=", ".join(task.name for task in TASKS))
    parser.add_argument("--model", metavar="HF_DIR_OR_NAME", type=Path, required=True, help=_MODEL_HELP)
    parser.add_argument("--name", help="the model's name in the scores (default: the folder's name)")
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        required=True,
        help="the evaluation files, or all tasks' folders; or hub:NAME, the benchmark under that name on the Hugging "
        f"Face Hub (hub: alone: its usual name), for {', '.join(hub.SOURCES)} (needs the package datasets)",
    )
    parser.add_argument(
        "--languages",
        metavar="de,es,zh",
        required=True,
        help="target languages; `all`: every language of the task, `present`: each that has data",
    )
    parser.add_argument("--source-language", default="en", help="the other side of every pair (default: en)")
    parser.add_argument(
        "--split",
        help="part of the data, as in the files' names (default: the task's first; heldout, or - for gold sets whose "
        "names hold no split)",
    )
    parser.add_argument(
        *("--seeds", "--seed"),
        metavar="1,2,3",
        default="1",
        help="a run for each, where chance plays (default: 1)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        help=f"examples at once: of an update (default: the task's), of encoding (default: {DEFAULT_BATCH})",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="JSON lines file to add the scores to")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")
    parser.add_argument(
        *("--predictions",),
        metavar="DIR",
        type=Path,
        help="folder for predictions, in which each model has a folder of its own (default: the fine-tuned folder, or "
        "`predictions` beside --out)",
    )
    parser.add_argument(
        "--gold-from",
        type=int,
        choices=(0, 1),
        help="number of a sentence's first word in gold links (default: 0; a file that seems to count from 1 is "
        "an error)",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="of training and of encoding; bf16 is by autocast (default: fp32)"
    )
    _add_fine_tuning(parser.add_argument_group(_TRAINING_GROUP))
    return parser


def training_options(options: argparse.Namespace) -> list[str]:
    """Those of the options that were given and that only tasks that fine-tune have a use for."""
    (group,) = (group for group in make_parser()._action_groups if group.title == _TRAINING_GROUP)
    given = [action for action in group._group_actions if getattr(options, action.dest) != action.default]
    return [action.option_strings[0] for action in given]


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
    group.add_argument(
        *("--answer-decoding",),
        choices=ANSWER_DECODINGS,
        default=ANSWER_DECODINGS[0],
        help="mlqa, xquad, tydiqa: read answers out as BERT's and XTREME's scripts do, or take the best of all spans, "
        "close to transformers' pipeline (default: %(default)s)",
    )
    group.add_argument("--epochs", type=int, help="times that all training data is seen")
    group.add_argument("--learning-rate", type=float, help="at its peak, such as 2e-5")
    group.add_argument("--max-length", type=int, metavar="PIECES", help="of one input, special pieces included")
    group.add_argument("--doc-stride", type=int, metavar="PIECES", help="between the starts of a context's windows")
    group.add_argument("--warmup", type=int, metavar="UPDATES", help="a tenth of all updates at most")
    group.add_argument("--weight-decay", type=float, help="not of biases and LayerNorm")
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
