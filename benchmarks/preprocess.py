"""Measures weam-preprocess, compared with the program fast_align and with the usual chain of separate tools.

    python benchmarks/preprocess.py --bitext en-de.tsv.xz --tokenizer vocab.txt \\
        --results runs/preprocess.jsonl --table docs/preprocessing.md

Parts (`--parts`); each runs `--runs` times, and the programs of a part run one after the other:
  whole    weam-preprocess with two workers, with our fast_align and with the program (if it is on the PATH)
  aligner  our fast_align on the words of that run and on the first of them, compared with the program (on the PATH)
  chain    sacremoses, a Hugging Face tokenizer line by line, fairseq-preprocess: no cleaning, no links
  memory   peak memory of all processes for `--pairs` and ten times as many, with given links
  reading  pairs a second that one worker gives to the trainer, masked and with their exchange

The bitext is repeated until there are `--pairs`. In each repetition, one word on each side is replaced by another word
of the bitext. Each row is written immediately, and is not measured again with the same `--results`. Without `--bitext`,
only the table is written, from the results.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import platform
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

PAIR = "en-de"
WORKERS = 2
ALIGNED = (30_000, 100_000, 300_000)  # pairs
BIN = Path(sys.executable).parent
BEGIN, END = "<!-- written by benchmarks/preprocess.py -->", "<!-- end -->"
PARTS = ("whole", "aligner", "chain", "memory", "reading")


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    if options.bitext is not None:
        options.results.parent.mkdir(parents=True, exist_ok=True)
        options.scratch.mkdir(parents=True, exist_ok=True)
        bench = Bench(options, options.scratch)
        for part in options.parts.split(","):
            if part not in PARTS:
                raise SystemExit(f"--parts must be of {', '.join(PARTS)}, but one is {part!r}.")
            getattr(bench, part)()
    table = "\n".join(_table(_read(options.results)))
    if options.table is None:
        print(table)
    else:
        _put_into(options.table, table)
    return 0


class Bench:
    """Measures what the results lack. `folder` is scratch space."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder

    def whole(self) -> None:
        """The aligner's words are kept for the part aligner."""
        pairs = self._options.pairs
        words, inside = self._folder / "words.txt", self._folder / "aligner.json"
        for run in range(self._options.runs):
            if not self._is_there("whole", pairs, run):
                command = [sys.executable, __file__, "--inside", str(words), str(inside), *self._command("fast_align")]
                seconds, peak = _measured(command)
                manifest = json.loads((self._data_bin / "manifest.json").read_text(encoding="utf-8"))
                more = {
                    "aligner": manifest["aligner"]["name"],
                    "aligner_seconds": json.loads(inside.read_text(encoding="utf-8"))["seconds"],
                    "kept": manifest["pairs"][PAIR]["train"],
                    "stages": manifest["seconds"],
                }
                self._add("whole", pairs, run, seconds, peak, more)
            if shutil.which("fast_align") and not self._is_there("whole with the program", pairs, run):
                command = self._command("fast_align", destdir=self._folder / "data-bin.program")
                seconds, peak = _measured([*command, "--aligner-implementation", "program"])
                self._add("whole with the program", pairs, run, seconds, peak)

    def aligner(self) -> None:
        """Both directions: ours in two processes, the program once for each direction, with one thread each."""
        words, program = self._folder / "words.txt", shutil.which("fast_align")
        if not words.is_file() or program is None:
            raise SystemExit("aligner needs the words of the part whole, and the program fast_align on the PATH.")
        links = self._folder / "links"
        links.mkdir(exist_ok=True)
        ours = [sys.executable, "-m", "weam_preprocess.aligners.diagonal_model", "--agreement", "--links", str(links)]
        theirs = [[program, "-d", "-o", "-v", *flags] for flags in ([], ["-r"])]
        for pairs in ALIGNED:
            part = self._folder / f"words.{pairs}.txt"
            with words.open(encoding="utf-8") as lines, part.open("w", encoding="utf-8") as out:
                out.writelines(islice(lines, pairs))
            for run in range(self._options.runs):
                for what, commands in (("ours", [ours]), ("program", theirs)):
                    if not self._is_there(what, pairs, run):
                        seconds, peak, cpu = _together([[*command, "-i", str(part)] for command in commands])
                        self._add(what, pairs, run, seconds, peak, {"cpu_seconds": round(cpu, 1)})

    def chain(self) -> None:
        pairs = self._options.pairs
        chain = Chain(self._options.tokenizer, self._folder / "chain")
        for run in range(self._options.runs):
            if not self._is_there("chain", pairs, run):
                seconds = chain.run(self._corpus(pairs))
                self._add("chain", pairs, run, sum(seconds.values()), 0, {"steps": seconds})

    def memory(self) -> None:
        for pairs in (self._options.pairs, 10 * self._options.pairs):
            if not self._is_there("memory", pairs, 0):
                links = self._folder / f"{pairs}.links"
                with links.open("w") as stream:
                    stream.writelines("0-0\n" for _ in range(pairs))
                command = self._command("precomputed", pairs, self._folder / "data-bin.memory")
                seconds, peak = _measured([*command, "--links", f"{PAIR}={links}"], watched=True)
                self._add("memory", pairs, 0, seconds, peak)

    def reading(self) -> None:
        pairs = self._options.pairs
        for run in range(self._options.runs):
            if self._is_there("reading", pairs, run):
                continue
            if not self._data_bin.is_dir():
                raise SystemExit("reading needs the data-bin of the part whole: name that part as well.")
            command = [sys.executable, __file__, "--read", str(self._data_bin)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=_environment()).stdout
            found = json.loads(told.splitlines()[-1])
            self._add("reading", pairs, run, found["seconds"], 0, found)

    @property
    def _data_bin(self) -> Path:
        return self._folder / "data-bin"

    def _command(self, aligner: str, pairs: int | None = None, destdir: Path | None = None) -> list[str]:
        return [
            *(str(BIN / "weam-preprocess"), "--pair", f"{PAIR}={self._corpus(pairs or self._options.pairs)}"),
            *("--tokenizer", str(self._options.tokenizer), "--aligner", aligner, "--workers", str(WORKERS)),
            *("--destdir", str(destdir or self._data_bin), "--overwrite"),
        ]

    def _corpus(self, pairs: int) -> Path:
        file = self._folder / f"{pairs}.tsv"
        if not file.is_file():
            with file.open("w", encoding="utf-8", newline="\n") as stream:
                stream.writelines(f"{source}\t{target}\n" for source, target in repeated(self._options.bitext, pairs))
        return file

    def _is_there(self, what: str, pairs: int, run: int) -> bool:
        rows = _read(self._options.results)
        return any((row["what"], row["pairs"], row["run"]) == (what, pairs, run) for row in rows)

    def _add(self, what: str, pairs: int, run: int, seconds: float, peak: int, more: dict[str, Any] = {}) -> None:  # noqa: B006
        row = {"what": what, "pairs": pairs, "run": run, "seconds": round(seconds, 2), "peak_mib": peak, **more}
        row |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "python": platform.python_version()}
        print(json.dumps(row), file=sys.stderr, flush=True)
        with self._options.results.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def repeated(bitext: Path, count: int) -> Iterator[tuple[str, str]]:
    """`count` different pairs: those of the file, again and again, with another word of the bitext in each side."""
    with lzma.open(bitext, "rt", encoding="utf-8", newline="\n") as stream:
        rows = [tuple(line.rstrip("\n").split("\t")[:2]) for line in stream]
    rng = random.Random(1)
    for number in range(count):
        again, place = divmod(number, len(rows))
        source, target = rows[place]
        if again:
            other = rows[rng.randrange(len(rows))]
            source, target = (
                _with_another_word(side, from_, rng) for side, from_ in zip((source, target), other, strict=True)
            )
        yield source, target


