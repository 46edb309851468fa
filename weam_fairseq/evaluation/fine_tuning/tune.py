"""From a pretrained folder and a task's training data to a fine-tuned folder, which is used again if it is there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.data_files import find_files
from weam_fairseq.evaluation.fine_tuning.heads.head import Head
from weam_fairseq.evaluation.fine_tuning.load import put_head_on
from weam_fairseq.evaluation.fine_tuning.predict import Machine, predict
from weam_fairseq.evaluation.fine_tuning.recipe import FineTuning, Recipe
from weam_fairseq.evaluation.fine_tuning.store import Store
from weam_fairseq.evaluation.fine_tuning.train import train
from weam_fairseq.evaluation.hf_folder import Folder, hash_files
from weam_fairseq.evaluation.measurement import Setting
from weam_fairseq.evaluation.task import Training

# Gold and predictions to the figure that epochs are compared by.
DevScore = Callable[[Sequence[Any], Sequence[Any]], float]


@dataclass(frozen=True)
class TrainingData:
    """What a model is trained and chosen on. `name` and `dev_name` are for the signature, with hashes."""

    train: list[Any]
    dev: list[Any]
    name: str
    dev_name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Tuned:
    """A finished fine-tuning. `told` is its finished.json."""

    store: Store
    told: dict[str, Any]
    data: TrainingData
    recipe: Recipe

    @property
    def path(self) -> Path:
        return self.store.path


def training_files(task: str, training: Training, setting: Setting, language: str) -> tuple[str, tuple[Path, ...]]:
    """The language and the files that a model for `language` is trained on.

    Raises:
        InputError: the task has no such training data, or a file is not there.
    """
    choice = _choice(setting)
    if choice.train_files:
        for path in choice.train_files:
            if not path.is_file():
                raise InputError(f"--train-file {path} is not there.")
        return "en", choice.train_files
    if choice.train_on not in training.files:
        raise InputError(
            f"{task} has no --train-on {choice.train_on}; it has {', '.join(training.files)}. "
            "Published translations are read for xnli, pawsx and mlqa."
        )
    wanted = "en" if choice.train_on == "english" else language.split("-")[0]
    names = training.files["english" if wanted == "en" else choice.train_on]
    found = tuple(find_files(setting, task, names, wanted))
    if not found:
        raise InputError(
            f"{task} is trained on {training.name}, of which {' or '.join(names).format(language=wanted)} is not in "
            f"{setting.data}. Add it, or give --train-file another file of the same kind (see --help)."
        )
    return wanted, found


def read_training(
    task: str, training: Training, setting: Setting, head: Head, read: Callable[..., Any], language: str
) -> TrainingData:
    """Reads the training data and what the epoch is chosen on.

    Raises:
        InputError: a file is missing or malformed, or the epoch would be chosen on training data.
    """
    choice = _choice(setting)
    trained_language, files = training_files(task, training, setting, language)
    examples = read(*files, language=trained_language)
    name = "files" if choice.train_files else training.name
    name += f":{trained_language}:{hash_files(list(files))}"
    if choice.train_examples and choice.train_examples < len(examples):
        examples = _drawn(examples, head, choice.train_examples)
        name += f":{choice.train_examples}"
    if choice.hold_out:
        examples, dev = _held_out(examples, head, choice.hold_out)
        return TrainingData(examples, dev, f"{name}:without{len(dev)}", f"held-out{len(dev)}", files)
    dev_files = _dev_files(task, training, setting, read)
    if not dev_files:
        return TrainingData(examples, [], name, "", files)
    if same := set(map(Path.resolve, files)) & set(map(Path.resolve, dev_files)):
        raise InputError(
            f"{sorted(same)[0]} is among the training files and would choose the epoch as well. Give --hold-out N "
            "to set examples aside, --dev-file, or --select last."
        )
    return TrainingData(examples, read(*dev_files, language="en"), name, f"dev:{hash_files(dev_files)}", files)


def fine_tune(
    folder: Folder,
    head: Head,
    training: Training,
    data: TrainingData,
    setting: Setting,
    dev_score: DevScore,
    start: Tuned | None = None,
) -> Tuned:
    """Trains, or finds what an earlier run trained.

    Args:
        start: a fine-tuning whose weights, head included, training starts from.
    """
    choice = _choice(setting)
    recipe = training.recipe.fitted(choice.values, folder.max_pieces)
    store = Store(choice.work, head.name, _made_of(folder, head, data, recipe, setting, start), choice.save_every)
    with store.locked():
        told = store.finished
        if told is None:
            store.begin()
            told = _train(folder, head, data, recipe, setting, dev_score, store, start)
    return Tuned(store, told, data, recipe)


def check_gold(head: Head, examples: Sequence[Any], where: str) -> None:
    """Raises InputError: an example's gold cannot be scored."""
    for number, example in enumerate(examples, start=1):
        if not head.scorable(example):
            raise InputError(
                f"{where}: example {number:,} has the answer {head.gold(example)!r}, but only {', '.join(head.labels)} "
                "can be scored. Such data is for training only."
            )


