"""Mewsli-X (Ruder et al. 2021): rank all candidate entities, by their descriptions, for a mention in its sentence.

`candidate_set_entities.jsonl` holds the entities, `wikinews_mentions-{split}.jsonl` the mentions of all languages,
and `wikinews_mentions/{split}-{language}.jsonl`, made by XTREME-R's download script, those of one language. That
script removes the answers from its test files, which is an error here.

Mentions and descriptions are encoded separately, at a fixed layer (encode.py), and compared by cosine. XTREME-R first
trains the encoder on Wikipedia mentions and reads 64 pieces of each text. This is the zero-shot figure of the
unchanged model on complete texts. With one correct entity, mAP@20 is the mean reciprocal rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from weam_fairseq.common.documents import parse_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Benchmark, Measurement, Setting, XtremeR, language_codes
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.prediction_files import ranking_scoring
from weam_fairseq.evaluation.readers import read_lines
from weam_fairseq.evaluation.retrieval import Queries, measure_rankings


class Entity(NamedTuple):
    id: str
    description: str


class Mention(NamedTuple):
    """`query` is the text that is encoded; `entity` is the id of the right entity."""

    id: str
    language: str
    query: str
    entity: str


class Mewslix(NamedTuple):
    """The candidates, the same for all languages, and one file's mentions."""

    entities: list[Entity]
    mentions: list[Mention]


T = TypeVar("T")


def read_mewslix(entities: Path, mentions: Path) -> Mewslix:
    """Raises InputError: a line is malformed, or a mention's gold entity is missing or not a candidate."""
    data = Mewslix(_read_entities(entities), _read_mentions(mentions))
    candidates = {entity.id for entity in data.entities}
    unknown = [mention for mention in data.mentions if mention.entity not in candidates]
    if unknown:
        raise InputError(
            f"{mentions}: the entities of {len(unknown):,} mentions are not in {entities}, the first is "
            f"{unknown[0].entity!r} of mention {unknown[0].id!r}."
        )
    return data


def read_entity_labels(path: Path, language: str) -> dict[str, list[str]]:
    """The right entity of each mention of one language."""
    labels = {mention.id: [mention.entity] for mention in _read_mentions(path) if mention.language == language}
    if not labels:
        raise InputError(f"{path} has no mention in language {language!r}.")
    return labels


@lru_cache(maxsize=1)
def _read_entities(path: Path) -> list[Entity]:
    entities = [entity for line in _read(path, _entity) for entity in line]
    if len({entity.id for entity in entities}) != len(entities):
        raise InputError(f"{path}: an entity is listed twice.")
    return entities


@lru_cache(maxsize=1)
def _read_mentions(path: Path) -> list[Mention]:
    return [mention for line in _read(path, _mentions) for mention in line]


def _read(path: Path, parse: Callable[[Mapping[str, Any]], T]) -> list[T]:
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            found.append(parse(parse_json(line, f"{path}:{number}", dict)))
        except InputError as error:
            raise InputError(str(error) if str(path) in str(error) else f"{path}:{number}: {error}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}:{number}: the line is not in Mewsli-X's format ({type(error).__name__}: {error})."
            ) from None
    if not found:
        raise InputError(f"{path} is empty.")
    return found


def _entity(record: Mapping[str, Any]) -> list[Entity]:
    text = record["description"]
    sentences = [text[span["start"] : span["end"]] for span in record["sentence_spans"]]
    return [Entity(record["entity_id"], _one_line(" ".join(sentences) or text))]


def _mentions(record: Mapping[str, Any]) -> list[Mention]:
    context = record["context"]
    found = []
    for mention in record["mentions"]:
        if not mention["entity_id"]:
            raise InputError(
                f"mention {mention['example_id']!r} has no entity: XTREME-R's download script removes the answers "
                "from its test files. Use the files that Mewsli-X publishes."
            )
        query = _query(context, mention["mention_span"], mention["example_id"])
        found.append(Mention(mention["example_id"], context["language"], query, mention["entity_id"]))
    return found


def _query(context: Mapping[str, Any], span: Mapping[str, Any], example: str) -> str:
    """The form of XTREME-R's baseline: the mention, then its sentence with the mention in braces.

    Braces in the sentence become parentheses.
    """
    text = context["text"]
    for sentence in context["sentence_spans"]:
        if sentence["start"] <= span["start"] < span["end"] <= sentence["end"]:
            break
    else:
        raise InputError(f"mention {example!r} is not inside a sentence of its context.")
    if text[span["start"] : span["end"]] != span["text"]:
        raise InputError(f"mention {example!r} must be {span['text']!r}, but its span contains another text.")
    before, after = text[sentence["start"] : span["start"]], text[span["end"] : sentence["end"]]
    round_ones = str.maketrans("{}", "()")
    return _one_line(
        f"{span['text']}: {before.translate(round_ones)} {{ {span['text']} }} {after.translate(round_ones)}"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())


def measure_mewslix(folder: Folder, data: Mapping[str, Mewslix], setting: Setting) -> list[Measurement]:
    """One measurement a language of the mentions.

    Raises:
        InputError: a requested language has no mention.
    """
    mentions = {
        language: [mention for mention in each.mentions if mention.language == language]
        for language, each in data.items()
    }
    for language, found in mentions.items():
        if not found:
            raise InputError(f"mewslix: the mentions of split {setting.split!r} contain none in language {language!r}.")
    return measure_rankings(
        *(folder, setting, "mewslix"),
        candidates={entity.id: entity.description for entity in next(iter(data.values())).entities},
        queries={
            language: Queries(
                {mention.id: mention.query for mention in found}, {mention.id: [mention.entity] for mention in found}
            )
            for language, found in mentions.items()
        },
    )


BENCHMARK = Benchmark(
    name="mewslix",
    summary="find the entity that a mention in a news article refers to, among all entities",
    languages=language_codes("ar de en es fa ja pl ro ta tr uk"),
    splits=("test", "dev"),
    files=(
        "candidate_set_entities.jsonl",
        ("wikinews_mentions-{split}.jsonl", "wikinews_mentions/{split}-{language}.jsonl"),
    ),
    read=read_mewslix,
    measure=measure_mewslix,
    metric="map@20",
    citation="Ruder et al. 2021 (XTREME-R)",
    published="github.com/google-research/google-research, dense_representations_for_entity_retrieval/mel",
    scoring=ranking_scoring(
        "a JSON object {mention: [entity]}; or the benchmark's JSON lines, with --language",
        lambda path: ".jsonl" in path.suffixes,
        read_entity_labels,
        "Ruder et al. 2021",
    ),
    xtreme_r=XtremeR(9, ("map@20",), "XTREME-R fine-tunes the encoder on Wikipedia mentions"),
)
