"""weam-launch without Slurm: what a run folder holds, how jobs end, and what is refused."""

import json
import os
import shlex
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.slurm import minutes, sbatch_options
from weam_fairseq.launch import cli
from weam_fairseq.launch.job import (
    Launch,
    RunFolder,
    Submitted,
    add_line,
    environment,
    local_command,
    run_command,
    runs_to_the_end,
)
from weam_fairseq.launch.submit import executor, start, state, wait


def launch(code: str, folder: Path) -> Launch:
    return Launch(command=[sys.executable, "-c", code], directory=str(folder))


def finished(run: Path) -> tuple[str, int | None]:
    found = wait(run)
    return found.word, found.status


def until(there: Path) -> None:
    deadline = time.monotonic() + 60
    while not there.exists():
        assert time.monotonic() < deadline, f"no {there}"
        time.sleep(0.02)


def test_a_job_leaves_what_it_was_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret-7531")
    run = tmp_path / "run"
    code = "import os, sys; print(os.getcwd()); print('wrong', file=sys.stderr)"
    job = start(run, launch(code, tmp_path))
    assert finished(run) == ("done", 0)
    logs = run / "launch" / "logs"
    assert (logs / f"{job.id}_0_log.out").read_text().split() == [str(tmp_path)]
    assert (logs / f"{job.id}_0_log.err").read_text() == "wrong\n"
    assert RunFolder(run).read() == (launch(code, tmp_path), [job])
    told = json.loads((run / "launch" / "environment.json").read_text())
    assert {"torch", "numpy"} <= told["versions"].keys()
    assert told == environment()
    assert not [file for file in run.rglob("*") if file.is_file() and "secret-7531" in file.read_text()]


