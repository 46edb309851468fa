"""How a run starts: completes the command line of fairseq-train and finds the checkpoint to resume from."""

import logging
import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from weam_fairseq.common.arguments import is_given, suggest, suggest_options, take, value_of
from weam_fairseq.common.documents import parse_json, shown
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.hub import check_source
from weam_fairseq.encoder.sizes import ARCHITECTURES, OPTIONS, PUBLISHED, describe
from weam_fairseq.method.limits import check_numbers
from weam_fairseq.training import distributed
from weam_fairseq.training.config import RETRIEVAL, WARM_UP, add_defaults, read_config
from weam_fairseq.training.distributed import RankInfo

PROG = "weam-train"
PLUGIN = {"--task": "weam", "--criterion": "weam"}
# The checkpoint that --from makes of a published encoder, in --save-dir.
IMPORTED = "imported.pt"
# What a validation measures: over all language pairs, and for each pair (en-de:cp_accuracy).
_LOSSES = ("loss", "mp_loss", "cp_loss")
_OF_A_PAIR = ("mp_loss", "cp_loss", "mp_accuracy", "cp_accuracy")
# Options that change nothing of what is trained, by how their names begin: they are not compared with a checkpoint's.
NOT_COMPARED = (
    *("aim_", "azureml", "data_buffer", "device_id", "finetune", "heartbeat", "log_", "nprocs", "num_"),
    *("no_progress", "restore_file", "save_", "tensorboard", "user_dir", "wandb", "reset_", "ddp_", "total_num_update"),
    *("keep_", "plasma_path", "no_seed", "distributed_backend", "distributed_init", "distributed_rank"),
    *("distributed_port", "distributed_no", "distributed_num", "best_checkpoint", "load_checkpoint", "continue_once"),
    *("arch", "encoder_config", "retrieval_pairs", "maximize_best", *OPTIONS),  # the encoder is compared before
)
_BETAS, _WHOLE = "two numbers from 0 to below 1, as 0.9,0.98", "whole numbers, as 1,2"
# What fairseq runs `eval` on (optim/*.py, distributed/utils.py), and what must be there.
EVALUATED = {
    **dict.fromkeys(("adam_betas", "adamax_betas", "lamb_betas"), _BETAS),
    "adafactor_eps": "two numbers, as 1e-30,1e-3",
    "pipeline_balance": _WHOLE,
    "pipeline_devices": _WHOLE,
    "pipeline_encoder_balance": _WHOLE,
    "pipeline_encoder_devices": _WHOLE,
    "pipeline_decoder_balance": _WHOLE,
    "pipeline_decoder_devices": _WHOLE,
}
# Options that log elsewhere, each with the packages of which it needs one.
LOGGERS = {"wandb_project": ("wandb",), "tensorboard_logdir": ("tensorboard", "tensorboardX")}
# What --restore-file brings along, and what is left out with it.
RESETS = ("--reset-optimizer", "--reset-lr-scheduler", "--reset-meters", "--reset-dataloader")


class Start(NamedTuple):
    """What a run begins with.

    Attributes:
        arguments: those of fairseq-train, complete but for the place among several processes.
        checkpoint: what fairseq will load; None: new weights.
        over: there is nothing to train.
    """

    arguments: list[str]
    checkpoint: str | None
    over: bool = False


def prepare(arguments: list[str], processes: int = 1, hold: Callable[[Path], object] = lambda folder: None) -> Start:
    """The command line of fairseq-train: config file, defaults, and what follows from the checkpoints of the run.

    Prints what it does to checkpoints, and what it takes from them.

    Args:
        processes: that train together.
        hold: locks --save-dir before anything in it is read or changed.

    Raises:
        InputError: the config file is not there or is not a mapping; the architecture is unknown; a checkpoint that is
            named is not there, cut short, or holds more than tensors and plain values.
    """
    arguments = complete(arguments, processes)
    folder = save_dir(arguments)
    hold(folder)
    arguments = _start_from(arguments, folder)
    arguments, checkpoint = find_checkpoint(arguments, folder)
    over = False
    if checkpoint is not None:
        arguments, over = _follow(arguments, checkpoint, folder)
    arch = _arch(arguments)
    known = (*ARCHITECTURES, PUBLISHED)
    if arch not in known and not over:
        found = "is not given." if arch is None else f"is {arch}.{suggest(arch, known)}"
        raise InputError(f"--arch must be one of {', '.join(known)}, but {found}")
    return Start(arguments, None if checkpoint is None else str(checkpoint), over)


