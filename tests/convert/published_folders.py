"""Hugging Face folders with random weights, written by transformers itself, as published ones look."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", "Hello", "hello", "##a", "##b"]
SENTENCEPIECES = ["<s>", "<pad>", "</s>", "<unk>", *"▁abcdefgh", "▁a", "▁b", "ab", "<mask>"]
SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 42,
}


def write_wordpiece(folder: Path, *, lower: bool = False, name: str = "BertTokenizer") -> None:
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
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


def _write_model(folder: Path, name: str, config: dict[str, Any], **kwargs: Any) -> None:
    """A model of transformers with every parameter random, biases and norms too, saved as it saves itself."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    cls = getattr(transformers, name)
    torch.manual_seed(7)
    model = cls(cls.config_class(**config))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.to(kwargs.pop("dtype", torch.float32)).save_pretrained(folder, **kwargs)


def as_bin(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Replaces model.safetensors by a pytorch_model.bin with changed names or tensors."""
    from safetensors.torch import load_file

    file = folder / "model.safetensors"
    torch.save(change(load_file(file)), folder / "pytorch_model.bin")
    file.unlink()


def _old_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As Google's BERT was first converted: gamma and beta, the tied decoder and the position ids written out."""
    old = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
           for n, v in tensors.items()}  # fmt: skip
    old["cls.predictions.decoder.weight"] = old["bert.embeddings.word_embeddings.weight"]
    old["cls.predictions.decoder.bias"] = old["cls.predictions.bias"]
    old["bert.embeddings.position_ids"] = torch.arange(SHAPE["max_position_embeddings"])[None]
    return old


def mbert(folder: Path, name: str = "BertForPreTraining", **config: Any) -> Path:
    _write_model(folder, name, {"vocab_size": len(PIECES), **SHAPE, **config})
    write_wordpiece(folder)
    return folder


def mbert_uncased_bin(folder: Path) -> Path:
    mbert(folder)
    write_wordpiece(folder, lower=True)
    as_bin(folder, _old_names)
    return folder


def distilmbert(folder: Path) -> Path:
    shape = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 42}
    _write_model(folder, "DistilBertForMaskedLM", {"vocab_size": len(PIECES), **shape})
    write_wordpiece(folder, name="DistilBertTokenizer")
    return folder


def minilm(folder: Path) -> Path:
    """BERT with token types over XLM-R's pieces, more rows than pieces, no head."""
    _write_model(folder, "BertModel", {"vocab_size": len(SENTENCEPIECES) + 5, "pad_token_id": 1, **SHAPE})
    write_sentencepiece(folder)
    return folder


def xlmr(folder: Path, name: str = "XLMRobertaForMaskedLM", **kwargs: Any) -> Path:
    config = {"vocab_size": len(SENTENCEPIECES), "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
    config |= {"bos_token_id": 0, "eos_token_id": 2}
    _write_model(folder, name, config | SHAPE, **kwargs)
    write_sentencepiece(folder)
    return folder


def xlmr_in_parts(folder: Path) -> Path:
    return xlmr(folder, max_shard_size="4KB")


def xlm_align_bin(folder: Path) -> Path:
    xlmr(folder)
    as_bin(folder, lambda tensors: tensors)
    return folder


def half(folder: Path) -> Path:
    return xlmr(folder, dtype=torch.float16)


def untied(folder: Path) -> Path:
    return mbert(folder, "BertForMaskedLM", tie_word_embeddings=False)


def other_activation(folder: Path) -> Path:
    return mbert(folder, "BertForMaskedLM", hidden_act="gelu_new")


WITH_HEAD: dict[str, Callable[[Path], Path]] = {
    f.__name__: f
    for f in (mbert, mbert_uncased_bin, distilmbert, xlmr, xlmr_in_parts, xlm_align_bin, half, untied, other_activation)
}