def test_a_failed_job_starts_again_with_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, mended = tmp_path / "run", tmp_path / "mended"
    code = f"import pathlib, sys; sys.exit(0 if pathlib.Path({str(mended)!r}).exists() else 3)"
    assert cli.main(["--run-dir", str(run), "--wait", "--", sys.executable, "-c", code]) == 3
    assert "has failed with exit code 3" in capsys.readouterr().out
    mended.touch()
    assert cli.main(["--run-dir", str(run), "--again", "--wait"]) == 0
    assert cli.main(["--run-dir", str(run), "--status"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("is done.")
    assert len(RunFolder(run).read()[1]) == 2


def test_options_that_an_old_job_would_not_get_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("--again", "--status"):
        assert cli.main(["--run-dir", str(tmp_path), what, "--time", "24:00:00", "--nodes", "2"]) == 2
        assert "so --nodes, --time would have no effect" in capsys.readouterr().err


def test_options_without_effect_here_are_noted_and_the_current_folder_is_not_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("raise RuntimeError")
    (tmp_path / "queue.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    words = ["--partition", "gpu", "--gpus-per-node", "2", "--name", "x", "--wait", "--", "true"]
    assert cli.main(["--run-dir", "run", *words]) == 0
    assert "without --cluster slurm these have no effect: --gpus-per-node, --partition" in capsys.readouterr().err


def test_a_command_that_cannot_start_has_failed(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("not a program")
    script.chmod(0o755)
    run = tmp_path / "run"
    start(run, Launch(command=[str(script)], directory=str(tmp_path)))
    assert finished(run) == ("failed", 126)
    (err,) = (run / "launch" / "logs").glob("*.err")
    assert "the command cannot be started" in err.read_text()
    start(run, Launch(command=[sys.executable], directory=str(tmp_path / "moved")))
    assert finished(run) == ("failed", 127)


def test_a_job_that_was_refused_starts_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    RunFolder(run).begin()
    RunFolder(run).write(launch("print('here')", tmp_path), [])  # what a refusal by Slurm leaves
    assert cli.main(["--run-dir", str(run), "--status"]) == 2
    assert "was never submitted. Submit it with --again" in capsys.readouterr().err
    assert cli.main(["--run-dir", str(run), "--again", "--wait"]) == 0


def test_a_job_that_is_killed_is_not_called_done(tmp_path: Path) -> None:
    run, ready = tmp_path / "run", tmp_path / "ready"
    job = start(run, launch(f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(99)", tmp_path))
    until(ready)
    assert state(run).word == "running"
    with pytest.raises(InputError, match=f"already has job {job.id}, which is running"):
        start(run, launch("", tmp_path))
    os.killpg(int(job.id), signal.SIGKILL)
    assert finished(run) == ("gone", None)


def test_a_process_with_the_number_of_an_ended_job_is_not_the_job(tmp_path: Path) -> None:
    RunFolder(tmp_path).begin()
    RunFolder(tmp_path).write(launch("", tmp_path), [Submitted("local", str(os.getpid()))])
    assert state(tmp_path).word == "gone"


def test_the_slurm_job_of_another_user_is_not_called_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "squeue").write_text("#!/bin/sh\ncase $* in *alice*) echo 7 RUNNING;; esac\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run = RunFolder(tmp_path / "run")
    run.write(replace(launch("", tmp_path), cluster="slurm"), [Submitted("slurm", "7")])
    assert state(run.run_dir).word == "gone"
    monkeypatch.setattr(Path, "owner", lambda file: "alice")
    assert state(run.run_dir).word == "running"


def test_a_record_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It also had the machine and the start time of a local job, and no environment and log."""
    RunFolder(tmp_path).begin()
    old = {"command": ["true"], "directory": "/", "cluster": "local", "parameters": {}, "name": "weam"}
    job = {"kind": "local", "id": "7", "host": "here", "started": "then"}
    (tmp_path / "launch" / "launch.json").write_text(json.dumps({"launch": old, "jobs": [job]}))
    assert RunFolder(tmp_path).read() == (Launch(["true"], "/"), [Submitted("local", "7")])
    assert state(tmp_path).word == "gone"


def test_two_starts_at_once_give_one_job(tmp_path: Path) -> None:
    """The second waits for nothing: it reports the first, or its job."""
    told: list[str] = []
    both = threading.Barrier(2)

    def begin() -> None:
        both.wait()
        try:
            start(tmp_path, launch("import time; time.sleep(99)", tmp_path))
        except InputError as error:
            told.append(str(error))

    threads = [threading.Thread(target=begin) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (job,) = RunFolder(tmp_path).read()[1]
    os.killpg(int(job.id), signal.SIGKILL)
    assert len(told) == 1
    assert "is in use by" in told[0] or "already has job" in told[0]


def test_a_signal_reaches_the_command(tmp_path: Path) -> None:
    """As weam-train does: on a signal it ends with 75."""
    run, ready = tmp_path / "run", tmp_path / "ready"
    code = "import pathlib, signal, sys, time; signal.signal(signal.SIGUSR2, lambda *_: sys.exit(75)); "
    job = start(run, launch(f"{code}pathlib.Path({str(ready)!r}).touch(); time.sleep(99)", tmp_path))
    until(ready)
    os.kill(int(job.id), signal.SIGUSR2)
    assert finished(run) == ("stopped", 75)


def test_what_a_signal_ended_has_the_shells_exit_code(tmp_path: Path) -> None:
    start(tmp_path, launch("import os; os.kill(os.getpid(), 9)", tmp_path))
    assert finished(tmp_path) == ("failed", 137)


def test_a_signal_just_after_the_end_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command has got the same signal, and may have ended before its job handles it."""
    wait4 = os.wait4

    def wait_and_get_a_signal(pid: int, options: int) -> object:
        answer = wait4(pid, options)
        signal.raise_signal(signal.SIGTERM)
        return answer

    monkeypatch.setattr(os, "wait4", wait_and_get_a_signal)
    signals = signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT
    before = {number: signal.getsignal(number) for number in signals}
    try:
        run = RunFolder(tmp_path / "run")
        ended = run_command(run, launch("", tmp_path), [sys.executable, "-c", "raise SystemExit(3)"], log="")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert ended["status"] == 3


def test_a_folder_is_for_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--run-dir", str(tmp_path), "--wait", "--", sys.executable, "-c"]
    assert cli.main([*words, "pass"]) == 0
    assert cli.main([*words, "1"]) == 2
    assert "must be for one command, but holds another one" in capsys.readouterr().err
    assert cli.main([*words, "pass"]) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--status"], "must exist, but does not. Start a job first"),
        (["--again"], "must exist, but does not. Start a job first"),
        (["--status", "--", "true"], "leave out the command"),
        ([], "A command must follow --"),
        (["--", "no-such-program"], "no-such-program must be a program"),
        (["--nodes", "2", "--", "true"], "--nodes must be 1 with --cluster local, but is 2"),
        (["--gpus-per-node", "2", "--", "weam-evaluate"], "weam-evaluate must run as one process"),
        (["--cluster", "slurm", "--time", "2", "--", "true"], "--time (120 seconds) must be longer than --grace"),
        (["--time", "soon", "--", "true"], "A time for Slurm must be minutes or D-HH:MM:SS, but is soon"),
        (
            ["--cluster-option", "account", "--", "true"],
            "--cluster-option must be NAME=VALUE, such as partition=gpu",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert cli.main(["--run-dir", str(tmp_path), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "launch" / "launch.json").exists()


def test_slurm_without_submitit_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"pip install 'weam-fairseq\[slurm\]'"):
        start(tmp_path, Launch(command=["true"], directory=str(tmp_path), cluster="slurm"))
    with pytest.raises(InputError, match="was never submitted"):
        state(tmp_path)


def new(run: Path, *words: str) -> Launch:
    place = words.index("--")
    options = cli._parser().parse_args(["--run-dir", str(run), *words[:place]])
    return cli._new(options, list(words[place + 1 :]))


def test_a_training_reads_the_config_as_it_was_and_saves_into_the_run(tmp_path: Path) -> None:
    config, run = tmp_path / "small.yaml", tmp_path / "run"
    config.write_text("lr: 0.1\n")
    found = new(run, "--", "weam-train", "bin", "--config", str(config), "--seed", "2").command
    config.write_text("lr: 0.2\n")
    copy = run / "launch" / "small.yaml"
    assert found[1:] == ["bin", "--seed", "2", "--config", str(copy), "--save-dir", str(run / "checkpoints")]
    assert copy.read_text() == "lr: 0.1\n"
    config.write_text("save_dir: elsewhere\n")
    assert "--save-dir" not in new(run, "--", "weam-train", "bin", "--config", str(config)).command
    assert new(run, "--", "weam-train", "bin", "--save-dir=there").command[1:] == ["bin", "--save-dir=there"]
    assert Path(found[0]) == Path(sys.executable).with_name("weam-train")


def test_one_process_for_each_gpu_unless_said(tmp_path: Path) -> None:
    many = ("--cluster", "slurm", "--nodes", "2", "--gpus-per-node", "8")
    assert new(tmp_path, *many, "--", "weam-train", "bin").tasks_per_node == 8
    assert new(tmp_path, *many, "--tasks-per-node", "1", "--", "weam-train", "bin").tasks_per_node == 1
    assert new(tmp_path, "--gpus-per-node", "8", "--", "weam-train", "bin").tasks_per_node == 1
    here = new(tmp_path, "--tasks-per-node", "2", "--", "weam-train", "bin")
    assert "torch.distributed.run" in local_command(here)
    assert local_command(here)[-len(here.command) :] == here.command


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("1:30", 2), ("2:00:00", 120), ("1-0", 1440), ("1-2:3", 1563), ("1-2:3:4", 1564), ("0:0:1", 1)],
)
def test_times_in_slurms_notations(text: str, expected: int) -> None:
    assert minutes(text) == expected


def test_cluster_options_are_those_of_sbatch() -> None:
    given = ["account=lab", "mem-per-cpu=4G", "exclusive=", "nice=3"]
    assert sbatch_options(given) == {"account": "lab", "mem-per-cpu": "4G", "exclusive": "", "nice": 3}
    with pytest.raises(InputError, match="gives nice twice"):
        sbatch_options(["nice=3", "nice=4"])


@pytest.fixture
def slurms_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name in ("sbatch", "srun", "squeue", "scontrol"):
        (folder / name).write_text(
            "#!/bin/sh\necho '--account=name --time=n --exclusive --cpus-per-task=n'\necho Submitted batch job 7\n"
        )
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("slurms_programs")
def test_a_mistyped_option_of_sbatch_is_found_before_a_job_is_sent(tmp_path: Path) -> None:
    def check(**options: str) -> None:
        executor(RunFolder(tmp_path), Launch(["true"], str(tmp_path), "slurm", parameters=dict(options)))

    check(account="lab")
    for wrong in ("acount", "slurm_account", "mem_gb"):
        with pytest.raises(InputError, match=f"must be an option of sbatch, but {wrong} is not one"):
            check(**{wrong: "lab"})
    assert list(tmp_path.iterdir()) == [tmp_path / "slurm"]


@pytest.mark.usefixtures("slurms_programs")
def test_options_of_sbatch_win_and_reach_the_script(tmp_path: Path) -> None:
    options: dict[str, str | int] = {"account": "lab", "time": "1:00:00", "exclusive": "", "cpus-per-task": 3}
    start(tmp_path / "run", Launch(["true"], str(tmp_path), "slurm", parameters=options))
    lines = (tmp_path / "run" / "launch" / "submit.sh").read_text().splitlines()
    wanted = ["--account=lab", "--time=60", "--exclusive", "--cpus-per-task=3", "--requeue"]
    assert [line for line in wanted if f"#SBATCH {line}" not in lines] == []
    assert sum("--time=" in line for line in lines) == 1
    assert any(" -P -u -m submitit" in line for line in lines)  # a user's random.py in the folder is not imported


@pytest.mark.usefixtures("slurms_programs")
@pytest.mark.parametrize(("nodes", "seconds"), [(1, 120), (2, 600)])
def test_a_job_of_several_nodes_runs_until_slurm_sees_that_one_is_gone(
    tmp_path: Path, nodes: int, seconds: int
) -> None:
    """Slurm sees it after 400 seconds at most, and queues again only what still runs."""
    run = tmp_path / "run"
    assert start(run, Launch(["true"], str(tmp_path), "slurm", nodes=nodes)).id == "7"
    assert f" --wait={seconds} " in (run / "launch" / "submit.sh").read_text()


def test_a_refused_launch_leaves_the_config_of_the_job_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = tmp_path / "small.yaml", tmp_path / "run"
    config.write_text("lr: 0.1\n")
    words = ["--", "weam-train", "bin", "--config", str(config)]
    running = launch("import time; time.sleep(99)", tmp_path)
    job = start(run, running)
    RunFolder(run).write(new(tmp_path / "other", *words), [job])
    (run / "launch" / "small.yaml").write_text("lr: 0.1\n")
    config.write_text("lr: 9.9\n")
    for refused in ([*words, "--seed", "2"], words):
        assert cli.main(["--run-dir", str(run), *refused]) == 2
        assert (run / "launch" / "small.yaml").read_text() == "lr: 0.1\n"
    said = capsys.readouterr().err
    assert "must be for one command" in said
    os.killpg(int(job.id), signal.SIGKILL)


def test_a_command_whose_job_was_killed_is_still_seen(tmp_path: Path) -> None:
    run, ready = tmp_path / "run", tmp_path / "ready"
    job = start(run, launch(f"import pathlib, time; pathlib.Path({str(ready)!r}).touch(); time.sleep(99)", tmp_path))
    until(ready)
    os.kill(int(job.id), signal.SIGKILL)
    time.sleep(0.2)
    assert state(run).word == "running"
    os.killpg(int(job.id), signal.SIGKILL)
    assert finished(run) == ("gone", None)


def test_a_log_of_the_run_folder_gets_each_start_and_what_the_command_printed(tmp_path: Path) -> None:
    job = Launch([sys.executable, "-c", "import os; print(os.environ['A'])"], str(tmp_path), log="log.txt")
    for value in ("1", "2"):
        start(tmp_path, replace(job, environment={"A": value}))
        assert finished(tmp_path) == ("done", 0)
    command = f"$ {shlex.join(job.command)}"
    assert (tmp_path / "log.txt").read_text().splitlines() == [command, "1", command, "2"]


def test_a_line_is_not_added_to_half_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    add_line(log, "$ one")
    with log.open("a") as file:
        file.write("ä line\nhalf of ä")
    add_line(log, "$ two")
    assert log.read_text().split("\n") == ["$ one", "ä line", "half of ä", "$ two", ""]


def test_the_failure_of_any_rank_is_the_jobs(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.end("7", 0, rank=1)
    run.end("7", 3, rank=2)
    assert run.ended("7") is None
    run.end("7", 0)
    assert run.ended("7") == 3
    assert run.ended("8") is None
    run.forget_end()
    run.end("8", 0)
    assert run.ended("8") == 0


def test_a_rank_of_an_earlier_start_says_nothing_about_the_job(tmp_path: Path) -> None:
    """Slurm has lost its node and queued the job again, but the rank runs on."""
    run = RunFolder(tmp_path)
    run.end("7", 1, rank=1, restarts=0)
    run.end("7", 0, restarts=1)
    assert run.ended("7") == 0
    run.end("7", 1, restarts=0)
    assert run.ended("7") == 0
    run.end("7", 3, rank=1, restarts=1)
    assert run.ended("7") == 3


def test_only_a_training_is_told_that_its_time_runs_out(tmp_path: Path) -> None:
    """weam-preprocess would die of Slurm's USR2, minutes before its time is over."""
    ready = tmp_path / "ready"
    program = tmp_path / "weam-preprocess"
    program.write_text(f"#!/bin/sh\ntouch {ready}\nsleep 1\nexit 0\n")
    program.chmod(0o755)
    job = start(tmp_path / "run", Launch([str(program)], str(tmp_path)))
    until(ready)
    os.killpg(int(job.id), signal.SIGUSR2)
    assert finished(tmp_path / "run") == ("done", 0)
    assert not runs_to_the_end("/bin/weam-train")