# The package's folder, which fairseq calls --user-dir. Not resolved: fairseq compares it with the package's own path,
# which may go through a link.
USER_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def save_dir(arguments: list[str]) -> Path:
    return Path(value_of(arguments, "--save-dir") or "checkpoints")  # fairseq's default


def complete(arguments: list[str], processes: int = 1) -> list[str]:
    """The config file's options, then the given ones, then the defaults of weam-train.

    Raises:
        InputError: the config file is not there or is not a mapping; another --user-dir, --task or --criterion.
    """
    if "" in arguments:
        place = arguments.index("")
        after = f" after {arguments[place - 1]}" if place else ""
        raise InputError(f"An argument{after} is empty, perhaps because a variable of the shell is not set.")
    arguments, folder = take(arguments, "--user-dir")
    if folder is not None and os.path.realpath(folder) != os.path.realpath(USER_DIR):
        raise InputError(
            f"Remove --user-dir {folder}: {PROG} always uses {USER_DIR}. To load other code, run fairseq-train."
        )
    arguments, config = take(arguments, "--config")
    if config is not None:
        # The data-bin stays first: after an option that is unknown, argparse would take the option's value for it.
        first = 0 if not arguments or arguments[0].startswith("-") else 1
        arguments = [*arguments[:first], *read_config(Path(config), arguments), *arguments[first:]]
    arguments = add_defaults(arguments, processes=processes)
    for option, value in PLUGIN.items():
        arguments, given = take(arguments, option)
        if given not in (None, value):  # others of fairseq's run texts of the command line or of a config as code
            raise InputError(f"{option} must be {value} or left out, but is {given}. For others use fairseq-train.")
        arguments = [*arguments, option, value]
    arguments += ["--user-dir", USER_DIR]
    # Else rank 0 sends the others what it has read, in a form that torch refuses to load weights-only.
    return [*arguments, "--load-checkpoint-on-all-dp-ranks"]


def _start_from(arguments: list[str], folder: Path) -> list[str]:
    """The arguments with --finetune-from-model in place of --from.

    A Hugging Face folder or a name on the Hub is imported first, unless the run has a checkpoint to resume from.

    Raises:
        InputError: another option names a start too; there is no such checkpoint, folder or name; its import fails.
    """
    from weam_fairseq.convert import from_hf
    from weam_fairseq.plugin import checkpoints

    arguments, start = take(arguments, "--from")
    if start is None:
        return arguments
    for option in ("--finetune-from-model", "--restore-file"):
        if is_given(arguments, option):
            raise InputError(f"--from and {option} must not both be given: each names what the run starts from.")
    resumes = (folder / checkpoints.LAST).is_file()
    if resumes:
        say(f"resumes from {folder / checkpoints.LAST}, so --from {start} is not read again")
    if Path(start).is_file():
        return [*arguments, "--finetune-from-model", start]
    imported = folder / IMPORTED
    if not resumes:
        layers = value_of(arguments, "--layers")
        if layers is not None and not layers.isdecimal():
            raise InputError(f"--layers must be a whole number from 1, but is {layers!r}.")
        check_source(start)
        say(f"importing {start} as {imported}")
        from_hf.convert(start, imported, layers=None if layers is None else int(layers), overwrite=True)
    return [*arguments, "--finetune-from-model", str(imported)]


