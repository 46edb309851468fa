"""Several processes: the environment as options (pure), and real trainings in two processes against one."""

import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
import warm_process
from fairseq.trainer import Trainer
from hand_made_data_bin import Example, random_examples, write_data_bin
from run_training import ENVIRONMENT, said, train, updates_of, weights

from weam_fairseq.common.errors import InputError
from weam_fairseq.training.command_line import Start
from weam_fairseq.training.distributed import FIRST_PORT, PORTS, RankInfo, find_place, options, slurm_address
from weam_fairseq.training.train import _hear_start, _user_error

TORCHRUN_SAYS = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500",
}
SRUN_SAYS = {
    "SLURM_JOB_ID": "4321",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_JOB_NODELIST": "node[01-08]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}


def address(nodes: str) -> str:
    assert nodes == "node[07-08]"
    return "node07"


def no_slurm(nodes: str) -> str:
    raise AssertionError(nodes)


def as_dict(words: list[str]) -> dict[str, str]:
    assert words[-1] == "--distributed-no-spawn"
    return dict(zip(words[:-1:2], words[1:-1:2], strict=True))


def test_without_a_launcher_there_is_no_rank() -> None:
    assert find_place({}, no_slurm) is None
    assert find_place({"WORLD_SIZE": "1"}, no_slurm) is None


def test_torchrun_sets_the_rank() -> None:
    assert find_place(TORCHRUN_SAYS, no_slurm) == RankInfo(3, 4, 1, "env://", "torchrun")


def test_torchrun_inside_a_slurm_job_wins() -> None:
    place = find_place(TORCHRUN_SAYS | SRUN_SAYS, no_slurm)
    assert place is not None
    assert place.launcher == "torchrun"


def test_slurm_sets_the_rank() -> None:
    place = find_place(SRUN_SAYS, address)
    assert place is not None
    assert place._replace(init_method="") == RankInfo(2, 4, 0, "", "Slurm")
    host, port = place.init_method.removeprefix("tcp://").split(":")
    assert host == "node07"
    assert FIRST_PORT <= int(port) < FIRST_PORT + PORTS


def test_slurm_jobs_and_steps_use_different_ports() -> None:
    other = [{"SLURM_JOB_ID": "4322"}, {"SLURM_STEP_ID": "1"}, {}, {"SLURM_PROCID": "0"}]
    places = [find_place(SRUN_SAYS | change, address) for change in other]
    methods = [place.init_method for place in places if place is not None]
    assert len(set(methods[:3])) == 3
    assert methods[3] == methods[2]


