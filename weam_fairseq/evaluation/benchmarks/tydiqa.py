"""TyDiQA-GoldP: questions asked by speakers of nine languages."""

from __future__ import annotations

from weam_fairseq.evaluation.benchmark import Benchmark, FineTuned, HubCopy, Training, XtremeR, with_split
from weam_fairseq.evaluation.fine_tuning.question_answering import QuestionAnswering
from weam_fairseq.evaluation.fine_tuning.questions import (
    SQUAD_SCORING,
    TYDIQA_NAMES,
    questions_from_hub,
    read_questions,
    score_squad,
)
from weam_fairseq.evaluation.fine_tuning.recipe import QUESTION_RECIPE

_FILES = (
    "tydiqa-goldp-v1.1-{split}/tydiqa.goldp.{language}.{split}.json",
    "tydiqa.goldp.{language}.{split}.json",
    "tydiqa-goldp-v1.1-{split}/tydiqa-goldp-{split}-{code}.json",
    "tydiqa-goldp-{split}-{code}.json",
    "tydiqa-goldp-v1.1-{split}.json",
    "tydiqa-goldp-v1.1-{split}/tydiqa-goldp-v1.1-{split}.json",
)

BENCHMARK = Benchmark(
    name="tydiqa",
    summary="TyDiQA-GoldP: answers cut out of a paragraph",
    languages=tuple(TYDIQA_NAMES),
    # The test set is not public; XTREME reports the published dev set.
    splits=("dev", "train"),
    files=(_FILES,),
    codes=TYDIQA_NAMES,
    read=read_questions,
    metric="f1, exact_match (SQuAD v1.1)",
    citation="Clark et al. 2020",
    published="https://github.com/google-research-datasets/tydiqa",
    fine_tuned=FineTuned(
        head=QuestionAnswering(),
        score=score_squad,
        training=Training(
            name="tydiqa-goldp",
            files={"english": with_split(_FILES, "train")},
            dev=(),  # English dev is what is reported, so it must not select the epoch.
            target_dev=(),
            recipe=QUESTION_RECIPE,
            source="XTREME-R's scripts (train_qa.sh)",
        ),
    ),
    scoring=SQUAD_SCORING,
    hub=HubCopy(
        usual="google-research-datasets/tydiqa",
        config="secondary_task",
        splits={"train": "train", "dev": "validation"},
        file="tydiqa-goldp-v1.1-{split}.json",
        text=questions_from_hub,
        english=("train",),
    ),
    xtreme_r=XtremeR(7, ("exact_match", "f1")),
)