def find_checkpoint(arguments: list[str], folder: Path) -> tuple[list[str], Path | None]:
    """Which checkpoint the run starts from, as fairseq will find it; mends one that was cut short.

    fairseq would load --restore-file again at every restart. Here a run resumes from its own checkpoint_last.pt once
    there is one.

    Args:
        arguments: complete.
        folder: --save-dir.

    Returns:
        the arguments, without --restore-file where it is not used; the checkpoint, None for new weights.

    Raises:
        InputError: both --restore-file and --finetune-from-model are given, or the one that is needed is not there.
    """
    from weam_fairseq.plugin import checkpoints

    rest, restore = take(arguments, "--restore-file")
    restore = None if restore == checkpoints.LAST else restore  # fairseq's default: the one in the folder
    finetune = value_of(arguments, "--finetune-from-model")
    if restore is not None and finetune is not None:
        raise InputError(
            "Give either --restore-file, which loads weights and the optimizer's state, or --finetune-from-model, "
            "which loads only weights, but not both."
        )
    first = restore or finetune
    mended = checkpoints.repair_last(folder, "anew" if first is None else f"from {first}")
    if mended is not None:
        say(mended)
    last = folder / checkpoints.LAST
    chosen = restore is not None and Path(restore).resolve().parent == folder.resolve()
    if mended is None and not chosen and not is_given(arguments, "--no-last-checkpoints"):
        adopted = checkpoints.adopt_newest(folder)
        if adopted is not None:
            say(adopted)
    if last.is_file():
        if restore is None or os.path.realpath(restore) == os.path.realpath(last):
            return arguments, last
        say(
            f"resumes from {last}, so --restore-file {restore} is not used (to start from it again, choose another "
            "--save-dir)."
        )
        return [argument for argument in rest if argument not in RESETS], last
    if first is None:
        return arguments, None
    if not Path(first).is_file():
        option = "--restore-file" if restore is not None else "--finetune-from-model"
        raise InputError(f"{option} must name a checkpoint, but {first} does not exist.")
    checkpoints.check_intact(Path(first))
    return arguments, Path(first)


def _follow(arguments: list[str], checkpoint: Path, folder: Path) -> tuple[list[str], bool]:
    """Takes from a checkpoint what the command line leaves open, its shape; and whether updates are left to make."""
    from weam_fairseq.plugin import checkpoints

    seen = checkpoints.glance(checkpoint)
    limit = value_of(arguments, "--max-update")
    resumed = checkpoint == folder / checkpoints.LAST
    if resumed and limit is not None and limit.isdecimal() and seen.updates >= int(limit) > 0:
        # fairseq would add one update before it looked at the limit.
        sentence = f"{checkpoint} has {seen.updates:,} updates, and --max-update is {int(limit):,}"
        say(f"{sentence}: there is nothing to train.")
        return arguments, True
    return _take_encoder(arguments, checkpoint, seen.model), False


def _take_encoder(arguments: list[str], checkpoint: Path, model: Namespace | None) -> list[str]:
    """The arguments with the encoder of a checkpoint, whose options must not say another one.

    Raises:
        InputError: the checkpoint is of an older version, or the command line describes another encoder.
    """
    config = getattr(model, "encoder_config", None)
    if model is None or (config is None and getattr(model, "arch", None) is None):
        return arguments  # a checkpoint of fairseq_cli with no options: the model compares the tensors
    if not isinstance(config, str) or not config.startswith("{"):
        from weam_fairseq.encoder.configs import OLD_CHECKPOINT

        raise InputError(OLD_CHECKPOINT.format(where=str(checkpoint)))
    arguments, arch = take(arguments, "--arch")
    if arch is None:
        arguments, arch = take(arguments, "-a")
    arguments, given = take(arguments, "--encoder-config")
    sizes = {}
    for name in OPTIONS:
        arguments, value = take(arguments, f"--{name.replace('_', '-')}")
        if value is not None:
            sizes[name] = value
    wrong = _other_encoder(config, arch, sizes)
    if wrong is not None:
        raise InputError(
            f"{wrong} must be left out or describe the encoder of {checkpoint}, but describes another one: {config}"
        )
    if given is not None and given != config:
        raise InputError(f"--encoder-config must be left out: the encoder is that of {checkpoint}.")
    values = parse_json(config.encode(), f"the config of {checkpoint}", dict)
    say(f"the encoder is that of {checkpoint}: {describe(values)}")
    dropout = [
        word
        for name in ("dropout", "attention_dropout")
        if getattr(model, name, None) is not None and not is_given(arguments, f"--{name.replace('_', '-')}")
        for word in (f"--{name.replace('_', '-')}", str(getattr(model, name)))
    ]
    return [*arguments, "--arch", PUBLISHED, f"--encoder-config={config}", *dropout]


