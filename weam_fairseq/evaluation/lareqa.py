"""LAReQA: rank the sentences of all 11 languages for a question; the answers in all of them are right (mAP@20).

Questions and candidate sentences are encoded alone, at a fixed layer (layers.py), and compared by cosine. XTREME-R
first trains the encoder as a dual encoder on SQuAD, and gives it a candidate's whole paragraph behind its sentence;
this is the zero-shot figure of the model as it is. A model that was trained for retrieval is measured the same way.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.lareqa_files import Pool
from weam_fairseq.evaluation.layers import depth_of, fixed_layer, layer_label
from weam_fairseq.evaluation.measurement import Measurement, Setting
from weam_fairseq.evaluation.metrics.ranking import CUT, mean_average_precision, shares
from weam_fairseq.evaluation.predictions import write_items, write_rankings
from weam_fairseq.evaluation.retrieval import percent, ranked
from weam_fairseq.evaluation.sentence_vectors import SentenceVectors, sentence_vectors


def measure_lareqa(folder: Folder, data: Mapping[str, Pool], setting: Setting) -> list[Measurement]:
    """One measurement a language of the questions; the candidates are always those of all languages."""
    layer = fixed_layer(depth_of(folder))
    pool = next(iter(data.values()))
    sentences = [candidate.sentence for candidate in pool.candidates]
    candidates = sentence_vectors(folder, sentences, layer, setting.batch_size, "lareqa candidates")
    return [_measure_language(folder, pool, candidates, setting, language, layer) for language in data]


def _measure_language(
    folder: Folder, pool: Pool, candidates: SentenceVectors, setting: Setting, language: str, layer: int
) -> Measurement:
    questions = pool.questions[language]
    texts = [question.text for question in questions]
    queries = sentence_vectors(folder, texts, layer, setting.batch_size, f"lareqa {language}")
    found = ranked(queries.values, candidates.values, CUT)
    rankings = {
        question.id: [pool.candidates[place].id for place in row]
        for question, row in zip(questions, found, strict=True)
    }
    right = {question.id: pool.right[question.key] for question in questions}
    write_rankings(setting, "lareqa", language, rankings)
    clusters = {question.id: question.key for question in questions}
    items = write_items(
        setting,
        "lareqa",
        language,
        ({**item, "cluster": clusters[str(item["id"])]} for item in shares(right, rankings)),
    )
    own = np.array([[pool.candidates[place].language == language for place in row] for row in found])
    return Measurement(
        language=language,
        split=setting.split,
        metric=f"map@{CUT}",
        value=mean_average_precision(right, rankings),
        n=len(questions),
        detail={
            "layer": layer,
            "candidates": len(pool.candidates),
            "right_candidates": [min(map(len, right.values())), max(map(len, right.values()))],
            # How much the model prefers the question's own language: a pool of equal languages would give 100 / 11.
            "own_language_in_ranking": percent(own),
            "sentences_split": candidates.long + queries.long,
            **items,
        },
        method={
            "lang": language,
            "split": setting.split,
            "pool": "mean",
            "layer": layer_label(layer, depth_of(folder)),
            "candidates": "sentences",
            # XTREME-R fine-tunes it first, and the overall score says that this was not done.
            "encoder": "as-given",
        },
    )
