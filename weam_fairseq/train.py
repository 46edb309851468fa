"""weam-train: fairseq-train with the plugin filled in, from any folder after a plain install.

Adds --config FILE.yaml, "did you mean", and one-line errors; every other option is fairseq's or the plugin's own.
"""

import argparse
import difflib
import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from .architectures import ARCHITECTURES
from .errors import InputError
from .threads import wait_without_spinning

PROG = "weam-train"
_QUALIFIED = f"{InputError.__module__}.{InputError.__qualname__}: "
DEFAULTS = {"--task": "weam", "--criterion": "weam"}
EXAMPLE = f"""usage: {PROG} DATA_BIN --arch ARCH [--config FILE.yaml] [options]

Trains with WEAM or one of its controls on a data-bin made by weam-preprocess.

  --arch ARCH          {", ".join(ARCHITECTURES)}
  --config FILE.yaml   options as a mapping (mask-prob: 0.3); those on the command line win
  --user-dir, --task and --criterion are filled in; other options are those of fairseq-train

example: {PROG} data-bin --arch weam_small --objective weam --optimizer adam --lr 5e-4 --lr-scheduler polynomial_decay
         --warmup-updates 100 --total-num-update 1000 --max-update 1000 --batch-size 32 --save-dir runs/weam
"""


def main(argv: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    wait_without_spinning()
    try:
        if "-h" in arguments or "--help" in arguments:
            show_help()
            return
        arguments = complete(arguments)
        if not _has_fairseq():
            raise InputError(
                "fairseq must be installed to train, but is not: pip install 'weam-fairseq[fairseq]' and then "
                "pip install --no-deps ve-fairseq==0.12.3"
            )
        done = check_start(arguments)
        if done is not None:
            print(f"{PROG}: {done}")
            return
        _train(arguments)
        _end()
    except Exception as error:
        cause = _user_error(error)
        if cause is None:
            raise
        _fail(str(cause))


def complete(arguments: list[str]) -> list[str]:
    """The command line of fairseq-train: the config file's options, then the given ones, then our defaults.

    Raises:
        InputError: the config file is not there or is not a mapping, or the architecture is unknown.
    """
    arguments, config = _take(arguments, "--config")
    if config is not None:
        arguments = [*read_config(Path(config), arguments), *arguments]
    for option, value in DEFAULTS.items():
        if _take(arguments, option)[1] is None:
            arguments += [option, value]
    # Not resolved: fairseq compares it with the package's own path, which may go through a link.
    arguments += ["--user-dir", os.path.dirname(os.path.abspath(__file__))]
    arch = _take(arguments, "--arch")[1] or _take(arguments, "-a")[1]
    if arch not in ARCHITECTURES:
        found = "is not given." if arch is None else f"is {arch}.{_suggest(arch, ARCHITECTURES)}"
        raise InputError(f"--arch must be one of {', '.join(ARCHITECTURES)}, but {found}")
    return arguments


def check_start(arguments: list[str]) -> str | None:
    """Looks at the checkpoints that the training would start from, before fairseq does.

    Returns:
        why there is nothing to train, or None.

    Raises:
        InputError: a checkpoint is not there or cut short; several processes without a GPU.
    """
    import torch

    from . import checkpoints

    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.cuda.is_available():
        # fairseq would let each process train alone, all of them into the same folder.
        raise InputError("Several processes must have a GPU each, but there is none: train with one process.")
    start = _take(arguments, "--finetune-from-model")[1]
    if start is not None and not Path(start).is_file():
        raise InputError(f"--finetune-from-model must name a checkpoint, but {start} does not exist.")
    last = Path(_take(arguments, "--save-dir")[1] or "checkpoints", "checkpoint_last.pt")
    limit = _take(arguments, "--max-update")[1]
    if last.is_file():
        updates = checkpoints.updates_of(last)
        if limit is not None and limit.isdecimal() and updates >= int(limit) > 0:
            # fairseq would add one update before it looked at the limit.
            return f"{last} has {updates:,} updates, and --max-update is {int(limit):,}: there is nothing to train."
    elif start is not None:
        checkpoints.updates_of(Path(start))
    return None


def read_config(path: Path, given: list[str]) -> list[str]:
    """Options of a YAML mapping as arguments, without those that the command line gives.

    true sets a flag, false leaves it out, a list gives several values, `data` is the data-bin.
    """
    import yaml

    if not path.is_file():
        raise InputError(f"--config must name a YAML file, but there is no {path}.")
    try:
        options = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} must be YAML, but is not: {str(error).splitlines()[0]}.") from error
    if not isinstance(options, dict):
        raise InputError(f"{path} must be a mapping from options to values, but holds a {type(options).__name__}.")
    arguments: list[str] = []
    for name, value in options.items():
        option = f"--{str(name).replace('_', '-')}"
        if option in given or any(argument.startswith(f"{option}=") for argument in given) or value is False:
            continue
        if name == "data":
            arguments.insert(0, str(value))
        elif value is True:
            arguments.append(option)
        else:
            arguments += [option, *map(str, value if isinstance(value, list) else [value])]
    return arguments


