"""The record of a benchmark, and what goes into a measurement and comes out of it.

Each file of benchmarks/ holds one record: languages, splits, files and their reader, metric, citation, measurement,
weam-score's scoring, the copy on the Hugging Face Hub, and the place in XTREME-R. All tables and --help texts are made
from these records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from weam_fairseq.common.errors import InputError

if TYPE_CHECKING:
    from weam_fairseq.evaluation.fine_tuning.head import Head, Scored
    from weam_fairseq.evaluation.fine_tuning.recipe import FineTuning, Recipe
    from weam_fairseq.evaluation.hf_folder import Folder

# In place of a split's name.
WHOLE = "-"

# File names below the data folder, with {fields} and `*` in them. The first one that exists is used.
Alternatives = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """What the user asked for.

    Attributes:
        split: the part of the data that is measured, as the files' names spell it.
        batch_size: sentences encoded at once.
        predictions: the model's folder for predictions in the benchmark's own format. With None, a fine-tuned model
            keeps them in its own folder, and other tasks write none.
        without_split: languages whose files name no split, if the user named none either.
        fine_tuning: choices for tasks that fine-tune.
        gold_from: the number of a sentence's first word in gold links; None expects 0.
        best_layer: whether the even items choose the layer and the odd items are measured; otherwise all items are
            measured at a fixed layer.
    """

    data: Path
    languages: tuple[str, ...]
    source_language: str = "en"
    split: str = "heldout"
    seed: int = 1
    batch_size: int = 64
    predictions: Path | None = None
    fine_tuning: FineTuning | None = None
    without_split: frozenset[str] = frozenset()
    gold_from: int | None = None
    best_layer: bool = False

    def pair(self, language: str) -> str:
        return f"{self.source_language}-{language}"

    def split_of(self, language: str) -> str:
        """The split as a score names it: `-` for a set that is published without splits."""
        return WHOLE if language in self.without_split else self.split

    def stem(self, name: str, language: str, pair: str | None = None) -> str:
        """The start of the names of prediction files. Together with the folder it tells all scores apart.

        Args:
            pair: what the score calls the language, if not `language`.
        """
        best = "best-layer" if self.best_layer else WHOLE
        parts = (name, self.split_of(language), pair or language, best, f"seed{self.seed}")
        return ".".join(part for part in parts if part != WHOLE)


@dataclass(frozen=True)
class Measurement:
    """One number.

    Attributes:
        language: a language (`de`) or a pair (`en-de`).
        split: the lines that were measured.
        value: 0–100.
        n: how many decisions `value` is the mean of (per direction, where there are two).
        detail: numbers that help a reader to judge the value.
        method: the parts of the signature that describe how it was measured, in order.
    """

    language: str
    split: str
    metric: str
    value: float
    n: int
    detail: dict[str, Any] = field(default_factory=dict)
    method: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """The data and the recipe of a fine-tuning.

    Attributes:
        name: the name of the training data in signatures.
        files: the training files by --train-on; {language} is `en` or, for translations, the target language.
        dev: English files that select the epoch; empty if the benchmark has none apart from its test data.
        target_dev: files of the target language for --oracle; empty if the benchmark has none.
        recipe: default hyper-parameters.
        source: where the defaults come from.
        before: an earlier training stage, whose model this one starts from.
    """

    name: str
    files: Mapping[str, Alternatives]
    dev: Alternatives
    target_dev: Alternatives
    recipe: Recipe
    source: str
    before: Training | None = None


@dataclass(frozen=True)
class FineTuned:
    """How a benchmark is fine-tuned and scored.

    Attributes:
        score: (examples, predictions, language) to the figures.
        score_dev: the same for English dev, if not `score`. Benchmarks that share a model must share it.
    """

    head: Head
    score: ScoreExamples
    training: Training
    score_dev: ScoreExamples | None = None


ScoreExamples = Callable[[Sequence[Any], Sequence[Any], str], "Scored"]


class Request(NamedTuple):
    """What weam-score was asked for.

    Attributes:
        missing_as_zero: a missing prediction counts 0 instead of being an error.
        gold_from: in gold links, the number of a sentence's first word; None expects 0.
        predictions_from: the same in predicted links.
    """

    gold: Path
    predictions: Path
    language: str | None = None
    missing_as_zero: bool = False
    gold_from: int | None = None
    predictions_from: int | None = None

    def needed_language(self) -> str:
        if self.language is None:
            raise InputError("this task's metric depends on the language. Give --language, as in --language de.")
        return self.language


class ScoringResult(NamedTuple):
    """Numbers, 0–100, and sentences for stderr about what was not counted."""

    scores: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scoring:
    """How weam-score scores a benchmark's predictions.

    Attributes:
        gold: the contents of a gold file, for --help.
        predictions: the contents of a file of predictions, for --help.
        metrics: the keys of the JSON object that is printed, each 0–100.
        score: from the request to a number for each metric.
        citation: where the metrics come from.
        by_id: whether predictions carry ids, so that some can be missing.
    """

    gold: str
    predictions: str
    metrics: tuple[str, ...]
    score: Callable[[Request], ScoringResult]
    citation: str
    by_id: bool = False


Row = Mapping[str, Any]


class HubCopy(NamedTuple):
    """A benchmark on the Hugging Face Hub.

    Attributes:
        usual: its usual name there.
        text: (rows, function from a column to the names of its classes) to the file's text.
        config: a language's configuration, with {language}, or {context} and {question} (see data_files.fill).
        splits: our split names to the Hub's.
        file: our file's name, with {split} and the same fields.
        english: the English splits, `train` and `dev`, that this copy holds for training and selection.
        trained_on: the copy with the English training data, if it is another one.
    """

    usual: str
    text: Callable[[Iterable[Row], Callable[[str], Sequence[str]]], str]
    config: str = "{language}"
    splits: Mapping[str, str] = MappingProxyType({"train": "train", "dev": "validation", "test": "test"})
    file: str = "{split}-{language}.tsv"
    english: tuple[str, ...] = ()
    trained_on: HubCopy | None = None


class XtremeR(NamedTuple):
    """How XTREME-R counts a benchmark. All ten benchmarks weigh the same, and so do the languages of each.

    Attributes:
        position: the benchmark's row in the table.
        metrics: a language's figure is the mean of these, on the benchmark's first split.
        not_done: for retrieval, how XTREME-R fine-tunes the encoder beforehand, which weam-evaluate does not.
    """

    position: int
    metrics: tuple[str, ...]
    not_done: str = ""


@dataclass(frozen=True)
class Benchmark:
    """All that is known about a benchmark.

    Attributes:
        languages: the benchmark's languages; None allows any language that has files.
        files: a language's files, in the order in which `read` takes them. Each is one name, or several alternatives.
            data_files.fill lists the fields. A `*` matches any characters; all matching files are read.
        read: reads the files of one language. Readers of fine-tuned benchmarks also take `language=`, since a file may
            hold several languages; readers of links (`reads_links`) take `first_word=`.
        metric: the figures, for --help.
        citation: where the procedure comes from.
        published: where the data is published.
        splits: the benchmark's splits, the default first; empty allows any.
        codes: languages that the file names spell differently ({code}).
        measure: (folder, data by language, setting) to numbers, for models measured without training.
        fine_tuned: how the model is fine-tuned; exactly one of `measure` and `fine_tuned` is given.
        needs_head: whether the masked-LM head is used, so that the checkpoint must contain it.
        chooses_layer: whether --layer best changes its figures.
        draws: whether `measure` draws random numbers. If not, only the first of --seeds is used.
        scoring: None if there are no predictions to score.
    """

    name: str
    summary: str
    languages: tuple[str, ...] | None
    files: tuple[str | Alternatives, ...]
    read: Callable[..., Any]
    metric: str
    citation: str
    published: str
    splits: tuple[str, ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)
    measure: Callable[[Folder, Mapping[str, Any], Setting], list[Measurement]] | None = None
    fine_tuned: FineTuned | None = None
    needs_head: bool = False
    draws: bool = False
    chooses_layer: bool = False
    reads_links: bool = False
    scoring: Scoring | None = None
    hub: HubCopy | None = None
    xtreme_r: XtremeR | None = None

    @property
    def default_split(self) -> str:
        return self.splits[0] if self.splits else Setting.split

    @property
    def uses_seed(self) -> bool:
        return self.draws or self.fine_tuned is not None

    @property
    def answers_questions(self) -> bool:
        """Whether --answer-decoding changes its figures."""
        return self.fine_tuned is not None and "decoding" in self.fine_tuned.head.method


# The `published` text of tasks on the user's own pairs.
OWN_PAIRS = "your own pairs (not a published set)"


def language_codes(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def with_split(names: Alternatives, split: str) -> Alternatives:
    return tuple(name.replace("{split}", split) for name in names)


def trained_as_xtreme_r(
    benchmark: str,
    name: str,
    recipe: Recipe,
    files: Mapping[str, Alternatives],
    dev: Alternatives,
    *,
    target_dev: Alternatives | None = None,
    before: Training | None = None,
) -> Training:
    """The training of XTREME-R's script for a benchmark. With None, `target_dev` has the names of `dev`."""
    source = f"XTREME-R's scripts (train_{benchmark}.sh)"
    return Training(name, files, dev, dev if target_dev is None else target_dev, recipe, source, before)