def _other_encoder(config: str, arch: str | None, sizes: dict[str, str]) -> str | None:
    """The option that describes another encoder than a config; None: there is none."""
    from weam_fairseq.encoder.sizes import matches

    values = parse_json(config.encode(), "the checkpoint's config", dict)
    if arch in ARCHITECTURES and not matches(ARCHITECTURES[arch], values, sizes):
        return f"--arch {arch}"
    for name, value in sizes.items():
        if arch not in ARCHITECTURES and not matches(None, values, {name: value}):
            return f"--{name.replace('_', '-')} {value}"
    if arch is not None and arch not in ARCHITECTURES and arch != PUBLISHED:
        return f"--arch {arch}"
    return None


def parse(arguments: list[str], place: RankInfo | None) -> Namespace:
    """fairseq's own parser, with the place among several processes filled in, and with an error that suggests.

    Raises:
        InputError: an option is unknown or has a wrong value; more processes than GPUs.
    """
    load_fairseq()
    import torch
    from fairseq import options

    if place is not None:
        gpus = 0 if is_given(arguments, "--cpu") else torch.cuda.device_count()
        arguments = [*arguments, *distributed.options(place, arguments, gpus)]
    sys.argv = [PROG, *arguments]  # fairseq looks for --user-dir here
    parser = options.get_training_parser()

    def error(message: str) -> NoReturn:
        hints = suggest_options(message, parser)
        # fairseq's parsers of lists have no name.
        message = message.replace("invalid <lambda> value: ", "it must be a number, or several joined by commas, not ")
        raise InputError(f"{message}.{hints}")

    parser.error = error
    try:
        args: Namespace = options.parse_args_and_arch(parser, input_args=arguments)
    except SyntaxError as wrong:  # of a list of numbers, which fairseq reads as Python does
        raise InputError(
            f"{str(wrong.text).strip()} is not a list of numbers. Write numbers separated by commas."
        ) from wrong
    except (RecursionError, MemoryError):  # likewise
        raise InputError(
            "A list of numbers has too many brackets or signs. Write numbers separated by commas."
        ) from None
    _write_numbers_plainly(args)
    check_numbers(args)
    _check_best_metric(args)
    _check_precision(args)
    for option, packages in LOGGERS.items():
        if getattr(args, option, None) and not any(find_spec(package) for package in packages):
            raise InputError(
                f"--{option.replace('_', '-')} must have the package {packages[0]}, but it is not installed: pip "
                f"install {packages[0]}."
            )
    if args.write_checkpoints_asynchronously:
        raise InputError(
            "--write-checkpoints-asynchronously must not be given: nobody would learn of a checkpoint that could not "
            "be written."
        )
    return args


def _check_best_metric(args: Namespace) -> None:
    """Sets whether the metric of checkpoint_best.pt is maximized.

    Raises:
        InputError: no validation measures the metric.
    """
    metric = args.best_checkpoint_metric
    pair, _, name = metric.rpartition(":")
    known = _OF_A_PAIR if pair else (*_LOSSES, *RETRIEVAL)
    if name not in known:
        raise InputError(
            f"--best-checkpoint-metric must be {', '.join((*_LOSSES, *RETRIEVAL))}, or PAIR: and one of "
            f"{', '.join(_OF_A_PAIR)}, but is {metric}.{suggest(name, known)}"
        )
    if args.disable_validation and metric != "loss":
        raise InputError(f"--best-checkpoint-metric {metric} needs validations. Remove --disable-validation.")
    if name in RETRIEVAL and not args.retrieval_pairs:
        raise InputError(f"--best-checkpoint-metric {name} needs --retrieval-pairs of 1 or more, but has 0.")
    if name in RETRIEVAL or name.endswith("_accuracy"):
        args.maximize_best_checkpoint_metric = True


def _check_precision(args: Namespace) -> None:
    """Raises InputError for options of fairseq that fail later: they choose a TPU, or a GPU that is not there."""
    import torch

    for name in ("bf16", "memory_efficient_bf16", "tpu"):
        if getattr(args, name, False):
            raise InputError(
                f"Remove --{name.replace('_', '-')}, which needs a TPU. For bfloat16 give --precision bf16."
            )
    for name in ("fp16", "memory_efficient_fp16"):
        if getattr(args, name, False) and (args.cpu or not torch.cuda.is_available()):
            raise InputError(f"Remove --{name.replace('_', '-')}, which needs a GPU. Give --precision bf16.")


