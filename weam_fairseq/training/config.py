"""What the command line leaves open: options of a --config file or preset, and the defaults of weam-train."""

import re
from pathlib import Path
from typing import Any

from weam_fairseq.common.arguments import is_given, suggest, value_of
from weam_fairseq.common.documents import read_yaml, shown
from weam_fairseq.common.errors import InputError

PRESETS = Path(__file__).with_name("presets")
# The file with the defaults of the training.
DEFAULTS = PRESETS / "paper.yaml"
RATE_FROM_NOTHING = "5e-4"
# More defaults, which change no result. An empty value is a flag.
_LOGS_AND_CHECKPOINTS = {
    "--log-interval": "20",
    "--save-interval-updates": "1000",
    "--keep-interval-updates": "1",
    "--no-epoch-checkpoints": "",
}
# A default is left out if one of these options is given.
_LEFT_OUT_WITH = {
    "--batch-size": ("--max-tokens", "--max-sentences"),
    "--max-epoch": ("--max-update",),
    "--save-interval-updates": ("--save-interval", "--no-save"),
    "--keep-interval-updates": ("--save-interval", "--save-interval-updates", "--no-save"),
    "--no-epoch-checkpoints": ("--save-interval", "--keep-last-epochs", "--no-save"),
}
_OF_ADAM = ("--adam-betas", "--adam-eps", "--weight-decay")
WARM_UP = 0.1  # of the updates
RETRIEVAL = ("retrieval", "retrieval_forward", "retrieval_backward")  # what validations measure besides losses
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# A config may come with somebody's data-bin or paper. Such a file must not choose code or machines.
_NOT_IN_A_FILE = ("user-dir", "config", "distributed-init-method")


def read_config(path: Path, given: list[str]) -> list[str]:
    """Options of a YAML mapping as arguments, without those that the command line gives.

    true sets a flag, false and null leave an option out, a list is written with commas (as --lr, --update-freq,
    --adam-betas and --pairs take it), `data` is the data-bin.

    Raises:
        InputError: no such file, not YAML, not a mapping from options to values and lists of them, or an option that
            decides what code runs or with which machines it speaks.
    """
    if not path.is_file():
        preset = PRESETS / f"{path}.yaml"
        if not preset.is_file():
            names = sorted(file.stem for file in PRESETS.glob("*.yaml"))
            raise InputError(
                f"--config must name a YAML file or a preset ({', '.join(names)}), but there is no {path}."
                f"{suggest(str(path), names)}"
            )
        path = preset
    options = read_yaml(path)
    if not isinstance(options, dict):
        found = "nothing" if options is None else f"a {type(options).__name__}"
        raise InputError(f"{path} must be a mapping from options to values, but holds {found}.")
    arguments: list[str] = []
    named: set[str] = set()
    for name, value in options.items():
        option = f"--{_checked_name(name, path)}"
        if option in named:
            raise InputError(f"{path} must give each option once, but gives {option} twice (- and _ are the same).")
        named.add(option)
        if is_given(given, option) or value is False or value is None:
            continue
        if name == "data":
            # The data-bin has no option's name: on the command line it stands first, as in all examples.
            data = _written(value, path, "data")
            if data.startswith("-"):
                raise InputError(f"{path} must give `data` the name of a data-bin, but gives {shown(value)}.")
            arguments = arguments if given and not given[0].startswith("-") else [data, *arguments]
        elif value is True:
            arguments.append(option)
        else:
            written = _written(value, path, option)
            # A value that looks like an option must not become one.
            arguments += [f"{option}={written}"] if written.startswith("-") else [option, written]
    return arguments


def _checked_name(name: Any, path: Path) -> str:
    """Raises InputError for what cannot be an option's name, and for what a file from elsewhere must not decide."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{path} must be a mapping from options to values, but {shown(name)} is no option.")
    option = name.replace("_", "-")
    if option in _NOT_IN_A_FILE:
        raise InputError(
            f"{path} must hold settings of the training, but gives --{option}, which decides what code runs or with "
            "which machines it speaks. Give that option on the command line."
        )
    return option


def _written(value: Any, path: Path, option: str) -> str:
    parts = value if isinstance(value, list) else [value]
    if not parts or not all(isinstance(part, str | int | float) for part in parts):
        raise InputError(f"{path} must give {option} a value or a list of values, but gives {shown(value)}.")
    return ",".join(map(str, parts))


def add_defaults(arguments: list[str], *, processes: int) -> list[str]:
    """The arguments with the defaults of weam-train for all options that they leave open.

    Args:
        arguments: with those of the config file.
        processes: that share an update; the default batch is divided among them.
    """
    defaults = {f"--{name}": str(value) for name, value in read_yaml(DEFAULTS).items()} | _LOGS_AND_CHECKPOINTS
    starts = ("--from", "--finetune-from-model", "--restore-file")
    if not any(is_given(arguments, option) for option in starts):
        defaults["--lr"] = RATE_FROM_NOTHING
    has_adam = (value_of(arguments, "--optimizer") or defaults["--optimizer"]) in ("adam", "adam_bert")
    found: list[str] = []
    for option, value in defaults.items():
        if any(is_given(arguments, each) for each in (option, *_LEFT_OUT_WITH.get(option, ()))):
            continue
        if option in _OF_ADAM and not has_adam:
            continue
        if option == "--batch-size":
            value = str(max(1, int(value) // processes))
        found += [option, value] if value else [option]
    if not is_given(arguments, "--precision"):
        found += ["--precision", "bf16" if multiplies_bf16(is_given(arguments, "--cpu")) else "fp32"]
    return [*arguments, *found]


def multiplies_bf16(cpu: bool) -> bool:
    """Whether the GPU, or without one the processor, has instructions for products in bfloat16.

    Args:
        cpu: a GPU is not used.
    """
    import torch

    if torch.cuda.is_available() and not cpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(getattr(torch.cpu, name, bool)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
