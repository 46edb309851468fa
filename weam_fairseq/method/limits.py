"""Pure: limits for the numeric options of a training. fairseq accepts any number, and fails late or trains badly."""

import math
from argparse import Namespace
from collections.abc import Callable
from typing import NamedTuple

from weam_fairseq.common.arguments import suggest
from weam_fairseq.common.documents import shown
from weam_fairseq.common.errors import InputError


class Limit(NamedTuple):
    """A limit on a number: the rule for the message, and the check."""

    rule: str
    holds: Callable[[float], bool]


FROM_1 = Limit("be 1 or more", lambda x: x >= 1)
FROM_0 = Limit("be 0 or more", lambda x: x >= 0)
FROM_MINUS_1 = Limit("be -1 (no limit) or more", lambda x: x >= -1)
OVER_0 = Limit("be over 0", lambda x: x > 0)
CHANCE = Limit("lie between 0 and 1", lambda x: 0 < x < 1)
DROPPED = Limit("be 0 or more and less than 1", lambda x: 0 <= x < 1)
# NumPy accepts 32 bits, and fairseq adds the number of the epoch or the update.
SEED = Limit(f"lie between 0 and {2**31 - 1}", lambda x: 0 <= x < 2**31)

# By the names of fairseq's and our parsed options. All other numbers must only be finite.
LIMITS = {
    **dict.fromkeys(("batch_size", "batch_size_valid", "max_tokens", "max_tokens_valid", "update_freq"), FROM_1),
    **dict.fromkeys(("log_interval", "save_interval", "validate_interval", "distributed_world_size"), FROM_1),
    **dict.fromkeys(("layers", "width", "heads", "feed_forward", "positions"), FROM_1),
    **dict.fromkeys(("max_update", "max_epoch", "warmup_updates", "validate_after_updates", "max_valid_steps"), FROM_0),
    **dict.fromkeys(("save_interval_updates", "validate_interval_updates", "stop_time_hours", "curriculum"), FROM_0),
    **dict.fromkeys(("num_workers", "head_first", "retrieval_pairs", "data_buffer_size", "empty_cache_freq"), FROM_0),
    **dict.fromkeys(("lr", "end_learning_rate", "warmup_init_lr", "weight_decay", "clip_norm", "momentum"), FROM_0),
    **dict.fromkeys(("keep_interval_updates", "keep_last_epochs", "keep_best_checkpoints", "patience"), FROM_MINUS_1),
    **dict.fromkeys(("adam_eps", "power", "total_num_update", "sampling_temperature"), OVER_0),
    **dict.fromkeys(("dropout", "attention_dropout"), DROPPED),
    "cp_weight": FROM_0,
    "mask_prob": CHANCE,
    "seed": SEED,
}


def check_numbers(args: Namespace) -> None:
    """Checks all numbers in a training's parsed options.

    Raises:
        InputError: a number is not finite or out of its limits.
    """
    for name, given in vars(args).items():
        for value in given if isinstance(given, list | tuple) else [given]:
            if name in LIMITS and isinstance(value, str):  # fairseq keeps --total-num-update as a string
                check_number(name, _number(name, value))
            if isinstance(value, int | float) and not isinstance(value, bool):
                check_number(name, value)


def check_number(name: str, value: float) -> None:
    """Raises InputError unless an option's number is finite and within its limits."""
    limit = LIMITS.get(name)
    if not math.isfinite(value):
        raise InputError(f"{option(name)} must {limit.rule if limit else 'be a finite number'}, but is {value}.")
    if limit is not None and not limit.holds(value):
        raise InputError(f"{option(name)} must {limit.rule}, but is {value:g}.")


def check_argument(name: str, value: float) -> None:
    """`check_number` for an argument of a Python function."""
    if not (math.isfinite(value) and LIMITS[name].holds(value)):
        raise InputError(f"{name} must {LIMITS[name].rule}, but is {value:g}.")


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raises InputError unless an argument of a Python function is one of the allowed values."""
    if value not in choices:
        raise InputError(
            f"{name} must be one of {', '.join(choices)}, but is {shown(value)}.{suggest(str(value), choices)}"
        )


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option(name)} must be a number, but is {text}.") from None


def option(name: str) -> str:
    """Turns a name in fairseq's configuration into a command-line option."""
    return f"--{name.replace('_', '-')}"