def _write_numbers_plainly(args: Namespace) -> None:
    """Replaces texts that fairseq would run as code by the numbers that they hold, wherever they come from.

    Raises:
        InputError: such a text holds anything but numbers.
    """
    for name, must in EVALUATED.items():
        written = getattr(args, name, None)
        if not isinstance(written, str):
            continue
        inside = written.strip()
        if inside[:1] + inside[-1:] in ("()", "[]"):
            inside = inside[1:-1]
        parts = [part.strip() for part in inside.split(",")]
        found = [float(part) for part in parts if _is_number(part) and (must != _WHOLE or part.isdecimal())]
        wrong = len(found) < len(parts) or (must != _WHOLE and len(parts) != 2)
        if wrong or (must == _BETAS and not all(0 <= number < 1 for number in found)):
            raise InputError(f"--{name.replace('_', '-')} must be {must}, but is {shown(written)}.")
        setattr(args, name, repr([int(number) for number in found] if must == _WHOLE else found))


def _is_number(text: str) -> bool:
    return len(text) < 20 and re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text) is not None


def follow_checkpoint(start: Start, args: Namespace) -> Start:
    """Compares the options with those of the checkpoint that the run resumes from, and completes the schedule.

    Raises:
        InputError: an option that a run must keep has changed; the schedule must know the run's length, and nothing
            says it.
    """
    from weam_fairseq.plugin import checkpoints, schedule

    seen, changed = None, {}
    last = Path(args.save_dir, checkpoints.LAST)
    if start.checkpoint is not None and (args.finetune_from_model is None or Path(start.checkpoint) == last):
        seen = checkpoints.glance(Path(start.checkpoint))
        if not is_given(start.arguments, "--warmup-updates"):
            args.warmup_updates = getattr(seen.model, "warmup_updates", 0)
        changed = _compare(Path(start.checkpoint), seen, args)
    added = []
    if schedule.lacks_total(args):
        total, sentence = schedule.total_updates(args, seen, changed)
        say(sentence)
        args.total_num_update = float(total)
        added += ["--total-num-update", str(total)]
    if args.lr_scheduler == schedule.SCHEDULE and not is_given(start.arguments, "--warmup-updates"):
        if seen is None:
            args.warmup_updates = round(WARM_UP * float(args.total_num_update))
        added += ["--warmup-updates", str(args.warmup_updates)]
    return start._replace(arguments=[*start.arguments, *added])


def _compare(checkpoint: Path, seen: Any, args: Namespace) -> dict[str, tuple[Any, Any]]:
    """Finds and prints the options that differ from the run so far: option -> (before, now).

    Raises:
        InputError: an option that a run must keep has changed; or options of the batches changed, and the checkpoint of
            an older version does not record which pairs were used.
    """
    from weam_fairseq.method.limits import option
    from weam_fairseq.plugin.resume import BATCHES, refuse_changes

    before, now = {} if seen.model is None else vars(seen.model), vars(args)
    refuse_changes({name: value for name, value in before.items() if name != "pairs"}, now, str(checkpoint))
    changed = {
        name: (before[name], value)
        for name, value in now.items()
        if name in before and before[name] != value and not name.startswith(NOT_COMPARED)
    }
    if changed:
        said = (f"{option(name)} {_shown(value)} (was {_shown(old)})" for name, (old, value) in sorted(changed.items()))
        say(f"resumes from {checkpoint} with other options: {', '.join(said)}")
    place = seen.place or {}
    if place.get("iterations_in_epoch") and "weam" not in place and not args.reset_dataloader:
        batches = [option(name) for name in BATCHES if name in changed]
        if batches:
            raise InputError(
                f"An older version saved {checkpoint} within an epoch, so the options of batches must stay the same, "
                f"but {', '.join(batches)} changed. Give the old value, or add --reset-dataloader to restart epoch 1."
            )
    return changed


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _arch(arguments: list[str]) -> str | None:
    return value_of(arguments, "--arch") or value_of(arguments, "-a")


def load_fairseq() -> None:
    for name in ("fairseq.tasks.text_to_speech", "fairseq.utils"):  # what they log at import concerns nobody here
        logging.getLogger(name).setLevel(logging.WARNING)
    # First its command, which sets up logging: whoever does that first wins.
    import fairseq_cli.train  # noqa: F401

    from weam_fairseq import register

    register()


def say(sentence: str) -> None:
    print(f"{PROG}: {sentence}", flush=True)
