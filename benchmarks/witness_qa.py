"""transformers' own question-answering pipeline as a witness of our question answering.

    python benchmarks/witness_qa.py --model runs/eval/fine-tuned/question-answering-0123456789ab \\
        --data mlqa/dev/dev-context-de-question-de.json --task mlqa --language de --peer ../transformers-4

Ours is `--answer-decoding pipeline`. Both read the same fine-tuned folder and the same questions, and both sets of
answers go through the same metric.
Printed are the figures of both and how many answers are the same, text for text.

transformers 5 has no such pipeline any more. So it runs in a process of its own, from a folder made with

    pip install --target ../transformers-4 --no-deps "transformers<5" "tokenizers<0.23" "huggingface-hub<1"

Known differences: the pipeline moves an answer's ends to the ends of words (`align_to_words`), lets windows overlap by
a fixed number of pieces where ours start a fixed number apart, and multiplies probabilities where we add logits.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MAX_ANSWER_PIECES = 30
MAX_QUESTION_PIECES = 64


def main() -> None:
    options = _options()
    if options.as_peer:
        _peer(options)
        return
    ours, seconds = _ours(options)
    with tempfile.TemporaryDirectory() as folder:
        answers_file = Path(folder) / "answers.json"
        theirs, peer_seconds = run_peer(options, answers_file)
    gold = _gold(options)
    print(f"{options.task} {options.language}: {len(gold):,} questions, {options.data.name}")
    for name, answers, took in (("ours", ours, seconds), ("pipeline", theirs, peer_seconds)):
        figures = _score(options, gold, answers)
        print(f"{name:<10}F1 {figures.f1:6.2f}   exact match {figures.exact_match:6.2f}   {took:6.1f} s")
    same = sum(ours[question] == theirs[question] for question in gold)
    print(f"the same answer to {same:,} questions ({100 * same / len(gold):.1f} %)")
    single = _in_one_window(options)
    same_single = sum(ours[question] == theirs[question] for question in single)
    print(f"to {same_single:,} of the {len(single):,} whose context is read in one window")


def run_peer(options: argparse.Namespace, answers_file: Path) -> tuple[dict[str, str], float]:
    """The pipeline's answers by id, and its seconds without loading."""
    command = [
        *(sys.executable, __file__, "--as-peer", str(answers_file)),
        *("--model", str(options.model), "--data", str(options.data)),
        *("--batch-size", str(options.batch_size), "--max-length", str(options.max_length)),
        *("--doc-stride", str(options.doc_stride), "--limit", str(options.limit)),
        *(["--no-word-alignment"] if options.no_word_alignment else []),
    ]
    environment = {**os.environ}
    if options.peer is not None:
        environment["PYTHONPATH"] = str(options.peer.resolve())
    subprocess.run(command, check=True, env=environment)
    output = json.loads(answers_file.read_text(encoding="utf-8"))
    return output["answers"], output["seconds"]


def _peer(options: argparse.Namespace) -> None:
    import torch
    import transformers

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if not hasattr(transformers, "QuestionAnsweringPipeline"):
        sys.exit(f"transformers {transformers.__version__} has no such pipeline: give --peer (see --help)")
    transformers.logging.set_verbosity_error()
    answer = transformers.pipeline(
        "question-answering", model=str(options.model), tokenizer=_peer_tokenizer(options.model), device="cpu"
    )
    rows = _rows(options)
    settings = {
        "batch_size": options.batch_size,
        "max_seq_len": options.max_length,
        # Here the stride is the overlap of two windows, and ours the distance of their starts.
        "doc_stride": min(options.doc_stride, options.max_length // 2),
        "max_answer_len": MAX_ANSWER_PIECES,
        "max_question_len": MAX_QUESTION_PIECES,
        "align_to_words": not options.no_word_alignment,
    }
    answer(question=rows[0]["question"], context=rows[0]["context"], **settings)  # warm-up
    start = time.perf_counter()
    found = answer([{"question": row["question"], "context": row["context"]} for row in rows], **settings)
    seconds = time.perf_counter() - start
    found = found if isinstance(found, list) else [found]
    answers = {row["id"]: each["answer"] for row, each in zip(rows, found, strict=True)}
    options.as_peer.write_text(json.dumps({"answers": answers, "seconds": seconds}), encoding="utf-8")


def _peer_tokenizer(model: Path) -> Any:
    """The folder's own tokenizer; transformers 4 does not know the class name that transformers 5 may have written."""
    import transformers

    try:
        return transformers.AutoTokenizer.from_pretrained(model)
    except ValueError:
        config = json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))
        special = {name: config[name] for name in config if name.endswith("_token") and isinstance(config[name], str)}
        return transformers.PreTrainedTokenizerFast(tokenizer_file=str(model / "tokenizer.json"), **special)


def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    data = json.loads(options.data.read_text(encoding="utf-8"))["data"]
    rows = [
        {"id": row["id"], "question": row["question"], "context": paragraph["context"]}
        for article in data
        for paragraph in article["paragraphs"]
        for row in paragraph["qas"]
    ]
    return rows[: options.limit or None]


def answer_with_ours(options: argparse.Namespace) -> tuple[dict[str, str], float]:
    """Our answers by id, and the seconds without loading."""
    import torch

    from weam_fairseq.evaluation.fine_tuning.head import Arithmetic, predict
    from weam_fairseq.evaluation.fine_tuning.question_answering import QuestionAnswering
    from weam_fairseq.evaluation.fine_tuning.questions import read_questions
    from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
    from weam_fairseq.evaluation.hf_folder import load_fine_tuned, open_folder

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    head, folder = QuestionAnswering("pipeline"), open_folder(options.model)
    model = load_fine_tuned(options.model, head, "cpu")
    questions = read_questions(options.data)[: options.limit or None]
    recipe = Recipe(1, 1e-5, max_length=options.max_length, doc_stride=options.doc_stride)
    machine = Arithmetic("cpu", "fp32", folder.tokenizer.pad_token_id, options.batch_size)
    first = questions[:1]
    predict(model, head, first, head.rows(folder.tokenizer, first, recipe, False), machine, "warm-up")
    start = time.perf_counter()
    answers = predict(model, head, questions, head.rows(folder.tokenizer, questions, recipe, False), machine, "ours")
    seconds = time.perf_counter() - start
    return {question.id: answer for question, answer in zip(questions, answers, strict=True)}, seconds


_ours = answer_with_ours


def _in_one_window(options: argparse.Namespace) -> list[str]:
    """Questions where both peers see one and the same input, so that how windows are cut and compared has no part."""
    from weam_fairseq.evaluation.fine_tuning.question_answering import QuestionAnswering
    from weam_fairseq.evaluation.fine_tuning.questions import read_questions
    from weam_fairseq.evaluation.fine_tuning.recipe import Recipe
    from weam_fairseq.evaluation.hf_folder import open_folder

    questions = read_questions(options.data)[: options.limit or None]
    recipe = Recipe(1, 1e-5, max_length=options.max_length, doc_stride=options.doc_stride)
    rows = QuestionAnswering("pipeline").rows(open_folder(options.model).tokenizer, questions, recipe, False)
    return [question.id for index, question in enumerate(questions) if rows.origins.count(index) == 1]


def _gold(options: argparse.Namespace) -> dict[str, list[str]]:
    from weam_fairseq.evaluation.fine_tuning.questions import read_questions

    questions = read_questions(options.data)[: options.limit or None]
    return {question.id: [answer.text for answer in question.answers] for question in questions}


def _score(options: argparse.Namespace, gold: dict[str, list[str]], answers: dict[str, str]) -> Any:
    from weam_fairseq.evaluation.benchmarks.mlqa import mlqa_scores
    from weam_fairseq.evaluation.metrics.answers import squad_scores

    return mlqa_scores(gold, answers, options.language) if options.task == "mlqa" else squad_scores(gold, answers)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, help="fine-tuned question-answering folder")
    parser.add_argument("--data", type=Path, required=True, help="SQuAD JSON")
    parser.add_argument("--peer", type=Path, help="folder with transformers 4 (see above)")
    parser.add_argument("--max-length", type=int, default=384, help="pieces of one window")
    parser.add_argument("--doc-stride", type=int, default=128, help="pieces")
    parser.add_argument("--batch-size", type=int, default=32, help="windows at once")
    parser.add_argument("--limit", type=int, default=0, help="the first N questions only")
    parser.add_argument("--no-word-alignment", action="store_true", help="the pipeline leaves answers as they are")
    parser.add_argument("--as-peer", type=Path, help=argparse.SUPPRESS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--task", choices=("mlqa", "xquad"), default="xquad", help="whose metric (default: xquad)")
    parser.add_argument("--language", default="en", help="of the context (default: en)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