def _with_another_word(side: str, other: str, rng: random.Random) -> str:
    words = side.split(" ")
    words[rng.randrange(len(words))] = rng.choice(other.split())
    return " ".join(words)


class Chain:
    """What people run today: every tool on whole files, side by side for the two languages where it has one process."""

    def __init__(self, tokenizer: Path, folder: Path) -> None:
        self._tokenizer, self._folder = tokenizer, folder
        folder.mkdir(exist_ok=True)

    def run(self, corpus: Path) -> dict[str, float]:
        """Seconds of each step."""
        self._split(corpus)
        steps: dict[str, Callable[[], None]] = {
            "sacremoses": self._words,
            "tokenizer line by line": self._pieces,
            "fairseq-preprocess": self._binarize,
        }
        seconds = {}
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name] = round(time.perf_counter() - start, 2)
        return seconds

    def _split(self, corpus: Path) -> None:
        with corpus.open(encoding="utf-8", newline="\n") as stream:
            sides = zip(*(line.rstrip("\n").split("\t") for line in stream), strict=True)
            for lang, lines in zip(PAIR.split("-"), sides, strict=True):
                (self._folder / f"raw.{lang}").write_text(
                    "".join(f"{x}\n" for x in lines), encoding="utf-8", newline="\n"
                )

    def _words(self) -> None:
        for lang in PAIR.split("-"):
            with (self._folder / f"raw.{lang}").open() as raw, (self._folder / f"words.{lang}").open("w") as words:
                command = [str(BIN / "sacremoses"), "-q", "-l", lang, "-j", str(WORKERS), "tokenize", "-x"]
                subprocess.run(command, check=True, stdin=raw, stdout=words, env=_environment())

    def _pieces(self) -> None:
        files = [str(self._folder / f"raw.{lang}") for lang in PAIR.split("-")]
        running = [
            subprocess.Popen(
                [sys.executable, __file__, "--line-by-line", str(self._tokenizer), file], env=_environment()
            )
            for file in files
        ]
        if any(process.wait() for process in running):
            raise SystemExit("The tokenizer line by line failed.")

    def _binarize(self) -> None:
        source, target = PAIR.split("-")
        shutil.rmtree(self._folder / "data-bin", ignore_errors=True)  # fairseq writes over no dictionary
        command = [
            *(str(BIN / "fairseq-preprocess"), "--source-lang", source, "--target-lang", target, "--joined-dictionary"),
            *("--trainpref", str(self._folder / "raw.pieces"), "--destdir", str(self._folder / "data-bin")),
            *("--workers", str(WORKERS)),
        ]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=_environment())
        if done.returncode:
            raise SystemExit(f"fairseq-preprocess ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}


def _measured(command: Sequence[str], watched: bool = False) -> tuple[float, int]:
    """Seconds, and if watched the peak in MiB of what the process and all its descendants hold (shared pages once)."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_environment())
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while watched and not done.wait(1.0):  # looking takes time from what is watched
            peak = max(peak, sum(map(_held, _family(process.pid))))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    code = process.wait()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    if code:
        raise SystemExit(f"{' '.join(command[:3])} … ended with exit code {code}.")
    return seconds, peak >> 20


def _together(commands: Sequence[Sequence[str]]) -> tuple[float, int, float]:
    """Seconds, peak in MiB and processor seconds of commands that run at the same time."""
    before, start = os.times(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "run.sh")
        lines = [" ".join(map(shlex.quote, command)) + " > /dev/null 2>&1 &" for command in commands]
        script.write_text("export OMP_NUM_THREADS=1\n" + "\n".join(lines) + "\nwait\n")
        _, peak = _measured(["sh", str(script)], watched=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, peak, cpu


def _family(pid: int) -> list[int]:
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue  # it has ended
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _held(pid: int) -> int:
    """Bytes in memory: a page that k processes share counts 1/k in each."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def _inside(words: Path, told: Path, command: Sequence[str]) -> int:
    """weam-preprocess in this process; the time of the aligner's command and a copy of its words are kept."""
    from weam_preprocess import cli
    from weam_preprocess.aligners import fast_align

    run_together = fast_align.run_together

    def timed(name: str, commands: Sequence[Sequence[str]], folder: Path, passes: int) -> Any:
        shutil.copyfile(commands[0][commands[0].index("-i") + 1], words)
        start = time.perf_counter()
        done = run_together(name, commands, folder, passes)
        told.write_text(json.dumps({"seconds": round(time.perf_counter() - start, 2)}))
        return done

    fast_align.run_together = timed
    return cli.main(command[1:])


def _line_by_line(tokenizer: Path, raw: Path) -> int:
    from weam_preprocess import tokenizer_folder

    from weam_fairseq.common.tokenizers import open_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        tokenizer_folder.make(tokenizer, Path(folder, "tokenizer"))
        auto = open_tokenizer(Path(folder, "tokenizer"))
    pieces = raw.with_name(f"raw.pieces{raw.suffix}")
    with raw.open(encoding="utf-8", newline="\n") as lines, pieces.open("w", encoding="utf-8", newline="\n") as out:
        for line in lines:
            out.write(" ".join(map(str, auto.encode(line.rstrip("\n"), add_special_tokens=False))) + "\n")
    return 0


def _reading(data_bin: Path) -> int:
    import torch

    from weam_fairseq.plugin.task import WeamTask, WeamTaskConfig

    torch.set_num_threads(1)
    task = WeamTask.setup_task(WeamTaskConfig(data=str(data_bin), seed=1))
    task.load_dataset("train")
    batches = task.get_batch_iterator(task.dataset("train"), max_tokens=4096, seed=1, epoch=1, num_workers=1)
    iterator = batches.next_epoch_itr(shuffle=True)
    next(iterator)
    start, pairs, count = time.perf_counter(), 0, 0
    for batch in iterator:
        pairs, count = pairs + batch["nsentences"], count + 1
        if pairs >= 100_000:
            break
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": round(seconds, 2), "read": pairs, "batches": count}))
    return 0


def _read(results: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.is_file() else []


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    of = {what: [row for row in rows if row["what"] == what] for what in {row["what"] for row in rows}}
    yield "| what | measured | compared with | ratio | target |"
    yield "|---|---|---|---|---|"
    for cells in (*_whole_rows(of), *_aligner_rows(of), *_memory_rows(of), *_reading_rows(of)):
        yield f"| {' | '.join(cells)} |"


Rows = dict[str, list[dict[str, Any]]]


def _whole_rows(of: Rows) -> Iterator[Sequence[str]]:
    whole, program = of.get("whole", []), of.get("whole with the program", [])
    if not whole:
        return
    seconds = f"{_spread([row['seconds'] for row in whole])} s"
    if program:
        ratios = [w["seconds"] / p["seconds"] for w, p in zip(whole, program, strict=True)]
        beside = f"with the program {_spread([row['seconds'] for row in program])} s"
        yield f"{whole[0]['pairs']:,} pairs, {whole[0]['aligner']}", seconds, beside, _spread(ratios, ".2f"), "≤ 0.5"
    rest = [row["seconds"] - row["aligner_seconds"] for row in whole]
    rates = _spread([whole[0]["pairs"] / r for r in rest], ",.0f")
    yield "all but the aligner", f"{_spread(rest)} s", "", f"{rates} pairs/s", "≥ 8,000"
    if chain := of.get("chain", []):
        ratios = [row["seconds"] / r for row, r in zip(chain, rest, strict=False)]
        steps = ", ".join(f"{step} {median(row['steps'][step] for row in chain):.0f}" for step in chain[0]["steps"])
        beside = f"{_spread([row['seconds'] for row in chain])} s ({steps})"
        yield "the chain, without its aligner", f"{_spread(rest)} s", beside, _spread(ratios), "≥ 3"


def _aligner_rows(of: Rows) -> Iterator[Sequence[str]]:
    for pairs in ALIGNED:
        ours, program = ([row for row in of.get(what, []) if row["pairs"] == pairs] for what in ("ours", "program"))
        if not ours:
            continue
        ratios = [one["cpu_seconds"] / other["cpu_seconds"] for one, other in zip(ours, program, strict=True)]
        cells = [
            f"{_spread([row['cpu_seconds'] for row in rows])} s, {max(row['peak_mib'] for row in rows):,} MiB"
            for rows in (ours, program)
        ]
        wanted = "≤ 0.5" if pairs > 100_000 else "≤ 0.4"
        yield (
            f"fast_align, {pairs:,} pairs, processor time",
            cells[0],
            f"the program {cells[1]}",
            _spread(ratios, ".2f"),
            wanted,
        )


def _memory_rows(of: Rows) -> Iterator[Sequence[str]]:
    if "memory" in of:
        small, large = sorted(of["memory"], key=lambda row: row["pairs"])
        told = [f"{row['pairs']:,} pairs: {row['peak_mib']:,} MiB, {row['seconds']:.0f} s" for row in (large, small)]
        yield "peak memory, links given", *told, f"{large['peak_mib'] / small['peak_mib']:.2f}", "≤ 1.5"


def _reading_rows(of: Rows) -> Iterator[Sequence[str]]:
    if "reading" in of:
        rates = _spread([row["read"] / row["seconds"] for row in of["reading"]], ",.0f")
        yield "one worker reads, masks and links", "batches of 4,096 pieces", "", f"{rates} pairs/s", "≥ 10,000"


def _spread(values: Sequence[float], form: str = ".1f") -> str:
    """Median, least and greatest."""
    return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def _put_into(file: Path, table: str) -> None:
    text = file.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{file} must hold the lines {BEGIN} and {END}.")
    file.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8", newline="\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bitext", type=Path, metavar="EN-DE.tsv.xz", help="English, tab, German")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR_OR_FILE", help="as weam-preprocess takes it")
    parser.add_argument("--pairs", type=int, default=300_000, metavar="N", help="(300,000)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each contestant (3)")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)} (all)")
    parser.add_argument("--results", type=Path, default=Path("runs/preprocess.jsonl"), help="JSON lines, added to")
    parser.add_argument("--table", type=Path, metavar="FILE.md", help="where the table goes (standard output)")
    parser.add_argument("--scratch", type=Path, default=Path("runs/preprocess"), metavar="DIR", help=_SCRATCH_HELP)
    return parser


_SCRATCH_HELP = "some GB of files, which may be removed afterwards (runs/preprocess)"

# Processes of this benchmark: each is to be timed from its beginning, so each is a program.
_CHILDREN: dict[str, Callable[..., int]] = {
    "--inside": lambda words, told, *command: _inside(Path(words), Path(told), command),
    "--line-by-line": lambda tokenizer, raw: _line_by_line(Path(tokenizer), Path(raw)),
    "--read": lambda data_bin: _reading(Path(data_bin)),
}

if __name__ == "__main__":
    child = _CHILDREN.get(sys.argv[1]) if len(sys.argv) > 1 else None
    sys.exit(main() if child is None else partial(child, *sys.argv[2:])())
