"""weam-train is killed, or stops on a signal with a checkpoint; then it resumes as if it had not stopped."""

import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import warm_process
from run_training import arguments, curve, train, weights

from weam_fairseq.plugin import checkpoints
from weam_fairseq.training.preemption import AGAIN, TERMINATED, Watch, stop_when_told

TRAIN_WITH_SIGNAL, BY_TORCHRUN = (
    str(Path(__file__).with_name(f"{n}.py")) for n in ("train_with_signal", "by_torchrun")
)
UPDATES = 16  # one epoch has 12


def run(data_bin: Path, save_dir: Path, *program: str) -> subprocess.CompletedProcess:
    return train(words(data_bin, save_dir), program or ("weam-train",))


def words(data_bin: Path, save_dir: Path) -> list[str]:
    return arguments(data_bin, save_dir, UPDATES, "--save-interval-updates", "100")


@pytest.fixture(scope="module")
def undisturbed(small_data_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[int, str], dict]:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run(small_data_bin, folder)
    assert done.returncode == 0, done.stderr
    return curve(done.stdout), weights(folder / "checkpoint_last.pt")


def test_a_killed_training_resumes_as_if_it_had_not_been_killed(
    small_data_bin: Path, tmp_path: Path, undisturbed: tuple[dict[int, str], dict]
) -> None:
    more = ("--save-interval-updates", "5")
    killed = train(arguments(small_data_bin, tmp_path, UPDATES, *more), (TRAIN_WITH_SIGNAL, "SIGKILL", "only8", "0"))
    assert killed.returncode == -signal.SIGKILL
    assert "Saved checkpoint" in killed.stdout
    again = train(arguments(small_data_bin, tmp_path, UPDATES, *more, "--num-workers", "2"))
    assert again.returncode == 0, again.stderr
    assert "Loaded checkpoint" in again.stdout
    losses, trained = undisturbed
    assert curve(again.stdout) == {update: losses[update] for update in range(6, UPDATES + 1)}
    ours = weights(tmp_path / "checkpoint_last.pt")
    assert all(torch.equal(ours[key], trained[key]) for key in trained)


# Within an epoch, and at its end.
@pytest.mark.parametrize(("name", "update", "status"), [("SIGUSR2", 7, AGAIN), ("SIGTERM", 12, TERMINATED)])
def test_a_signal_leaves_a_checkpoint_and_the_run_resumes(
    small_data_bin: Path, tmp_path: Path, undisturbed: tuple[dict[int, str], dict], name: str, update: int, status: int
) -> None:
    stopped = run(small_data_bin, tmp_path, TRAIN_WITH_SIGNAL, name, str(update), "0")
    assert stopped.returncode == status, stopped.stderr
    assert f"stopped by {name} after {update} updates and saved checkpoint_last.pt" in stopped.stdout
    assert list(curve(stopped.stdout)) == list(range(1, update + 1))
    assert " | valid | " not in stopped.stdout  # it would take time that is not there
    assert checkpoints.glance(tmp_path / "checkpoint_last.pt").updates == update
    again = run(small_data_bin, tmp_path)
    assert again.returncode == 0, again.stderr
    losses, trained = undisturbed
    assert curve(stopped.stdout) | curve(again.stdout) == losses
    ours = weights(tmp_path / "checkpoint_last.pt")
    assert all(torch.equal(ours[key], trained[key]) for key in trained)


def test_at_the_last_update_the_run_ends_normally(
    small_data_bin: Path, tmp_path: Path, undisturbed: tuple[dict[int, str], dict]
) -> None:
    done = run(small_data_bin, tmp_path, TRAIN_WITH_SIGNAL, "SIGUSR1", str(UPDATES), "0")
    assert done.returncode == 0, done.stderr
    assert curve(done.stdout) == undisturbed[0]
    assert " | valid | " in done.stdout


def test_several_processes_stop_after_the_same_update(small_data_bin: Path, tmp_path: Path) -> None:
    """Only one process gets the signal, but all must stop after the same update."""
    stopped = run(small_data_bin, tmp_path / "a", BY_TORCHRUN, TRAIN_WITH_SIGNAL, "SIGUSR2", "only3", "1")
    assert "stopped by " in stopped.stdout, stopped.stderr
    assert f"exitcode  : {AGAIN}" in stopped.stderr
    assert checkpoints.glance(tmp_path / "a" / "checkpoint_last.pt").updates == 3
    again, whole = (warm_process.ranks(["weam-train", *words(small_data_bin, tmp_path / name)]) for name in ("a", "b"))
    assert curve(stopped.stdout) | curve(again.stdout) == curve(whole.stdout)
    assert next(iter(curve(again.stdout))) == 4


class Trainer:
    data_parallel_world_size = 1
    data_parallel_rank = 0

    def get_num_updates(self) -> int:
        return 5


def test_a_run_that_may_not_save_is_not_stopped() -> None:
    """Otherwise it would start from scratch again and again."""
    from argparse import Namespace

    heard = Watch()
    heard.training = True
    heard.hear(signal.SIGUSR1)
    saved: list[object] = []
    stopping = stop_when_told(lambda *_: ([0.5], False), lambda *_: saved.append(_), heard)
    cfg = Namespace(
        checkpoint=Namespace(no_save=True, no_last_checkpoints=False), optimization=Namespace(max_update=9, max_epoch=0)
    )
    epoch = Namespace(epoch=1)
    assert stopping(cfg, Trainer(), None, epoch, ["valid"], False) == ([0.5], False)
    assert heard.status == 0
    assert not saved
    cfg.checkpoint.no_save = False
    assert stopping(cfg, Trainer(), None, epoch, ["valid"], False) == ([None], True)
    assert heard.status == AGAIN
    assert len(saved) == 1


def test_an_explicit_start_is_used() -> None:
    """Near a job's end Slurm sends USR2, and later TERM."""
    heard = Watch()
    heard.training = heard.stopped = True
    heard.hear(signal.SIGTERM)
    assert heard.status == TERMINATED
    heard.hear(signal.SIGUSR2)
    assert heard.status == AGAIN
    assert heard.told == "SIGTERM"


def test_a_child_that_has_just_ended_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """fairseq's process of each GPU may have ended by the same signal."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    monkeypatch.setattr(multiprocessing, "active_children", lambda: [ended])
    heard = Watch()
    heard.hear(signal.SIGTERM)
    assert heard.told == "SIGTERM"


@pytest.mark.parametrize(("name", "status"), [("SIGUSR2", AGAIN), ("SIGTERM", TERMINATED)])
def test_before_the_first_update_nothing_is_waited_for(name: str, status: int) -> None:
    code = "import os, signal, time; from weam_fairseq.training import preemption; preemption.watch(); "
    code += f"os.kill(os.getpid(), signal.{name}); time.sleep(60)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == status
