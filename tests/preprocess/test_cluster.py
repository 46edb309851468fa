"""Arrays of tasks by submitit, here with its local executor: the same code but for who starts the tasks."""

from __future__ import annotations

import sys
from pathlib import Path

import cluster_jobs
import pytest
from small_runs import contents, options
from weam_preprocess import cli, cluster, pipeline
from weam_preprocess.cluster import Cluster, ClusterOptions
from weam_preprocess.errors import InputError, Unfinished

pytest.importorskip("submitit")

HERE = ClusterOptions(kind="local", chunks=2, retries=1, poll=0.05, patience=0.2)


@pytest.fixture(autouse=True)
def _tasks_find_their_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def test_every_item_has_its_result_and_nothing_stays(tmp_path: Path) -> None:
    with Cluster(HERE, tmp_path / "cluster") as pool:
        assert sorted(pool.map(cluster_jobs.double, range(5))) == [0, 2, 4, 6, 8]
        assert list(pool.map(cluster_jobs.double, [])) == []
        assert list(pool.map(cluster_jobs.double, [21])) == [42]
    assert sorted(path.name for path in (tmp_path / "cluster").iterdir()) == ["jobs", "logs"]


def test_a_killed_task_goes_on_where_it_stopped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Cluster(HERE, tmp_path / "cluster") as pool:
        found = list(pool.map(cluster_jobs.killed_once, [(tmp_path, number) for number in range(6)]))
    assert sorted(found) == [0, 2, 4, 6, 8, 10]
    # Item 2 was done by the task that then was killed at item 3.
    assert sorted((tmp_path / "log").read_text().split()) == ["0", "1", "2", "3", "4", "5"]
    assert "ended early" in caplog.text


def test_a_task_that_keeps_failing_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Cluster(HERE, tmp_path / "cluster") as pool, pytest.raises(Unfinished) as raised:
        list(pool.map(cluster_jobs.always_fails, [7]))
    said = str(raised.value)
    assert "of 000-always_fails failed 2 times. Its log" in said
    assert "_0_log.err ends: RuntimeError: no room for 7." in said
    assert "run the command again with --resume" in said
    log = Path(said.split("Its log ")[1].split(" ends:")[0])
    assert log.is_relative_to(tmp_path / "cluster" / "logs")
    assert log.is_file()


def test_wrong_data_are_not_tried_again(tmp_path: Path) -> None:
    with Cluster(HERE, tmp_path / "cluster") as pool, pytest.raises(InputError) as raised:
        list(pool.map(cluster_jobs.bad_data, [7]))
    assert type(raised.value) is InputError
    assert str(raised.value) == "en-de.tsv line 7: has no tab."
    assert len((tmp_path / "cluster" / "jobs").read_text().split()) == 1


def test_an_item_whose_result_is_there_is_not_done_again(tmp_path: Path) -> None:
    """What a task finds that is started again, by Slurm or by us."""
    items = [(tmp_path / "log", number) for number in range(3)]
    for number, item in enumerate(items):
        cluster._dump((cluster_jobs.log_and_double, item), cluster._files(tmp_path, number)[0])
    task = cluster._Task(tmp_path, 0, 3)
    cluster._dump(("result", 0), cluster._files(tmp_path, 0)[1])
    task()
    task()
    assert (tmp_path / "log").read_text().split() == ["1", "2"]
    assert [cluster._take(tmp_path, number) for number in range(3)] == [0, 2, 4]
    task()
    assert (tmp_path / "log").read_text().split() == ["1", "2"]
    # Asked to stop, it is queued again as it is.
    assert task.checkpoint().function == task


def test_a_data_bin_from_tasks_is_that_of_one_process(plain: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    """With a model, so that chunks are aligned by tasks too; 302 lines are 4 chunks, in 2 tasks."""
    asked = options(plain[0], tmp_path / "bin", aligner="fast_align", chunk=90, save_aligner=tmp_path / "models")
    pipeline.run(pipeline.Options(**(vars(asked) | {"cluster": HERE})))
    assert contents(tmp_path / "bin") == plain[1]
    assert not (tmp_path / "bin.incomplete").exists()


def test_what_a_failing_machine_leaves_is_kept_and_gone_on_with(
    plain: tuple[Path, dict[str, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = options(plain[0], tmp_path / "bin", aligner="fast_align", chunk=90, cluster=HERE)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "prepare", cluster_jobs.prepare_the_first_two)
        with pytest.raises(Unfinished, match=r"_the_first_two failed 2 times\..* RuntimeError: no room for 2\."):
            pipeline.run(asked)
    work = tmp_path / "bin.incomplete" / "work" / "en-de"
    done = {path.name: path.stat().st_mtime_ns for path in work.glob("account.*.json")}
    assert sorted(done) == ["account.000000.json", "account.000001.json"]
    assert list((tmp_path / "bin.incomplete" / "cluster" / "logs").iterdir())
    remade: list[str] = []
    merge = pipeline.merge

    def seen(*arguments: object) -> bool:
        remade.extend(name for name, time in done.items() if (work / name).stat().st_mtime_ns != time)
        return merge(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "merge", seen)
    pipeline.run(pipeline.Options(**(vars(asked) | {"resume": True})))
    assert remade == []
    assert contents(tmp_path / "bin") == plain[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cluster-option", "partition=cpu"], "The options --cluster-… need --cluster slurm."),
        (["--cluster-retries", "0"], "The options --cluster-… need --cluster slurm."),
        (
            ["--cluster", "slurm", "--cluster-option", "partition"],
            "--cluster-option must be NAME=VALUE, such as",
        ),
        (
            ["--cluster", "slurm", "--cluster-option", "partitoin=cpu"],
            "must be an option of sbatch, but partitoin is not one. Did you mean partition",
        ),
        (
            ["--cluster", "slurm", "--cluster-option", "time=soon"],
            "A time for Slurm must be minutes or D-HH:MM:SS, but is soon",
        ),
        (["--cluster", "pbs"], "invalid choice: 'pbs'"),
    ],
)
def test_options_that_cannot_be(
    words: list[str],
    sentence: str,
    plain: tuple[Path, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for program in ("sbatch", "srun", "squeue", "scontrol"):
        (tmp_path / program).write_text("#!/bin/sh\necho --partition=names --time=minutes\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    asked = ["--pair", f"en-de={plain[0]}", "--train-tokenizer", "wordpiece", "--vocab-size", "200"]
    assert cli.main([*asked, "--destdir", str(tmp_path / "bin"), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "bin.incomplete").exists()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="needs Slurm's sbatch on the PATH"):
        Cluster(ClusterOptions(), tmp_path)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"needs submitit, but it is not installed: pip install"):
        Cluster(HERE, tmp_path)
