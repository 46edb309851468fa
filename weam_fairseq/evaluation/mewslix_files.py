"""Mewsli-X (Ruder et al. 2021): mentions in news and descriptions of entities, as JSON lines.

`candidate_set_entities.jsonl` holds the entities; `wikinews_mentions-{split}.jsonl` the mentions of all languages, or
`wikinews_mentions/{split}-{language}.jsonl` those of one, as XTREME-R's download script cuts them (that script takes
the answers out of its test files, which is an error here).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from weam_fairseq.common.documents import parse_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.readers import read_lines

LANGUAGES = ("ar", "de", "en", "es", "fa", "ja", "pl", "ro", "ta", "tr", "uk")


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
    """Raises InputError: a line is malformed, a mention has no gold entity, or one that is no candidate."""
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
                f"{path}:{number}: the line is none of Mewsli-X ({type(error).__name__}: {error})."
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
                f"mention {mention['example_id']!r} has no entity: XTREME-R's download script takes the answers out "
                "of its test files. Take the files that Mewsli-X itself publishes."
            )
        query = _query(context, mention["mention_span"], mention["example_id"])
        found.append(Mention(mention["example_id"], context["language"], query, mention["entity_id"]))
    return found


def _query(context: Mapping[str, Any], span: Mapping[str, Any], example: str) -> str:
    """The form of XTREME-R's baseline: the mention, then its sentence with the mention in braces.

    Braces that the sentence has already become round ones.
    """
    text = context["text"]
    for sentence in context["sentence_spans"]:
        if sentence["start"] <= span["start"] < span["end"] <= sentence["end"]:
            break
    else:
        raise InputError(f"mention {example!r} lies in no sentence of its context.")
    if text[span["start"] : span["end"]] != span["text"]:
        raise InputError(f"mention {example!r} must be {span['text']!r}, but its place holds another text.")
    before, after = text[sentence["start"] : span["start"]], text[span["end"] : sentence["end"]]
    round_ones = str.maketrans("{}", "()")
    return _one_line(
        f"{span['text']}: {before.translate(round_ones)} {{ {span['text']} }} {after.translate(round_ones)}"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
