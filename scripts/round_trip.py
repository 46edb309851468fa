"""Random-weight folders in the shapes of published models, through weam-from-hf and weam-to-hf and compared.

Prints the table of docs/conversion.md. The vocabularies are the true ones: give mBERT's vocab.txt and XLM-R's
tokenizer.json. Example:
  python scripts/round_trip.py --mbert-vocab vocab.txt --xlmr-tokenizer tokenizer.json --layers 2
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from weam_fairseq.convert.compare import largest_difference, load

from weam_fairseq.convert import from_hf, to_hf
from weam_fairseq.convert.weights import read_weights

XLMR = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1}
XLMR |= {"bos_token_id": 0, "eos_token_id": 2}
LARGE = {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}
MINI = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}


class Model(NamedTuple):
    """One row: name, transformers' class, config, rows of the vocabulary, tokenizer, weight file, has it a head."""

    name: str
    cls: str
    config: dict[str, Any]
    rows: int
    tokenizer: str
    bin: bool = False
    head: bool = True


MODELS = [
    Model("mBERT cased", "BertForPreTraining", {}, 119_547, "cased"),
    Model("mBERT, uncased, .bin", "BertForPreTraining", {}, 119_547, "uncased", bin=True),
    Model("DistilmBERT", "DistilBertForMaskedLM", {}, 119_547, "cased"),
    Model("MiniLM (no head)", "BertModel", MINI | {"pad_token_id": 1}, 250_037, "xlmr", head=False),
    Model("XLM-R base, InfoXLM", "XLMRobertaForMaskedLM", XLMR, 250_002, "xlmr"),
    Model("XLM-Align, .bin", "XLMRobertaForMaskedLM", XLMR, 250_002, "xlmr", bin=True),
    Model("XLM-R large", "XLMRobertaForMaskedLM", XLMR | LARGE, 250_002, "xlmr"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mbert-vocab", type=Path, required=True, help="vocab.txt of bert-base-multilingual-cased")
    parser.add_argument("--xlmr-tokenizer", type=Path, required=True, help="tokenizer.json of XLM-R")
    parser.add_argument("--layers", type=int, default=2, help="of each model; 0: as many as the published one has")
    parser.add_argument("--only", help="rows whose name holds this")
    parser.add_argument("--keep", type=Path, help="write the folders and checkpoints here and keep them")
    args = parser.parse_args()
    print("| model | tensors | bit-identical | files equal | logits, eager | logits, SDPA | in, s | out, s |")
    print("|---|---|---|---|---|---|---|---|")
    wrong = 0
    for model in MODELS:
        if args.only and args.only not in model.name:
            continue
        folder = (
            args.keep / model.name.replace(" ", "_") if args.keep else Path(tempfile.mkdtemp(prefix="weam-round-trip-"))
        )
        try:
            wrong += not row(model, folder, args)
        finally:
            if not args.keep:
                shutil.rmtree(folder)
    sys.exit(1 if wrong else 0)


def row(model: Model, folder: Path, args: argparse.Namespace) -> bool:
    """Prints one line; is everything as it should be?"""
    there, checkpoint, back = folder / "there", folder / "published.pt", folder / "back"
    make(model, there, args)
    start = time.perf_counter()
    from_hf.convert(there, checkpoint, new_head=not model.head)
    read = time.perf_counter()
    to_hf.convert(checkpoint, back)
    written = time.perf_counter()
    before, after = read_weights(there).tensors, read_weights(back).tensors
    # A folder without a head gets one, and with it the names of the class with a head.
    names = {name: name if model.head else f"bert.{name}" for name in before}
    same = [name for name in before if names[name] in after and torch.equal(before[name], after[names[name]])]
    files = [
        file for file in from_hf.CARRIED_FILES if (there / file).is_file() and (model.head or file != "config.json")
    ]
    equal = [file for file in files if (there / file).read_bytes() == (back / file).read_bytes()]
    carried = to_hf.read(checkpoint)
    differences = [
        largest_difference(carried.encoder, carried.order, load(back, attention=attention).model)
        for attention in ("eager", "sdpa")
    ]
    print(
        f"| {model.name} | {len(before)} | {len(same)} | {len(equal)} of {len(files)} | {differences[0]:.1e} | "
        f"{differences[1]:.1e} | {read - start:.0f} | {written - read:.0f} |",
        flush=True,
    )
    return len(same) == len(before) and len(equal) == len(files) and max(differences) <= to_hf.TOLERANCE


def make(model: Model, folder: Path, args: argparse.Namespace) -> None:
    """The folder, as transformers saves it, every parameter random."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    cls = getattr(transformers, model.cls)
    config = cls.config_class(vocab_size=model.rows, **model.config)
    if args.layers:
        config.num_hidden_layers = args.layers
    torch.manual_seed(1)
    built = cls(config)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    built.save_pretrained(folder)
    if model.bin:
        torch.save(read_weights(folder).tensors, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    names: dict[str, Any] = {"model_max_length": 512}
    if model.tokenizer == "xlmr":
        shutil.copyfile(args.xlmr_tokenizer, folder / "tokenizer.json")
        names |= {"tokenizer_class": "PreTrainedTokenizerFast", "cls_token": "<s>", "sep_token": "</s>"}
        names |= {"bos_token": "<s>", "eos_token": "</s>"}
        names |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    else:
        shutil.copyfile(args.mbert_vocab, folder / "vocab.txt")
        names |= {"tokenizer_class": "BertTokenizer", "do_lower_case": model.tokenizer == "uncased"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")


if __name__ == "__main__":
    main()
