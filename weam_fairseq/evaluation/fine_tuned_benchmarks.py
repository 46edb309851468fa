"""The tasks that fine-tune, as rows of the table: XNLI, PAWS-X, XCOPA, MLQA, XQuAD, TyDiQA-GoldP, UDPOS, PANX.

File names are the publishers' own and those that XTREME's download scripts make of them. Hyper-parameters are those of
XTREME-R's scripts (google-research/xtreme, scripts/train_*.sh) for base models; docs/evaluation.md says what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from weam_fairseq.evaluation.fine_tuning.choice_files import read_choices
from weam_fairseq.evaluation.fine_tuning.heads.classification import Classification
from weam_fairseq.evaluation.fine_tuning.heads.multiple_choice import MultipleChoice
from weam_fairseq.evaluation.fine_tuning.heads.question_answering import QuestionAnswering
from weam_fairseq.evaluation.fine_tuning.heads.tagging import Tagging
from weam_fairseq.evaluation.fine_tuning.measure import Benchmark
from weam_fairseq.evaluation.fine_tuning.pair_files import NLI_LABELS, PAWS_LABELS, read_nli, read_paws
from weam_fairseq.evaluation.fine_tuning.question_files import read_questions
from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
from weam_fairseq.evaluation.fine_tuning.scoring import (
    Scored,
    score_choices,
    score_entities,
    score_mlqa,
    score_pairs,
    score_pos,
    score_squad,
)
from weam_fairseq.evaluation.fine_tuning.tag_files import PANX_TAGS, UPOS_TAGS, read_panx, read_udpos
from weam_fairseq.evaluation.labels import NOT_ENTAILMENT
from weam_fairseq.evaluation.task import Alternatives, Task, Training

_PAIRS = Recipe(epochs=5, learning_rate=2e-5, batch_size=32, max_length=128)
_TAGS = Recipe(epochs=10, learning_rate=2e-5, batch_size=32, max_length=128)
_QUESTIONS = Recipe(
    epochs=3, learning_rate=3e-5, batch_size=32, max_length=384, doc_stride=128, warmup=500, weight_decay=1e-4
)

_XTREME_R = "XTREME-R's scripts"

_SQUAD = Training(
    name="squad-v1.1",
    files={"english": ("squad/train-v1.1.json", "train-v1.1.json")},
    dev=("squad/dev-v1.1.json", "dev-v1.1.json"),
    target_dev=(),
    recipe=_QUESTIONS,
    source=f"{_XTREME_R} (train_qa.sh)",
)

_MLQA_DEV = tuple(folder + "dev-context-{context}-question-{question}.json" for folder in ("dev/", "MLQA_V1/dev/", ""))


def _whatever_the_language(
    score: Callable[[Sequence[Any], Sequence[Any]], Scored],
) -> Callable[[Sequence[Any], Sequence[Any], str], Scored]:
    return lambda examples, answers, language: score(examples, answers)


def _with_split(names: Alternatives, split: str) -> Alternatives:
    return tuple(name.replace("{split}", split) for name in names)


_XNLI_FILES = ("{split}-{language}.tsv", "xnli.{split}.tsv", "XNLI-1.0/xnli.{split}.tsv")
_XNLI = Benchmark(
    name="xnli",
    head=Classification(NLI_LABELS, broad={NOT_ENTAILMENT: ("contradiction", "neutral")}),
    read=read_nli,
    score=_whatever_the_language(score_pairs),
    score_dev=score_pairs,
    training=Training(
        name="multinli",
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
        dev=_with_split(_XNLI_FILES, "dev"),
        target_dev=_with_split(_XNLI_FILES, "dev"),
        recipe=_PAIRS,
        source=f"{_XTREME_R} (train_xnli.sh)",
    ),
)

_PAWSX_FILES = ("{split}-{language}.tsv", "{language}/{split}_2k.tsv", "x-final/{language}/{split}_2k.tsv")
_PAWSX = Benchmark(
    name="pawsx",
    head=Classification(PAWS_LABELS),
    read=read_paws,
    score=_whatever_the_language(score_pairs),
    score_dev=score_pairs,
    training=Training(
        name="paws-wiki",
        files={
            "english": ("train-en.tsv", "en/train.tsv", "x-final/en/train.tsv"),
            "translate-train": ("{language}/translated_train.tsv", "x-final/{language}/translated_train.tsv"),
        },
        dev=_with_split(_PAWSX_FILES, "dev"),
        target_dev=_with_split(_PAWSX_FILES, "dev"),
        recipe=_PAIRS,
        source=f"{_XTREME_R} (train_pawsx.sh)",
    ),
)


def _siqa(published: str, xtreme: str) -> Alternatives:
    """Social IQa as it is published now, and as XTREME downloads it (version 1.4, answers inside)."""
    names = (f"socialiqa-train-dev/{published}", f"socialIQa_v1.4_{xtreme}.jsonl")
    return tuple(folder + name for name in names for folder in ("siqa/", ""))


_XCOPA_FILES = (
    "{split}-{language}.jsonl",
    "data/{language}/{split}.{language}.jsonl",
    "{language}/{split}.{language}.jsonl",
    "{split}.{language}.jsonl",
)
_XCOPA = Benchmark(
    name="xcopa",
    head=MultipleChoice(),
    read=read_choices,
    score=_whatever_the_language(score_choices),
    score_dev=score_choices,
    training=Training(
        name="copa",
        files={"english": ("train-en.jsonl", "train.en.jsonl", "COPA/train.jsonl")},
        dev=("val-en.jsonl", "val.en.jsonl", "COPA/val.jsonl"),
        target_dev=_with_split(_XCOPA_FILES, "val"),
        recipe=_PAIRS,
        source=f"{_XTREME_R} (train_xcopa.sh)",
        before=Training(
            name="social-iqa",
            files={"english": _siqa("train.jsonl", "trn")},
            dev=_siqa("dev.jsonl", "dev"),
            target_dev=(),
            recipe=_PAIRS,
            source=f"{_XTREME_R} (train_xcopa.sh)",
        ),
    ),
)

_MLQA = Benchmark(
    name="mlqa",
    head=QuestionAnswering(),
    read=read_questions,
    score=score_mlqa,
    score_dev=score_squad,
    training=replace(
        _SQUAD,
        files={
            **_SQUAD.files,
            "translate-train": (
                "mlqa-translate-train/{language}_squad-translate-train-train-v1.1.json",
                "{language}_squad-translate-train-train-v1.1.json",
            ),
        },
        target_dev=_MLQA_DEV,
    ),
)

_XQUAD = Benchmark(
    name="xquad",
    head=QuestionAnswering(),
    read=read_questions,
    score=_whatever_the_language(score_squad),
    score_dev=score_squad,
    training=_SQUAD,
)

_TYDIQA_FILES = (
    "tydiqa-goldp-v1.1-{split}/tydiqa.goldp.{language}.{split}.json",
    "tydiqa.goldp.{language}.{split}.json",
    "tydiqa-goldp-v1.1-{split}/tydiqa-goldp-{split}-{name}.json",
    "tydiqa-goldp-{split}-{name}.json",
    "tydiqa-goldp-v1.1-{split}.json",
    "tydiqa-goldp-v1.1-{split}/tydiqa-goldp-v1.1-{split}.json",
)
_TYDIQA = Benchmark(
    name="tydiqa",
    head=QuestionAnswering(),
    read=read_questions,
    score=_whatever_the_language(score_squad),
    score_dev=score_squad,
    training=Training(
        name="tydiqa-goldp",
        files={"english": _with_split(_TYDIQA_FILES, "train")},
        dev=(),  # English dev is what is reported, so no epoch is chosen on it
        target_dev=(),
        recipe=_QUESTIONS,
        source=f"{_XTREME_R} (train_qa.sh)",
    ),
)

_UDPOS_FILES = (
    "{language}_*-ud-{split}*.conllu",
    "*/{language}_*-ud-{split}*.conllu",
    "{split}-{language}.tsv",
)
_UDPOS = Benchmark(
    name="udpos",
    head=Tagging(UPOS_TAGS),
    read=read_udpos,
    score=_whatever_the_language(score_pos),
    score_dev=score_pos,
    training=Training(
        name="ud-english",
        files={"english": _with_split(_UDPOS_FILES, "train")},
        dev=_with_split(_UDPOS_FILES, "dev"),
        target_dev=_with_split(_UDPOS_FILES, "dev"),
        recipe=_TAGS,
        source=f"{_XTREME_R} (train_udpos.sh)",
    ),
)

_PANX_FILES = ("{split}-{language}.tsv", "{language}/{split}", "{language}-{split}")
_PANX = Benchmark(
    name="panx",
    head=Tagging(PANX_TAGS),
    read=read_panx,
    score=_whatever_the_language(score_entities),
    score_dev=score_entities,
    training=Training(
        name="wikiann-english",
        files={"english": _with_split(_PANX_FILES, "train")},
        dev=_with_split(_PANX_FILES, "dev"),
        target_dev=_with_split(_PANX_FILES, "dev"),
        recipe=_TAGS,
        source=f"{_XTREME_R} (train_panx.sh)",
    ),
)


def _row(
    benchmark: Benchmark,
    summary: str,
    languages: str,
    files: Alternatives,
    metric: str,
    citation: str,
    splits: tuple[str, ...],
    published: str,
) -> Task:
    return Task(
        name=benchmark.name,
        summary=summary,
        languages=tuple(languages.split()),
        files=(files,),
        read=benchmark.read,
        measure=benchmark.measure,
        check=benchmark.check,
        metric=metric,
        needs_head=False,
        citation=citation,
        splits=splits,
        published=published,
        training=benchmark.training,
        uses_seed=True,
        reads_language=True,
    )


TASKS = (
    _row(
        _XNLI,
        summary="entailment, contradiction or neutral",
        languages="ar bg de el en es fr hi ru sw th tr ur vi zh",
        files=_XNLI_FILES,
        metric="accuracy",
        citation="Conneau et al. 2018",
        splits=("test", "dev"),
        published="https://github.com/facebookresearch/XNLI",
    ),
    _row(
        _PAWSX,
        summary="whether two sentences are paraphrases",
        languages="de en es fr ja ko zh",
        files=_PAWSX_FILES,
        metric="accuracy",
        citation="Yang et al. 2019",
        splits=("test", "dev"),
        published="https://github.com/google-research-datasets/paws/tree/master/pawsx",
    ),
    _row(
        _XCOPA,
        summary="the cause or the effect of a premise, one of two",
        languages="et ht id it qu sw ta th tr vi zh",
        files=_XCOPA_FILES,
        metric="accuracy",
        citation="Ponti et al. 2020",
        splits=("test", "val"),
        published="https://github.com/cambridgeltl/xcopa",
    ),
    _row(
        _MLQA,
        summary="answers cut out of a context; `en-de` is an English context with a German question",
        languages="ar de en es hi vi zh",
        files=tuple(
            folder + "{split}-context-{context}-question-{question}.json"
            for folder in ("{split}/", "MLQA_V1/{split}/", "")
        ),
        metric="f1, exact_match (MLQA's normalisation)",
        citation="Lewis et al. 2020",
        splits=("test", "dev"),
        published="https://github.com/facebookresearch/MLQA",
    ),
    _row(
        _XQUAD,
        summary="answers cut out of a context",
        languages="ar de el en es hi ro ru th tr vi zh",
        files=("xquad.{language}.json",),
        metric="f1, exact_match (SQuAD v1.1)",
        citation="Artetxe et al. 2020",
        splits=("test",),
        published="https://github.com/google-deepmind/xquad",
    ),
    _row(
        _TYDIQA,
        summary="TyDiQA-GoldP: answers cut out of a paragraph",
        languages="ar bn en fi id ko ru sw te",
        files=_TYDIQA_FILES,
        metric="f1, exact_match (SQuAD v1.1)",
        citation="Clark et al. 2020",
        splits=("dev", "train"),
        published="https://github.com/google-research-datasets/tydiqa",
    ),
    _row(
        _UDPOS,
        summary="universal parts of speech; all treebanks of a language together",
        languages=(
            "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko lt mr nl pl pt ro ru ta te th tl tr uk ur vi "
            "wo yo zh"
        ),
        files=_UDPOS_FILES,
        metric="f1 (XTREME's), accuracy",
        citation="Nivre et al. 2020",
        splits=("test", "dev", "train"),
        published="https://universaldependencies.org",
    ),
    _row(
        _PANX,
        summary="WikiANN: names of persons, places and organisations",
        languages=(
            "af ar az bg bn de el en es et eu fa fi fr gu he hi hu id it ja jv ka kk ko lt ml mr ms my nl pa pl pt qu "
            "ro ru sw ta te th tl tr uk ur vi yo zh"
        ),
        files=_PANX_FILES,
        metric="f1 (entities), precision, recall",
        citation="Pan et al. 2017; Rahimi et al. 2019 (splits)",
        splits=("test", "dev"),
        published="https://github.com/afshinrahimi/mmner",
    ),
)