def _take(arguments: list[str], option: str) -> tuple[list[str], str | None]:
    """Removes `option VALUE` or `option=VALUE`; the last one counts."""
    rest, value, place = [], None, 0
    while place < len(arguments):
        if arguments[place] == option and place + 1 < len(arguments):
            value, place = arguments[place + 1], place + 2
        elif arguments[place].startswith(f"{option}="):
            value, place = arguments[place].split("=", 1)[1], place + 1
        else:
            rest.append(arguments[place])
            place += 1
    return rest, value


def _suggest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def _has_fairseq() -> bool:
    from importlib.util import find_spec

    return find_spec("fairseq") is not None


def show_help() -> None:
    """Our options; fairseq's own help stops before those of a task."""
    print(EXAMPLE)
    if not _has_fairseq():
        return
    logging.basicConfig(level=logging.WARNING)  # before fairseq, which would log what it misses for speech
    from fairseq.dataclass.utils import gen_parser_from_dataclass

    from .criterion import WeamCriterionConfig
    from .model import WeamModel
    from .task import WeamTaskConfig

    parser = argparse.ArgumentParser(add_help=False, usage=argparse.SUPPRESS)
    gen_parser_from_dataclass(parser.add_argument_group("data and method"), WeamTaskConfig())
    gen_parser_from_dataclass(parser.add_argument_group("loss"), WeamCriterionConfig())
    WeamModel.add_args(parser.add_argument_group("model, where it differs from --arch"))
    print(parser.format_help())
    print("Optimiser, schedule, batches, checkpoints and logs: fairseq-train --help")


def _train(arguments: list[str]) -> None:
    """What fairseq_cli.train.cli_main does, with an error that suggests."""
    # First, because it sets up logging, and whoever does that first wins.
    from fairseq_cli.train import main as train  # isort: split

    from fairseq import options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.distributed import utils as distributed_utils

    from . import register

    register()
    sys.argv = [PROG, *arguments]  # fairseq looks for --user-dir here
    parser = options.get_training_parser()

    def error(message: str) -> NoReturn:
        unknown = [w for w in message.split() if w.startswith("--")] if message.startswith("unrecognized") else []
        hints = "".join(_suggest(word, parser._option_string_actions) for word in unknown)
        _fail(f"{message}.{hints}")

    parser.error = error
    args = options.parse_args_and_arch(parser, input_args=arguments)
    distributed_utils.call_main(convert_namespace_to_omegaconf(args), train)


def _end() -> NoReturn:
    """Ends the process at once; everything is written.

    When a training ends within an epoch, fairseq's buffering thread is still reading. If it does so while Python shuts
    down, the process aborts ("terminate called without an active exception") after a training that went well.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _user_error(error: BaseException | None) -> InputError | None:
    """The error of ours that fairseq has wrapped in one of its own ("Cannot load model parameters ...")."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    # torch hands an error of a data worker on with the worker's traceback as its text; the sentence is its last line.
    return None if error is None else InputError(str(error).strip().splitlines()[-1].removeprefix(_QUALIFIED))


def _fail(message: str) -> NoReturn:
    print(f"{PROG}: error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
