"""--config: a YAML file as options, and every file of scripts/configs in the real parser."""

import ast
import re
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import DictConfig

from weam_fairseq.common.arguments import value_of
from weam_fairseq.common.errors import InputError
from weam_fairseq.plugin.model import WeamModel
from weam_fairseq.plugin.task import WeamTask
from weam_fairseq.training.command_line import complete, parse, prepare
from weam_fairseq.training.config import PRESETS, read_config

CONFIGS = sorted(PRESETS.glob("*.yaml"))


def configuration(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[Namespace, DictConfig]:
    """What fairseq makes of a command line."""
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf

    monkeypatch.setattr(sys, "argv", ["weam-train"])
    args = parse(prepare(words).arguments, None)
    args.total_num_update = 10.0  # weam-train counts it on the data-bin
    return args, convert_namespace_to_omegaconf(args)


def plain(value: Any) -> Any:
    """Written values and parsed ones alike: fairseq makes lists of some, and keeps others as text."""
    try:
        value = ast.literal_eval(value) if isinstance(value, str) else value
    except (SyntaxError, ValueError):
        return value
    return list(value) if isinstance(value, list | tuple) else [value]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_reaches_fairseq(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # They name no arch: it is that of the checkpoint that a run starts from.
    words = ["bin", "--config", path.stem, "--save-dir", str(tmp_path), "--arch", "weam_xlmr_base"]
    args, cfg = configuration(words, monkeypatch)
    options = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert args.data == "bin"
    for name, value in options.items():
        assert plain(getattr(args, name.replace("-", "_"))) == plain(value), name
    assert cfg.optimizer._name == "adam_bert"
    assert cfg.task.mask_prob == cfg.model.mask_prob == 0.3
    assert plain(cfg.optimizer.adam_betas) == [0.9, 0.999]


def test_the_preset_of_the_paper_writes_out_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["bin", "--arch", "weam_tiny", "--save-dir", str(tmp_path)]
    by_default, by_preset = (configuration([*words, *more], monkeypatch)[0] for more in ([], ["--config", "paper"]))
    assert plain(by_default.lr) == [5e-4]  # from nothing; the paper starts from mBERT
    assert {**vars(by_default), "lr": by_preset.lr} == vars(by_preset)


def test_a_start_has_the_papers_learning_rate_and_given_options_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["bin", "--arch", "weam_tiny", "--save-dir", str(tmp_path)]
    assert plain(value_of(complete([*words, "--from", "x"]), "--lr")) == [5e-5]
    args, _ = configuration([*words, "--max-tokens", "512", "--max-update", "7", "--lr", "1", "--cpu"], monkeypatch)
    assert (args.batch_size, args.max_tokens, args.max_epoch, args.max_update, plain(args.lr)) == (None, 512, 0, 7, [1])


def test_processes_share_the_default_batch(tmp_path: Path) -> None:
    words = ["bin", "--arch", "weam_tiny", "--save-dir", str(tmp_path)]
    assert value_of(complete(words, 4), "--batch-size") == "8"
    assert value_of(complete([*words, "--batch-size", "16"], 4), "--batch-size") == "16"


def test_two_starts_and_loggers_that_are_not_installed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["bin", "--arch", "weam_tiny", "--save-dir", str(tmp_path)]
    for more, sentence in (
        (["--from", "a", "--restore-file", "b"], "--from and --restore-file must not both be given"),
        (["--wandb-project", "x"], "--wandb-project must have the package wandb"),
        (["--best-checkpoint-metric", "retrieval", "--retrieval-pairs", "0"], "needs --retrieval-pairs of 1 or more"),
        (["--best-checkpoint-metric", "retrival"], r"must be loss, .*, but is retrival\. Did you mean retrieval\?"),
        (["--best-checkpoint-metric", "en-de:mp_los"], r"but is en-de:mp_los\. Did you mean mp_loss"),
        (["--best-checkpoint-metric", "cp_loss", "--disable-validation"], "cp_loss needs validations"),
        (["--bf16"], r"Remove --bf16, which needs a TPU\. For bfloat16 give --precision bf16"),
        (["--fp16", "--cpu"], r"Remove --fp16, which needs a GPU\. Give --precision bf16"),
        (["--config", "papr"], r"but there is no papr\. Did you mean paper\?"),
    ):
        with pytest.raises(InputError, match=sentence):
            configuration([*words, *more], monkeypatch)


@pytest.mark.parametrize(
    ("metric", "maximized"),
    [("loss", False), ("en-de:cp_loss", False), ("retrieval_backward", True), ("en-de:mp_accuracy", True)],
)
def test_what_checkpoint_best_is_best_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, maximized: bool
) -> None:
    words = ["bin", "--arch", "weam_tiny", "--save-dir", str(tmp_path), "--best-checkpoint-metric", metric]
    assert configuration(words, monkeypatch)[1].checkpoint.maximize_best_checkpoint_metric == maximized


def test_an_unknown_option_in_a_config_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "weam.yaml"
    config.write_text("arch: weam_tiny\nmask-porb: 0.3\n")
    with pytest.raises(InputError, match=r"unrecognized arguments: --mask-porb 0\.3\. Did you mean --mask-prob"):
        configuration(["bin", "--config", str(config), "--save-dir", str(tmp_path)], monkeypatch)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("lr: 1e-3x", "1e-3x is not a list of numbers"),
        ("batch-size: many", "argument --batch-size/--max-sentences: invalid int value: 'many'"),
        ("objective: weem", "argument --objective: invalid choice: 'weem'"),
    ],
)
def test_values_of_another_kind_get_one_sentence(
    options: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "weam.yaml"
    config.write_text(f"arch: weam_tiny\n{options}\n")
    with pytest.raises(InputError, match=sentence):
        configuration(["bin", "--config", str(config), "--save-dir", str(tmp_path)], monkeypatch)


@pytest.mark.parametrize(
    "betas", ["(0.9, 0.98)", '"(0.9, 0.98)"', "'(0.9, 0.98)'", "[0.9, 0.98]", "0.9,0.98", "\n  - 0.9\n  - 0.98"]
)
def test_lists_and_nested_quotes_reach_fairseq(betas: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fairseq import optim
    from torch.nn import Linear

    config = tmp_path / "weam.yaml"
    others = (
        "arch: weam_tiny\nbatch-size: 4\noptimizer: adam\nlr: [0.1, 0.2]\nupdate-freq: [2]\npairs: [en-de, en-es]\n"
    )
    config.write_text(f"{others}adam-betas: {betas}\n")
    args, cfg = configuration(["bin", "--config", str(config), "--save-dir", str(tmp_path)], monkeypatch)
    assert cfg.optimization.lr == [0.1, 0.2]
    assert cfg.optimization.update_freq == [2]
    assert args.pairs == "en-de,en-es"
    built = optim.build_optimizer(cfg.optimizer, list(Linear(2, 2).parameters()))
    assert tuple(built.optimizer_config["betas"]) == (0.9, 0.98)


def test_the_command_line_wins_and_flags_are_set(tmp_path: Path) -> None:
    config = tmp_path / "weam.yaml"
    config.write_text("data: bin\narch: weam_tiny\nmask_prob: 0.3\nskip-identical: true\nno-save: false\npairs: null\n")
    words = complete(["--config", str(config), "--mask-prob", "0.2"])
    given = words.index("--mask-prob")
    assert words[:given] == ["bin", "--arch", "weam_tiny", "--skip-identical"]
    assert words[given + 1] == "0.2"
    assert words[words.index("--task") + 1] == "weam"
    assert "--no-save" not in words


def test_a_data_bin_on_the_command_line_wins(tmp_path: Path) -> None:
    config = tmp_path / "weam.yaml"
    config.write_text("data: bin\narch: weam_tiny\n")
    assert read_config(config, ["other", "--seed", "1"]) == ["--arch", "weam_tiny"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n- b\n", "must be a mapping from options to values, but holds a list"),
        ("a: [1\n", "must be YAML, but is not"),
        ("lr: {a: 1}\n", "must give --lr a value or a list of values, but gives {'a': 1}"),
        ("lr: []\n", "must give --lr a value"),
    ],
)
def test_an_invalid_config_is_refused_in_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    config = tmp_path / "weam.yaml"
    config.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_config(config, [])


def test_every_option_of_model_and_criterion_reaches_them(
    small_data_bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"{small_data_bin} --arch weam_tiny --save-dir nowhere --batch-size 4 --layers 1 --width 12 --heads 3"
    words += " --feed-forward 20 --positions 30 --dropout 0.2 --attention-dropout 0.3 --freeze embeddings"
    words += " --checkpoint-activations --cp-head own --precision bf16 --cp-weight 0.5 --reset-positions"
    _, cfg = configuration(words.split(), monkeypatch)
    task = WeamTask.setup_task(cfg.task)
    model, criterion = WeamModel.build_model(cfg.model, task), task.build_criterion(cfg.criterion)
    config = model.masked_lm.config
    shape = (config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.intermediate_size)
    assert (*shape, config.max_position_embeddings, model.max_positions()) == (1, 12, 3, 20, 30, 30)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.2, 0.3)
    assert model.masked_lm.is_gradient_checkpointing
    assert model.own_head is not None
    assert not model.masked_lm.get_input_embeddings().weight.requires_grad
    assert (model.freeze, model.parts) == ("embeddings", (None, None, None))
    assert (criterion.autocast, criterion.cp_weight) == (torch.bfloat16, 0.5)


CODE = "__import__('pathlib').Path('ran').touch() or (0.9, 0.98)"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (f'optimizer: adam\nadam-betas: "{CODE}"', "--adam-betas must be two numbers from 0 to below 1, as 0.9,0.98"),
        (f'optimizer: adam_bert\nadam_betas: "({CODE})"', "--adam-betas must be two numbers"),
        (f'optimizer: adafactor\nadafactor-eps: "{CODE}"', "--adafactor-eps must be two numbers, as 1e-30,1e-3, but"),
        (f'optimizer: adamax\nadamax-betas: "{CODE}"', "--adamax-betas must be two numbers"),
        (f'pipeline-balance: "{CODE}"', "--pipeline-balance must be whole numbers, as 1,2, but"),
        ("optimizer: adam\nadam-betas: 0.9", "--adam-betas must be two numbers"),
        ("optimizer: adam\nadam-betas: 0.9,1.0", "--adam-betas must be two numbers"),
        (f'criterion: ctc\nwer-args: "{CODE}"', "--criterion must be weam or left out, but is ctc"),
        ("task: translation", "--task must be weam or left out, but is translation"),
        ("arch: lightconv", "--arch must be one of"),
        ("user-dir: .", "gives --user-dir, which decides what code runs"),
        ("user_dir: .", "gives --user-dir, which decides what code runs"),
        ("distributed-init-method: tcp://elsewhere:1", "gives --distributed-init-method"),
        ("user-dir=.: true", "'user-dir=.' is no option"),
        ("hydra.run.dir: .", "'hydra.run.dir' is no option"),
        ("1: 2", "1 is no option"),
        ("data: --user-dir=.", "must give `data` the name of a data-bin"),
        (f"lr: {'-' * 5_000}1", "has too many brackets or signs"),
    ],
)
def test_a_config_runs_no_code(options: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "__init__.py").write_text("from pathlib import Path\nPath('ran').touch()")
    config = tmp_path / "weam.yaml"
    config.write_text(f"{'' if options.startswith('arch') else 'arch: weam_tiny'}\n{options}\n")
    with pytest.raises(InputError, match=re.escape(sentence)) as error:
        configuration(["bin", "--config", str(config), "--save-dir", str(tmp_path)], monkeypatch)
    assert len(str(error.value)) < 400
    assert not (tmp_path / "ran").exists()


def test_code_on_the_command_line_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["bin", "--arch", "weam_tiny", "--save-dir", str(tmp_path), "--optimizer", "adam"]
    for given, sentence in (
        ("--adam-betas=exit()", "--adam-betas must be"),
        ("--user-dir=.", "Remove --user-dir"),
    ):
        with pytest.raises(InputError, match=sentence):
            configuration([*words, given], monkeypatch)


def test_a_value_that_looks_like_an_option_stays_a_value(tmp_path: Path) -> None:
    config = tmp_path / "weam.yaml"
    config.write_text("save-dir: --cpu\nseed: -3\n")
    assert read_config(config, []) == ["--save-dir=--cpu", "--seed=-3"]
