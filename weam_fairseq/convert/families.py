"""The published families: their names for our parameters, and their configurations for our shapes.

One ordered table for each, read in both directions (keys.py). A folder's `model_type` says which family it is.
"""

from typing import Any, NamedTuple

from ..common.errors import InputError
from ..encoder import ACTIVATIONS, EncoderConfig


class Family(NamedTuple):
    """How one family writes a masked language model.

    Attributes:
        model_types: of config.json.
        prefix: of the encoder's names in a model with a head; a folder of the bare encoder leaves it out.
        modules: (ours, theirs), each with weight, bias or both; {i} stands for the layer's number.
        parameters: (ours, theirs) of parameters that stand alone.
        aliases: (theirs, theirs): a second name for the same tensor.
        fields: our field of EncoderConfig -> key of config.json.
        masked_lm: transformers' class of the model with a head.
    """

    model_types: tuple[str, ...]
    prefix: str
    modules: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]
    aliases: tuple[tuple[str, str], ...]
    fields: dict[str, str]
    masked_lm: str


def _bert_encoder(prefix: str) -> tuple[tuple[str, str], ...]:
    layer = f"{prefix}encoder.layer.{{i}}"
    return (
        ("embeddings.word", f"{prefix}embeddings.word_embeddings"),
        ("embeddings.position", f"{prefix}embeddings.position_embeddings"),
        ("embeddings.segment", f"{prefix}embeddings.token_type_embeddings"),
        ("embeddings.norm", f"{prefix}embeddings.LayerNorm"),
        ("layers.{i}.attention.query", f"{layer}.attention.self.query"),
        ("layers.{i}.attention.key", f"{layer}.attention.self.key"),
        ("layers.{i}.attention.value", f"{layer}.attention.self.value"),
        ("layers.{i}.attention.output", f"{layer}.attention.output.dense"),
        ("layers.{i}.attention.norm", f"{layer}.attention.output.LayerNorm"),
        ("layers.{i}.feed_forward.up", f"{layer}.intermediate.dense"),
        ("layers.{i}.feed_forward.down", f"{layer}.output.dense"),
        ("layers.{i}.feed_forward.norm", f"{layer}.output.LayerNorm"),
    )


_BERT_FIELDS = {
    "vocabulary": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "feed_forward": "intermediate_size",
    "positions": "max_position_embeddings",
    "segments": "type_vocab_size",
    "norm_eps": "layer_norm_eps",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}

BERT = Family(
    model_types=("bert",),
    prefix="bert.",
    modules=(
        *_bert_encoder("bert."),
        ("head.dense", "cls.predictions.transform.dense"),
        ("head.norm", "cls.predictions.transform.LayerNorm"),
    ),
    parameters=(("head.bias", "cls.predictions.bias"), ("head.decoder.weight", "cls.predictions.decoder.weight")),
    aliases=(
        ("cls.predictions.decoder.bias", "cls.predictions.bias"),
        ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
    ),
    fields=_BERT_FIELDS,
    masked_lm="BertForMaskedLM",
)

ROBERTA = Family(
    model_types=("xlm-roberta", "roberta"),
    prefix="roberta.",
    modules=(
        *_bert_encoder("roberta."),
        ("head.dense", "lm_head.dense"),
        ("head.norm", "lm_head.layer_norm"),
    ),
    parameters=(("head.bias", "lm_head.bias"), ("head.decoder.weight", "lm_head.decoder.weight")),
    aliases=(
        ("lm_head.decoder.bias", "lm_head.bias"),
        ("lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight"),
    ),
    fields=_BERT_FIELDS,
    masked_lm="XLMRobertaForMaskedLM",
)

_DISTIL_LAYER = "distilbert.transformer.layer.{i}"

