"""From a pretrained folder and training data to a fine-tuned folder. A finished fine-tuning is reused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Benchmark, Setting, Training
from weam_fairseq.evaluation.data_files import find_files
from weam_fairseq.evaluation.fine_tuning.head import Arithmetic, Head, predict
from weam_fairseq.evaluation.fine_tuning.recipe import FineTuning, Recipe
from weam_fairseq.evaluation.fine_tuning.train import Store, train
from weam_fairseq.evaluation.hf_folder import Folder, hash_files, put_head_on
from weam_fairseq.evaluation.readers import with_labels

# Gold and predictions to the figure that epochs are compared by.
DevFigure = Callable[[Sequence[Any], Sequence[Any]], float]


@dataclass(frozen=True)
class TuningData:
    """What a model is trained and selected on. `name` and `dev_name` are for the signature, with hashes."""

    train: list[Any]
    dev: list[Any]
    name: str
    dev_name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Tuned:
    """A finished fine-tuning. `result` is its finished.json."""

    store: Store
    result: dict[str, Any]
    data: TuningData
    recipe: Recipe

    @property
    def path(self) -> Path:
        return self.store.path


def training_files(
    benchmark: Benchmark, training: Training, setting: Setting, language: str
) -> tuple[str, tuple[Path, ...]]:
    """The language and the files that a model for `language` is trained on.

    Raises:
        InputError: the benchmark has no such training data, or a file is missing.
    """
    choice = _choice(setting)
    if choice.train_files:
        _check_files("--train-file", choice.train_files)
        return "en", choice.train_files
    if choice.train_on not in training.files:
        raise InputError(
            f"{benchmark.name} has no --train-on {choice.train_on}; it has {', '.join(training.files)}. "
            "Published translations are read for xnli, pawsx and mlqa."
        )
    wanted = "en" if choice.train_on == "english" else language.split("-")[0]
    names = training.files["english" if wanted == "en" else choice.train_on]
    found = tuple(find_files(setting, benchmark, names, wanted))
    if not found:
        raise InputError(
            f"{benchmark.name} is trained on {training.name}, but {setting.data} does not contain "
            f"{' or '.join(names).format(language=wanted)}. Add the file, or give --train-file another file of the "
            "same kind (see --help)."
        )
    return wanted, found


def read_training(benchmark: Benchmark, training: Training, setting: Setting, head: Head, language: str) -> TuningData:
    """Reads the training data and the data that selects the epoch.

    Raises:
        InputError: a file is missing or malformed, or the epoch would be selected on training data.
    """
    choice = _choice(setting)
    trained_language, files = training_files(benchmark, training, setting, language)
    examples = benchmark.read(*files, language=trained_language)
    name = "files" if choice.train_files else training.name
    name += f":{trained_language}:{hash_files(with_labels(files))}"
    if choice.train_examples and choice.train_examples < len(examples):
        examples = _drawn(examples, head, choice.train_examples)
        name += f":{choice.train_examples}"
    if choice.hold_out:
        examples, dev = _held_out(examples, head, choice.hold_out)
        return TuningData(examples, dev, f"{name}:without{len(dev)}", f"held-out{len(dev)}", files)
    dev_files = _dev_files(benchmark, training, setting)
    if not dev_files:
        return TuningData(examples, [], name, "", files)
    if same := set(map(Path.resolve, files)) & set(map(Path.resolve, dev_files)):
        raise InputError(
            f"{sorted(same)[0]} is a training file and would also select the epoch. Give --hold-out N to hold out "
            "training examples, --dev-file with another file, or --select last."
        )
    dev = benchmark.read(*dev_files, language="en")
    return TuningData(examples, dev, name, f"dev:{hash_files(with_labels(dev_files))}", files)


def fine_tune(
    folder: Folder,
    head: Head,
    training: Training,
    data: TuningData,
    setting: Setting,
    dev_figure: DevFigure,
    start: Tuned | None = None,
) -> Tuned:
    """Trains, or finds what an earlier run trained.

    Args:
        start: an earlier stage, whose weights (head included) training starts from.
    """
    choice = _choice(setting)
    recipe = training.recipe.fitted(choice.values, folder.max_pieces)
    store = Store(choice.work, head.name, _made_of(folder, head, data, recipe, setting, start), choice.save_every)
    with store.locked():
        result = store.finished
        if result is None:
            store.begin()
            result = _train(folder, head, data, recipe, setting, dev_figure, store, start)
    return Tuned(store, result, data, recipe)


def check_gold(head: Head, examples: Sequence[Any], where: str) -> None:
    """Raises InputError: an example's gold cannot be scored."""
    for number, example in enumerate(examples, start=1):
        if not head.scorable(example):
            raise InputError(
                f"{where}: example {number:,} has the answer {head.gold(example)!r}, but only {', '.join(head.labels)} "
                "can be scored. Such data can be used for training only."
            )


def machine_of(folder: Folder, recipe: Recipe, setting: Setting) -> Arithmetic:
    return Arithmetic(folder.device, recipe.precision, folder.tokenizer.pad_token_id or 0, setting.batch_size)


def _train(
    folder: Folder,
    head: Head,
    data: TuningData,
    recipe: Recipe,
    setting: Setting,
    dev_figure: DevFigure,
    store: Store,
    start: Tuned | None,
) -> dict[str, Any]:
    machine = machine_of(folder, recipe, setting)
    loaded = put_head_on(start.path if start else folder.path, head, setting.seed, folder.device)
    rows = head.rows(folder.tokenizer, data.train, recipe, for_training=True)
    evaluate = None
    if data.dev:
        check_gold(head, data.dev, "the dev data")
        dev_rows = head.rows(folder.tokenizer, data.dev, recipe, for_training=False)

        def evaluate(model: Any) -> float:
            return dev_figure(data.dev, predict(model, head, data.dev, dev_rows, machine, "dev"))

    label = f"fine-tuning {head.name} seed {setting.seed}"
    progress = train(loaded.model, head, rows, recipe, setting.seed, machine, store, evaluate, label)
    result = {
        "epoch": progress.best,
        "dev": progress.dev,
        "updates": progress.update,
        "warmup": recipe.warmup_of(progress.update),
        "last_loss": float(sum(progress.loss[-50:]) / len(progress.loss[-50:])),
        "examples": len(data.train),
        "dev_examples": len(data.dev),
        "new_weights": loaded.new,
        "pooler_new": loaded.pooler,
        "notes": {name: count for name, count in rows.notes.items() if count},
    }
    store.finish(loaded.model, folder.path, result)
    return result


def _made_of(
    folder: Folder, head: Head, data: TuningData, recipe: Recipe, setting: Setting, start: Tuned | None
) -> dict[str, Any]:
    return {
        "version": 2,  # 1 hashed the weights alone as `checkpoint`
        "checkpoint": folder.checkpoint,
        "head": head.name,
        "labels": list(head.labels),
        "train": data.name.split(":", maxsplit=1)[1],  # without the data's name: tasks share a model
        "select": data.dev_name or "last",
        "recipe": recipe.text,
        "seed": setting.seed,
        "keep_epochs": _choice(setting).oracle,
        "start": start.path.name if start else "",
        **(head.method if data.dev else {}),  # predictions select the epoch
        **head.preparation(folder.tokenizer),
    }


def _dev_files(benchmark: Benchmark, training: Training, setting: Setting) -> list[Path]:
    """English files that select the epoch; empty to keep the last epoch."""
    choice = _choice(setting)
    if choice.dev_files:
        _check_files("--dev-file", choice.dev_files)
        return list(choice.dev_files)
    if (choice.select or ("dev" if training.dev else "last")) == "last":
        return []
    found = find_files(setting, benchmark, training.dev, "en") if training.dev else []
    if not found:
        names = " or ".join(training.dev).format(language="en") or "no file"
        raise InputError(
            f"{benchmark.name} selects the epoch on English dev ({names}), but {setting.data} does not contain it. "
            "Give --dev-file, --hold-out N (examples of the training data), or --select last."
        )
    return found


def _check_files(option: str, paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.is_file():
            raise InputError(f"{option} {path} does not exist.")


def _drawn(examples: list[Any], head: Head, count: int) -> list[Any]:
    """The same examples for any seed and any order of the file, in the file's order."""
    order = sorted(range(len(examples)), key=lambda index: (_digest("\t".join(head.text_of(examples[index]))), index))
    return [examples[index] for index in sorted(order[:count])]


def _held_out(examples: list[Any], head: Head, count: int) -> tuple[list[Any], list[Any]]:
    """Holds out complete groups of scorable examples, so that no premise or context is on both sides."""
    groups: dict[str, list[int]] = {}
    for index, example in enumerate(examples):
        groups.setdefault(head.group_of(example), []).append(index)
    out: set[int] = set()
    for group in sorted(groups, key=_digest):
        if len(out) >= count:
            break
        if all(head.scorable(examples[index]) for index in groups[group]):
            out.update(groups[group])
    if len(out) < count or len(out) == len(examples):
        raise InputError(f"--hold-out {count} is too large for {len(examples):,} training examples. Give a smaller N.")
    return (
        [example for index, example in enumerate(examples) if index not in out],
        [example for index, example in enumerate(examples) if index in out],
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def _choice(setting: Setting) -> FineTuning:
    assert setting.fine_tuning is not None, "the command line fills this in for tasks that fine-tune"
    return setting.fine_tuning
