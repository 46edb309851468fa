"""A peer as a witness: the exported folder in sentence-transformers, against our Tatoeba retrieval, on the same text.

sentence-transformers takes the mean over all positions of the last layer, special pieces included. So ours is given
three times: as weam-evaluate reports it (fixed layer, without special pieces), at the last layer, and at the last layer
with special pieces, which must be sentence-transformers' own vectors. That library is no dependency: install it into
an environment of its own, and run this there.

    python -m venv witness && witness/bin/pip install torch simalign sentence-transformers
    PYTHONPATH=. witness/bin/python benchmarks/witness_retrieval.py --model HF_DIR --data TATOEBA_DIR --languages de fr
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from weam_fairseq.evaluation.benchmarks.tatoeba import LASER_CODES, read_tatoeba
from weam_fairseq.evaluation.encode import depth_of, fixed_layer, group_states, sentence_groups, tokenize
from weam_fairseq.evaluation.hf_folder import Folder, load_folder
from weam_fairseq.evaluation.retrieval import nearest, percent

BATCH = 64


def main() -> None:
    options = _parser().parse_args()
    folder = load_folder(options.model, needs_head=False)
    depth = depth_of(folder)
    witness = _witness(options.model, folder.max_pieces)
    print(f"{options.model.name}, {depth} layers; Tatoeba accuracy, English sentences asked; batches of {BATCH}\n")
    print(
        "| language | ours, as reported | ours, last layer | ours, last layer with special pieces | "
        "sentence-transformers | largest difference of vectors | seconds, ours | seconds, theirs |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for language in options.languages:
        code = LASER_CODES.get(language, language)
        files = [options.data / f"tatoeba.{code}-eng.{side}" for side in (code, "eng")]
        sides = list(zip(*read_tatoeba(*files), strict=True))
        ours = [
            [_vectors(folder, side, layer, special)[0] for side in sides]
            for layer, special in ((fixed_layer(depth), False), (depth, False))
        ]
        start = time.perf_counter()
        same = [_vectors(folder, side, depth, True)[0] for side in sides]
        middle = time.perf_counter()
        theirs = [witness.encode(list(side), batch_size=BATCH, show_progress_bar=False) for side in sides]
        end = time.perf_counter()
        largest = max(float(np.abs(one - other).max()) for one, other in zip(same, theirs, strict=True))
        figures = [_accuracy(source, english) for source, english in (*ours, same, theirs)]
        cells = [language, *(f"{figure:.1f}" for figure in figures), f"{largest:.1e}"]
        print(f"| {' | '.join(cells)} | {middle - start:.1f} | {end - middle:.1f} |")


def _witness(model: Path, max_pieces: int) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Pooling, Transformer
    except ImportError:
        raise SystemExit("sentence-transformers is not installed here. See the head of this file.") from None
    encoder = Transformer(str(model), max_seq_length=max_pieces)
    pooling = Pooling(encoder.get_word_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[encoder, pooling], device="cpu")


def _vectors(folder: Folder, texts: Sequence[str], layer: int, special: bool) -> np.ndarray:
    """*Shape:* `(1, N, D)`."""
    pieces = tokenize(folder, texts)
    groups = [[list(range(len(row)))] for row in pieces.special] if special else sentence_groups(pieces)
    return group_states(folder, pieces, groups, BATCH, None, [layer]).values


def _accuracy(source: np.ndarray, english: np.ndarray) -> float:
    return percent(nearest(english, source) == np.arange(len(english)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--data", type=Path, required=True, help="LASER's data/tatoeba/v1")
    parser.add_argument("--languages", nargs="+", required=True, metavar="XX")
    return parser


if __name__ == "__main__":
    main()
