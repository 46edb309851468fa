"""How a run starts: damaged checkpoints, --restore-file, converted checkpoints, shapes."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from run_training import arguments, curve, error_of, said, train, weights

from weam_fairseq.common.errors import InputError
from weam_fairseq.plugin import checkpoints
from weam_fairseq.plugin.model import longest_pair
from weam_fairseq.training.command_line import prepare


class Malicious:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.fixture
def evil(tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint that would run code, and the file that would prove it."""
    path, proof = tmp_path / "evil.pt", tmp_path / "proof"
    torch.save({"model": {}, "payload": Malicious(proof)}, path)
    return path, proof


def write_checkpoint(path: Path, updates: int, **more: Any) -> Path:
    """One that `glance` can read: no training needed."""
    path.parent.mkdir(exist_ok=True)
    state = {
        "model": {"weight": torch.arange(100_000.0)},
        "optimizer_history": [{"num_updates": updates}],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    torch.save(state | more, path)
    return path


def cut(path: Path, keep: float = 0.5) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    return path


# Reading -------------------------------------------------------------------------------------------------------------


def test_checkpoints_run_no_code(evil: tuple[Path, Path]) -> None:
    for read in (checkpoints.load, checkpoints.glance):
        with pytest.raises(InputError, match=r"evil\.pt must hold only tensors and plain values") as error:
            read(evil[0])
        assert not isinstance(error.value, checkpoints.DamagedCheckpoint)
    assert not evil[1].exists()


def test_a_checkpoint_truncated_anywhere_is_damaged(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.pt", 3)
    whole = path.read_bytes()
    assert checkpoints.glance(path).updates == 3
    for size in (0, 1, 3, 4, 100, len(whole) // 3, len(whole) - 1):
        path.write_bytes(whole[:size])
        for read in (checkpoints.load, checkpoints.glance):
            with pytest.raises(checkpoints.DamagedCheckpoint, match=r"a\.pt must be a complete checkpoint"):
                read(path)


def test_a_file_of_zeros_is_a_damaged_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(bytes(5000))
    with pytest.raises(checkpoints.DamagedCheckpoint):
        checkpoints.glance(tmp_path / "a.pt")


@pytest.mark.parametrize("content", [b"hello world\n" * 20, b"\x80\x02}q\x00."])
def test_other_files_are_not_damaged_checkpoints(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(InputError, match="must be a") as error:
        checkpoints.glance(tmp_path / "a.pt")
    assert not isinstance(error.value, checkpoints.DamagedCheckpoint)


def test_a_copy_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination = tmp_path / "new", tmp_path / "last"
    source.write_text("new")
    destination.write_text("old")

    def killed(_: str, beside: str) -> None:
        Path(beside).write_text("n")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.copy_whole(str(source), str(destination), overwrite=True)
    assert destination.read_text() == "old"
    checkpoints.copy_whole(str(source), str(destination), overwrite=True)
    assert destination.read_text() == "new"


# Mending -------------------------------------------------------------------------------------------------------------


def test_the_newest_intact_checkpoint_replaces_a_damaged_one(tmp_path: Path) -> None:
    for updates in (5, 20, 10):
        write_checkpoint(tmp_path / f"checkpoint_1_{updates}.pt", updates)
    cut(write_checkpoint(tmp_path / "checkpoint_1_25.pt", 25))
    last = cut(write_checkpoint(tmp_path / "checkpoint_last.pt", 25))
    broken = last.read_bytes()
    (tmp_path / "checkpoint_last.pt.cut-short").write_text("of an earlier interruption")
    sentence = checkpoints.repair_last(tmp_path, "anew")
    assert sentence is not None
    assert "resumes from checkpoint_1_20.pt (20 updates)" in sentence
    assert "checkpoint_1_25.pt is also truncated" in sentence
    assert last.read_bytes() == (tmp_path / "checkpoint_1_20.pt").read_bytes()
    assert (tmp_path / "checkpoint_last.pt.cut-short").read_bytes() == broken
    assert checkpoints.repair_last(tmp_path, "anew") is None


def test_an_intact_checkpoint_does_not_change(tmp_path: Path) -> None:
    assert checkpoints.repair_last(tmp_path, "anew") is None
    write_checkpoint(tmp_path / "checkpoint_last.pt", 25)
    assert checkpoints.repair_last(tmp_path, "anew") is None
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_last.pt"]


def test_without_an_intact_checkpoint_the_run_starts_again(tmp_path: Path, evil: tuple[Path, Path]) -> None:
    run = tmp_path / "run"
    cut(write_checkpoint(run / "checkpoint_last.pt", 25))
    # What fairseq writes in a crash says nothing of the place in the data.
    write_checkpoint(run / "checkpoint_crash.pt", 30, extra_state={})
    shutil.copy(evil[0], run / "checkpoint_best.pt")
    sentence = checkpoints.repair_last(run, "from base.pt")
    assert sentence is not None
    assert "checkpoint_best.pt is not a checkpoint of fairseq" in sentence
    assert sentence.endswith("There is no intact checkpoint next to it, so the run starts from base.pt.")
    assert not (run / "checkpoint_last.pt").exists()
    assert (run / "checkpoint_last.pt.cut-short").exists()
    assert not evil[1].exists()


def test_a_kill_during_the_repair_leaves_a_checkpoint_to_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = write_checkpoint(tmp_path / "checkpoint_1_5.pt", 5)
    last = cut(write_checkpoint(tmp_path / "checkpoint_last.pt", 10))
    replace = checkpoints.os.replace
    for allowed in (0, 1):
        calls = iter(range(10))

        def killed(source: str, destination: str, calls: Any = calls, allowed: int = allowed) -> None:
            if next(calls) >= allowed:
                raise KeyboardInterrupt
            replace(source, destination)

        with monkeypatch.context() as patch:
            patch.setattr("os.replace", killed)
            with pytest.raises(KeyboardInterrupt):
                checkpoints.repair_last(tmp_path, "anew")
        assert last.is_file()
    assert checkpoints.repair_last(tmp_path, "anew") is not None
    assert last.read_bytes() == newest.read_bytes()


def test_a_checkpoint_last_with_more_than_tensors_stops_the_run(tmp_path: Path, evil: tuple[Path, Path]) -> None:
    run = tmp_path / "run"
    write_checkpoint(run / "checkpoint_1_5.pt", 5)
    shutil.copy(evil[0], run / "checkpoint_last.pt")
    with pytest.raises(InputError, match=r"checkpoint_last\.pt must hold only tensors and plain values"):
        prepare(["bin", "--arch", "weam_tiny", "--save-dir", str(run)])
    assert (run / "checkpoint_last.pt").read_bytes() == evil[0].read_bytes()
    assert not evil[1].exists()


@pytest.mark.parametrize("size", [1000, 4096, 8192, 32768, 65536, 131072, -1])
def test_a_checkpoint_truncated_anywhere_is_replaced(tmp_path: Path, size: int) -> None:
    """The system's own error for some of these lengths is EINVAL."""
    whole = write_checkpoint(tmp_path / "checkpoint_1_7.pt", 7).read_bytes()
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(whole[:size])
    assert "resumes from checkpoint_1_7.pt (7 updates)" in str(checkpoints.repair_last(tmp_path, "anew"))
    assert last.read_bytes() == whole


def test_a_damaged_tensor_is_noticed_and_named(tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path / "checkpoint_1_7.pt", 7).read_bytes()
    middle = len(whole) // 2
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(checkpoints.DamagedCheckpoint, match="has a wrong checksum"):
        checkpoints.check_intact(last)
    with pytest.raises(InputError, match="has a wrong checksum"):
        prepare(["bin", "--save-dir", str(tmp_path / "run"), "--finetune-from-model", str(last)])
    assert "resumes from checkpoint_1_7.pt" in str(checkpoints.repair_last(tmp_path, "anew"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("unable to mmap 400 bytes from file <last.pt>: Cannot allocate memory (12)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_too_little_memory_is_not_reported_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The run must stop instead of starting from scratch next to an intact checkpoint."""
    last = write_checkpoint(tmp_path / "checkpoint_last.pt", 7)
    before = last.read_bytes()

    def load(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(checkpoints.Unreadable, match="is intact, but there is not enough memory to read it"):
        prepare(["bin", "--arch", "weam_tiny", "--save-dir", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_last.pt"]
    cut(last)
    write_checkpoint(tmp_path / "checkpoint_1_5.pt", 5).write_bytes(before)
    with pytest.raises(checkpoints.Unreadable):
        checkpoints.repair_last(tmp_path, "anew")
    assert last.is_file()


def test_a_missing_checkpoint_last_is_made_from_the_newest_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk was full after checkpoint_1_8.pt and before its copy."""
    named = [write_checkpoint(tmp_path / f"checkpoint_1_{updates}.pt", updates) for updates in (4, 8)]
    words = ["bin", "--arch", "weam_tiny", "--save-dir", str(tmp_path)]
    for more in (["--no-last-checkpoints"], ["--restore-file", str(named[0])]):
        prepare([*words, *more])
        assert not (tmp_path / "checkpoint_last.pt").exists()
    assert prepare(words).checkpoint == str(tmp_path / "checkpoint_last.pt")
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == named[1].read_bytes()
    assert (
        "is missing, so the run resumes from checkpoint_1_8.pt in the same folder (8 updates)"
        in capsys.readouterr().out
    )


def test_partial_files_of_a_kill_are_removed(tmp_path: Path) -> None:
    (tmp_path / "checkpoint_1_5.pt.0a1b2c3d.partial").write_text("half")
    (tmp_path / "notes.partial").write_text("somebody's")
    assert checkpoints.repair_last(tmp_path, "anew") is None
    assert [path.name for path in tmp_path.iterdir()] == ["notes.partial"]


# Saving --------------------------------------------------------------------------------------------------------------


class FullDisk:
    """torch.save on a disk that has room again after some tries."""

    def __init__(self, tries: int) -> None:
        self.left, self.save = tries, torch.save

    def __call__(self, state: object, file: Any) -> None:
        if self.left:
            self.left -= 1
            file.write(b"PK\x03\x04 half")
            try:
                raise OSError(28, "No space left on device")
            finally:
                # As torch's writer, which closes its archive on the way out.
                raise RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 64 vs 0")
        self.save(state, file)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    def fill(tries: int) -> None:
        monkeypatch.setattr(torch, "save", FullDisk(tries))
        monkeypatch.setattr(checkpoints, "PAUSE", 0)

    return fill


def test_a_disk_that_is_full_for_a_moment_leaves_an_intact_checkpoint(tmp_path: Path, full_disk: Any) -> None:
    full_disk(checkpoints.TRIES - 1)
    checkpoints.save_whole({"model": {}}, str(tmp_path / "a.pt"))
    assert checkpoints.load(tmp_path / "a.pt") == {"model": {}}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path: Path, full_disk: Any) -> None:
    before = write_checkpoint(tmp_path / "a.pt", 3).read_bytes()
    full_disk(99)
    with pytest.raises(checkpoints.NotSaved, match=r"a\.pt could not be saved: No space left on device\."):
        checkpoints.save_whole({"model": {}}, str(tmp_path / "a.pt"))
    assert (tmp_path / "a.pt").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_what_fairseq_saves_in_a_crash_does_not_hide_the_crash(
    tmp_path: Path, full_disk: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    full_disk(99)
    checkpoints.save_whole({"model": {}}, str(tmp_path / "crash.pt"))
    assert "crash.pt could not be saved: No space left on device" in capsys.readouterr().err


def test_a_link_is_replaced_and_its_target_left(tmp_path: Path) -> None:
    target = write_checkpoint(tmp_path / "base.pt", 3)
    before = target.read_bytes()
    (tmp_path / "checkpoint_last.pt").symlink_to(target)
    new = write_checkpoint(tmp_path / "checkpoint_1_5.pt", 5)
    checkpoints.copy_whole(str(new), str(tmp_path / "checkpoint_last.pt"), overwrite=True)
    assert target.read_bytes() == before
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == new.read_bytes()


@pytest.mark.parametrize("later", [True, False], ids=["saved-later", "never-saved"])
def test_a_run_that_cannot_save_trains_on_and_fails_at_its_end_unless_a_later_save_succeeds(
    capsys: pytest.CaptureFixture[str], later: bool
) -> None:
    class Saves(checkpoints.Saves):
        failure = None

    outcomes = iter([OSError(28, "No space left on device", "run/a.pt"), "a.pt" if later else None])

    def save() -> object:
        outcome = next(outcomes)
        saving.best = 1.0  # as fairseq does before it writes
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    saving: Any = checkpoints.save_or_report(save, Saves)

    def main() -> None:
        assert saving() is None
        assert not hasattr(saving, "best")  # the best loss is that of a checkpoint that exists
        saving()

    training = checkpoints.fail_unless_saved(main, Saves)
    if later:
        training()
    else:
        with pytest.raises(InputError, match=r"its last checkpoint was not saved: run/a\.pt: No space left on device"):
            training()
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "run/a.pt: No space left on device. Training continues. Earlier checkpoints are kept." in err


# What is named on the command line -----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--finetune-from-model", "--restore-file"])
def test_a_start_that_cannot_be_used_is_refused(tmp_path: Path, evil: tuple[Path, Path], option: str) -> None:
    half = cut(write_checkpoint(tmp_path / "half.pt", 3))
    for path, sentence in (
        (half, "half.pt must be a complete checkpoint"),
        (evil[0], "evil.pt must hold only tensors and plain values"),
        (tmp_path / "nowhere.pt", f"{option} must name a checkpoint, but .*nowhere.pt does not exist"),
    ):
        with pytest.raises(InputError, match=sentence):
            prepare(["bin", "--arch", "weam_tiny", "--save-dir", str(tmp_path / "run"), option, str(path)])
    assert not evil[1].exists()


def test_a_run_folder_in_use_is_not_changed(tmp_path: Path) -> None:
    def refuse(folder: Path) -> None:
        raise InputError(f"{folder.name} is in use")

    half_written = tmp_path / "checkpoint_last.pt.0123abcd.partial"
    half_written.touch()
    with pytest.raises(InputError, match="in use"):
        prepare(["bin", "--arch", "weam_tiny", "--save-dir", str(tmp_path)], hold=refuse)
    assert half_written.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--lr", ""], "An argument after --lr is empty"),
        (["--from"], "--from needs a value"),
        (["--config", "--lr", "1"], "--config needs a value"),
    ],
)
def test_options_without_a_value_are_refused(tmp_path: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        prepare(["bin", "--save-dir", str(tmp_path / "run"), *words])


def test_two_starts_are_refused(tmp_path: Path) -> None:
    path = str(write_checkpoint(tmp_path / "a.pt", 3))
    words = ["bin", "--arch", "weam_tiny", "--finetune-from-model", path, "--restore-file", path]
    with pytest.raises(InputError, match="Give either --restore-file"):
        prepare([*words, "--save-dir", str(tmp_path / "run")])


def test_restore_file_and_its_resets_are_for_the_first_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_checkpoint(tmp_path / "a.pt", 3))
    run = tmp_path / "run"
    words = ["bin", "--arch", "weam_tiny", "--save-dir", str(run), "--restore-file", path, "--reset-optimizer"]
    first = prepare(words)
    assert "--restore-file" in first.arguments
    assert "--reset-optimizer" in first.arguments
    assert first.checkpoint == path
    assert capsys.readouterr().out == ""
    write_checkpoint(run / "checkpoint_last.pt", 5)
    again = prepare(words)
    assert not {"--restore-file", path, "--reset-optimizer"} & set(again.arguments)
    assert again.checkpoint == str(run / "checkpoint_last.pt")
    assert f"so --restore-file {path} is not used" in capsys.readouterr().out


# Shapes --------------------------------------------------------------------------------------------------------------


MINI = {"model_type": "bert", "num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4}
MINI |= {"intermediate_size": 1024, "max_position_embeddings": 512, "vocab_size": 40}


def shaped(path: Path, config: dict[str, Any], **options: Any) -> str:
    model = argparse.Namespace(lr=[0.1], data="bin", arch="weam_mini", encoder_config=json.dumps(config), **options)
    return str(write_checkpoint(path, 0, cfg={"model": model}))


def test_the_encoder_is_that_of_the_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shaped(tmp_path / "a.pt", MINI, dropout=0.25, attention_dropout=0.5)
    words = ["bin", "--save-dir", str(tmp_path / "run"), "--finetune-from-model", path]
    start = prepare([*words, "--dropout", "0"])
    encoder = ["--arch", "weam_published", f"--encoder-config={json.dumps(MINI)}", "--attention-dropout", "0.5"]
    assert start.arguments[-5:] == encoder
    assert start.arguments.count("--dropout") == 1
    assert f"the encoder is that of {path}: bert, 4 layers × 256, 40 pieces" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--arch=weam_tiny"], "--arch weam_tiny"),
        (["--arch", "weam_xlmr_base"], "--arch weam_xlmr_base"),
        (["--arch", "weam_mini", "--layers", "3"], "--arch weam_mini"),
        (["--width", "8"], "--width 8"),
    ],
)
def test_options_that_describe_another_encoder_are_refused(tmp_path: Path, more: list[str], named: str) -> None:
    path = shaped(tmp_path / "a.pt", MINI)
    words = ["bin", "--save-dir", str(tmp_path / "run"), "--finetune-from-model", path]
    with pytest.raises(InputError, match=f"{named} must be left out or describe the encoder of .*a.pt"):
        prepare([*words, *more])


@pytest.mark.parametrize("more", [["--arch", "weam_mini"], ["-a", "weam_mini", "--heads=4"], ["--layers", "4"]])
def test_options_that_describe_its_encoder_are_accepted(tmp_path: Path, more: list[str]) -> None:
    """The command that began a run resumes it."""
    path = shaped(tmp_path / "a.pt", MINI)
    start = prepare(["bin", "--save-dir", str(tmp_path / "run"), "--finetune-from-model", path, *more])
    assert start.arguments[-3:-1] == ["--arch", "weam_published"]
    assert not {"weam_mini", "--layers", "--heads=4"} & set(start.arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder_config": None}, "--arch weam_published needs --encoder-config FILE"),
        ({"arch": "weam_mini"}, "--encoder-config must go with --arch weam_published, but --arch is weam_mini"),
        ({"layers": 2}, "Remove --layers: --encoder-config .*config.json defines the shape"),
        ({}, "must have the tokenizer's `pad_token_id`, which is 1, but has 0"),
    ],
)
def test_a_config_file_defines_the_encoder_alone(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MINI))  # its pad_token_id is 0, as always with BERT
    values = {"arch": "weam_published", "encoder_config": str(tmp_path / "config.json"), "layers": None, **options}
    task = argparse.Namespace(manifest={"tokenizer": {"special_ids": {"pad": 1}}})
    with pytest.raises(InputError, match=message):
        longest_pair(argparse.Namespace(**values), task)
    task.manifest["tokenizer"]["special_ids"]["pad"] = 0
    right = argparse.Namespace(arch="weam_published", encoder_config=str(tmp_path / "config.json"))
    assert longest_pair(right, task) == 512


def test_a_resumed_run_has_the_encoder_of_its_own_checkpoint(tmp_path: Path) -> None:
    base = shaped(tmp_path / "a.pt", {**MINI, "hidden_size": 768})
    shaped(tmp_path / "run" / "checkpoint_last.pt", MINI)
    start = prepare(["bin", "--save-dir", str(tmp_path / "run"), "--finetune-from-model", base])
    assert start.arguments[-1] == f"--encoder-config={json.dumps(MINI)}"


def test_a_checkpoint_of_an_older_version_is_refused(tmp_path: Path) -> None:
    model = argparse.Namespace(arch="weam_mini", layers=3)
    path = str(write_checkpoint(tmp_path / "a.pt", 0, cfg={"model": model}))
    with pytest.raises(InputError, match="was written by an older version of weam_fairseq"):
        prepare(["bin", "--save-dir", str(tmp_path / "run"), "--finetune-from-model", path])


def test_without_any_architecture_the_known_ones_are_listed(tmp_path: Path) -> None:
    path = str(write_checkpoint(tmp_path / "a.pt", 3))
    with pytest.raises(InputError, match=r"--arch must be one of weam_tiny, .* but is not given"):
        prepare(["bin", "--save-dir", str(tmp_path / "run"), "--finetune-from-model", path])


# Real trainings ------------------------------------------------------------------------------------------------------


class Trained(NamedTuple):
    folder: Path
    curve: dict[int, str]


@pytest.fixture(scope="module")
def trained(small_data_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Checkpoints of updates 5 and 10 of a small model of its own shape."""
    save_dir = tmp_path_factory.mktemp("trained")
    shape = ("--layers", "1", "--width", "32", "--heads", "2", "--feed-forward", "48", "--positions", "64")
    result = train(arguments(small_data_bin, save_dir, 10, *shape))
    assert result.returncode == 0, result.stderr
    return Trained(save_dir, curve(result.stdout))


@pytest.fixture
def interrupted(trained: Trained, tmp_path: Path) -> Path:
    """The run as a kill in the middle of writing checkpoint_last.pt leaves it."""
    shutil.copytree(trained.folder, tmp_path / "run")
    cut(tmp_path / "run" / "checkpoint_last.pt")
    return tmp_path / "run"


def without_arch(words: list[str]) -> list[str]:
    place = words.index("--arch")
    return words[:place] + words[place + 2 :]


def test_a_run_with_a_damaged_last_checkpoint_resumes(
    small_data_bin: Path, interrupted: Path, trained: Trained
) -> None:
    cut(interrupted / "checkpoint_1_10.pt")
    (interrupted / "checkpoint_best.pt").unlink()
    result = train(without_arch(arguments(small_data_bin, interrupted, 10)))
    mended, shape = said(result)
    assert "resumes from checkpoint_1_5.pt (5 updates)" in mended
    assert "bert, 1 layers × 32, 40 pieces" in shape
    assert list(curve(result.stdout)) == [6, 7, 8, 9, 10]
    ours, theirs = (weights(run / "checkpoint_last.pt") for run in (interrupted, trained.folder))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def as_converted(trained: Trained, out: Path) -> Path:
    """The minimum that a converted checkpoint must contain, without an optimizer state."""
    state = checkpoints.load(trained.folder / "checkpoint_last.pt")
    history = {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": 0}
    torch.save(
        {
            "args": None,
            "cfg": {"model": state["cfg"]["model"]},
            "model": state["model"],
            "criterion": None,
            "optimizer_history": [history],
            "last_optimizer_state": None,
            "extra_state": {"train_iterator": {"epoch": 1}},
            "task_state": state["task_state"],
        },
        out,
    )
    return out


def test_a_converted_checkpoint_is_trained_from_its_first_update_by_either_option(
    small_data_bin: Path, trained: Trained, tmp_path: Path
) -> None:
    converted = as_converted(trained, tmp_path / "converted.pt")

    def run(option: str, updates: int) -> subprocess.CompletedProcess:
        words = arguments(small_data_bin, tmp_path / option, updates, option, str(converted))
        return train(without_arch(words))

    finetuned, restored = run("--finetune-from-model", 2), run("--restore-file", 2)
    for result in (finetuned, restored):
        assert "bert, 1 layers × 32, 40 pieces" in said(result)[0]
    assert list(curve(finetuned.stdout)) == [1, 2]
    assert curve(finetuned.stdout) == curve(restored.stdout)
    # The same masks as at the first update of all, but trained weights.
    assert float(curve(finetuned.stdout)[1]) < float(trained.curve[1]) - 0.01
    again = run("--restore-file", 3)
    assert "so --restore-file" in said(again)[0]
    assert list(curve(again.stdout)) == [3]


def test_a_start_of_another_shape_gets_one_sentence(small_data_bin: Path, trained: Trained, tmp_path: Path) -> None:
    start = str(trained.folder / "checkpoint_last.pt")
    result = train(arguments(small_data_bin, tmp_path, 1, "--finetune-from-model", start))
    assert "--arch weam_tiny must be left out or describe the encoder of" in error_of(result)
