"""weam-launch: runs a command as a job, on this machine or on Slurm, and records it in its run folder."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from weam_fairseq.common.arguments import CommandParser, natural, positive, take, value_of
from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import write_text
from weam_fairseq.common.slurm import OPTION_HELP, minutes, sbatch_options
from weam_fairseq.launch.job import TRAIN, Launch, RunFolder, runs_to_the_end
from weam_fairseq.launch.submit import State, check_free, start, state, wait
from weam_fairseq.training.config import read_config

PROG = "weam-launch"
_WHERE = "where it runs"
# The options about where it runs that also change a job on this machine.
_EFFECTIVE_HERE = ("--cluster", "--tasks-per-node", "--name")
EXAMPLE = """example:
  weam-launch --run-dir runs/weam -- weam-train data-bin --from ENCODER
  weam-launch --cluster slurm --nodes 2 --gpus-per-node 8 --cpus-per-task 8 --time 24:00:00 --partition gpu \\
              --run-dir runs/weam -- weam-train data-bin --from ENCODER
  weam-launch --run-dir runs/weam --status
  weam-launch --run-dir runs/weam --again     starts a job again that failed or was killed

Without --save-dir, a training saves its checkpoints in RUN/checkpoints.

A training that Slurm preempts, or whose time runs out, writes checkpoint_last.pt, is requeued and resumes. If one of
its nodes fails, Slurm requeues it too, and it resumes from its last checkpoint.
Other weam commands are requeued after preemption, but stop at the time limit. Start them again with --again
(weam-preprocess also needs --resume).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0; that of the job with --wait; 2 after one sentence on stderr."""
    return run_command(PROG, lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> int:
    words = list(argv)
    ours, command = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    options = _parser().parse_args(ours)
    if options.status or options.again:
        if command:
            raise InputError("--status and --again use the job of the run folder: leave out the command after --.")
        if given := _job_options(options):
            raise InputError(
                f"--status and --again use the job of the run folder as it is, so {', '.join(given)} would have no "
                f"effect. To change the job, give its command again: {PROG} --run-dir {options.run_dir} "
                f"{given[0]} … -- COMMAND"
            )
        if options.status and not options.wait:
            print(_sentence(options.run_dir, state(options.run_dir)))
            return 0
    if not options.status:
        launch = RunFolder(options.run_dir).read()[0] if options.again else _new(options, command)
        job = start(options.run_dir, launch)
        print(f"{PROG}: job {job.id} ({job.kind}); logs in {RunFolder(options.run_dir).logs}", flush=True)
    if not options.wait:
        return 0
    found = wait(options.run_dir)
    print(_sentence(options.run_dir, found))
    return 1 if found.status is None else found.status


def _job_options(options: argparse.Namespace) -> list[str]:
    """The given options that describe a job."""
    (group,) = (group for group in _parser()._action_groups if group.title == _WHERE)
    given = [action for action in group._group_actions if getattr(options, action.dest) != action.default]
    return [action.option_strings[0] for action in given]


def _sentence(run_dir: Path, found: State) -> str:
    logs = RunFolder(run_dir).logs
    ends = {
        "stopped": "was stopped by a signal and saved its checkpoint: resume it with --again",
        "gone": f"was killed and left no exit code: start it again with --again (logs in {logs})",
        "failed": f"has failed with exit code {found.status}: see {logs}, fix the cause, start it again with --again",
    }
    return f"{PROG}: job {found.job} {ends.get(found.word, f'is {found.word}')}."


def _new(options: argparse.Namespace, command: list[str]) -> Launch:
    """The job that the options describe; its config file is copied into the run folder.

    Raises:
        InputError: no command, or an unknown program; several processes for another command than weam-train; another
            command in the same folder, or one that has not ended; less time than --grace.
    """
    if not command:
        raise InputError(f"A command must follow --, but is missing: {PROG} --run-dir RUN -- weam-train DATA_BIN …")
    per_node = options.tasks_per_node or max(options.gpus_per_node, 1)
    if runs_to_the_end(command[0]) and options.nodes * per_node > 1:
        raise InputError(
            f"{Path(command[0]).name} must run as one process, but --nodes, --gpus-per-node and --tasks-per-node ask "
            f"for {options.nodes * per_node}: leave them out or give --tasks-per-node 1."
        )
    if options.cluster == "local" and options.nodes > 1:
        raise InputError(f"--nodes must be 1 with --cluster local, but is {options.nodes}: give --cluster slurm.")
    if options.cluster == "local":
        if unused := [name for name in _job_options(options) if name not in _EFFECTIVE_HERE]:
            print(f"{PROG}: note: without --cluster slurm these have no effect: {', '.join(unused)}", file=sys.stderr)
        if not options.tasks_per_node:
            per_node = 1  # weam-train itself starts one process for each GPU
    time = minutes(options.time)
    if options.cluster == "slurm" and time * 60 <= options.grace:
        raise InputError(
            f"--time ({time * 60} seconds) must be longer than --grace ({options.grace} seconds). Change one of them."
        )
    parameters = {"partition": options.partition} if options.partition else {}
    arguments, config = _complete(command, options.run_dir)
    launch = Launch(
        command=[_program(command[0]), *arguments],
        directory=os.getcwd(),
        cluster=options.cluster,
        nodes=options.nodes,
        tasks_per_node=per_node,
        gpus_per_node=options.gpus_per_node,
        cpus_per_task=options.cpus_per_task,
        minutes=time,
        grace=options.grace,
        parameters={**parameters, **sbatch_options(options.cluster_option)},
        name=options.name or Path(options.run_dir).absolute().name,
    )
    run = RunFolder(options.run_dir)
    if run.exists() and (there := run.read()[0].command) != launch.command:
        raise InputError(
            f"{options.run_dir} must be for one command, but holds another one ({shlex.join(there)}): give another "
            "--run-dir."
        )
    check_free(options.run_dir)
    if config is not None:  # last: a requeued job reads its copy again
        run.path.mkdir(parents=True, exist_ok=True)
        write_text(run.path / config.name, config.read_text(encoding="utf-8"))
    return launch


def _program(name: str) -> str:
    """The program of this installation first, so that a job uses the same one."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise InputError(f"{name} must be a program on the PATH or an executable file, but is neither.")
    return os.path.abspath(found)


def _complete(command: list[str], run_dir: Path) -> tuple[list[str], Path | None]:
    """The command's arguments, and the config to copy. weam-train reads the copy, and saves into the run folder."""
    arguments = command[1:]
    if Path(command[0]).name != TRAIN:
        return arguments, None
    rest, config = take(arguments, "--config")
    given, source = arguments, None
    if config is not None:
        given = [*arguments, *read_config(Path(config), arguments)]
    if config is not None and Path(config).is_file():  # not a preset of the package
        copy = RunFolder(run_dir).path / Path(config).name
        source = Path(config) if copy.absolute() != Path(config).absolute() else None
        arguments = [*rest, "--config", str(copy)]
    if value_of(given, "--save-dir") is None:
        arguments = [*arguments, "--save-dir", str(run_dir.absolute() / "checkpoints")]
    return arguments, source


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=PROG,
        usage="%(prog)s --run-dir RUN [options] -- COMMAND …\n       %(prog)s --run-dir RUN (--status | --again)",
        description="Runs weam-train, weam-preprocess, weam-evaluate or any other command as a job, on this machine or "
        "on Slurm.\nRUN/launch contains the command, its config, the git revision, versions and logs.",
        epilog=EXAMPLE,
    )
    parser.add_argument("--run-dir", metavar="RUN", type=Path, required=True, help="folder of the run")
    what = parser.add_argument_group("about the job")
    only = what.add_mutually_exclusive_group()
    only.add_argument("--status", action="store_true", help="print the state of the run's last job")
    only.add_argument("--again", action="store_true", help="start the run's job again")
    what.add_argument("--wait", action="store_true", help="wait for the job and return its exit code")
    where = parser.add_argument_group(_WHERE)
    where.add_argument(
        "--cluster", choices=["local", "slurm"], default="local", help="this machine or Slurm (default: local)"
    )
    where.add_argument("--nodes", metavar="N", type=positive, default=1, help="machines (default: 1)")
    where.add_argument("--gpus-per-node", metavar="N", type=natural, default=0, help="GPUs per node (default: 0)")
    where.add_argument(
        "--tasks-per-node",
        metavar="N",
        type=natural,
        default=0,
        help="processes on each node (default: one for each GPU; with --cluster local, weam-train starts them)",
    )
    where.add_argument(
        "--cpus-per-task", metavar="N", type=positive, default=1, help="CPU cores per process (default: 1)"
    )
    where.add_argument("--time", default="60", help="time limit: minutes, HH:MM:SS or D-HH:MM:SS (default: 60)")
    where.add_argument(
        "--grace",
        metavar="SECONDS",
        type=positive,
        default=120,
        help="how many seconds before the time limit Slurm tells the job to save a checkpoint (default: 120)",
    )
    where.add_argument("--partition", help="Slurm's partition")
    where.add_argument("--name", help="name of the job (default: that of the run folder)")
    where.add_argument("--cluster-option", metavar="NAME=VALUE", action="append", default=[], help=OPTION_HELP)
    return parser


if __name__ == "__main__":
    sys.exit(main())
