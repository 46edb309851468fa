"""A peer as a witness: the exported folder in simalign, against our word alignment, on the same gold links.

Both read layer k of the same weights and link pieces by mutual argmax and by itermax; the differences are printed,
link by link. simalign is no dependency: install it into an environment of its own, and run this there.

    python -m venv witness && witness/bin/pip install torch simalign sentence-transformers
    PYTHONPATH=. witness/bin/python benchmarks/witness_alignment.py --model HF_DIR --gold DIR --sets de-en.dev en-fr
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from weam_fairseq.evaluation.benchmarks.word_alignment import extract_links, read_alignment, score_alignments
from weam_fairseq.evaluation.encode import depth_of, fixed_layer
from weam_fairseq.evaluation.hf_folder import load_folder
from weam_fairseq.evaluation.readers import GoldPair, WordLink

# Our name of an extraction, simalign's letter for it and its name there.
METHODS = (("argmax", "a", "inter"), ("itermax", "i", "itermax"))

Links = list[frozenset[WordLink]]


class Row(NamedTuple):
    """One gold set and extraction: both alignment error rates (0–100), and links that only one of the two gives."""

    gold_set: str
    method: str
    ours: float
    simalign: float
    links: int
    only_ours: int
    only_simalign: int


def main() -> None:
    options = _parser().parse_args()
    folder = load_folder(options.model, needs_head=False)
    layer = fixed_layer(depth_of(folder)) if options.layer is None else options.layer
    witness = _witness(options.model, layer)
    print(f"{options.model.name}, layer {layer} of {depth_of(folder)}\n")
    print("| gold set | links by | AER, ours | AER, simalign | links, ours | only ours | only simalign |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name in options.sets:
        pairs = read_alignment(options.gold / f"{name}.src-tgt", options.gold / f"{name}.gold").pairs
        start = time.perf_counter()
        ours, _ = extract_links(folder, pairs, layer, 64, f"{name}, ours")
        middle = time.perf_counter()
        theirs = _their_links(witness, pairs, name)
        end = time.perf_counter()
        for method, _, peer_method in METHODS:
            row = _compare(name, method, pairs, ours[method, layer], theirs[peer_method])
            cells = [row.gold_set, row.method, f"{row.ours:.2f}", f"{row.simalign:.2f}"]
            print(f"| {' | '.join(cells)} | {row.links:,} | {row.only_ours:,} | {row.only_simalign:,} |")
        print(
            f"| {name} | seconds | {middle - start:.1f} (every layer, batched) | {end - middle:.1f} (one layer) | | | |"
        )


def _witness(model: Path, layer: int) -> Any:
    try:
        from simalign import SentenceAligner
    except ImportError:
        raise SystemExit("simalign is not installed here. See the head of this file.") from None
    letters = "".join(letter for _, letter, _ in METHODS)
    return SentenceAligner(model=str(model), token_type="bpe", matching_methods=letters, layer=layer)


def _their_links(witness: Any, pairs: Sequence[GoldPair], name: str) -> dict[str, Links]:
    found = [
        witness.get_word_aligns(pair.source_words, pair.target_words)
        for pair in tqdm(pairs, desc=f"{name}, simalign", leave=False, disable=None)
    ]
    return {method: [frozenset(map(tuple, each[method])) for each in found] for _, _, method in METHODS}


def _compare(name: str, method: str, pairs: Sequence[GoldPair], ours: Links, theirs: Links) -> Row:
    gold = [pair.gold for pair in pairs]
    return Row(
        name,
        method,
        score_alignments(gold, ours).aer,
        score_alignments(gold, theirs).aer,
        sum(map(len, ours)),
        sum(len(one - other) for one, other in zip(ours, theirs, strict=True)),
        sum(len(other - one) for one, other in zip(ours, theirs, strict=True)),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder")
    parser.add_argument("--gold", type=Path, required=True, help="folder with NAME.src-tgt and NAME.gold")
    parser.add_argument("--sets", nargs="+", required=True, metavar="NAME", help="gold sets in that folder")
    parser.add_argument("--layer", type=int, help="0 is the embeddings (default: the one that weam-evaluate reads)")
    return parser


if __name__ == "__main__":
    main()
