"""Throughput of evaluation compared with transformers' own pipelines: question answering, and encoding for retrieval.

    python benchmarks/evaluate.py qa --model runs/eval/fine-tuned/question-answering-0123456789ab \\
        --data xquad/xquad.de.json --peer ../transformers-4 --limit 300
    python benchmarks/evaluate.py encode --model runs/weam/hf --text tatoeba/tatoeba.deu-eng.deu

The same model, texts, batch size and threads; the two take turns, and the medians and their ratio are printed (above 1:
ours is faster). Times include tokenisation and exclude loading. The question-answering pipeline is of transformers 4:
see witness_qa.py. The feature-extraction pipeline gives the last layer; ours the mean of every layer.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import witness_qa


def main() -> None:
    options = _options()
    ours, peer, count, unit = _qa(options) if options.what == "qa" else _encode(options)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(options.runs):
        for place in (0, 1) if number % 2 == 0 else (1, 0):
            times[place].append((ours, peer)[place]())
    medians = [statistics.median(each) for each in times]
    for name, median, all_times in zip(("ours", "pipeline"), medians, times, strict=True):
        runs = ", ".join(f"{each:.2f}" for each in all_times)
        print(f"{name:<10}{count / median:8.1f} {unit}/s   median {median:.2f} s of {runs}")
    print(f"ratio     {medians[1] / medians[0]:8.2f}")


Timed = Callable[[], float]


def _qa(options: argparse.Namespace) -> tuple[Timed, Timed, int, str]:
    def peer() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return witness_qa.run_peer(options, Path(folder) / "answers.json")[1]

    from weam_fairseq.evaluation.fine_tuning.questions import read_questions

    count = len(read_questions(options.data)[: options.limit or None])
    return lambda: witness_qa.answer_with_ours(options)[1], peer, count, "questions"


def _encode(options: argparse.Namespace) -> tuple[Timed, Timed, int, str]:
    import torch
    import transformers

    from weam_fairseq.evaluation.encode import group_states, sentence_groups, tokenize
    from weam_fairseq.evaluation.hf_folder import load_folder
    from weam_fairseq.evaluation.readers import read_lines

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    transformers.logging.set_verbosity_error()
    texts = read_lines(options.text)[: options.limit or None]
    folder = load_folder(options.model, needs_head=False)
    extract = transformers.pipeline("feature-extraction", model=str(options.model), device="cpu")

    def ours() -> float:
        start = time.perf_counter()
        pieces = tokenize(folder, texts)
        group_states(folder, pieces, sentence_groups(pieces), options.batch_size, "ours")
        return time.perf_counter() - start

    def peer() -> float:
        start = time.perf_counter()
        vectors = [
            states[0].mean(dim=0) for states in extract(texts, batch_size=options.batch_size, return_tensors=True)
        ]
        assert len(vectors) == len(texts)
        return time.perf_counter() - start

    texts, all_texts = texts[: options.batch_size], texts  # warm-up
    ours(), peer()
    texts = all_texts
    return ours, peer, len(texts), "sentences"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    qa = what.add_parser("qa", help="question answering")
    witness_qa.add_options(qa)
    encode = what.add_parser("encode", help="sentence vectors")
    encode.add_argument("--model", type=Path, required=True, help="folder with a masked LM")
    encode.add_argument("--text", type=Path, required=True, help="one sentence a line")
    encode.add_argument("--batch-size", type=int, default=64, help="sentences at once")
    encode.add_argument("--limit", type=int, default=0, help="the first N sentences only")
    for each in (qa, encode):
        each.add_argument("--runs", type=int, default=5, help="of each, taking turns")
    return parser.parse_args()


if __name__ == "__main__":
    main()
