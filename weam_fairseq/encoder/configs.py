"""Reads configs of transformers without running code, compares them and sets their dropout."""

import json
from pathlib import Path
from typing import Any

from weam_fairseq.common.documents import shown
from weam_fairseq.common.errors import InputError, reason_of

# Keys of the families' configs for the probability of dropping a state and an attention weight.
DROPOUT_KEYS = ("hidden_dropout_prob", "hidden_dropout", "dropout", "resid_dropout", "mlp_dropout", "embedding_dropout")
ATTENTION_DROPOUT_KEYS = ("attention_probs_dropout_prob", "attention_dropout", "attention_dropout_prob")
# Our own key: weights that the config ties to others, but that have their own values in a published folder.
UNTIED = "weam_untied_weights"
# Keys that do not affect the computation.
_IGNORED_KEYS = {
    *("architectures", "transformers_version", "_name_or_path", "dtype", "torch_dtype", "id2label", "label2id"),
    *("use_cache", "tokenizer_class", "gradient_checkpointing", "classifier_dropout", "initializer_range"),
    *("problem_type", "num_labels", "return_dict", "output_attentions", "output_hidden_states", "finetuning_task"),
    *(
        "bos_token_id",
        "eos_token_id",
        "sep_token_id",
        "cls_token_id",
        "mask_token_id",
        "auto_map",
        "task_specific_params",
    ),
    *("directionality", "attn_implementation", "tie_word_embeddings"),
    UNTIED,
    *DROPOUT_KEYS,
    *ATTENTION_DROPOUT_KEYS,
}

# Keys of the families' configs that can hold a list with an entry for each layer.
_LISTS_BY_LAYER = ("layer_types", "attention_window")

# Limits far above any real model, so that an untrusted config cannot request all memory or endless layers.
_LIMITS = {
    "num_hidden_layers": 1_000,
    "hidden_size": 100_000,
    "intermediate_size": 1_000_000,
    "num_attention_heads": 10_000,
    "vocab_size": 10_000_000,
    "max_position_embeddings": 10_000_000,
    "type_vocab_size": 10_000,
}

OLD_CHECKPOINT = (
    "{where} must hold an encoder under transformers' names, but was written by an older version of weam_fairseq. "
    "Import the published encoder again with weam-from-hf, or train again."
)


def parse_config(values: dict[str, Any], where: Path | str = "The config") -> Any:
    """Builds a PretrainedConfig of transformers from a config.json. Never runs code from a model's repository.

    Raises:
        InputError: the model_type is missing or unknown to transformers, or a value is invalid for it.
    """
    from transformers import CONFIG_MAPPING

    model_type = values.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise InputError(
            f"{where} must have a model_type that the installed transformers knows, but has {shown(model_type)}. Code "
            "from a model's repository is never run. Choose a model of a family that is part of transformers."
        )
    try:
        config = CONFIG_MAPPING[model_type].from_dict(values)
    # transformers may raise any exception here. The user needs the name of the config and the reason.
    except Exception as error:
        raise InputError(
            f"{where} must hold valid values for {model_type}, but does not: {reason_of(error)}."
        ) from error
    config._name_or_path = ""
    _check_sizes(config, where)
    return config


def _check_sizes(config: Any, where: Path | str) -> None:
    for name, limit in _LIMITS.items():
        value = getattr(config, name, None)
        if isinstance(value, int) and not 0 <= value <= limit:
            raise InputError(f"{where} must have a {name} of 0 to {limit:,}, but has {value:,}.")


def plain_config(config: Any) -> dict[str, Any]:
    """Returns a config as the mapping of a config.json."""
    return dict(json.loads(config.to_json_string(use_diff=False)))


def difference_of(first: Any, second: Any) -> str | None:
    """Describes the first difference between two configs that affects the computation. None if there is none."""
    first_values, second_values = plain_config(first), plain_config(second)
    for key in sorted({*first_values, *second_values} - _IGNORED_KEYS):
        if first_values.get(key) != second_values.get(key):
            return f"{key} is {shown(first_values.get(key))} and {shown(second_values.get(key))}"
    return None


def first_layers(values: dict[str, Any], layers: int, where: Path | str = "The config") -> dict[str, Any]:
    """Returns a config.json of the first layers only. Known lists with an entry for each layer are cut as well.

    Args:
        values: a config.json of an encoder with at least that many layers.
        layers: from 1.

    Raises:
        InputError: the encoder has fewer layers.
    """
    config = parse_config(values, where)
    depth = config.num_hidden_layers
    if not 1 <= layers <= depth:
        raise InputError(f"--layers must be a number of layers to keep, 1 to {depth} for {where}, but is {layers}.")
    lists = {key: plain_config(config).get(key) for key in _LISTS_BY_LAYER if key in values}
    by_layer = {key: value[:layers] for key, value in lists.items() if isinstance(value, list)}
    return {**values, **by_layer, config.attribute_map.get("num_hidden_layers", "num_hidden_layers"): layers}


def set_dropout(config: Any, chance: float | None, attention_chance: float | None) -> None:
    """Sets the probabilities of dropping a state and an attention weight. None keeps the config's value.

    Raises:
        InputError: the family's config has no such value.
    """
    for option, value, keys in (
        ("--dropout", chance, DROPOUT_KEYS),
        ("--attention-dropout", attention_chance, ATTENTION_DROPOUT_KEYS),
    ):
        if value is None:
            continue
        present = [key for key in keys if isinstance(getattr(config, key, None), int | float)]
        if not present and value:
            raise InputError(
                f"{option} must be left out for model_type {config.model_type}, whose config has none of "
                f"{', '.join(keys)}, but is {value:g}."
            )
        for key in present:
            setattr(config, key, value)
