"""Compares the speed of training: ours with two losses and with one, fairseq's masked_lm, and Hugging Face's model.

    python benchmarks/training --data DIR                                   workload E, at most 10 minutes on two cores
    python benchmarks/training --data DIR --full --table docs/performance.md
    python benchmarks/training --data-bins DIR ... --workloads A --precisions fp32 --parts full
    python benchmarks/training --smoke

Parts (`--parts`). Each measures what `--results` lacks, and writes a row as soon as it is measured:
  full     rows of real text without padding, the same tensors for every contestant
  used     the same 20,000 pairs as each contestant batches them; real pieces count, padding does not
  links    processor time of the aligners: our fast_align, eflomal, and the program fast_align if it is on the PATH
  memory   peak of an update over parameters and optimizer state, with --memory-workloads
  length   share of padding by --max-tokens, with how many pairs
  feed     share of the time that weam-train waits for data; start with a data-bin of 3 million pairs
  two      two processes against one, one thread each

Contestants are processes that sleep while another one has its turn. `--data` is a folder with bitext/en-XX.tsv.xz and a
vocabulary (vocab/mbert/vocab.txt), of which three data-bins are made once; without it and without --data-bins the
corpus of the demo is taken. The vocabulary of a workload is filled up with rows that no text uses.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

BEGIN, END = "<!-- written by benchmarks/training -->", "<!-- end -->"


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
    if options.full:
        from parts import PARTS

        options.workloads, options.parts = "E,A,B", ",".join(PARTS)
    if options.smoke:
        options.workloads, options.precisions, options.memory_workloads = "smoke", "fp32", ""
        options.parts, options.rounds, options.used = "full", 2, 1
    from figures import table
    from results import Results

    results = Results(options.results)
    if options.parts:
        from data_bins import make_data_bins
        from parts import PARTS, TIMED, Bench

        chosen = options.parts.split(",")
        for part in chosen:
            if part not in PARTS:
                raise SystemExit(f"--parts must be of {', '.join(PARTS)}, but one is {part!r}.")
        options.scratch.mkdir(parents=True, exist_ok=True)
        folders = options.data_bins or make_data_bins(options.data, options.scratch)
        bench = Bench(options, folders, results)
        bench.timed([part for part in chosen if part in TIMED])
        for part in chosen:
            if part not in TIMED:
                getattr(bench, part)()
    text = "\n".join(table(results.rows(), options.clock))
    if options.table is None:
        print(text)
    else:
        _put_into(options.table, text)
    return 0


def _put_into(file: Path, text: str) -> None:
    before, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{file} must hold the lines {BEGIN} and {END}.")
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8", newline="\n")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="benchmarks/training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--data", type=Path, metavar="DIR", help="bitext and vocabulary (the demo's corpus)")
    made.add_argument(
        "--data-bins", type=Path, nargs="+", metavar="DIR", help="made by weam-preprocess, of one tokenizer"
    )
    made.add_argument("--full", action="store_true", help="all parts, and the workloads E, A and B: about half an hour")
    made.add_argument("--parts", default="full,used,links", help="(full,used,links); empty: only the table")
    made.add_argument("--workloads", default="E", metavar="E,A,B,C", help="for the parts full and used (E)")
    made.add_argument("--memory-workloads", default="A,C", metavar="A,C", help="for the part memory (A,C)")
    made.add_argument("--precisions", default="fp32,bf16", metavar="fp32,bf16")
    made.add_argument("--contestants", default="ours,fairseq,hf", metavar="ours,fairseq,hf")
    made.add_argument("--rounds", type=int, default=5, metavar="N", help="timed updates of each, in turn (5)")
    made.add_argument("--used", type=int, default=4, metavar="N", help="batches that stand for an epoch (4)")
    made.add_argument("--rows", type=int, metavar="N", help="rows of a full batch, where they are not the workload's")
    made.add_argument("--threads", type=int, default=0, metavar="N", help="0: one for each core")
    made.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu: on a machine that others use too")
    made.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    made.add_argument("--peak", type=float, metavar="TFLOPS", help="dense bf16 peak of the GPU, for its utilization")
    made.add_argument(
        "--smoke", action="store_true", help="figures 1 and 3 with small shapes; their values mean nothing"
    )
    made.add_argument("--results", type=Path, default=Path("runs/training.jsonl"), help="JSON lines, added to")
    made.add_argument("--table", type=Path, metavar="FILE.md", help="where the table goes (standard output)")
    made.add_argument(
        "--scratch", type=Path, default=Path("runs/training"), metavar="DIR", help="some GB (runs/training)"
    )
    return made


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--serve":
        from worker import serve

        sys.exit(serve(*sys.argv[2:]))
    sys.exit(main())
