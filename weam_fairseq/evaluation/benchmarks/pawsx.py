"""PAWS-X (XTREME; not part of XTREME-R)."""

from __future__ import annotations

from pathlib import Path

from weam_fairseq.evaluation.benchmark import Benchmark, FineTuned, language_codes, trained_as_xtreme_r, with_split
from weam_fairseq.evaluation.fine_tuning.classification import (
    Classification,
    LabelledPair,
    pairs_on_hub,
    read_labelled_pairs,
    score_labels,
)
from weam_fairseq.evaluation.fine_tuning.recipe import PAIR_RECIPE
from weam_fairseq.evaluation.metrics.labels import Labels
from weam_fairseq.evaluation.prediction_files import label_scoring

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
    return read_labelled_pairs(PARAPHRASE, paths, language)


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
        training=trained_as_xtreme_r(
            *("pawsx", "paws-wiki", PAIR_RECIPE),
            files={
                "english": ("train-en.tsv", "en/train.tsv", "x-final/en/train.tsv"),
                "translate-train": ("{language}/translated_train.tsv", "x-final/{language}/translated_train.tsv"),
            },
            dev=with_split(_FILES, "dev"),
        ),
    ),
    scoring=label_scoring(PARAPHRASE, "Yang et al. 2019"),
    hub=pairs_on_hub("google-research-datasets/paws-x", "sentence1", "sentence2", lambda row, names: str(row["label"])),
)
