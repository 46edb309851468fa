"""Tatoeba as XTREME scores it: for each English sentence, its translation among all sentences of the language's file.

The files are LASER's (`tatoeba.deu-eng.deu` and `.eng`, up to 1,000 pairs; Artetxe and Schwenk 2019). Line k of one
file belongs to line k of the other. A sentence is the mean of its pieces' states at a fixed layer (encode.py), and
the nearest sentence has the highest cosine. Accuracy counts lines, as in XTREME's scorer: a neighbor with the right
text on another line is wrong (`duplicates` counts lines that repeat an earlier one).

XTREME's script queries with English sentences and searches the other language's (`similarity_search` indexes the
source side). That direction is `accuracy`; `detail` holds the other one. With --layer best, the even lines choose the
layer and the odd lines are measured, and `accuracy` is the mean of both directions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import Benchmark, Measurement, Request, Scoring, ScoringResult, Setting, XtremeR
from weam_fairseq.evaluation.encode import depth_of, fixed_layer, layer_label, layer_vectors, sentence_vectors
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.metrics.labels import accuracy
from weam_fairseq.evaluation.prediction_files import write_items, write_lines
from weam_fairseq.evaluation.readers import TextPair, read_lines
from weam_fairseq.evaluation.retrieval import dev_and_test, find_translations, nearest, percent


def _table(text: str) -> dict[str, str]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


# LASER's Tatoeba files: the 41 languages of XTREME-R (XTREME has all but the last five).
LASER_CODES = _table("""
    af afr  ar ara  bg bul  bn ben  de deu  el ell  es spa  et est  eu eus  fa pes  fi fin  fr fra  he heb  hi hin
    hu hun  id ind  it ita  ja jpn  jv jav  ka kat  kk kaz  ko kor  ml mal  mr mar  nl nld  pt por  ru rus  sw swh
    ta tam  te tel  th tha  tl tgl  tr tur  ur urd  vi vie  zh cmn  az aze  lt lit  pl pol  uk ukr  ro ron
