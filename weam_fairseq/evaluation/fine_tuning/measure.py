"""A fine-tuned benchmark from training to its numbers: train, predict every language, keep the predictions, score."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text
from weam_fairseq.evaluation.benchmark import Benchmark, FineTuned, Measurement, Setting, Training
from weam_fairseq.evaluation.data_files import find_files
from weam_fairseq.evaluation.fine_tuning.head import Head, Scored, predict
from weam_fairseq.evaluation.fine_tuning.recipe import FineTuning
from weam_fairseq.evaluation.fine_tuning.tune import (
    Tuned,
    check_gold,
    fine_tune,
    machine_of,
    read_training,
    training_files,
)
from weam_fairseq.evaluation.hf_folder import Folder, load_fine_tuned


@dataclass(frozen=True)
class Run:
    """One benchmark on one pretrained model."""

    benchmark: Benchmark
    folder: Folder
    setting: Setting

    @property
    def name(self) -> str:
        return self.benchmark.name

    @property
    def plan(self) -> FineTuned:
        assert self.benchmark.fine_tuned is not None
        return self.benchmark.fine_tuned

    @property
    def choice(self) -> FineTuning:
        assert self.setting.fine_tuning is not None, "the command line fills this in for tasks that fine-tune"
        return self.setting.fine_tuning

    @cached_property
    def head(self) -> Head:
        return self.plan.head.chosen(self.choice)

    @property
    def stages(self) -> list[Training]:
        """The user's own training files replace all stages but the last."""
        training = self.plan.training
        return [training] if training.before is None or self.choice.train_files else [training.before, training]

    def check(self, data: Mapping[str, Sequence[Any]]) -> None:
        """Reads all training data once, so that mistakes show before any model is trained.

        Raises:
            InputError: options contradict each other, gold cannot be scored, or training data is missing or malformed.
        """
        self.choice.check()
        for language, examples in data.items():
            check_gold(self.head, examples, f"{self.name} {self.setting.split} {language}")
        for training in self.stages:
            training.recipe.fitted(self.choice.values, self.folder.max_pieces)
            seen = set()
            for language in data:
                files = training_files(self.benchmark, training, self.setting, language)
                if files not in seen:
                    read_training(self.benchmark, training, self.setting, self.head, language)
                    seen.add(files)
        if self.choice.oracle:
            for language in data:
                self._read_target_dev(language)

    def measure(self, data: Mapping[str, Sequence[Any]]) -> list[Measurement]:
        """One measurement a language and metric.

        Raises:
            InputError: training data is missing or malformed, the measured data was trained on, or training diverged.
        """
        models: dict[tuple[str, tuple[Path, ...]], Tuned] = {}
        measurements = []
        for language, examples in data.items():
            trained_on = training_files(self.benchmark, self.plan.training, self.setting, language)
            if trained_on not in models:
                models[trained_on] = self._tune(language)
            measurements += self._measure_language(models[trained_on], examples, language)
        return measurements

    def _tune(self, language: str) -> Tuned:
        tuned = None
        for training in self.stages:
            data = read_training(self.benchmark, training, self.setting, self.head, language)
            tuned = fine_tune(self.folder, self.head, training, data, self.setting, self._dev_figure, tuned)
        assert tuned is not None
        return tuned

    def _dev_figure(self, dev: Sequence[Any], answers: Sequence[Any]) -> float:
        return (self.plan.score_dev or self.plan.score)(dev, answers, "en").main

    def _measure_language(self, tuned: Tuned, examples: Sequence[Any], language: str) -> list[Measurement]:
        seen = self._seen(tuned, examples, language)
        model = load_fine_tuned(tuned.path, self.head, self.folder.device)
        answers, notes = self._predict(model, tuned, examples, language)
        scored = self.plan.score(examples, answers, language)
        files = self._write(tuned, examples, answers, scored, language)
        detail = {
            "fine_tuned": tuned.path.name,
            "epoch": tuned.result["epoch"],
            "dev": tuned.result["dev"],
            "train_examples": tuned.result["examples"],
            "seen_in_training": seen,
            "pooler_new": tuned.result["pooler_new"],
            "training_notes": tuned.result["notes"],
            "notes": notes,
            **files,
        }
        if self.choice.oracle:
            detail["oracle"] = self._oracle(model, tuned, examples, language)
        return [
            Measurement(
                language=language,
                split=self.setting.split,
                metric=metric,
                value=value,
                n=scored.n,
                detail=detail,
                method={
                    "lang": language,
                    "split": self.setting.split,
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
        self, model: Any, tuned: Tuned, examples: Sequence[Any], label: str
    ) -> tuple[list[Any], dict[str, int]]:
        rows = self.head.rows(self.folder.tokenizer, examples, tuned.recipe, for_training=False)
        machine = machine_of(self.folder, tuned.recipe, self.setting)
        answers = predict(model, self.head, examples, rows, machine, f"{self.name} {label}")
        return answers, {name: count for name, count in rows.notes.items() if count}

    def _seen(self, tuned: Tuned, examples: Sequence[Any], language: str) -> int:
        """How many examples are in the training data with the same text; an error if all of them are."""
        trained = {self.head.text_of(example) for example in tuned.data.train}
        seen = sum(self.head.text_of(example) in trained for example in examples)
        if seen == len(examples):
            raise InputError(
                f"all {seen:,} {language} examples of {self.name} are in the training data "
                f"({', '.join(path.name for path in tuned.data.files)}). Measure on another split."
            )
        return seen

    def _write(
        self, tuned: Tuned, examples: Sequence[Any], answers: Sequence[Any], scored: Scored, language: str
    ) -> dict[str, str]:
        """Writes predictions, gold in the same format, and each item's share. Returns the paths, for the detail."""
        folder = tuned.path / "predictions"
        if self.setting.predictions is not None:  # one folder for each set of training data
            folder = self.setting.predictions / tuned.data.name.replace(":", "-")
        folder.mkdir(parents=True, exist_ok=True)
        stem, suffix = f"{self.setting.stem(self.name, language)}{self.head.unusual}", self.head.suffix
        texts = {
            f"{stem}{suffix}": self.head.write(examples, answers),
            f"{stem}.gold{suffix}": self.head.write_gold(examples),
            f"{stem}.items.jsonl": "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in scored.items),
        }
        for name, text in texts.items():
            write_text(folder / name, text)
        return {"predictions": str(folder / f"{stem}{suffix}"), "items": str(folder / f"{stem}.items.jsonl")}

    def _read_target_dev(self, language: str) -> Sequence[Any]:
        files = find_files(self.setting, self.benchmark, self.plan.training.target_dev, language)
        if not files:
            raise InputError(f"--oracle: {self.name} has no dev data of language {language!r} in {self.setting.data}.")
        return self.benchmark.read(*files, language=language)

    def _oracle(self, model: Any, tuned: Tuned, examples: Sequence[Any], language: str) -> dict[str, Any]:
        """The figures of the epoch that is best on the target language's own dev. These are not zero-shot figures."""
        dev = self._read_target_dev(language)
        if [self.head.text_of(example) for example in dev] == [self.head.text_of(example) for example in examples]:
            raise InputError(
                f"--oracle selects the epoch on {language} dev, so {self.name} cannot be measured on dev with it. "
                "Measure on another split."
            )
        by_epoch = []
        for epoch in range(1, tuned.recipe.epochs + 1):
            model.load_state_dict(tuned.store.load_epoch(epoch))
            answers, _ = self._predict(model, tuned, dev, f"{language} dev, epoch {epoch}")
            by_epoch.append(self.plan.score(dev, answers, language).main)
        best = by_epoch.index(max(by_epoch)) + 1
        model.load_state_dict(tuned.store.load_epoch(best))
        answers, _ = self._predict(model, tuned, examples, f"{language}, oracle")
        return {"epoch": best, "dev": by_epoch, **self.plan.score(examples, answers, language).metrics}