def test_slurm_takes_the_address_that_is_set() -> None:
    place = find_place(SRUN_SAYS | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1234"}, no_slurm)
    assert place is not None
    assert place.init_method == "tcp://10.0.0.1:1234"


@pytest.mark.parametrize(("name", "expected"), [("localhost", "localhost"), ("n1.invalid", "10.0.0.7")])
def test_a_node_whose_name_only_slurm_knows_is_reached_by_slurms_address(
    name: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scontrol(
        tmp_path,
        f"""case "$*" in
        "show hostnames n[1-2]") echo {name}; echo n2;;
        "--oneliner show node n1.invalid") echo "NodeName=n1.invalid CPUTot=2 NodeAddr=10.0.0.7 NodeHostName=vm";;
        *) exit 1;;
    esac""",
    )
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert slurm_address("n[1-2]") == expected


def test_a_batch_script_is_one_process_however_many_tasks_its_job_has() -> None:
    batch = {name: value for name, value in SRUN_SAYS.items() if not name.startswith("SLURM_STEP_")}
    assert find_place(batch | {"SLURM_PROCID": "0"}, no_slurm) is None


def test_processes_without_a_meeting_point_are_refused() -> None:
    with pytest.raises(InputError, match=r"WORLD_SIZE is 2, .* RANK, MASTER_ADDR, MASTER_PORT is not"):
        find_place({"WORLD_SIZE": "2"}, no_slurm)


@pytest.mark.parametrize("given", [["--distributed-init-method=tcp://a:1"], ["--distributed-port", "5"]])
def test_who_starts_the_processes_in_fairseqs_way_is_left_alone(given: list[str]) -> None:
    assert find_place(TORCHRUN_SAYS, no_slurm, given) is None


def test_options_without_gpus() -> None:
    assert as_dict(options(RankInfo(3, 4, 1, "env://", "torchrun"), [], gpus=0)) == {
        "--distributed-init-method": "env://",
        "--distributed-world-size": "4",
        "--distributed-rank": "3",
        "--device-id": "0",
        "--distributed-backend": "gloo",
        "--ddp-backend": "legacy_ddp",
    }


def test_options_with_gpus_leave_the_ddp_backend_to_fairseq() -> None:
    found = as_dict(options(RankInfo(3, 4, 1, "env://", "torchrun"), [], gpus=2))
    assert found["--device-id"] == "1"
    assert found["--distributed-backend"] == "nccl"
    assert "--ddp-backend" not in found


def test_given_backends_win() -> None:
    given = ["--ddp-backend=no_c10d", "--distributed-backend", "mpi"]
    found = as_dict(options(RankInfo(3, 4, 1, "env://", "torchrun"), given, gpus=0))
    assert not found.keys() & {"--ddp-backend", "--distributed-backend"}


def test_slurm_may_have_bound_each_process_to_its_gpu() -> None:
    assert as_dict(options(RankInfo(3, 4, 3, "tcp://a:1", "Slurm"), [], gpus=1))["--device-id"] == "0"
    assert as_dict(options(RankInfo(3, 4, 3, "tcp://a:1", "Slurm"), [], gpus=4))["--device-id"] == "3"


def test_one_process_of_torchrun_does_not_take_all_gpus() -> None:
    assert options(RankInfo(0, 1, 0, "env://", "torchrun"), [], gpus=8) == ["--distributed-world-size", "1"]


def test_more_processes_than_gpus_and_other_ddp_backends_without_gpus_are_refused() -> None:
    with pytest.raises(InputError, match="must have a GPU of its own"):
        options(RankInfo(3, 4, 1, "env://", "torchrun"), [], gpus=1)
    with pytest.raises(InputError, match=r"--ddp-backend must be legacy_ddp .* but is pytorch_ddp"):
        options(RankInfo(3, 4, 1, "env://", "torchrun"), ["--ddp-backend", "pytorch_ddp"], gpus=0)


class Told:
    """Rank 1 receives this from rank 0."""

    place = RankInfo(1, 2, 1, "env://", "torchrun")

    def __init__(self, start: Start) -> None:
        self.start = start

    def hear(self) -> list[object]:
        return list(self.start)


def test_a_checkpoint_that_one_machine_does_not_see_is_refused(tmp_path: Path) -> None:
    """That process alone would start from new weights."""
    with pytest.raises(InputError, match=r"All machines of a run must see .*process 1 does not find .*last\.pt"):
        _hear_start(Told(Start(["bin"], str(tmp_path / "last.pt"))))
    (tmp_path / "last.pt").touch()
    start = Start(["bin"], str(tmp_path / "last.pt"))
    assert _hear_start(Told(start)) == start


def test_the_sentence_is_found_in_what_a_process_leaves_behind() -> None:
    """torch.multiprocessing, which fairseq uses to start one process per GPU, passes only text on."""
    text = "\n-- Process 1 terminated with the following error:\nTraceback (most recent call last):\n  ...\n"
    found = _user_error(RuntimeError(f"{text}weam_fairseq.common.errors.InputError: It must be so, but is not."))
    assert str(found) == "It must be so, but is not."
    assert _user_error(RuntimeError(f"{text}ValueError: else")) is None


def test_each_process_draws_dropout_of_its_own_and_the_first_one_draws_fairseqs() -> None:
    def draws(rank: int, updates: int) -> list[float]:
        common = SimpleNamespace(seed=5)
        trainer = SimpleNamespace(
            data_parallel_rank=rank, cfg=SimpleNamespace(common=common), get_num_updates=lambda: updates
        )
        Trainer._set_seed(trainer)
        return torch.rand(4).tolist()

    torch.manual_seed(5 + 7)  # fairseq: the run's seed + the number of updates
    fairseqs = torch.rand(4).tolist()
    assert draws(0, 7) == fairseqs
    different = [draws(rank, updates) for rank in range(3) for updates in (7, 8)]
    assert len({tuple(each) for each in different}) == 6
    assert draws(2, 8) == different[-1]


# Real processes ------------------------------------------------------------------------------------------------------

# 15 batches of 8 in an epoch, for two processes: at the last update one of them has one batch less.
UPDATES_OF_AN_EPOCH = 8


@pytest.fixture(scope="module")
def partly_linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links in short sentences only, so that whole batches, made by length, have none."""

    def without_links(examples: list[Example], least: int) -> list[Example]:
        return [(s, t, [] if len(s) >= least else links, sw, tw) for s, t, links, sw, tw in examples]

    pairs = {
        "en-de": {"train": without_links(random_examples(70, 1), least=6), "valid": random_examples(4, 2)},
        "en-es": {"train": without_links(random_examples(50, 3), least=4), "valid": random_examples(4, 4)},
    }
    return write_data_bin(tmp_path_factory.mktemp("partly") / "bin", pairs)


class Case(NamedTuple):
    """gather: batches that each of two processes gathers for an update; one process gathers twice as many."""

    objective: str
    optimizer: str
    length: str
    launcher: str
    gather: int = 1

    @property
    def updates_of_an_epoch(self) -> int:
        return UPDATES_OF_AN_EPOCH // self.gather

    def words(self, data_bin: Path, save_dir: Path, *more: str) -> list[str]:
        # Dropout is drawn by each process for itself.
        words = f"{data_bin} --arch weam_tiny --dropout 0 --attention-dropout 0 --objective {self.objective} --seed 7"
        words += f" {self.optimizer} {self.length} --batch-size 8 --save-dir {save_dir}"
        words += "" if "--lr-scheduler" in self.length else " --lr-scheduler fixed"
        words += " --no-epoch-checkpoints --disable-validation --log-format json --log-interval 1"
        words += " --precision fp32"
        return [*words.split(), *more]


def in_two_processes(words: list[str], launcher: str, tmp_path: Path) -> subprocess.CompletedProcess:
    if launcher == "torchrun":
        return warm_process.ranks(["weam-train", *words])
    return by_srun(words, tmp_path)


def write_scontrol(folder: Path, script: str) -> None:
    program = folder / "scontrol"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def by_srun(words: list[str], tmp_path: Path) -> subprocess.CompletedProcess:
    """What srun does on one machine: both ranks with Slurm's variables, and its program on PATH."""
    write_scontrol(tmp_path, '[ "$*" = "show hostnames here" ] && echo 127.0.0.1')
    slurm = SRUN_SAYS | {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "here", "SLURM_JOB_ID": str(os.getpid())}
    slurm = {**ENVIRONMENT, **slurm, "PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}"}
    ranks = [slurm | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in "01"]
    return warm_process.joined(warm_process.run_together(["weam-train", *words], ranks))


def linked_rows(words: list[str], monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """For each update of the first epoch, how many masked rows of each rank's batch have a link."""
    from fairseq import tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    from weam_fairseq.training.command_line import parse, prepare

    monkeypatch.setattr("sys.argv", ["weam-train"])
    cfg = convert_namespace_to_omegaconf(parse(prepare(words).arguments, None))
    task = tasks.setup_task(cfg.task)
    task.load_dataset("train", epoch=1)
    found = []
    for rank in (0, 1):
        batches = task.get_batch_iterator(
            task.dataset("train"), max_sentences=8, max_positions=512, seed=7, num_shards=2, shard_id=rank, epoch=1
        ).next_epoch_itr()
        found.append([len(batch["net_input"]["exchange"].linked) if batch else 0 for batch in batches])
    return list(zip(*found, strict=True))


# Without --clip-norm SGD shows the size of every gradient.
SGD = "--optimizer sgd --lr 0.1 --clip-norm 0"
ADAM = "--optimizer adam_bert --lr 1e-3 --clip-norm 1 --adam-eps 1e-8 --weight-decay 0"
EPOCH = "--max-epoch 1"
CASES = {
    "weam adam": Case("weam", ADAM, "--max-update 10", "torchrun"),
    "weam sgd": Case("weam", SGD, f"{EPOCH} --lr-scheduler polynomial_decay", "torchrun", gather=2),
    "tlm sgd": Case("tlm", SGD, EPOCH, "srun"),
}


class Both(NamedTuple):
    """The same run in one process, and in two processes that share the batches of each update."""

    case: Case
    one: subprocess.CompletedProcess
    two: subprocess.CompletedProcess
    folder: Path

    @property
    def logs(self) -> tuple[dict[int, dict[str, str]], dict[int, dict[str, str]]]:
        return updates_of(self.one.stdout), updates_of(self.two.stdout)


@pytest.fixture(scope="module")
def runs(partly_linked: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Both]:
    @cache
    def run(name: str) -> Both:
        case, folder = CASES[name], tmp_path_factory.mktemp("both")
        one = train(case.words(partly_linked, folder / "one", "--update-freq", str(2 * case.gather)))
        words = case.words(partly_linked, folder / "two", "--update-freq", str(case.gather))
        two = in_two_processes(words, case.launcher, folder)
        assert one.returncode == 0, one.stderr
        assert two.returncode == 0, two.stderr
        return Both(case, one, two, folder)

    return run


def test_batches_of_one_process_alone_have_no_link(
    partly_linked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without this the next tests would prove nothing."""
    rows = linked_rows(CASES["weam adam"].words(partly_linked, tmp_path), monkeypatch)
    assert len(rows) == UPDATES_OF_AN_EPOCH
    assert any((first == 0) != (second == 0) for first, second in rows[:-1]), rows


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_the_same_parameters_as_one(runs: Callable[[str], Both], name: str) -> None:
    theirs, ours = (weights(runs(name).folder / run / "checkpoint_last.pt") for run in ("one", "two"))
    assert ours.keys() == theirs.keys()
    for tensor, values in theirs.items():
        # Softmax leaves the biases of attention keys without a gradient: they hold rounding alone, about 1e-12.
        largest = max(float(values.abs().max()), 1e-4)
        assert float((ours[tensor] - values).abs().max()) <= 1e-6 * largest, tensor


@pytest.mark.parametrize("name", CASES)
def test_two_processes_log_the_same_losses_of_each_pair_as_one(runs: Callable[[str], Both], name: str) -> None:
    theirs, ours = runs(name).logs
    assert ours.keys() == theirs.keys()
    assert len(ours) >= runs(name).case.updates_of_an_epoch
    for update, record in theirs.items():
        shown = {key: float(value) for key, value in record.items() if ":" in key or key == "loss"}
        assert len(shown) > 4
        assert {key: float(ours[update][key]) for key in shown} == pytest.approx(shown, rel=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_only_rank_0_prints(runs: Callable[[str], Both], name: str) -> None:
    text = runs(name).two.stdout + runs(name).two.stderr
    assert text.count("| INFO | fairseq_cli.train | task: WeamTask") == 1
    assert "destroy_process_group" not in text
    assert "Traceback" not in text


def test_the_schedule_is_as_long_as_the_run_in_two_processes(runs: Callable[[str], Both]) -> None:
    found = runs("weam sgd")
    updates = found.case.updates_of_an_epoch
    for result, log in zip((found.one, found.two), found.logs, strict=True):
        (sentence,) = said(result)
        assert f"1 epoch is {updates} updates" in sentence
        assert list(log) == list(range(1, updates + 1))
        assert float(log[updates]["lr"]) == 0


def test_two_processes_resume_where_they_stopped(
    runs: Callable[[str], Both], partly_linked: Path, tmp_path: Path
) -> None:
    straight = runs("weam adam")
    case = straight.case
    first = in_two_processes(case.words(partly_linked, tmp_path, "--max-update", "5"), case.launcher, tmp_path)
    assert first.returncode == 0, first.stderr
    again = in_two_processes(case.words(partly_linked, tmp_path), case.launcher, tmp_path)
    assert again.returncode == 0, again.stderr
    resumed, whole = updates_of(again.stdout), straight.logs[1]
    assert list(resumed) == [6, 7, 8, 9, 10]
    assert all(resumed[update]["loss"] == whole[update]["loss"] for update in resumed)
    ours, theirs = weights(tmp_path / "checkpoint_last.pt"), weights(straight.folder / "two" / "checkpoint_last.pt")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_finished_run_does_not_change_in_two_processes(runs: Callable[[str], Both], partly_linked: Path) -> None:
    found = runs("tlm sgd")
    words = found.case.words(partly_linked, found.folder / "two", "--max-update", str(UPDATES_OF_AN_EPOCH))
    (sentence,) = said(by_srun(words, found.folder))
    assert sentence.endswith("there is nothing to train.")


def errors_of(result: subprocess.CompletedProcess) -> list[str]:
    assert result.returncode != 0
    return [line for line in result.stderr.splitlines() if line.startswith("weam-train: error: ")]


def test_a_bad_option_is_reported_once_and_the_run_fails(partly_linked: Path, tmp_path: Path) -> None:
    result = warm_process.ranks(["weam-train", *CASES["weam sgd"].words(partly_linked, tmp_path, "--mask-porb", "0.2")])
    (error,) = errors_of(result)
    assert error.endswith("Did you mean --mask-prob?")


def test_an_error_of_one_rank_is_reported_once_and_the_run_fails(
    make_data_bin: Callable[..., Path], tmp_path: Path
) -> None:
    """A link outside its sentences, in one batch of two."""
    good, bad = ([5, 6], [20], [(1, 0)], [0, 1], [0]), ([5, 6], [20], [(1, 3)], [0, 1], [0])
    data_bin = make_data_bin({"en-de": {"train": [bad, *[good] * 15]}})
    result = by_srun(CASES["tlm sgd"].words(data_bin, tmp_path / "run"), tmp_path)
    (error,) = errors_of(result)
    assert "Every link must lie inside its sentences" in error
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
