"""Mewsli-X: rank all candidate entities, by their descriptions, for a mention in its sentence (mAP@20).

Both sides are encoded alone, at a fixed layer (layers.py), and compared by cosine. XTREME-R first trains the encoder
on Wikipedia mentions and reads 64 pieces of each text; this is the zero-shot figure of the model as it is, over whole
texts. With one right entity, mAP@20 is the mean reciprocal rank.
"""

from __future__ import annotations

from collections.abc import Mapping

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.layers import depth_of, fixed_layer, layer_label
from weam_fairseq.evaluation.measurement import Measurement, Setting
from weam_fairseq.evaluation.metrics.ranking import CUT, mean_average_precision, shares
from weam_fairseq.evaluation.mewslix_files import Entity, Mention, Mewslix
from weam_fairseq.evaluation.predictions import write_items, write_rankings
from weam_fairseq.evaluation.retrieval import ranked
from weam_fairseq.evaluation.sentence_vectors import SentenceVectors, sentence_vectors


def measure_mewslix(folder: Folder, data: Mapping[str, Mewslix], setting: Setting) -> list[Measurement]:
    """One measurement a language of the mentions.

    Raises:
        InputError: there is no mention in a language that was asked for.
    """
    mentions = {
        language: [mention for mention in each.mentions if mention.language == language]
        for language, each in data.items()
    }
    for language, found in mentions.items():
        if not found:
            raise InputError(f"mewslix: the mentions of split {setting.split!r} hold none in language {language!r}.")
    layer = fixed_layer(depth_of(folder))
    entities = next(iter(data.values())).entities
    texts = [entity.description for entity in entities]
    candidates = sentence_vectors(folder, texts, layer, setting.batch_size, "mewslix entities")
    return [
        _measure_language(folder, found, entities, candidates, setting, language, layer)
        for language, found in mentions.items()
    ]


def _measure_language(
    folder: Folder,
    mentions: list[Mention],
    entities: list[Entity],
    candidates: SentenceVectors,
    setting: Setting,
    language: str,
    layer: int,
) -> Measurement:
    texts = [mention.query for mention in mentions]
    queries = sentence_vectors(folder, texts, layer, setting.batch_size, f"mewslix {language}")
    rankings = {
        mention.id: [entities[place].id for place in row]
        for mention, row in zip(mentions, ranked(queries.values, candidates.values, CUT), strict=True)
    }
    right = {mention.id: [mention.entity] for mention in mentions}
    write_rankings(setting, "mewslix", language, rankings)
    items = write_items(setting, "mewslix", language, shares(right, rankings))
    return Measurement(
        language=language,
        split=setting.split,
        metric=f"map@{CUT}",
        value=mean_average_precision(right, rankings),
        n=len(mentions),
        detail={
            "layer": layer,
            "candidates": len(entities),
            "sentences_split": candidates.long + queries.long,
            **items,
        },
        method={
            "lang": language,
            "split": setting.split,
            "pool": "mean",
            "layer": layer_label(layer, depth_of(folder)),
            # XTREME-R fine-tunes it first, and the overall score says that this was not done.
            "encoder": "as-given",
        },
    )
