"""What is wrong with a config is said in one sentence, with its file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.study.small_study import small_config, write_config
from weam_fairseq.common.errors import InputError
from weam_fairseq.study.config import read_config

Edit = Callable[[dict[str, Any]], Any]
SHIPPED = sorted((Path(__file__).resolve().parents[2] / "scripts" / "configs").glob("study_*.yaml"))


def test_a_config_is_read(tmp_path: Path) -> None:
    config = read_config(write_config(tmp_path, small_config()))
    assert config.pair_sets == {"1": ("en-de",)}
    assert config.grid[0].objective == ("tlm", "weam")
    assert config.data.links == ("fast_align", "intersect")
    assert config.evaluations[0].label == "tatoeba"
    assert config.base is not None
    assert config.base.seed == 1
    assert config.baseline == "tlm"
    assert config.keep_checkpoints


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_say_what_is_decided_and_how(path: Path) -> None:
    config = read_config(path)
    assert len(config.hypotheses) >= 2
    assert len(config.decision_rule) > 100
    assert {len(pairs) for pairs in config.pair_sets.values()} == {1, 3, 7, 14}


def test_all_configs_are_shipped() -> None:
    assert [path.stem for path in SHIPPED] == ["study_paper", "study_published", "study_sizes", "study_small"]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda c: c.update(hypothesis="H"), r"\.yaml:\d+: a study has no key `hypothesis`. Did you mean hypotheses"),
        (lambda c: c["grid"][0].update(objetive="mlm"), r":\d+: `grid\[0\]` has no key `objetive`. Did you mean obj"),
        (lambda c: c["grid"][0].update(objective="weem"), r"objective` must be one of .* weem is unknown. Did you"),
        (lambda c: c["grid"][0].update(arch="weam_mimi"), "weam_mimi is unknown. Did you mean weam_mini"),
        (lambda c: c["grid"][0].update(pairs=[1, 3]), "must be in `pair_sets`, which has 1; 3 is unknown"),
        (lambda c: c["grid"][0].update(seed="one"), "must be a whole number from 0 or a list of them, but is 'one'"),
        (lambda c: c["grid"][0].update(seed=[]), "must be a whole number from 0 or a list of them"),
        (lambda c: c["grid"][0].pop("seed"), r"`grid\[0\].seed` is missing"),
        (lambda c: c["pair_sets"].update({3: ["en-de", "en-es"]}), "must be a list of 3 pairs"),
        (lambda c: c["pair_sets"].update(far=["en_zh"]), "en_zh is not a pair"),
        (lambda c: c["pair_sets"].update(far=["en-zh", "en-zh"]), "names each pair once"),
        (lambda c: c["evaluations"][0].update(task="tatoba"), "tatoba is unknown. Did you mean tatoeba"),
        (lambda c: c["evaluations"][0].update(languages=["de", "xx"]), "of tatoeba, and xx is not one of them"),
        (lambda c: c["evaluations"][0].update(languages=[False]), "Put it in quotes"),
        (lambda c: c["evaluations"].append(dict(c["evaluations"][0])), "that no other evaluation has"),
        (lambda c: c["continued"].update(seed=3), "`continued.seed` must be left out, because weam-study sets it"),
        (lambda c: c["continued"].pop("max-update"), "`continued` must be a mapping with `max-update`"),
        (lambda c: c["base"]["train"].update({"max-update": "many"}), "`base.train` must be a mapping with `max-u"),
        (lambda c: c["continued"].update(lr={"a": 1}), "`continued.lr` must be a value or a list of values"),
        (lambda c: c.pop("base"), "must be a mapping with `seed` and `train`"),
        (lambda c: c["base"].update(seed="each"), "or `cell` for one base for each seed"),
        (lambda c: c["continued"].update({"max_update": 3}), "each option once"),
        (lambda c: c["evaluations"][0].update(languages=["present", "de"]), "must be `present` alone, or languages"),
        (lambda c: c.update(machine={"evaluate": {"layer": "best"}}), "must be under `options` of the evaluation"),
        (lambda c: c["data"].pop("tokenizer"), "`data.tokenizer` must be a mapping"),
        (lambda c: c["data"].update(bitext="en-de.tsv"), "file names with {pair} in them"),
        (lambda c: c["data"].update(bitext={"en-es": "x.tsv"}), "the files of each pair, but en-de is missing"),
        (lambda c: c["data"].update(pairs="2"), "`data.pairs` must be in `pair_sets`, which has 1; 2 is unknown"),
        (lambda c: c["data"].update(data_bin="bin"), "left out, because `data_bin` names an existing data-bin"),
        (lambda c: c["data"]["preprocess"].update(resume=True), "`data.preprocess.resume` must be left out"),
        (lambda c: c.update(models={"weam_tiny": {"from_hf": "x", "base": {"lr": 1}}}), "is not trained from scratch"),
        (lambda c: c.update(estimate={"utilisation": 40}), "must be less than or equal to 1, but is 40"),
        (lambda c: c["machine"]["train"].update({"update-freq": 4}), "`machine.train.update-freq` must be under"),
        (lambda c: c.update(machine={"preprocess": {"seed": 4}}), "must be under `data.preprocess`, because"),
        (lambda c: c.update(slurm={"training": {}}), "`slurm` has no key `training`. Did you mean train"),
        (lambda c: c.update(title=3), "`title` must be a text, but is 3. Put it in quotes"),
        (lambda c: c.update(grid=[]), "`grid` must be a list of mappings"),
        (lambda c: c.update(data="here"), "`data` must be a mapping, but is 'here'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path: Path, edit: Edit, sentence: str) -> None:
    config = small_config()
    edit(config)
    with pytest.raises(InputError, match=sentence) as told:
        read_config(write_config(tmp_path, config))
    assert "\n" not in str(told.value)
    assert "small.yaml:" in str(told.value)


def test_the_line_is_that_of_the_mistake(tmp_path: Path) -> None:
    path = write_config(tmp_path, small_config())
    lines = path.read_text().splitlines()
    number = next(k for k, line in enumerate(lines, start=1) if line.strip().startswith("cp-weight"))
    path.write_text("\n".join([*lines[:number], "  cp-weight: 2.0", *lines[number:]]) + "\n")
    with pytest.raises(InputError, match=rf"small\.yaml:{number + 1}: `cp-weight` appears twice"):
        read_config(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n", "must be a mapping"),
        ("title: [\n", r"small.yaml:\d+: the file must be YAML"),
        ("", "must be a mapping"),
    ],
)
def test_a_file_that_is_no_config(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_config(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_config(tmp_path / "small.yaml")


def test_a_time_is_a_time_without_quotes_too(tmp_path: Path) -> None:
    """YAML 1.1 reads 12:00:00 as 43,200, and Slurm would be asked for as many minutes."""
    path = write_config(tmp_path, small_config())
    path.write_text(path.read_text() + "slurm:\n  default: {time: 12:00:00}\n  train: {time: 1:30, cpus-per-task: 2}\n")
    slurm = read_config(path).slurm
    assert slurm["default"] == {"time": "12:00:00"}
    assert slurm["train"] == {"time": "1:30", "cpus-per-task": 2}


def test_anchors_are_merged_and_own_values_win(tmp_path: Path) -> None:
    path = write_config(tmp_path, small_config())
    text = path.read_text()
    start = text.index("continued:")
    end = text.index("grid:")
    path.write_text(
        text[:start].replace("  train:\n", "  train: &all\n")
        + "continued:\n  <<: *all\n  max-update: 7\n  layers: null\n"
        + text[end:]
    )
    config = read_config(path)
    assert config.continued["max-update"] == 7
    assert config.continued["batch-size"] == 16
    assert config.base is not None
    assert config.base.train["max-update"] == 40
