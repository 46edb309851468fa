"""Stops a training on a signal: finishes the update, saves a checkpoint and exits with a code for the caller.

Slurm sends SIGUSR2 (or what --signal names) some time before a job's end, and SIGTERM at a preemption. fairseq handles
neither, and its own way to stop validates before it saves, which can outlast the grace time. Here the training finishes
its update, all processes agree to stop, and checkpoint_last.pt is written. The same command then resumes from it, with
the losses of a run that nobody stopped.

Exit codes: 75 (sysexits.h: try again later) after SIGUSR1 or SIGUSR2: the caller should queue the job again. 143
(128 + SIGTERM) after SIGTERM alone: its sender (Slurm's requeue, or a person's scancel) has decided what comes next.
"""

import atexit
import multiprocessing
import multiprocessing.util  # its own hook for the end must be registered before ours
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from types import FrameType
from typing import Any

AGAIN, TERMINATED = 75, 143
ASKED = (signal.SIGUSR1, signal.SIGUSR2)


class Watch:
    """The signals that this process has received.

    Attributes:
        told: name of the first signal; None: no signal yet.
        stopped: the training has stopped because of it, with a checkpoint.
        training: updates have begun, so a stop would lose work.
        asked_again: one of the signals asks for another start.
        status: exit code of the process; 0 if the training was not stopped.
    """

    def __init__(self) -> None:
        self.told: str | None = None
        self.stopped = False
        self.training = False
        self.asked_again = False

    @property
    def status(self) -> int:
        return 0 if not self.stopped else AGAIN if self.asked_again else TERMINATED

    def hear(self, number: int, frame: FrameType | None = None) -> None:
        """The handler: the training finishes its update. Before the first update the process exits at once."""
        children = multiprocessing.active_children()
        if not self.training and not children:
            os._exit(AGAIN if number in ASKED else TERMINATED)
        self.told = self.told or signal.Signals(number).name
        self.asked_again = self.asked_again or number in ASKED
        # Where fairseq has started one process for each GPU, this one only waits for them. Data workers do not mind.
        for child in children:
            if child.pid is not None:
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(child.pid, number)


WATCH = Watch()
_installed: set[int] = set()


def watch() -> None:
    """Hears signals from now on, in this process. Once; only a main thread can."""
    if os.getpid() in _installed or threading.current_thread() is not threading.main_thread():
        return
    _installed.add(os.getpid())
    for number in (*ASKED, signal.SIGTERM):
        signal.signal(number, WATCH.hear)
    os.register_at_fork(after_in_child=_shield)
    atexit.register(_end_children)


def _shield() -> None:
    """Slurm signals all processes of a job; a data worker that ended would take the training with it.

    TERM is held back rather than ignored, since torch installs a handler for it in its workers.
    """
    for number in ASKED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _end_children() -> None:
    """Python would end data workers with TERM and wait for them."""
    for child in multiprocessing.active_children():
        child.kill()


def stop_when_told(
    validate_and_save: Callable[..., Any], save: Callable[..., Any], heard: Watch = WATCH
) -> Callable[..., Any]:
    """fairseq_cli.train.validate_and_save, which follows every update, with a look at the signals before it.

    Args:
        save: fairseq.checkpoint_utils.save_checkpoint.
    """

    @wraps(validate_and_save)
    def stopping(
        cfg: Any, trainer: Any, task: Any, epoch_itr: Any, valid_subsets: list[str], end_of_epoch: bool
    ) -> tuple[list[float | None], bool]:
        heard.training = True
        if not _one_is_told(trainer, heard) or cfg.checkpoint.no_save or cfg.checkpoint.no_last_checkpoints:
            return validate_and_save(cfg, trainer, task, epoch_itr, valid_subsets, end_of_epoch)  # type: ignore[no-any-return]
        save(cfg.checkpoint, trainer, epoch_itr, None)
        if _is_over(cfg, trainer, epoch_itr, end_of_epoch):
            # The training is over, and its last checkpoint is written.
            return validate_and_save(cfg, trainer, task, epoch_itr, valid_subsets, end_of_epoch)  # type: ignore[no-any-return]
        _wait_for_all(trainer)
        heard.stopped = True
        if trainer.data_parallel_rank == 0 and not saves_failed():
            updates = trainer.get_num_updates()
            print(
                f"weam-train: stopped by {heard.told or 'a signal to another process'} after {updates:,} updates and "
                "saved checkpoint_last.pt. The same command resumes from it.",
                flush=True,
            )
        return [None], True

    return stopping


def saves_failed() -> bool:
    """Whether this process could not write its last checkpoint; it has reported that, and ends with an error."""
    from weam_fairseq.plugin.checkpoints import Saves

    return Saves.failure is not None


def _one_is_told(trainer: Any, heard: Watch) -> bool:
    """Whether any process has been told; the same answer in all, which stop after the same update."""
    if trainer.data_parallel_world_size == 1:
        return heard.told is not None
    import torch

    # Bit 0: told; bit 1: asked to start again. The processes should end with the same code.
    flags = torch.tensor([heard.told is not None, heard.asked_again], dtype=torch.int32, device=trainer.device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX, group=trainer.data_parallel_process_group)
    told, asked_again = flags.tolist()
    heard.asked_again = bool(asked_again)
    return bool(told)


def _is_over(cfg: Any, trainer: Any, epoch_itr: Any, end_of_epoch: bool) -> bool:
    updates, epochs = cfg.optimization.max_update, cfg.optimization.max_epoch
    return bool(
        (updates and trainer.get_num_updates() >= updates) or (epochs and end_of_epoch and epoch_itr.epoch >= epochs)
    )


def _wait_for_all(trainer: Any) -> None:
    """Rank 0 writes the checkpoint. A rank that ends before it might have the launcher kill the others."""
    if trainer.data_parallel_world_size > 1:
        import torch

        torch.distributed.barrier(group=trainer.data_parallel_process_group)
