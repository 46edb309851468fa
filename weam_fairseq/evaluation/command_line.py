"""weam-evaluate's options and its help."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from weam_fairseq.common.arguments import CommandParser, positive
from weam_fairseq.evaluation.benchmark import OWN_PAIRS, Alternatives, Benchmark, Setting, Training
from weam_fairseq.evaluation.benchmarks import BENCHMARKS
from weam_fairseq.evaluation.data_files import alternatives
from weam_fairseq.evaluation.fine_tuning.recipe import ANSWER_DECODINGS, PRECISIONS, SELECTIONS, TRAIN_ON
from weam_fairseq.evaluation.held_out import MOST_PAIRS

EXAMPLE = """example:
  weam-evaluate --model intfloat/multilingual-e5-small --model runs/weam/checkpoint_last.pt --data data-bin \\
      --out runs/weam/scores.jsonl
  weam-evaluate tatoeba --model runs/weam/hf --name weam --data tatoeba --languages de,es,zh --out scores.jsonl
  weam-evaluate xnli --model runs/weam/hf --data xtreme/download --languages all --seeds 1,2,3 \\
      --out scores.jsonl
  weam-evaluate xquad mlqa --model runs/weam/hf --data xtreme/download --languages de,es,zh \\
      --train-file tydiqa.goldp.en.train.json --hold-out 300 --epochs 2 --out scores.jsonl
"""

DEFAULT_BATCH = Setting.batch_size
FIXED, BEST = LAYERS = ("fixed", "best")
_MODEL_HELP = (
    "folder with a masked language model, its name on the Hugging Face Hub, or a checkpoint of weam-train; repeatable: "
    "the first model is the baseline (weam-report has its own --baseline)"
)
_OWN_GROUP = "did it help? Without TASK, models are compared on your own held-out pairs"
_TRAINING_GROUP = "options of tasks that fine-tune (the task list below shows the defaults)"


def make_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="weam-evaluate",
        usage="%(prog)s TASK … --model MODEL … --data DIR --languages de,es,zh [option …]\n"
        "       %(prog)s --model MODEL --model MODEL … (--data DATA_BIN | --bitext FILE.tsv) [option …]",
        description="Scores masked language models. Each score is 0–100 and has a signature. Without TASK, compares\n"
        "models on your own held-out pairs: did training help?",
        epilog="\n\n".join([*_described(), EXAMPLE]),
    )
    parser.add_argument("task", metavar="TASK", nargs="*", help=", ".join(benchmark.name for benchmark in BENCHMARKS))
    parser.add_argument("--model", metavar="MODEL", type=Path, action="append", required=True, help=_MODEL_HELP)
    parser.add_argument(
        "--name", action="append", help="a model's name in the scores; once for each --model (default: its folder's)"
    )
    on_hub = ", ".join(benchmark.name for benchmark in BENCHMARKS if benchmark.hub is not None)
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        help="folder with the evaluation files, or with one subfolder per task; or hub:NAME, a dataset on the Hugging "
        f"Face Hub (hub: alone uses the task's usual name), for {on_hub} (needs the package datasets). Without TASK: "
        "a data-bin of weam-preprocess, whose validation pairs are measured",
    )
    parser.add_argument(
        "--languages",
        metavar="de,es,zh",
        help="target languages; `all`: every language of the task; `present`: every language that has data. Without "
        "TASK: pairs of the data-bin, or the pair of --bitext, such as en-de (default: all pairs)",
    )
    parser.add_argument("--source-language", default="en", help="the source language of all pairs (default: en)")
    parser.add_argument(
        "--split",
        help="part of the data, as spelled in the file names (default: the first split listed for the task; "
        "`heldout` for masked-pieces, sentence-retrieval and word-retrieval; none for gold-link files without a split "
        "in their names)",
    )
    parser.add_argument(
        *("--seeds", "--seed"),
        metavar="1,2,3",
        default="1",
        help="run once per seed, for tasks that use random numbers (default: 1)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        help=f"batch size of fine-tuning (default: set by the task) and of encoding (default: {DEFAULT_BATCH})",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="JSON lines file to which the scores are added")
    parser.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cuda", "mps", "cpu"),
        help="device to run on (default: auto, which is cuda, else mps (Apple), else cpu)",
    )
    parser.add_argument(
        *("--predictions",),
        metavar="DIR",
        type=Path,
        help="folder for predictions, with one subfolder per model (default: the fine-tuned folder, or `predictions` "
        "next to --out)",
    )
    parser.add_argument(
        "--gold-from",
        type=int,
        choices=(0, 1),
        help="the number of a sentence's first word in gold links (default: 0; a file that appears to count from 1 is "
        "an error)",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, help="precision of training and encoding; bf16 uses autocast (default: fp32)"
    )
    parser.add_argument(
        "--layer",
        choices=LAYERS,
        help="for tatoeba, word-alignment and lareqa: `fixed` measures the layer of the publications; `best` chooses "
        "the layer of each language on half of its pairs or questions, and reports the other half (default: fixed)",
    )
    _add_own_pairs(parser.add_argument_group(_OWN_GROUP))
    _add_fine_tuning(parser.add_argument_group(_TRAINING_GROUP))
    return parser


def given_options(options: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Those of the options that were given another value than the default."""
    actions = {action.dest: action for action in make_parser()._actions}
    return [actions[name].option_strings[0] for name in names if getattr(options, name) != actions[name].default]


OWN_PAIRS_OPTIONS = ("bitext", "gold", "max_pairs", "training_data")


