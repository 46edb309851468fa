"""Names on the Hugging Face Hub resolve to folders. Without the Hub the error says how to get the folder."""

from pathlib import Path

import pytest
from hub_server import COMMIT, hub

from weam_fairseq.common.errors import InputError
from weam_fairseq.common.hub import is_name, label, resolve

SMALL = {"config.json", "vocab.txt", "1_Pooling/config.json", "LICENSE"}
NOT_WANTED = {"modeling_x.py", "onnx/config.json", "onnx/model.onnx", "flax_model.msgpack", "tf_model.h5"}


def write(folder: Path, names: set[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["bert-base-multilingual-cased", "owner/model"])
def test_a_name_becomes_a_folder_with_its_commit(name: str, tmp_path: Path) -> None:
    weights = {"model.safetensors", "2_Dense/model.safetensors"}
    there = write(tmp_path / "there", SMALL | NOT_WANTED | weights | {"pytorch_model.bin"})
    with hub({name: there}, tmp_path / "cache"):
        without = resolve(name, weights=False)
        assert files(without.folder) == SMALL
        found = resolve(name)
    assert (found.name, found.revision) == (name, COMMIT)
    assert label(found.folder) == f"{name}@{COMMIT}"
    assert files(found.folder) == SMALL | weights
    assert (found.folder / "config.json").read_text() == "config.json"


def test_pickles_are_downloaded_only_without_safetensors(tmp_path: Path) -> None:
    parts = {"pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"}
    there = write(tmp_path / "there", SMALL | NOT_WANTED | parts | {"training_args.bin"})
    with hub({"a/b": there}, tmp_path / "cache"):
        assert files(resolve("a/b").folder) == SMALL | parts


def test_downloads_are_found_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = write(tmp_path / "there", SMALL | {"model.safetensors"})
    with hub({"a/b": there}, tmp_path / "cache") as served:
        online = resolve("a/b")
        asked = len(served.requests)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert resolve("a/b") == online
        assert resolve("a/b", revision=COMMIT) == online
        assert len(served.requests) == asked


@pytest.mark.parametrize(
    ("name", "revision", "offline", "why"),
    [
        ("a/nothing", None, False, "Repository Not Found"),
        ("a/b", "no-such-branch", False, "a/b at revision no-such-branch must be .*Revision Not Found"),
        ("a/b", None, True, "outgoing traffic has been disabled"),
    ],
)
def test_a_failed_download_says_how_to_get_the_folder(
    name: str, revision: str | None, offline: bool, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub({"a/b": write(tmp_path / "there", SMALL)}, tmp_path / "cache"):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
        with pytest.raises(InputError, match=why) as error:
            resolve(name, revision=revision)
    assert "\n" not in str(error.value)
    assert f"run hf download {name} --local-dir {name[2:]}. Copy that folder here and give its path" in str(error.value)


def test_a_folder_resolves_to_itself(tmp_path: Path) -> None:
    assert label(tmp_path) == tmp_path.name
    assert resolve(tmp_path) == (str(tmp_path), tmp_path, None)
    with pytest.raises(InputError, match="--revision must go with a name on the Hugging Face Hub"):
        resolve(tmp_path, revision="main")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="but is a file"):
        resolve(tmp_path / "file")


@pytest.mark.parametrize("name", ["/a/b", "./a", "../a", "a/b/c", "a b", "", "~/a", "-x", "a/.b"])
def test_a_path_is_never_looked_up_on_the_hub(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_name(name)
    if name:
        with pytest.raises(InputError, match="must be a Hugging Face folder on this machine or a name on the Hub"):
            resolve(name)
