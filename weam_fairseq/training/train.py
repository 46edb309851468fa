"""weam-train: trains with fairseq and the plugin, from any folder after a plain install.

It adds to fairseq-train: a start from a published encoder, the paper's settings as defaults, config files, one-line
errors, several processes on CPUs, resuming from the newest intact checkpoint, and schedules over epochs. All other
options are fairseq's or the plugin's.
"""

import argparse
import logging
import os
import sys
import traceback
import warnings
from argparse import Namespace
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

from weam_fairseq.common.arguments import is_given, value_of
from weam_fairseq.common.command import INTERRUPTED, machine_error, run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_parent
from weam_fairseq.common.lock import locked
from weam_fairseq.common.process_setup import (
    bound_compiled_products,
    keep_memory,
    open_more_files,
    wait_without_spinning,
)
from weam_fairseq.encoder.sizes import ARCHITECTURES
from weam_fairseq.method.options import LossOptions, ModelOptions, TaskOptions, add_arguments
from weam_fairseq.training import distributed, preemption
from weam_fairseq.training.command_line import (
    PROG,
    USER_DIR,
    Start,
    follow_checkpoint,
    load_fairseq,
    parse,
    prepare,
    save_dir,
)
from weam_fairseq.training.display import Display
from weam_fairseq.training.distributed import Peers, RankInfo

_held = ExitStack()  # the lock of the run's folder
_folder: Path | None = None  # that folder, once it is locked
_QUALIFIED = f"{InputError.__module__}.{InputError.__qualname__}: "
EXAMPLE = f"""usage: {PROG} DATA_BIN --from ENCODER --save-dir RUN [--config FILE.yaml] [options]

Trains with WEAM or another objective (--objective) on a data-bin made by weam-preprocess.

  --from ENCODER       what to train: a Hugging Face folder, a name on the Hugging Face Hub, or a checkpoint (.pt).
                       If the encoder has no masked-LM head, one is fitted to the data first
  --arch ARCH          train a new encoder instead: {", ".join(list(ARCHITECTURES)[:4])},
                       {", ".join(list(ARCHITECTURES)[4:])}
  --save-dir RUN       folder of checkpoints and train.log; if it has checkpoint_last.pt, the run resumes from that
  --config FILE.yaml   options as a mapping (mask-prob: 0.3), or a preset: paper (the defaults),
                       many_pairs (for many language pairs); options of the command line override it
  --user-dir           print the folder of the plugin and exit: fairseq-train DATA_BIN --user-dir "$({PROG} --user-dir)"

Defaults, each replaced by the option of that name (--max-tokens also replaces --batch-size, and --max-update
--max-epoch): --objective weam, --lr 5e-5 (5e-4 with --arch), --batch-size 32 pairs (divided among the processes),
--max-epoch 2, --optimizer adam_bert (no weight decay on biases and LayerNorm) with --adam-betas (0.9,0.999), --adam-eps
1e-6 and --weight-decay 0.01, --clip-norm 1, --lr-scheduler polynomial_decay (linear, to 0 at the last update) with
--warmup-updates of a tenth of all updates, --precision bf16 if the processor or GPU has it, --log-interval 20,
--save-interval-updates 1000 with --keep-interval-updates 1. So checkpoint_last.pt, checkpoint_best.pt and the newest
checkpoint of a multiple of 1,000 updates are kept. If you give --save-interval-updates without --keep-interval-updates,
all are kept.

example: {PROG} data-bin --from bert-base-multilingual-cased --save-dir runs/weam
         {PROG} data-bin --arch weam_small --max-update 10000 --save-dir runs/small

Several processes: alone, {PROG} starts one process for each GPU of the machine (CUDA_VISIBLE_DEVICES chooses GPUs).
Or start one for each GPU yourself: torchrun --nproc_per_node 2 $(which {PROG}) ..., or srun {PROG} ... in a Slurm job.
Without a GPU the processes run on CPUs, which fairseq-train does not support.

Signals: on SIGUSR1, SIGUSR2 or SIGTERM the run finishes its update, writes checkpoint_last.pt and ends with code 75
(143 after SIGTERM). The same command resumes it.

You may change the batches when you resume (--max-tokens, --batch-size, --update-freq, number of processes): the epoch
continues with the pairs that were not used yet. --objective, --pairs, --sampling-temperature, --cp-head, --freeze,
--head-first, the optimizer and the schedule must not change. If a checkpoint cannot be written, weam-train warns, keeps
the older checkpoints and continues training. If no later checkpoint can be written either, the exit code is 2.

With --log-format (json, simple, tqdm) fairseq's log goes to standard output instead of RUN/train.log.
"""


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code, or ends the process with it once fairseq has started threads."""
    return run_command(PROG, lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(arguments: list[str]) -> None:
    wait_without_spinning()
    keep_memory()
    bound_compiled_products()
    open_more_files()
    if "-h" in arguments or "--help" in arguments:
        show_help()
        return
    if arguments == ["--user-dir"]:
        print(USER_DIR)
        return
    preemption.watch()
    peers: Peers | None = None
    try:
        if not _has_fairseq():
            raise InputError(
                "fairseq must be installed to train, but is not: pip install 'weam-fairseq[fairseq]' and then "
                "pip install --no-deps ve-fairseq==0.12.3"
            )
        place = distributed.find_place(os.environ, distributed.slurm_address, arguments)
        if place is not None and place.world_size > 1:
            peers = _meet(place)
        args = _begin(arguments, place, peers)
        if args is not None:
            _train(args)
    except Exception as error:
        cause = _user_error(error)
        if peers is not None:
            _fail_together(cause, peers)
        if cause is None:
            raise
        raise cause from None
    except KeyboardInterrupt:
        print(f"{PROG}: interrupted. The same command resumes from the last checkpoint.", file=sys.stderr)
        _end(INTERRUPTED)
    if peers is not None:
        peers.leave()
    if args is not None:
        _end(preemption.WATCH.status)


def _begin(arguments: list[str], place: RankInfo | None, peers: Peers | None) -> Namespace | None:
    """Parsed options of the run, the same in all processes; None: there is nothing to train.

    Rank 0 reads the checkpoints, and repairs them, before the other ranks read anything.
    """
    if peers is not None and peers.place.rank > 0:
        start = _hear_start(peers)
        return None if start.over else parse(start.arguments, place)
    start = prepare(arguments, _process_count(arguments, place), _hold_existing)
    if not start.over:
        _hold(save_dir(start.arguments))
    args = None if start.over else parse(start.arguments, place)
    if args is not None:
        # Counting the updates opens the data once before the run does; the run logs it again.
        logging.disable(logging.INFO if args.log_format is None else logging.NOTSET)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # hydra's, about fairseq's use of it
                start = follow_checkpoint(start, args)
        finally:
            logging.disable(logging.NOTSET)
    if peers is not None:
        peers.tell(start)
    return args


def _process_count(arguments: list[str], place: RankInfo | None) -> int:
    """Processes that will train together: those of a launcher, or one for each GPU, which fairseq starts itself."""
    if place is not None:
        return place.world_size
    import torch

    given = value_of(arguments, "--distributed-world-size")
    if given is not None and given.isdecimal():
        return max(1, int(given))
    return 1 if is_given(arguments, "--cpu") else max(1, torch.cuda.device_count())


def _hold_existing(folder: Path) -> None:
    """In a new folder there is nothing to protect, and a command line with a mistake should not create it."""
    if folder.is_dir():
        _hold(folder)


def _hold(folder: Path) -> None:
    """Locks the run's folder, once, until this process ends. Two trainings into one folder would replace each other's
    checkpoints."""
    global _folder
    if _folder == folder:
        return
    _folder = folder
    check_parent(folder / "lock")
    folder.mkdir(parents=True, exist_ok=True)
    _held.enter_context(locked(folder / "lock", keep=True))


def _meet(place: RankInfo) -> Peers:
    if place.rank == 0:
        # If fewer processes were started than expected, the user must learn why nothing happens.
        where = f"at {place.init_method} (from {place.launcher})"
        print(f"{PROG}: waiting for all of {place.world_size} processes {where}", file=sys.stderr, flush=True)
    return Peers(place)


def _hear_start(peers: Peers) -> Start:
    """Receives what rank 0 has prepared.

    Raises:
        InputError: this process cannot see the checkpoint.
    """
    warnings.simplefilter("ignore")  # of Python, about code: the same as rank 0's
    load_fairseq()  # while rank 0 prepares
    logging.getLogger().setLevel(logging.WARNING)  # as fairseq does once the processes have met
    told = peers.hear()
    if told is None:  # rank 0 has said why
        peers.leave()
        _end(2)
    start = Start(*told)
    if start.checkpoint is not None and not Path(start.checkpoint).is_file():
        raise InputError(
            f"All machines of a run must see its checkpoints, but process {peers.place.rank} does not find "
            f"{start.checkpoint}. Put --save-dir on a disk that all machines share."
        )
    return start


def _train(args: Namespace) -> None:
    """What fairseq_cli.train.cli_main does with parsed options."""
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.distributed import utils as distributed_utils

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hydra's, about fairseq's use of it
        cfg = convert_namespace_to_omegaconf(args)
    distributed_utils.call_main(cfg, train_until_told)
    if distributed_utils.dist.is_initialized():
        distributed_utils.dist.destroy_process_group()
    elif cfg.distributed_training.distributed_world_size > 1:
        # fairseq has started one process for each GPU. This one has passed signals on.
        preemption.WATCH.stopped = preemption.WATCH.told is not None


def train_until_told(cfg: Any) -> None:
    """fairseq_cli.train.main with our display, validations and signals; fairseq may call it in processes of its own."""
    import fairseq_cli.train as fairseq_train
    from fairseq.checkpoint_utils import save_checkpoint
    from fairseq.distributed.utils import is_master

    from weam_fairseq.plugin.patches import patch_trainer

    patch_trainer()  # the command too, which a process that fairseq has started imports after the plugin
    preemption.watch()
    fairseq_train.validate_and_save = preemption.stop_when_told(fairseq_train.validate_and_save, save_checkpoint)
    display = None
    if cfg.common.log_format is None and is_master(cfg.distributed_training):
        display = Display(cfg)
        display.log_to_file()
        fairseq_train.progress_bar.progress_bar = display.progress_bar(fairseq_train.progress_bar.progress_bar)
    if cfg.task.retrieval_pairs and not cfg.dataset.disable_validation:
        fairseq_train.get_valid_stats = _with_retrieval(fairseq_train.get_valid_stats, cfg.task.retrieval_pairs)
    fairseq_train.train = _validate_first(fairseq_train.train, fairseq_train, display)
    fairseq_train.main(cfg)
    if display is not None and not preemption.WATCH.stopped:
        display.end()


def _with_retrieval(get_valid_stats: Callable[..., Any], pairs: int) -> Callable[..., Any]:
    """`get_valid_stats` with sentence retrieval on the first validation set; `pairs` of it are measured."""

    @wraps(get_valid_stats)
    def found(cfg: Any, trainer: Any, stats: dict[str, Any], tracking_best: bool) -> Any:
        from weam_fairseq.encoder.huggingface import autocast
        from weam_fairseq.method.retrieval import measure

        if tracking_best:
            model = trainer.get_model()
            model.eval()
            first = cfg.dataset.valid_subset.split(",")[0]
            with autocast(trainer.device.type, trainer.criterion.autocast):
                retrieval = measure(model, trainer.task.dataset(first), pairs)
            stats |= {"retrieval": retrieval.mean, "retrieval_forward": retrieval.forward}
            stats |= {"retrieval_backward": retrieval.backward, "retrieval_layer": retrieval.layer}
        return get_valid_stats(cfg, trainer, stats, tracking_best)

    return found


def _validate_first(train: Callable[..., Any], command: Any, display: Display | None) -> Callable[..., Any]:
    """fairseq's `train`, which trains one epoch, with a validation before update 1 of the run."""

    @wraps(train)
    def after_validation(cfg: Any, trainer: Any, task: Any, epoch: Any) -> Any:
        if display is not None and display.bar is None:
            display.describe(trainer, task, epoch)
        measures = cfg.task.retrieval_pairs and not cfg.dataset.disable_validation
        if measures and not trainer.get_num_updates() and not cfg.dataset.validate_after_updates:
            command.validate(cfg, trainer, task, epoch, cfg.dataset.valid_subset.split(","))
        if display is not None:
            display.begin(trainer.get_num_updates())
        return train(cfg, trainer, task, epoch)

    return after_validation


def show_help() -> None:
    """Prints our options; the help of fairseq-train stops before those of a task."""
    print(EXAMPLE)
    parser = argparse.ArgumentParser(add_help=False, usage=argparse.SUPPRESS)
    add_arguments(parser.add_argument_group("data and method"), TaskOptions)
    add_arguments(parser.add_argument_group("loss"), LossOptions)
    add_arguments(
        parser.add_argument_group("model (sizes: for --arch; --layers also cuts an encoder of --from)"), ModelOptions
    )
    print(parser.format_help())
    print("Optimizer, schedule, batches, checkpoints and logs: fairseq-train --help")


def _has_fairseq() -> bool:
    from importlib.util import find_spec

    return find_spec("fairseq") is not None


def _fail_together(cause: InputError | None, peers: Peers) -> NoReturn:
    """Ends one of several processes. Each reason is printed once."""
    if cause is not None:
        if peers.is_first_to_say(str(cause)):
            _say_error(cause)
    elif peers.is_first_to_fail():
        traceback.print_exc()
    sys.stderr.flush()
    peers.leave()
    _end(1 if cause is None else 2)


def _end(status: int) -> NoReturn:
    """Ends the process at once, after everything has been written.

    If a training ends within an epoch, fairseq's buffering thread is still reading. If it reads while Python shuts
    down, the process aborts ("terminate called without an active exception") after a successful training.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _user_error(error: BaseException | None) -> InputError | None:
    """Our error that fairseq wrapped in its own ("Cannot load model parameters ..."), or an error of the operating
    system, as a sentence."""
    outermost = error
    while error is not None and not isinstance(error, InputError):
        if _last_line(error).startswith(_QUALIFIED):
            break
        error = error.__cause__ or error.__context__
    if error is not None:
        return InputError(_last_line(error).removeprefix(_QUALIFIED))
    sentence = None if outermost is None else machine_error(outermost)
    return None if sentence is None else InputError(sentence)


def _last_line(error: BaseException) -> str:
    # torch passes on an error of a process that it started as text with that process's traceback.
    return (str(error).strip().splitlines() or [""])[-1]


def _say_error(error: InputError) -> None:
    print(f"{PROG}: error: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
