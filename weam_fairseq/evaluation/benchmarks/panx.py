"""PANX: names of persons, places and organizations in WikiANN."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from weam_fairseq.evaluation.benchmark import Benchmark, HubCopy, Row, XtremeR, language_codes
from weam_fairseq.evaluation.fine_tuning.tagging import TaggedSentence, fine_tuned_tagger, read_tab_file
from weam_fairseq.evaluation.metrics.labels import TaggingScore, entity_f1
from weam_fairseq.evaluation.prediction_files import read_tagged, tag_scoring
from weam_fairseq.evaluation.readers import joined_lines, one_cell

PANX_TAGS = ("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O")


def read_panx(*paths: Path, language: str = "en") -> list[TaggedSentence]:
    """Reads `word<TAB>tag` lines with blank lines between sentences; removes the prefix `de:` if every word has it.

    Raises:
        InputError: a line has no tag (a test file without its gold), or one that WikiANN does not have.
    """
    return [sentence for path in paths for sentence in read_tab_file(path, PANX_TAGS, f"{language}:")]


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
    fine_tuned=fine_tuned_tagger("panx", PANX_TAGS, entity_f1, "seqeval", "wikiann-english", _FILES),
    scoring=tag_scoring(
        lambda request: [read_tagged(path, PANX_TAGS) for path in (request.gold, request.predictions)],
        entity_f1,
        TaggingScore._fields,
        "Hu et al. 2020 (seqeval)",
    ),
    hub=HubCopy("unimelb-nlp/wikiann", _from_hub, english=("train", "dev")),
    xtreme_r=XtremeR(4, ("f1",)),
)
