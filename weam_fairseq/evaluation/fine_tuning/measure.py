"""A fine-tuned benchmark from the first step to its numbers: train, predict every language, keep, score."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text
from weam_fairseq.evaluation.data_files import find_files
from weam_fairseq.evaluation.fine_tuning.heads.head import Head
from weam_fairseq.evaluation.fine_tuning.load import load_fine_tuned
from weam_fairseq.evaluation.fine_tuning.predict import predict
from weam_fairseq.evaluation.fine_tuning.scoring import Scored
from weam_fairseq.evaluation.fine_tuning.tune import (
    Tuned,
    check_gold,
    fine_tune,
    machine_of,
    read_training,
    training_files,
)
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.measurement import Measurement, Setting
from weam_fairseq.evaluation.task import Training


@dataclass(frozen=True)
class Benchmark:
    """What a fine-tuned task is made of.

    Attributes:
        read: (files, `language=`) to examples with gold.
        score: (examples, predictions, language) to the figures.
        score_dev: (examples, predictions) to the figures that choose the epoch; tasks that share a model share it.
    """

    name: str
    head: Head
    read: Callable[..., list[Any]]
    score: Callable[[Sequence[Any], Sequence[Any], str], Scored]
    score_dev: Callable[[Sequence[Any], Sequence[Any]], Scored]
    training: Training

    def check(self, folder: Folder, data: Mapping[str, Sequence[Any]], setting: Setting) -> None:
        """Reads all training data, and leaves it: what is wrong shows before any model is trained.

        Raises:
            InputError: options contradict each other, gold cannot be scored, or training data is missing or malformed.
        """
        choice = setting.fine_tuning
        assert choice is not None
        choice.check()
        head = self.head.chosen(choice)
        if head is not self.head:
            return replace(self, head=head).check(folder, data, setting)
        for language, examples in data.items():
            check_gold(self.head, examples, f"{self.name} {setting.split} {language}")
        stages = [self.training]
        if self.training.before is not None and not choice.train_files:
            stages.insert(0, self.training.before)
        for training in stages:
            training.recipe.fitted(choice.values, folder.max_pieces)
            seen = set()
            for language in data:
                files = training_files(self.name, training, setting, language)
                if files not in seen:
                    read_training(self.name, training, setting, self.head, self.read, language)
                    seen.add(files)
        if choice.oracle:
            for language in data:
                self.read(*self._oracle_files(setting, language), language=language)

    def measure(self, folder: Folder, data: Mapping[str, Sequence[Any]], setting: Setting) -> list[Measurement]:
        """One measurement a language and metric.

        Raises:
            InputError: training data is missing or malformed, the measured data was trained on, or training diverged.
        """
        assert setting.fine_tuning is not None
        head = self.head.chosen(setting.fine_tuning)
        if head is not self.head:
            return replace(self, head=head).measure(folder, data, setting)
        models: dict[tuple[str, tuple[Path, ...]], Tuned] = {}
        measurements = []
        for language, examples in data.items():
            trained_on = training_files(self.name, self.training, setting, language)
            if trained_on not in models:
                models[trained_on] = self._tune(folder, setting, language)
            measurements += self._language(folder, models[trained_on], examples, language, setting)
        return measurements

    def _tune(self, folder: Folder, setting: Setting, language: str) -> Tuned:
        assert setting.fine_tuning is not None
        start = None
        if self.training.before is not None and not setting.fine_tuning.train_files:
            start = self._stage(folder, self.training.before, setting, language, None)
        return self._stage(folder, self.training, setting, language, start)

    def _stage(self, folder: Folder, training: Training, setting: Setting, language: str, start: Tuned | None) -> Tuned:
        data = read_training(self.name, training, setting, self.head, self.read, language)
        return fine_tune(
            folder, self.head, training, data, setting, lambda dev, found: self.score_dev(dev, found).main, start
        )

    def _language(
        self, folder: Folder, tuned: Tuned, examples: Sequence[Any], language: str, setting: Setting
    ) -> list[Measurement]:
        seen = self._seen(tuned, examples, language)
        model = load_fine_tuned(tuned.path, self.head, folder.device)
        answers, notes = self._predict(folder, model, tuned, examples, setting, language)
        scored = self.score(examples, answers, language)
        kept = self._keep(tuned, examples, answers, scored, language, setting)
        detail = {
            "fine_tuned": tuned.path.name,
            "epoch": tuned.told["epoch"],
            "dev": tuned.told["dev"],
            "train_examples": tuned.told["examples"],
            "seen_in_training": seen,
            "pooler_new": tuned.told["pooler_new"],
            "training_notes": tuned.told["notes"],
            "notes": notes,
            **kept,
        }
        if setting.fine_tuning is not None and setting.fine_tuning.oracle:
            detail["oracle"] = self._oracle(folder, model, tuned, examples, language, setting)
        return [
            Measurement(
                language=language,
                split=setting.split,
                metric=metric,
                value=value,
                n=scored.n,
                detail=detail,
                method={
                    "lang": language,
                    "split": setting.split,
                    "train": tuned.data.name,
                    "start": tuned.store.made_of["start"] or "pretrained",
                    "recipe": tuned.recipe.text,
                    "select": tuned.data.dev_name or "last",
                    "scorer": scored.scorer,
                    **self.head.method,
                },
            )
            for metric, value in scored.metrics.items()
        ]

    def _predict(
        self, folder: Folder, model: Any, tuned: Tuned, examples: Sequence[Any], setting: Setting, language: str
    ) -> tuple[list[Any], dict[str, int]]:
        rows = self.head.rows(folder.tokenizer, examples, tuned.recipe, for_training=False)
        machine = machine_of(folder, tuned.recipe, setting)
        answers = predict(model, self.head, examples, rows, machine, f"{self.name} {language}")
        return answers, {name: count for name, count in rows.notes.items() if count}

    def _seen(self, tuned: Tuned, examples: Sequence[Any], language: str) -> int:
        """How many examples are in the training data, text for text; all of them is a mistake."""
        trained = {self.head.text_of(example) for example in tuned.data.train}
        seen = sum(self.head.text_of(example) in trained for example in examples)
        if seen == len(examples):
            raise InputError(
                f"all {seen:,} {language} examples of {self.name} are in the training data "
                f"({', '.join(path.name for path in tuned.data.files)}). Measure on another split."
            )
        return seen

    def _keep(
        self,
        tuned: Tuned,
        examples: Sequence[Any],
        answers: Sequence[Any],
        scored: Scored,
        language: str,
        setting: Setting,
    ) -> dict[str, str]:
        """Writes predictions, gold in the same format, and each item's share. Returns where, for the detail."""
        place = tuned.path / "predictions"
        if setting.predictions is not None:  # a model's figures after different training data stand side by side
            place = setting.predictions / tuned.data.name.replace(":", "-")
        place.mkdir(parents=True, exist_ok=True)
        stem = f"{setting.stem(self.name, language)}{self.head.unusual}"
        suffix = self.head.suffix
        texts = {
            f"{stem}{suffix}": self.head.write(examples, answers),
            f"{stem}.gold{suffix}": self.head.write_gold(examples),
            f"{stem}.items.jsonl": "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in scored.items),
        }
        for name, text in texts.items():
            write_text(place / name, text)
        return {"predictions": str(place / f"{stem}{suffix}"), "items": str(place / f"{stem}.items.jsonl")}

    def _oracle_files(self, setting: Setting, language: str) -> list[Path]:
        dev_files = find_files(setting, self.name, self.training.target_dev, language)
        if not dev_files:
            raise InputError(f"--oracle: {self.name} has no dev data of language {language!r} in {setting.data}.")
        return dev_files

    def _oracle(
        self, folder: Folder, model: Any, tuned: Tuned, examples: Sequence[Any], language: str, setting: Setting
    ) -> dict[str, Any]:
        """What the epoch that is best on the target language's own dev gives: no zero-shot figure, so kept apart."""
        dev = self.read(*self._oracle_files(setting, language), language=language)
        if [self.head.text_of(example) for example in dev] == [self.head.text_of(example) for example in examples]:
            raise InputError(f"--oracle chooses on {language} dev, so {self.name} cannot be measured on dev with it.")
        by_epoch = []
        for epoch in range(1, tuned.recipe.epochs + 1):
            model.load_state_dict(tuned.store.load_epoch(epoch))
            answers, _ = self._predict(folder, model, tuned, dev, setting, f"{language} dev, epoch {epoch}")
            by_epoch.append(self.score(dev, answers, language).main)
        best = by_epoch.index(max(by_epoch)) + 1
        model.load_state_dict(tuned.store.load_epoch(best))
        answers, _ = self._predict(folder, model, tuned, examples, setting, f"{language}, oracle")
        return {"epoch": best, "dev": by_epoch, **self.score(examples, answers, language).metrics}
