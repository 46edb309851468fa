"""XNLI, and other sets of natural language inference to train on: MultiNLI, SNLI, SICK, RTE."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import (
    Benchmark,
    FineTuned,
    Row,
    XtremeR,
    language_codes,
    trained_as_xtreme_r,
    with_split,
)
from weam_fairseq.evaluation.fine_tuning.classification import (
    Classification,
    LabelledPair,
    LabelledRow,
    labelled_rows,
    pairs_on_hub,
    read_labelled_pairs,
    score_labels,
)
from weam_fairseq.evaluation.fine_tuning.recipe import PAIR_RECIPE
from weam_fairseq.evaluation.metrics.labels import Labels
from weam_fairseq.evaluation.prediction_files import label_scoring

# In the order of a model's outputs.
LABELS = ("contradiction", "entailment", "neutral")

# The second label of two-way data sets; as a target it means "contradiction or neutral".
NOT_ENTAILMENT = "not_entailment"

# For pairs on which the annotators of SNLI and MultiNLI disagreed (-1 in the Hub's copies).
NO_LABEL = "-"

_NLI_NAMES = {
    **{label: label for label in ("entailment", "neutral", "contradiction")},
    **{"contradictory": "contradiction", "contradicts": "contradiction", "entails": "entailment"},
    **{"e": "entailment", "n": "neutral", "c": "contradiction"},
}

_NLI_NUMBERS = ("entailment", "neutral", "contradiction")
_NLI_DESCRIBED = "entailment, neutral or contradiction (or 0, 1, 2 in this order, as published data sets have it)"

# Labels that can be scored.
NLI = Labels(_NLI_NUMBERS, _NLI_NAMES, _NLI_DESCRIBED)

# Labels of training data.
TRAINING_NLI = Labels(
    _NLI_NUMBERS,
    {
        **_NLI_NAMES,
        **dict.fromkeys((NO_LABEL, "-1"), NO_LABEL),
        **dict.fromkeys(("yes", "true"), "entailment"),  # RTE 1-3
        **dict.fromkeys(("no", "false", NOT_ENTAILMENT), NOT_ENTAILMENT),
    },
    _NLI_DESCRIBED,
)


def read_nli(*paths: Path, language: str = "en") -> list[LabelledPair]:
    """Reads XNLI (both layouts), `multinli.train.XX.tsv`, and, to train on, SNLI, MultiNLI, SICK and RTE.

    Of a file with a column `language` only that language's lines are taken. Labels go by their names, or by the numbers
    that the published data sets give them (labels.py).

    Raises:
        InputError: a line is malformed, a label is unknown or missing, or the language has no line.
    """
    return read_labelled_pairs(TRAINING_NLI, paths, language, _rows)


def _rows(path: Path, language: str) -> Iterator[LabelledRow]:
    return _rte_rows(path) if path.suffix == ".xml" else labelled_rows(path, language)


def _rte_rows(path: Path) -> Iterator[LabelledRow]:
    """RTE 1–3: `<pair value="TRUE">` or `<pair entailment="YES">` with `<t>` and `<h>`."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not XML: {error}.") from None
    for pair in root.iter("pair"):
        where = f"{path}: pair {pair.get('id')}"
        label = pair.get("entailment") or pair.get("value")
        first, second = pair.findtext("t"), pair.findtext("h")
        if label is None or first is None or second is None:
            raise InputError(f"{where} lacks its text, its hypothesis or its gold value.")
        yield where, (first, second, label)


def _label(row: Row, names: Callable[[str], Sequence[str]]) -> str:
    if row["label"] < 0:
        raise InputError("the Hub's rows have the label -1, so this split has no gold labels. Choose another split.")
    return names("label")[row["label"]]


_FILES = ("{split}-{language}.tsv", "xnli.{split}.tsv", "XNLI-1.0/xnli.{split}.tsv")

BENCHMARK = Benchmark(
    name="xnli",
    summary="entailment, contradiction or neutral",
    languages=language_codes("ar bg de el en es fr hi ru sw th tr ur vi zh"),
    splits=("test", "dev"),
    files=(_FILES,),
    read=read_nli,
    metric="accuracy",
    citation="Conneau et al. 2018",
    published="https://github.com/facebookresearch/XNLI",
    fine_tuned=FineTuned(
        head=Classification(LABELS, broad={NOT_ENTAILMENT: ("contradiction", "neutral")}),
        score=score_labels,
        training=trained_as_xtreme_r(
            *("xnli", "multinli", PAIR_RECIPE),
            files={
                "english": (
                    "train-en.tsv",
                    "multinli.train.en.tsv",
                    "XNLI-MT-1.0/multinli/multinli.train.en.tsv",
                    "multinli_1.0_train.txt",
                    "multinli_1.0/multinli_1.0_train.txt",
                ),
                "translate-train": (
                    "multinli.train.{language}.tsv",
                    "XNLI-MT-1.0/multinli/multinli.train.{language}.tsv",
                ),
            },
            dev=with_split(_FILES, "dev"),
        ),
    ),
    scoring=label_scoring(NLI, "Conneau et al. 2018"),
    hub=pairs_on_hub("facebook/xnli", "premise", "hypothesis", _label),
    xtreme_r=XtremeR(1, ("accuracy",)),
)
