"""What a task is: the row that the table of tasks is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.measurement import Measurement, Setting

# Names below the data folder, with {fields} and `*` in them; the first that is there is taken.
Alternatives = tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """How a task's model is fine-tuned.

    Attributes:
        name: what the signature calls the training data.
        files: the training files by --train-on; {language} is `en` or, for translations, the target language.
        dev: English files that the epoch is chosen on; empty where the benchmark has none apart from its test data.
        target_dev: files of the target language for --oracle; empty where there are none.
        recipe: default hyper-parameters.
        source: where these come from.
        before: a training whose model this one starts from.
    """

    name: str
    files: Mapping[str, Alternatives]
    dev: Alternatives
    target_dev: Alternatives
    recipe: Recipe
    source: str
    before: Training | None = None


@dataclass(frozen=True)
class Task:
    """A row of the table.

    Attributes:
        languages: the benchmark's languages; None is any language that has files.
        files: a language's files, in the order in which `read` takes them. Each is a name below the data folder with
            {language}, {pair} and {split} in it (tasks.py lists all fields), or several such names, the first of
            which that is there is taken. A `*` stands for any characters; all files that match are read.
        read: the files of one language to its data.
        measure: (folder, data by language, setting) to numbers.
        needs_head: whether the masked-LM head is used, and so must be in the checkpoint.
        citation: where the procedure comes from.
        splits: those of the benchmark, the default one first; empty is any.
        published: where the data is published.
        training: how the model is fine-tuned; None where it is measured as it is.
        uses_seed: whether the seed changes the number; where it does not, only the first of --seeds is used.
        reads_language: whether `read` takes the language (`language=`), because a file may hold several.
        check: (folder, data by language, setting); finds the mistakes that `measure` would meet, before any task runs.
        reads_links: whether `read` takes the number of a sentence's first word in gold links (`first_word=`).
    """

    name: str
    summary: str
    languages: tuple[str, ...] | None
    files: tuple[str | Alternatives, ...]
    read: Callable[..., Any]
    measure: Callable[[Folder, Mapping[str, Any], Setting], list[Measurement]]
    metric: str
    needs_head: bool
    citation: str
    splits: tuple[str, ...] = ()
    published: str = ""
    training: Training | None = None
    uses_seed: bool = False
    reads_language: bool = False
    reads_links: bool = False
    check: Callable[[Folder, Mapping[str, Any], Setting], None] | None = None
