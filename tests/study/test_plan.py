"""Which cells a grid has, what they share, and that what is there stays what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_server import hub

from tests.study.small_study import plan_of, small_config, write_data
from weam_fairseq.common.errors import InputError
from weam_fairseq.study.inputs import check_inputs
from weam_fairseq.study.paths import Files, canonical, digest
from weam_fairseq.study.plan import Plan
from weam_fairseq.study.step import Step

Edit = Callable[[dict[str, Any]], Any]


def counts(plan: Plan) -> dict[str, int]:
    return dict(Counter(step.kind for step in plan.needed(plan.cells)))


def of_three_pairs() -> dict[str, Any]:
    config = small_config()
    config["pair_sets"] = {1: ["en-de"], 3: ["en-de", "en-es", "en-zh"]}
    config["data"]["pairs"] = 3
    config["grid"][0]["pairs"] = [1, 3]
    return config


def test_cells_share_what_they_can(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    assert [cell.name for cell in plan.cells] == [
        "tlm.1-pair.weam_tiny.s1",
        "weam.1-pair.weam_tiny.s1",
        "tlm.1-pair.weam_tiny.s2",
        "weam.1-pair.weam_tiny.s2",
    ]
    assert [cell.model for cell in plan.cells[:2]] == ["tlm · 1 pair · weam_tiny", "weam · 1 pair · weam_tiny"]
    assert counts(plan) == {"preprocess": 1, "base": 1, "train": 4, "export": 4, "evaluate": 4}
    assert len({cell.base for cell in plan.cells}) == 1


def test_every_step_comes_after_what_it_needs(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, of_three_pairs())
    seen: set[str] = set()
    for step in plan.steps.values():
        assert seen.issuperset(step.needs), step.id
        seen.add(step.id)


def test_equal_cells_of_two_blocks_are_one(tmp_path: Path) -> None:
    config = of_three_pairs()
    more = {"name": "more", "pairs": 3, "arch": ["weam_tiny", "weam_mini"], "objective": ["tlm", "weam"], "seed": 1}
    config["grid"].append({**more, "options": {"cp-weight": [1, 0.5, 0]}})
    plan = plan_of(tmp_path, config)
    # 8 of the first block; of the second, cp-weight 1 on weam_tiny and both tlm are not new.
    second = [cell.name for cell in plan.cells if cell.group == "more"]
    assert second == [
        "weam.3-pairs.weam_tiny.cp-weight-0.5.s1",
        "weam.3-pairs.weam_tiny.cp-weight-0.s1",
        "tlm.3-pairs.weam_mini.s1",
        "weam.3-pairs.weam_mini.s1",
        "weam.3-pairs.weam_mini.cp-weight-0.5.s1",
        "weam.3-pairs.weam_mini.cp-weight-0.s1",
    ]
    assert len(plan.cells) == 8 + len(second)
    by_name = {cell.name: cell for cell in plan.cells}
    assert by_name["weam.3-pairs.weam_tiny.s1"].options == {"cp-weight": 1.0}
    assert by_name[second[0]].options == {"cp-weight": 0.5}
    assert by_name[second[1]].options == {"cp-weight": 0}
    assert by_name[second[0]].model == "weam · 3 pairs · weam_tiny · cp-weight 0.5"
    assert by_name["tlm.3-pairs.weam_mini.s1"].options == {}


def test_what_reads_no_links_is_one_cell_for_all_aligners(tmp_path: Path) -> None:
    config = small_config()
    config["grid"][0].update(aligner=["fast_align", "eflomal"], objective=["mlm", "tlm", "weam"], seed=1)
    plan = plan_of(tmp_path, config)
    assert [cell.name for cell in plan.cells] == [
        "mlm.1-pair.weam_tiny.s1",
        "tlm.1-pair.weam_tiny.s1",
        "weam.1-pair.weam_tiny.s1",
        "weam.1-pair.weam_tiny.eflomal.s1",
    ]
    assert counts(plan)["preprocess"] == 2
    first, second = [step for step in plan.steps.values() if step.kind == "preprocess"]
    assert "--train-tokenizer" in first.command
    # One tokenizer for all: the second data-bin takes that of the first.
    assert second.needs == (first.id,)
    assert second.command[second.command.index("--tokenizer") + 1].endswith(f"{first.id}/data-bin/tokenizer")
    assert plan.cells[0].trained is not None
    assert "--cp-weight" not in plan.steps[plan.cells[0].trained].command


def test_a_cell_trains_on_its_pairs_of_the_shared_data_bin(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, of_three_pairs())
    words = [plan.steps[cell.trained].command for cell in plan.cells if cell.trained]
    assert counts(plan)["preprocess"] == 1
    assert {each[1] for each in words} == {f"{next(iter(plan.steps))}/data-bin".join(["study/", ""])}
    assert [each[each.index("--pairs") + 1] for each in words[:4]] == ["en-de"] * 2 + ["en-de,en-es,en-zh"] * 2
    assert all(each[each.index("--seed") + 1] == name[-1] for each, name in zip(words, "11112222", strict=True))


def test_a_base_for_each_seed_if_asked(tmp_path: Path) -> None:
    config = small_config()
    config["base"]["seed"] = "cell"
    config["evaluate_bases"] = True
    plan = plan_of(tmp_path, config)
    assert counts(plan) == {"preprocess": 1, "base": 2, "train": 4, "export": 6, "evaluate": 6}
    bases = [cell for cell in plan.cells if cell.objective == "base"]
    assert [cell.name for cell in bases] == ["base.1-pair.weam_tiny.s1", "base.1-pair.weam_tiny.s2"]
    assert [cell.base for cell in bases] == [cell.folder for cell in bases]


EXTENSIONS: dict[str, Edit] = {
    "a seed": lambda c: c["grid"][0].update(seed=[1, 2, 3]),
    "an objective, before the others": lambda c: c["grid"][0].update(objective=["shuffled", "tlm", "weam"]),
    "a size": lambda c: c["grid"][0].update(arch=["weam_mini", "weam_tiny"]),
    "an aligner": lambda c: c["grid"][0].update(aligner=["eflomal", "fast_align"]),
    "an option": lambda c: c["grid"][0].update(options={"cp-weight": [1, 2], "skip-identical": [False, True]}),
    "an evaluation": lambda c: c["evaluations"].append({"task": "word-alignment", "data": "x", "languages": ["de-en"]}),
    "a language to measure": lambda c: c["evaluations"][0].update(languages=["de", "es"]),
    "a language to train on": lambda c: (
        c["pair_sets"].update({3: ["en-de", "en-es", "en-zh"]}),
        c["grid"][0].update(pairs=[1, 3]),
    ),
    "a block": lambda c: c["grid"].insert(0, {**c["grid"][0], "name": "first", "objective": "identity"}),
    "the machine": lambda c: c.update(machine={"train": {"num-workers": 2}, "preprocess": {"workers": 2}}),
}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_an_extension_leaves_every_step_as_it_is(tmp_path: Path, name: str) -> None:
    before = plan_of(tmp_path, small_config())
    config = small_config()
    EXTENSIONS[name](config)
    after = plan_of(tmp_path, config)
    assert after.steps.keys() >= before.steps.keys()
    assert {cell.name for cell in after.cells} >= {cell.name for cell in before.cells}
    if name not in ("the machine", "a language to measure"):
        assert len(after.steps) > len(before.steps)


CHANGES: dict[str, tuple[Edit, set[str]]] = {
    "updates of the base": (lambda c: c["base"]["train"].update({"max-update": 41}), {"preprocess"}),
    "updates of the cells": (lambda c: c["continued"].update({"max-update": 41}), {"preprocess", "base"}),
    "processes of the cells": (lambda c: c.update(slurm={"train": {"gpus-per-node": 8}}), {"preprocess", "base"}),
    "processes": (lambda c: c.update(slurm={"default": {"nodes": 2}, "export": {"nodes": 1}}), {"preprocess"}),
    "the vocabulary": (lambda c: c["data"]["tokenizer"].update(vocab_size=121), set()),
    "how it is measured": (
        lambda c: c["evaluations"][0].update(options={"batch-size": 8}),
        {"preprocess", "base", "train", "export"},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_makes_anew_what_depends_on_it(tmp_path: Path, name: str) -> None:
    before = plan_of(tmp_path, small_config())
    config = small_config()
    edit, kept = CHANGES[name]
    edit(config)
    after = plan_of(tmp_path, config)
    assert {before.steps[step].kind for step in before.steps.keys() & after.steps.keys()} == kept


def test_changed_text_is_another_data_bin_and_moved_text_is_not(tmp_path: Path) -> None:
    (tmp_path / "en-de.tsv").write_text("a\tb\n")
    first = plan_of(tmp_path, small_config())
    moved = small_config()
    moved["data"].update(folder="elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "en-de.tsv").write_text("a\tb\n")
    assert plan_of(tmp_path, moved).steps.keys() == first.steps.keys()
    (tmp_path / "en-de.tsv").write_text("a\tc\n")
    assert not plan_of(tmp_path, small_config()).steps.keys() & first.steps.keys()


def test_a_study_can_be_looked_at_where_its_text_is_not(tmp_path: Path) -> None:
    text = tmp_path / "en-de.tsv"
    text.write_text("a\tb\n")
    files = Files(tmp_path)
    seen = files.identity(text, "en-de.tsv")
    files.save()
    text.unlink()
    assert Files(tmp_path).identity(text, "en-de.tsv") == seen
    assert Files(tmp_path).identity(text, "other.tsv") == "unseen:other.tsv"


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("1")
    (folder / "sub" / "config.json").write_text("2")
    first = Files(tmp_path).identity(folder, "model")
    (folder / "sub" / "config.json").write_text("3")
    assert Files(tmp_path).identity(folder, "model") != first


def test_a_folder_keeps_its_readable_name(tmp_path: Path) -> None:
    """A pair set that gets another name is the same training."""
    before = plan_of(tmp_path, small_config())
    for step in before.steps:
        (tmp_path / "study" / step).mkdir(parents=True)
    config = small_config()
    config["pair_sets"]["german"] = config["pair_sets"].pop(1)
    config["grid"][0]["pairs"] = config["data"]["pairs"] = "german"
    after = plan_of(tmp_path, config)
    assert after.steps.keys() == before.steps.keys()
    assert after.cells[0].model == "tlm · german · weam_tiny"


def test_digests_do_not_depend_on_the_order_of_keys_or_on_how_values_are_written() -> None:
    one = digest({"a": 1, "b": {"lr": 1e-3, "x": [1, "2"], "off": None}})
    assert one == digest({"b": {"x": ("1", 2.0), "flag": False, "lr": "0.001"}, "a": 1.0})
    assert one != digest({"a": 2, "b": {"lr": 1e-3, "x": [1, "2"]}})
    assert one != digest({"a": 1, "b": {"lr": 1e-3, "x": [2, "1"]}})
    assert len(one) == 10
    assert canonical({"a": True}) != canonical({"a": 1})
    # As of the first release; a change would have every study made anew.
    assert digest({"step": "base", "seed": 1}) == "318463f6d6"


def test_published_models_are_imported_and_share_data_bins_of_equal_tokenizers(tmp_path: Path) -> None:
    config = small_config()
    del config["base"]
    config["models"] = {
        "weam_xlmr_base": {"from_hf": "xlmr-base"},
        "weam_xlmr_large": {"from_hf": "xlmr-large", "tokenizer": "xlmr-base"},
        "weam_mbert_base": {"from_hf": "mbert"},
    }
    config["grid"][0]["arch"] = list(config["models"])
    config["evaluate_bases"] = True
    plan = plan_of(tmp_path, config)
    assert counts(plan) == {"preprocess": 2, "import": 3, "train": 12, "export": 15, "evaluate": 15}
    base = plan.cells[0]
    assert (base.name, base.pairs, base.trained, base.base_trained) == (
        "base.published.weam_xlmr_base.s1",
        (),
        None,
        None,
    )
    trained = plan.cells[1].trained
    assert trained is not None
    words = plan.steps[trained].command
    assert words[words.index("--finetune-from-model") + 1].endswith("import/checkpoint.pt")
    assert "--arch" not in words


def test_a_published_model_is_a_folder_or_a_name_on_the_hub(tmp_path: Path) -> None:
    config = small_config()
    del config["base"]
    (tmp_path / "here" / "mbert").mkdir(parents=True)
    config["models"] = {"weam_mbert_base": {"from_hf": "here/mbert"}, "weam_xlmr_base": {"from_hf": "owner/xlmr"}}
    config["grid"][0]["arch"] = list(config["models"])
    plan = plan_of(tmp_path, config)
    here, there = (step for step in plan.steps.values() if step.kind == "import")
    assert (here.command[1], here.inputs, here.published) == ("here/mbert", (tmp_path / "here" / "mbert",), ())
    assert (there.command[1], there.inputs, there.published) == ("owner/xlmr", (), ("owner/xlmr",))
    tokenizers = [step.published for step in plan.steps.values() if step.kind == "preprocess"]
    assert sorted(tokenizers) == [(), ("owner/xlmr",)]

    with pytest.raises(InputError, match="owner/xlmr must be a folder on this machine or a model of the Hugging Face"):
        check_inputs(plan, [there])
    (tmp_path / "here" / "model.safetensors").touch()
    with hub({"owner/xlmr": tmp_path / "here"}, tmp_path / "cache") as served:
        check_inputs(plan, [here, there])
    assert served.requests


def test_a_data_bin_that_is_there_is_used_as_it_is(tmp_path: Path) -> None:
    config = small_config()
    config["data"] = {"data_bin": "bin", "pairs": 1}
    plan = plan_of(tmp_path, config)
    assert counts(plan) == {"base": 1, "train": 4, "export": 4, "evaluate": 4}
    assert next(iter(plan.steps.values())).command[1] == "bin"
    assert {cell.aligner for cell in plan.cells} == {"given"}


def test_some_cells_bring_what_they_need(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    chosen = plan.only(["weam.*.s2"])
    assert [cell.name for cell in chosen] == ["weam.1-pair.weam_tiny.s2"]
    assert [step.kind for step in plan.needed(chosen)] == ["preprocess", "base", "train", "export", "evaluate"]
    with pytest.raises(
        InputError, match=r"weam.1-pair.weam_tiny.s3 matches none. Did you mean weam.1-pair.weam_tiny.s"
    ):
        plan.only(["weam.1-pair.weam_tiny.s3"])


def test_commands_name_files_as_typed_in_the_root(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, small_config())
    words = next(iter(plan.steps.values())).command
    assert words[:3] == ("weam-preprocess", "--pair", "en-de=en-de.tsv")
    assert not any(str(tmp_path) in word for step in plan.steps.values() for word in step.command)


def test_files_of_evaluations_lie_in_the_data_folder(tmp_path: Path) -> None:
    config = small_config()
    config["data"]["folder"] = "data"
    options = {"train-file": ["a.jsonl", "b.jsonl"], "epochs": 2}
    config["evaluations"] = [{"task": ["xnli"], "data": "xnli", "languages": ["de", "es"], "options": options}]
    plan = plan_of(tmp_path, config)
    words = plan.steps[plan.cells[0].evaluated[0]].command
    assert words[words.index("--data") + 1] == "data/xnli"
    assert words[-6:] == ("--train-file", "data/a.jsonl", "--train-file", "data/b.jsonl", "--epochs", "2")
    assert words[words.index("--languages") + 1] == "de,es"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"lyer": "best"},
            r"small\.yaml: the options of evaluation cells/.*tatoeba.*--lyer best. Did you mean --layer\?",
        ),
        ({"layer": "worst"}, r"argument --layer: invalid choice: 'worst'"),
    ],
)
def test_options_of_evaluations_are_checked_before_any_training(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    write_data(tmp_path)
    config = small_config()
    config["evaluations"][0]["options"] = options
    plan = plan_of(tmp_path, config)
    with pytest.raises(InputError, match=f"(?i){sentence}"):
        check_inputs(plan, list(plan.steps.values()))


def test_other_links_are_made_for_the_pairs_that_need_them(tmp_path: Path) -> None:
    config = small_config()
    config["pair_sets"] = {1: ["en-de"], 2: ["en-de", "en-fr"]}
    config["data"]["pairs"] = 2
    config["grid"][0] |= {"objective": "weam", "aligner": ["fast_align", "eflomal"]}
    steps = [step for step in plan_of(tmp_path, config).steps.values() if step.kind == "preprocess"]
    assert [(step.command.count("--pair"), "eflomal" in step.command) for step in steps] == [(2, False), (1, True)]


def test_a_published_model_aligns_its_own_training_pairs(tmp_path: Path) -> None:
    config = small_config()
    del config["base"]
    (tmp_path / "mbert").mkdir()
    (tmp_path / "mbert" / "weights").write_text("1")
    config["models"] = {"weam_mbert_base": {"from_hf": "mbert", "tokenizer": "owner/other"}}
    config["grid"][0] |= {"arch": "weam_mbert_base", "aligner": ["fast_align", "encoder"], "objective": "weam"}

    def align() -> tuple[Step, Step]:
        steps = [step for step in plan_of(tmp_path, config).steps.values() if step.kind == "preprocess"]
        by_fast_align, by_encoder = steps
        return by_fast_align, by_encoder

    before = align()
    assert "--aligner-model" not in before[0].command
    assert before[1].command[before[1].command.index("--aligner-model") + 1] == "mbert"
    assert {*before[1].inputs} - {*before[0].inputs} == {tmp_path / "mbert"}
    # Other weights make other links.
    (tmp_path / "mbert" / "weights").write_text("12")
    after = align()
    assert (after[0].id == before[0].id, after[1].id == before[1].id) == (True, False)
