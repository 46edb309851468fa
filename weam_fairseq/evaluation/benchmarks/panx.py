"""PANX: names of persons, places and organizations in WikiANN."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from weam_fairseq.evaluation.benchmark import (
    Benchmark,
    FineTuned,
    HubCopy,
    Request,
    Row,
    Scoring,
    ScoringResult,
    Training,
    XtremeR,
    language_codes,
    with_split,
)
from weam_fairseq.evaluation.fine_tuning.head import Scored
from weam_fairseq.evaluation.fine_tuning.recipe import TAG_RECIPE
from weam_fairseq.evaluation.fine_tuning.tagging import TaggedSentence, Tagging, read_tab_file, sentence_items
from weam_fairseq.evaluation.metrics.labels import entity_f1
from weam_fairseq.evaluation.prediction_files import TAG_LINES, compared_tags, read_tagged
from weam_fairseq.evaluation.readers import joined_lines, one_cell

PANX_TAGS = ("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O")


def read_panx(*paths: Path, language: str = "en") -> list[TaggedSentence]:
    """Reads `word<TAB>tag` lines with blank lines between sentences; a prefix `de:` of every word is taken off.

    Raises:
        InputError: a line has no tag (a test file without its gold), or one that WikiANN does not have.
    """
    return [sentence for path in paths for sentence in read_tab_file(path, PANX_TAGS, f"{language}:")]


def _score_files(request: Request) -> ScoringResult:
    gold, predictions = read_tagged(request.gold, PANX_TAGS), read_tagged(request.predictions, PANX_TAGS)
    return ScoringResult(entity_f1(*compared_tags(gold, predictions, request))._asdict())


def _score(examples: Sequence[TaggedSentence], predictions: Sequence[Sequence[str]], language: str) -> Scored:
    gold = [example.tags for example in examples]
    score = entity_f1(gold, predictions)
    metrics = {"f1": score.f1, "precision": score.precision, "recall": score.recall}
    return Scored(metrics, len(gold), sentence_items(gold, predictions), "seqeval")


def _from_hub(rows: Iterable[Row], names: Callable[[str], Sequence[str]]) -> str:
    tags = names("ner_tags")
    return "\n".join(
        joined_lines(f"{one_cell(word)}\t{tags[tag]}" for word, tag in zip(row["tokens"], row["ner_tags"], strict=True))
        for row in rows
    )


_FILES = ("{split}-{language}.tsv", "{language}/{split}", "{language}-{split}")

BENCHMARK = Benchmark(
    name="panx",
    summary="WikiANN: names of persons, places and organizations",
    languages=language_codes(
        "af ar az bg bn de el en es et eu fa fi fr gu he hi hu id it ja jv ka kk ko lt ml mr ms my nl pa pl pt qu ro "
        "ru sw ta te th tl tr uk ur vi yo zh"
    ),
    splits=("test", "dev"),
    files=(_FILES,),
    read=read_panx,
    metric="f1 (entities), precision, recall",
    citation="Pan et al. 2017; Rahimi et al. 2019 (splits)",
    published="https://github.com/afshinrahimi/mmner",
    fine_tuned=FineTuned(
        head=Tagging(PANX_TAGS),
        score=_score,
        training=Training(
            name="wikiann-english",
            files={"english": with_split(_FILES, "train")},
            dev=with_split(_FILES, "dev"),
            target_dev=with_split(_FILES, "dev"),
            recipe=TAG_RECIPE,
            source="XTREME-R's scripts (train_panx.sh)",
        ),
    ),
    scoring=Scoring(
        gold=TAG_LINES,
        predictions=TAG_LINES,
        metrics=("f1", "precision", "recall"),
        score=_score_files,
        citation="Hu et al. 2020 (seqeval)",
    ),
    hub=HubCopy(
        usual="unimelb-nlp/wikiann",
        config="{language}",
        splits={"train": "train", "dev": "validation", "test": "test"},
        file="{split}-{language}.tsv",
        text=_from_hub,
        english=("train", "dev"),
    ),
    xtreme_r=XtremeR(4, ("f1",)),
)