def _add_own_pairs(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--bitext",
        metavar="FILE",
        type=Path,
        help="held-out pairs, `source<TAB>target` lines, in place of --data; any model can read them",
    )
    group.add_argument(
        "--gold",
        metavar="FILE",
        type=Path,
        help="hand-made word links of --bitext, one line a pair: i-j (sure) or ipj (possible), words between spaces",
    )
    group.add_argument(
        "--max-pairs",
        metavar="N",
        type=int,
        default=MOST_PAIRS,
        help="measure at most N pairs of each language pair, taken at even distances (default: %(default)s)",
    )
    group.add_argument(
        "--training-data",
        metavar="DATA_BIN",
        type=Path,
        action="append",
        default=[],
        help="count the measured sentences that occur in the training pairs of this data-bin, and warn; can be "
        "repeated (the data-bin of --data is always checked)",
    )


def training_options(options: argparse.Namespace) -> list[str]:
    """The given options that only tasks that fine-tune use."""
    (group,) = (group for group in make_parser()._action_groups if group.title == _TRAINING_GROUP)
    given = [action for action in group._group_actions if getattr(options, action.dest) != action.default]
    return [action.option_strings[0] for action in given]


def _add_fine_tuning(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--work",
        metavar="DIR",
        type=Path,
        help="folder for fine-tuned models, which are reused (default: `fine-tuned` next to --out)",
    )
    group.add_argument(
        *("--train-on",),
        choices=TRAIN_ON,
        default="english",
        help="train on English data, or on its published translations (default: %(default)s)",
    )
    for option, use in (("--train-file", "train on"), ("--dev-file", "select the epoch on")):
        group.add_argument(
            option,
            metavar="FILE",
            type=Path,
            action="append",
            default=[],
            help=f"{use} this English file instead of the task's own; repeatable",
        )
    group.add_argument(
        "--hold-out", metavar="N", type=int, default=0, help="hold out N training examples and select the epoch on them"
    )
    group.add_argument(
        "--select",
        choices=SELECTIONS,
        help="keep the epoch that is best on English dev, or the last epoch (default: dev, or last for tasks without "
        "dev)",
    )
    group.add_argument(
        "--oracle",
        action="store_true",
        help="also report, in the score's detail, the figure of the epoch that is best on the target language's dev",
    )
    group.add_argument(
        "--train-examples", metavar="N", type=int, default=0, help="train on N examples of the data (default: all)"
    )
    answering = ", ".join(benchmark.name for benchmark in BENCHMARKS if benchmark.answers_questions)
    group.add_argument(
        *("--answer-decoding",),
        choices=ANSWER_DECODINGS,
        help=f"for {answering}: extract answers as the scripts of BERT and XTREME do, or take the best of all spans, "
        f"much like the pipeline of transformers (default: {ANSWER_DECODINGS[0]})",
    )
    group.add_argument("--epochs", type=int, help="number of passes over the training data")
    group.add_argument("--learning-rate", type=float, help="peak learning rate, such as 2e-5")
    group.add_argument("--max-length", type=int, metavar="PIECES", help="longest input, special pieces included")
    group.add_argument(
        "--doc-stride", type=int, metavar="PIECES", help="distance between the starts of a context's windows"
    )
    group.add_argument(
        "--warmup", type=int, metavar="UPDATES", help="updates of warm-up, limited to a tenth of all updates"
    )
    group.add_argument("--weight-decay", type=float, help="weight decay, except for biases and LayerNorm")
    group.add_argument(
        "--save-every",
        metavar="UPDATES",
        type=positive,
        default=500,
        help="updates between saved states, from which an interrupted run resumes (default: %(default)s)",
    )


def _described() -> list[str]:
    """The tasks in three groups."""
    groups: dict[str, list[Benchmark]] = {
        "tasks that read your own files, without training:": [],
        "tasks that fine-tune:": [],
        "published benchmarks and gold links, without training:": [],
    }
    own, tuned, plain = groups.values()
    for benchmark in BENCHMARKS:
        group = tuned if benchmark.fine_tuned else own if benchmark.published == OWN_PAIRS else plain
        group.append(benchmark)
    return ["\n".join([title, *map(_describe, members)]) for title, members in groups.items()]


def _describe(benchmark: Benchmark) -> str:
    files = ", ".join(_either(names) for names in benchmark.files[:2])
    indent = f"  {'':<19}"
    lines = [
        f"  {benchmark.name:<19}{benchmark.summary} ({benchmark.metric})",
        f"{indent}reads {files}; {benchmark.citation}",
    ]
    if benchmark.languages is not None:
        lines.append(f"{indent}languages {' '.join(benchmark.languages)}; splits {', '.join(benchmark.splits)}")
    if benchmark.fine_tuned is not None:
        lines += [f"{indent}{line}" for line in _trains_on(benchmark.fine_tuned.training)]
    return "\n".join([*lines, f"{indent}from {benchmark.published}"])


def _either(names: str | Alternatives) -> str:
    """The first two of several names, with readable fields."""
    shown = [_readable(name) for name in alternatives(names)]
    return " or ".join(shown[:2]) + (", …" if len(shown) > 2 else "")


def _readable(name: str, language: str = "XX") -> str:
    fields = {"split": "SPLIT", "pair": "en-XX", "code": "XXX"}
    return name.format(**fields, language=language, context=language, question=language)


def _trains_on(training: Training) -> list[str]:
    first = f"{_readable(training.before.files['english'][0])}, then " if training.before else ""
    lines = [f"trains on {first}{_readable(training.files['english'][0], 'en')}"]
    if "translate-train" in training.files:
        lines.append(f"with --train-on translate-train: {_readable(training.files['translate-train'][0])}")
    kept = f"the best epoch on {_readable(training.dev[0], 'en')}" if training.dev else "the last epoch"
    return [*lines, f"keeps {kept}; {training.recipe.text} ({training.source})"]