""")


def read_tatoeba(path: Path, english: Path) -> list[TextPair]:
    """The pairs, English as the target.

    Raises:
        InputError: the files differ in length, a line is empty, or one file is sorted (see `check_not_sorted`).
    """
    sources, targets = ([line.strip() for line in read_lines(each)] for each in (path, english))
    if len(sources) != len(targets):
        raise InputError(
            f"{path} has {len(sources):,} lines but {english} has {len(targets):,}: line k of one must belong to "
            "line k of the other."
        )
    for lines, each in ((sources, path), (targets, english)):
        if not all(lines):
            raise InputError(f"{each}:{lines.index('') + 1}: the line is empty. Use LASER's own file.")
        check_not_sorted(lines, each)
    if not sources:
        raise InputError(f"{path} is empty.")
    return [TextPair(*sides) for sides in zip(sources, targets, strict=True)]


def measure_tatoeba(folder: Folder, data: Mapping[str, Sequence[TextPair]], setting: Setting) -> list[Measurement]:
    """One measurement a language: accuracy over all sentences of its file."""
    return [_measure_language(folder, pairs, setting, language) for language, pairs in data.items()]


def _measure_language(folder: Folder, pairs: Sequence[TextPair], setting: Setting, language: str) -> Measurement:
    if setting.best_layer:
        return _measure_best_layer(folder, pairs, setting, language)
    depth = depth_of(folder)
    layer = fixed_layer(depth)
    sources, targets = [pair.source for pair in pairs], [pair.target for pair in pairs]
    source = sentence_vectors(folder, sources, layer, setting.batch_size, f"tatoeba {language}")
    target = sentence_vectors(folder, targets, layer, setting.batch_size, f"tatoeba {language} (en)")
    found = nearest(target.values, source.values)
    lines = np.arange(len(pairs))
    into = percent(found == lines)
    out_of = percent(nearest(source.values, target.values) == lines)
    write_lines(setting, "tatoeba", language, map(str, found))
    items = write_items(
        setting,
        "tatoeba",
        language,
        (
            # The files of two languages hold some of the same English sentences, on other lines.
            {"id": line, "cluster": _digest(pair.target), "accuracy": 100.0 * (int(found[line]) == line)}
            for line, pair in enumerate(pairs)
        ),
    )
    return Measurement(
        language=language,
        split=setting.split,
        metric="accuracy",
        value=into,
        n=len(pairs),
        detail={
            "directions": {f"en>{language}": into, f"{language}>en": out_of},
            "layer": layer,
            "candidates": len(pairs),
            "duplicates": [len(sources) - len(set(sources)), len(targets) - len(set(targets))],
            "sentences_split": source.long + target.long,
            **items,
        },
        method={
            "lang": language,
            "split": setting.split,
            "direction": f"en>{language}",
            "pool": "mean",
            "layer": layer_label(layer, depth),
            # XTREME-R fine-tunes the encoder first; the overall score mentions this difference.
            "encoder": "as-given",
        },
    )


def _measure_best_layer(folder: Folder, pairs: Sequence[TextPair], setting: Setting, language: str) -> Measurement:
    if len(pairs) < 2:
        raise InputError(f"{language}: --layer best needs at least 2 lines, one of them to choose the layer on.")
    sides = {language: [pair.source for pair in pairs], "en": [pair.target for pair in pairs]}
    source, target = (
        layer_vectors(folder, texts, setting.batch_size, f"tatoeba {language} ({name})")
        for name, texts in sides.items()
    )
    found = find_translations(target.values, source.values, range(len(pairs)), range(len(pairs)))
    _, test = dev_and_test(len(pairs))
    into, out_of = percent(found.forward), percent(found.backward)
    split = f"{setting.split}/{test.name}"
    items = (
        {"id": int(line), "cluster": _digest(pairs[line].target), "accuracy": 50.0 * (float(there) + float(back))}
        for line, there, back in zip(test.lines, found.forward, found.backward, strict=True)
    )
    return Measurement(
        language=language,
        split=split,
        metric="accuracy",
        value=(into + out_of) / 2,
        n=len(test.lines),
        detail={
            "directions": {f"en>{language}": into, f"{language}>en": out_of},
            "layer": found.choice.layer,
            "dev_by_layer": found.choice.dev,
            "dev_by_layer_and_direction": {f"en>{language}": found.dev_forward, f"{language}>en": found.dev_backward},
            "candidates": len(test.lines),
            "sentences_split": source.long + target.long,
            **write_items(setting, "tatoeba", language, items),
        },
        method={
            "lang": language,
            "split": split,
            "direction": "both",
            "pool": "mean",
            "layer": "dev-best",
            "encoder": "as-given",
        },
    )


def _digest(sentence: str) -> str:
    return hashlib.sha256(sentence.encode("utf-8", errors="surrogatepass")).hexdigest()[:16]


def read_indices(path: Path) -> list[str]:
    """One index a line, from 0, as written without leading zeros."""
    indices = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip().isascii() or not line.strip().isdigit():
            raise InputError(f"{path}:{number}: {line!r} is not an index. Write one number a line, counted from 0.")
        indices.append(str(int(line)))
    return indices


def read_gold_indices(path: Path) -> list[str]:
    """One index a line; or a side of the benchmark's own text, where line k belongs to line k.

    Raises:
        InputError: the text is sorted, as after XTREME's download script, so the pairs are lost.
    """
    lines = read_lines(path)
    if all(line.strip().isascii() and line.strip().isdigit() for line in lines):
        return read_indices(path)
    check_not_sorted([line.strip() for line in lines], path)
    return [str(number) for number in range(len(lines))]


def check_not_sorted(lines: Sequence[str], path: Path) -> None:
    """Raises InputError: more than 10 lines are in sorted order, which no published file of Tatoeba is."""
    if len(lines) > 10 and list(lines) == sorted(lines):
        raise InputError(
            f"{path} is sorted: XTREME's download script sorts it to hide which sentences belong together. "
            "Use the files of LASER (data/tatoeba/v1), where line k belongs to line k, or give the indices as gold."
        )


def _score_files(request: Request) -> ScoringResult:
    return ScoringResult({"accuracy": accuracy(read_gold_indices(request.gold), read_indices(request.predictions))})


BENCHMARK = Benchmark(
    name="tatoeba",
    summary="an English sentence's translation among all sentences of the file",
    languages=tuple(LASER_CODES),
    splits=("test",),
    files=(
        ("tatoeba.{code}-eng.{code}", "{language}-en.{language}"),
        ("tatoeba.{code}-eng.eng", "{language}-en.en"),
    ),
    codes=LASER_CODES,
    read=read_tatoeba,
    measure=measure_tatoeba,
    chooses_layer=True,
    metric="accuracy",
    citation="Artetxe & Schwenk 2019; Hu et al. 2020 (XTREME)",
    published="github.com/facebookresearch/LASER, data/tatoeba/v1",
    scoring=Scoring(
        gold="one index a line, from 0; or one side of the benchmark's own text (line k belongs to line k)",
        predictions="one index a line, from 0",
        metrics=("accuracy",),
        score=_score_files,
        citation="Artetxe & Schwenk 2019",
    ),
    xtreme_r=XtremeR(10, ("accuracy",), "XTREME-R's script takes an encoder that was fine-tuned on SQuAD"),
)
