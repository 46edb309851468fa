"""PAWS-X (XTREME; not part of XTREME-R)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from weam_fairseq.evaluation.benchmark import (
    Benchmark,
    FineTuned,
    HubCopy,
    Row,
    Training,
    language_codes,
    with_split,
)
from weam_fairseq.evaluation.fine_tuning.classification import (
    Classification,
    LabelledPair,
    labelled_rows,
    not_empty,
    score_labels,
    sentence_pair,
)
from weam_fairseq.evaluation.fine_tuning.recipe import PAIR_RECIPE
from weam_fairseq.evaluation.metrics.labels import Labels
from weam_fairseq.evaluation.prediction_files import label_scoring
from weam_fairseq.evaluation.readers import joined_lines, one_cell

PARAPHRASE = Labels(
    ("0", "1"),
    {
        **dict.fromkeys(("paraphrase", "yes", "true"), "1"),
        **dict.fromkeys(("not_paraphrase", "not paraphrase", "non-paraphrase", "no", "false"), "0"),
    },
    "1 (paraphrase) or 0 (not_paraphrase)",
)


def read_paws(*paths: Path, language: str = "en") -> list[LabelledPair]:
    """Reads PAWS-X: three columns (XTREME), or four with a header (`id sentence1 sentence2 label`).

    Raises:
        InputError: a line is malformed, or a label is unknown.
    """
    pairs = []
    for path in paths:
        for where, (first, second, label) in labelled_rows(path, language):
            pairs.append(sentence_pair(first, second, PARAPHRASE.known(label, where)))
    return not_empty(pairs, paths, language)


def _from_hub(rows: Iterable[Row], names: Callable[[str], Sequence[str]]) -> str:
    return joined_lines(f"{one_cell(row['sentence1'])}\t{one_cell(row['sentence2'])}\t{row['label']}" for row in rows)


_FILES = ("{split}-{language}.tsv", "{language}/{split}_2k.tsv", "x-final/{language}/{split}_2k.tsv")

BENCHMARK = Benchmark(
    name="pawsx",
    summary="whether two sentences are paraphrases",
    languages=language_codes("de en es fr ja ko zh"),
    splits=("test", "dev"),
    files=(_FILES,),
    read=read_paws,
    metric="accuracy",
    citation="Yang et al. 2019",
    published="https://github.com/google-research-datasets/paws/tree/master/pawsx",
    fine_tuned=FineTuned(
        head=Classification(PARAPHRASE.numbers),
        score=score_labels,
        training=Training(
            name="paws-wiki",
            files={
                "english": ("train-en.tsv", "en/train.tsv", "x-final/en/train.tsv"),
                "translate-train": ("{language}/translated_train.tsv", "x-final/{language}/translated_train.tsv"),
            },
            dev=with_split(_FILES, "dev"),
            target_dev=with_split(_FILES, "dev"),
            recipe=PAIR_RECIPE,
            source="XTREME-R's scripts (train_pawsx.sh)",
        ),
    ),
    scoring=label_scoring(PARAPHRASE, "Yang et al. 2019"),
    hub=HubCopy(
        usual="google-research-datasets/paws-x",
        config="{language}",
        splits={"train": "train", "dev": "validation", "test": "test"},
        file="{split}-{language}.tsv",
        text=_from_hub,
        english=("train", "dev"),
    ),
)
