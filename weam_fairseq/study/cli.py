"""weam-study: runs a grid of trainings, or prints its state or its estimated cost."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from weam_fairseq.common.arguments import CommandParser, positive
from weam_fairseq.common.command import run_command
from weam_fairseq.common.lock import locked
from weam_fairseq.study.config import read_config
from weam_fairseq.study.forecast import counted
from weam_fairseq.study.inputs import check_inputs, check_processes
from weam_fairseq.study.paths import Files, study_paths
from weam_fairseq.study.plan import Plan, make_plan
from weam_fairseq.study.run import Jobs, Stopped, StudyResult, run
from weam_fairseq.study.status import render_list, render_plan
from weam_fairseq.study.tables import write_study

PROG = "weam-study"
JOBS_ON_SLURM = 8
EXAMPLE = """example:
  weam-study scripts/configs/study_small.yaml --study-dir runs/study --data DATA --jobs 2
  weam-study scripts/configs/study_small.yaml --study-dir runs/study --list
  weam-study scripts/configs/study_small.yaml --study-dir runs/study --data DATA --only weam.3-pairs.weam_mini.s1
  weam-study scripts/configs/study_paper.yaml --dry-run
  weam-report runs/study

Stop it at any time, even with kill -9: the same command resumes it. Finished steps are not run again, even after you
add seeds, pairs, options or evaluations to the config. After kill -9, running jobs continue, and the same command
waits for them.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0; 1 if a step failed; 2 after one sentence on stderr; 143 after a signal."""
    return run_command(PROG, lambda: _run(make_parser().parse_args(argv)))


def _run(options: argparse.Namespace) -> int:
    try:
        return _run_study(options)
    except Stopped:
        jobs = " Its jobs in Slurm continue, and the same command waits for them." if options.cluster == "slurm" else ""
        print(f"{PROG}: stopped.{jobs or ' The same command resumes it.'}", file=sys.stderr)
        return 143


def _run_study(options: argparse.Namespace) -> int:
    config = read_config(options.config)
    study = options.study_dir or Path("runs") / options.config.stem
    paths = study_paths(options.root, options.data, config.data.folder, study)
    files = Files(paths.study)
    plan = make_plan(config, paths, files)
    patterns = [part for text in options.only for part in text.split(",") if part]
    cells = plan.only(patterns) if patterns else list(plan.cells)
    if options.list or options.dry_run:
        print(render_list(plan, cells) if options.list else render_plan(plan, cells))
        return 0
    steps = plan.needed(cells)
    check_inputs(plan, steps)
    if options.cluster == "local":
        check_processes(config, [step for step in steps if not plan.is_done(step)])
    jobs = options.jobs or (JOBS_ON_SLURM if options.cluster == "slurm" else 1)
    worker = Jobs(paths, config, options.cluster, jobs)
    paths.study.mkdir(parents=True, exist_ok=True)
    with locked(paths.study / "lock", keep=True):
        files.save()
        write_study(plan)
        with _stopped_by_signals():
            result = run(plan, steps, worker, jobs, _say)
    return _report(plan, len(cells), result)


def _report(plan: Plan, cells: int, result: StudyResult) -> int:
    if result.failed:
        failed, left = counted(len(result.failed), "step"), counted(len(result.left), "step")
        more = f" Not started, because they need these: {left}." if result.left else ""
        print(
            f"{PROG}: {failed} failed.{more} Fix the cause and run the same command again.",
            file=sys.stderr,
        )
        return 1
    print(f"Finished: {counted(cells, 'cell')}. For the report, run weam-report {plan.paths.study}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the study in an orderly way: trainings save a checkpoint."""

    def stop(number: int, frame: FrameType | None = None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
        raise Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=PROG,
        description="Runs a grid of trainings described by one config file: pairs × architecture × objective "
        "× aligner × options of the method × seed.\nA cell is one combination of these. Cells "
        "that need the same data-bin, base model or training share it, so nothing runs twice. "
        "Every step is a job of weam-launch in its own folder.",
        epilog=EXAMPLE,
    )
    parser.add_argument(
        "config", metavar="CONFIG.yaml", type=Path, help="the study, such as scripts/configs/study_small.yaml"
    )
    parser.add_argument("--study-dir", metavar="DIR", type=Path, help="folder of the study (default: runs/CONFIG)")
    parser.add_argument(
        "--root",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="folder that the config's relative paths start from (default: .)",
    )
    parser.add_argument("--data", metavar="DIR", type=Path, help="data folder, in place of the config's `data.folder`")
    parser.add_argument(
        "--cluster", choices=["local", "slurm"], default="local", help="where jobs run (default: local, this machine)"
    )
    parser.add_argument(
        "--jobs", metavar="N", type=positive, help=f"jobs at once (default: 1; on Slurm {JOBS_ON_SLURM})"
    )
    parser.add_argument(
        "--only",
        metavar="CELL",
        action="append",
        default=[],
        help="run this cell, or those that match a pattern such as 'weam.*.s1', with the steps they need; repeatable",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="print cells, jobs and estimated cost")
    what.add_argument("--list", action="store_true", help="print the state of each cell")
    return parser


if __name__ == "__main__":
    sys.exit(main())