DISTILBERT = Family(
    model_types=("distilbert",),
    prefix="distilbert.",
    modules=(
        ("embeddings.word", "distilbert.embeddings.word_embeddings"),
        ("embeddings.position", "distilbert.embeddings.position_embeddings"),
        ("embeddings.norm", "distilbert.embeddings.LayerNorm"),
        ("layers.{i}.attention.query", f"{_DISTIL_LAYER}.attention.q_lin"),
        ("layers.{i}.attention.key", f"{_DISTIL_LAYER}.attention.k_lin"),
        ("layers.{i}.attention.value", f"{_DISTIL_LAYER}.attention.v_lin"),
        ("layers.{i}.attention.output", f"{_DISTIL_LAYER}.attention.out_lin"),
        ("layers.{i}.attention.norm", f"{_DISTIL_LAYER}.sa_layer_norm"),
        ("layers.{i}.feed_forward.up", f"{_DISTIL_LAYER}.ffn.lin1"),
        ("layers.{i}.feed_forward.down", f"{_DISTIL_LAYER}.ffn.lin2"),
        ("layers.{i}.feed_forward.norm", f"{_DISTIL_LAYER}.output_layer_norm"),
        ("head.dense", "vocab_transform"),
        ("head.norm", "vocab_layer_norm"),
    ),
    parameters=(("head.bias", "vocab_projector.bias"), ("head.decoder.weight", "vocab_projector.weight")),
    aliases=(("vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight"),),
    fields={
        "vocabulary": "vocab_size",
        "layers": "n_layers",
        "width": "dim",
        "heads": "n_heads",
        "feed_forward": "hidden_dim",
        "positions": "max_position_embeddings",
        "activation": "activation",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
    },
    masked_lm="DistilBertForMaskedLM",
)

FAMILIES = (BERT, ROBERTA, DISTILBERT)


def family_of(config: dict[str, Any], where: str) -> Family:
    """The family of a config.json.

    Raises:
        InputError: another model, or a variant whose arithmetic is not that of the family.
    """
    model_type = config.get("model_type")
    known = {name: family for family in FAMILIES for name in family.model_types}
    if model_type not in known:
        raise InputError(f"{where} must be of model_type {', '.join(known)}, but is {model_type!r}.")
    for key, wanted in (
        ("position_embedding_type", "absolute"),
        ("is_decoder", False),
        ("add_cross_attention", False),
        ("sinusoidal_pos_embds", False),
    ):
        if config.get(key, wanted) != wanted:
            raise InputError(f"{where} must have {key} {wanted!r}, but has {config[key]!r}: that model is another one.")
    return known[model_type]


def shape_of(family: Family, config: Any, *, pad: int, untied_head: bool, where: str) -> EncoderConfig:
    """Our shape of a transformers configuration.

    Args:
        config: a PretrainedConfig, so that what config.json leaves out has the class's default.
        pad: fairseq id of the padding piece.
    """
    values = {ours: getattr(config, theirs) for ours, theirs in family.fields.items()}
    if values["activation"] not in ACTIVATIONS:
        raise InputError(
            f"{where} must have an activation of {', '.join(ACTIVATIONS)}, but has {values['activation']!r}."
        )
    if family is ROBERTA:
        # RoBERTa counts positions from the padding's id + 1, and its head always has GELU.
        values |= {"position_offset": config.pad_token_id + 1, "head_activation": "gelu"}
    else:
        values |= {"head_activation": values["activation"]}
    if family is DISTILBERT:
        values |= {"segments": 0, "norm_eps": 1e-12}  # fixed in transformers' class
    return EncoderConfig(pad=pad, untied_head=untied_head, **values)


def family_for(config: EncoderConfig, pad_token_id: int) -> Family:
    """The family that can hold an encoder that was trained from scratch.

    BERT's where RoBERTa's could not: transformers derives RoBERTa's first position from the padding's id.
    """
    if config.position_offset and config.position_offset == pad_token_id + 1:
        return ROBERTA
    return BERT if config.segments else DISTILBERT


def describe(family: Family, config: EncoderConfig, pad_token_id: int) -> dict[str, Any]:
    """Keyword arguments of transformers' configuration class for an encoder that was trained from scratch."""
    values = {theirs: getattr(config, ours) for ours, theirs in family.fields.items()}
    if family is not ROBERTA:
        values[family.fields["positions"]] = config.longest
    return values | {"pad_token_id": pad_token_id, "tie_word_embeddings": not config.untied_head}