def machine_of(folder: Folder, recipe: Recipe, setting: Setting) -> Machine:
    return Machine(folder.device, recipe.precision, folder.tokenizer.pad_token_id or 0, setting.batch_size)


def _train(
    folder: Folder,
    head: Head,
    data: TrainingData,
    recipe: Recipe,
    setting: Setting,
    dev_score: DevScore,
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
            answers = predict(model, head, data.dev, dev_rows, machine, "dev")
            return dev_score(data.dev, answers)

    label = f"fine-tuning {head.name} seed {setting.seed}"
    progress = train(loaded.model, head, rows, recipe, setting.seed, machine, store, evaluate, label)
    told = {
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
    store.finish(loaded.model, folder.path, told)
    return told


def _made_of(
    folder: Folder, head: Head, data: TrainingData, recipe: Recipe, setting: Setting, start: Tuned | None
) -> dict[str, Any]:
    return {
        "version": 2,  # of what the trainings depend on besides the rest: 1 had the weights alone as `checkpoint`
        "checkpoint": folder.checkpoint,
        "head": head.name,
        "labels": list(head.labels),
        "train": data.name.split(":", maxsplit=1)[1],  # whatever it is called: tasks share a model
        "select": data.dev_name or "last",
        "recipe": recipe.text,
        "seed": setting.seed,
        "keep_epochs": _choice(setting).oracle,
        "start": start.path.name if start else "",
        **(head.method if data.dev else {}),  # the epoch is chosen by predictions
    }


def _dev_files(task: str, training: Training, setting: Setting, read: Callable[..., Any]) -> list[Path]:
    """English files that the epoch is chosen on; empty for the last epoch."""
    choice = _choice(setting)
    if choice.dev_files:
        for path in choice.dev_files:
            if not path.is_file():
                raise InputError(f"--dev-file {path} is not there.")
        return list(choice.dev_files)
    if (choice.select or ("dev" if training.dev else "last")) == "last":
        return []
    found = find_files(setting, task, training.dev, "en") if training.dev else []
    if not found:
        names = " or ".join(training.dev).format(language="en") or "no file"
        raise InputError(
            f"{task} chooses the epoch on English dev ({names}), which is not in {setting.data}. Give --dev-file, "
            "--hold-out N (examples of the training data), or --select last."
        )
    return found


def _drawn(examples: list[Any], head: Head, count: int) -> list[Any]:
    """The same examples whatever the seed and the order of the file, in the file's order."""
    order = sorted(range(len(examples)), key=lambda index: (_digest("\t".join(head.text_of(examples[index]))), index))
    return [examples[index] for index in sorted(order[:count])]


def _held_out(examples: list[Any], head: Head, count: int) -> tuple[list[Any], list[Any]]:
    """Whole groups, so that no premise or context stands on both sides, and only such as can be scored."""
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
        raise InputError(f"--hold-out {count} cannot be taken from {len(examples):,} training examples.")
    return (
        [example for index, example in enumerate(examples) if index not in out],
        [example for index, example in enumerate(examples) if index in out],
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def _choice(setting: Setting) -> FineTuning:
    assert setting.fine_tuning is not None, "the command line fills this in for tasks that fine-tune"
    return setting.fine_tuning
