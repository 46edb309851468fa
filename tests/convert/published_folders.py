"""Tiny models of every masked-LM family of transformers, each parameter random, and folders of them as published."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import AutoConfig, AutoModelForMaskedLM

from weam_fairseq.convert import to_hf
from weam_fairseq.plugin import checkpoints

WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "Hello", "hello", "##a", "##b"]
SENTENCEPIECES = ["<s>", "<pad>", "</s>", "<unk>", *"▁abcdefgh", "▁a", "▁b", "ab", "<mask>"]
ROWS = 100  # of the embeddings: more than pieces
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}
SPECIAL = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0, "sep_token_id": 2}
# What a family needs besides, or names otherwise.
OTHERWISE: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 16},
    "big_bird": {"attention_type": "original_full"},
    "convbert": {"embedding_size": 32},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False},
    "deberta-v2": {
        **{"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
        **{"position_buckets": 8, "share_att_key": True, "norm_rel_ebd": "layer_norm", "type_vocab_size": 0},
    },
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "electra": {"embedding_size": 16},
    "esm": {"mask_token_id": 3},
    "esmc": {"mask_token_id": 3},
    "eurobert": {"num_key_value_heads": 2, "mask_token_id": 3},
    "flaubert": {"emb_dim": 32, "n_layers": 2, "n_heads": 2, "pad_index": 1},
    "funnel": {"d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64, "block_sizes": [1, 1], "num_decoder_layers": 1},
    "gte": {"type_vocab_size": 2},
    "longformer": {"attention_window": 8},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 8},
    "mobilebert": {"embedding_size": 16, "true_hidden_size": 16, "intra_bottleneck_size": 16},
    "neomme": {"num_key_value_heads": 1, "head_dim": 16, "embedding_rank": 16},
    "reformer": {
        **{"attn_layers": ["local", "local"], "axial_pos_embds": False, "attention_head_size": 16},
        **{"feed_forward_size": 64, "local_attn_chunk_length": 8, "lsh_attn_chunk_length": 8},
    },
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roc_bert": {"shape_vocab_size": 10, "pronunciation_vocab_size": 10, "shape_embed_dim": 8},
    "squeezebert": {"embedding_size": 32},
    "ultrabert": {},
    "xlm": {"emb_dim": 32, "n_layers": 2, "n_heads": 2, "pad_index": 1},
    "xmod": {"languages": ["en_XX", "de_DE"], "default_language": "en_XX", "adapter_reduction_factor": 2},
}


def tiny_config(model_type: str, **more: Any) -> Any:
    """The config of a model of a few thousand parameters; a bigger one for families of several towers."""
    known = AutoConfig.for_model(model_type)
    names = {*known.to_dict(), *known.attribute_map}
    given = {"vocab_size": ROWS, **SHAPE, **SPECIAL, **OTHERWISE.get(model_type, {}), **more}
    return AutoConfig.for_model(model_type, **{name: value for name, value in given.items() if name in names})


def randomize(model: Any, seed: int = 0) -> Any:
    """Every parameter random, biases and norms too: nothing may be equal by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


def write_model(folder: Path, config: Any, model_class: Any = AutoModelForMaskedLM, **options: Any) -> Any:
    """A folder as transformers saves it; returns the model."""
    transformers.utils.logging.disable_progress_bar()
    make = model_class.from_config if model_class is AutoModelForMaskedLM else model_class
    model = randomize(make(config)).to(options.pop("dtype", torch.float32))
    model.save_pretrained(folder, **options)
    return model


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Writes model.safetensors again with other names or tensors."""
    tensors = change(load_file(folder / "model.safetensors"))
    save_file({name: value.clone() for name, value in tensors.items()}, folder / "model.safetensors")


def as_bin(folder: Path, parts: int = 1) -> None:
    """pytorch_model.bin in the place of model.safetensors, or so many parts of it with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    if parts == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
        return
    weight_map = {}
    for part in range(parts):
        name = f"pytorch_model-{part + 1:05}-of-{parts:05}.bin"
        names = list(tensors)[part::parts]
        torch.save({each: tensors[each] for each in names}, folder / name)
        weight_map |= dict.fromkeys(names, name)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def write_wordpiece(folder: Path, *, lower: bool = False, name: str = "BertTokenizer") -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDPIECES) + "\n", encoding="utf-8")
    config = {"tokenizer_class": name, "do_lower_case": lower}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def write_sentencepiece(folder: Path) -> None:
    """A tokenizer.json as XLM-R's: unigram pieces, <s> A </s></s> B </s>, no segment ids."""
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0 - i) for i, piece in enumerate(SENTENCEPIECES)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    names = {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    names |= {"cls_token": "<s>", "sep_token": "</s>"}
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B:0 </s>:0",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def mbert(folder: Path, **config: Any) -> Path:
    """BERT as Google trained it: a pooler and a next-sentence head beside the masked-LM head."""
    special = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
    write_model(folder, tiny_config("bert", **special, **config), transformers.BertForPreTraining)
    write_wordpiece(folder)
    return folder


def distilmbert(folder: Path) -> Path:
    write_model(folder, tiny_config("distilbert", pad_token_id=0))
    write_wordpiece(folder, name="DistilBertTokenizer")
    return folder


def minilm(folder: Path) -> Path:
    """BERT over XLM-R's pieces, no head."""
    write_model(folder, tiny_config("bert"), transformers.BertModel)
    write_sentencepiece(folder)
    return folder


def xlmr(folder: Path, **options: Any) -> Path:
    write_model(folder, tiny_config("xlm-roberta"), **options)
    write_sentencepiece(folder)
    return folder


def xlmr_in_parts(folder: Path) -> Path:
    return xlmr(folder, max_shard_size="20KB")


def train(checkpoint: Path) -> None:
    """Moves every parameter of a checkpoint, as an update does."""
    state = checkpoints.load(checkpoint)
    model = randomize(to_hf.read(checkpoint).model, seed=1)
    state["model"] |= {f"masked_lm.{name}": value for name, value in model.state_dict().items()}
    torch.save(state, checkpoint)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return sorted(one) == sorted(other) and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )
