"""Named encoder sizes. Each size is a row of this table. Command-line options override its values."""

from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError


class Size(NamedTuple):
    """Shape of an encoder.

    Attributes:
        model_type: transformers' name of the family.
        positions: number of pieces in the longest sequence.
    """

    layers: int
    width: int
    heads: int
    feed_forward: int
    positions: int = 512
    model_type: str = "bert"


# Options that override a size, with their help texts.
OPTIONS = {
    "layers": "encoder layers",
    "width": "hidden size",
    "heads": "attention heads",
    "feed_forward": "inner size of the feed-forward blocks",
    "positions": "maximum sequence length, in pieces",
}

ARCHITECTURES: dict[str, Size] = {
    # Small sizes after Turc et al. 2019.
    "weam_tiny": Size(layers=2, width=128, heads=2, feed_forward=512),
    "weam_mini": Size(layers=4, width=256, heads=4, feed_forward=1024),
    "weam_small": Size(layers=6, width=384, heads=6, feed_forward=1536),
    "weam_base": Size(layers=12, width=768, heads=12, feed_forward=3072),
    # Shapes of published encoders.
    "weam_mbert_base": Size(layers=12, width=768, heads=12, feed_forward=3072),
    "weam_distilmbert": Size(layers=6, width=768, heads=12, feed_forward=3072, model_type="distilbert"),
    "weam_minilm": Size(layers=12, width=384, heads=12, feed_forward=1536),
    "weam_xlmr_base": Size(layers=12, width=768, heads=12, feed_forward=3072, model_type="xlm-roberta"),
    "weam_xlmr_large": Size(layers=24, width=1024, heads=16, feed_forward=4096, model_type="xlm-roberta"),
}
# --arch for an encoder that a checkpoint or --encoder-config describes.
PUBLISHED = "weam_published"

_KEYS = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "positions": "max_position_embeddings",
}
_DISTILBERT_KEYS = {**_KEYS, "layers": "n_layers", "width": "dim", "heads": "n_heads", "feed_forward": "hidden_dim"}


def overridden(size: Size, options: Any) -> Size:
    """Applies the values of command-line options to a size.

    Raises:
        InputError: the width is not a multiple of the heads.
    """
    given = {name: getattr(options, name, None) for name in OPTIONS}
    result = size._replace(**{name: value for name, value in given.items() if value is not None})
    if result.width % result.heads:
        raise InputError(f"--width must be a multiple of --heads, but {result.width} is not one of {result.heads}.")
    return result


def config_of(size: Size, pieces: int, special_ids: dict[str, int]) -> Any:
    """Builds the config of a new encoder.

    Args:
        pieces: number of the tokenizer's pieces.
        special_ids: tokenizer ids of pad, cls and sep.
    """
    from transformers import AutoConfig

    keys = _DISTILBERT_KEYS if size.model_type == "distilbert" else _KEYS
    values = {key: getattr(size, name) for name, key in keys.items()}
    pad = special_ids["pad"]
    if size.model_type == "xlm-roberta":
        # Positions count from the padding id + 1.
        values |= {"max_position_embeddings": size.positions + pad + 1, "layer_norm_eps": 1e-5, "type_vocab_size": 1}
        values |= {"bos_token_id": special_ids["cls"], "eos_token_id": special_ids["sep"]}
    return AutoConfig.for_model(size.model_type, vocab_size=pieces, pad_token_id=pad, **values)


def matches(size: Size | None, config: dict[str, Any], given: dict[str, str]) -> bool:
    """Whether a named size with the given options describes the encoder of a config.json.

    Args:
        size: the size; None: compare only the options.
        given: option -> value on the command line.
    """
    values = _values_of(config)
    expected: dict[str, Any] = {} if size is None else size._asdict()
    for name, text in given.items():
        expected[name] = int(text) if text.isdecimal() else text
    return all(name not in values or values[name] == value for name, value in expected.items())


def describe(config: dict[str, Any]) -> str:
    """Describes a config.json in a few words, for a log."""
    values = _values_of(config)
    pieces = config.get("vocab_size")
    rows = f", {pieces:,} pieces" if isinstance(pieces, int) else ""
    return f"{values.get('model_type')}, {values.get('layers')} layers × {values.get('width')}{rows}"


def _values_of(config: dict[str, Any]) -> dict[str, Any]:
    """Reads the values of a `Size` from a config.json."""
    model_type = config.get("model_type")
    keys = _DISTILBERT_KEYS if model_type == "distilbert" else _KEYS
    values = {name: config[key] for name, key in keys.items() if isinstance(config.get(key), int)}
    if model_type == "xlm-roberta" and "positions" in values and isinstance(config.get("pad_token_id"), int):
        values["positions"] -= config["pad_token_id"] + 1
    return {"model_type": model_type, **values}
