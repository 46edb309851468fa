"""XQuAD: SQuAD's dev questions in 12 languages."""

from __future__ import annotations

from weam_fairseq.evaluation.benchmark import Benchmark, FineTuned, HubCopy, XtremeR, language_codes
from weam_fairseq.evaluation.fine_tuning.question_answering import QuestionAnswering
from weam_fairseq.evaluation.fine_tuning.questions import (
    SQUAD,
    SQUAD_ON_HUB,
    SQUAD_SCORING,
    questions_from_hub,
    read_questions,
    score_squad,
)

BENCHMARK = Benchmark(
    name="xquad",
    summary="answers cut out of a context",
    languages=language_codes("ar de el en es hi ro ru th tr vi zh"),
    splits=("test",),
    files=("xquad.{language}.json",),
    read=read_questions,
    metric="f1, exact_match (SQuAD v1.1)",
    citation="Artetxe et al. 2020",
    published="https://github.com/google-deepmind/xquad",
    fine_tuned=FineTuned(QuestionAnswering(), score_squad, SQUAD),
    scoring=SQUAD_SCORING,
    hub=HubCopy(
        usual="google/xquad",
        config="xquad.{language}",
        splits={"test": "validation"},
        file="xquad.{language}.json",
        text=questions_from_hub,
        trained_on=SQUAD_ON_HUB,
    ),
    xtreme_r=XtremeR(5, ("exact_match", "f1")),
)
