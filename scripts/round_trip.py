"""Random-weight folders in the shapes of published models, through weam-from-hf and weam-to-hf and compared.

Prints the table of docs/conversion.md. Example:
  python scripts/round_trip.py --vocab vocab.txt --layers 2
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from weam_fairseq.common.weights import read_weights
from weam_fairseq.convert import from_hf, to_hf

ROBERTA = {"type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
XLMR = {**ROBERTA, "vocab_size": 250_002, "max_position_embeddings": 514}
LARGE = {"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096}
MINI = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 250_037}
DEBERTA = {"relative_attention": True, "position_buckets": 256, "pos_att_type": ["p2c", "c2p"]}
DEBERTA |= {"norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0}
MODERN = {"vocab_size": 256_000, "hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 1152}
MODERN |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1, "cls_token_id": 1, "sep_token_id": 1}


class RoundTripModel(NamedTuple):
    """One row.

    Attributes:
        layers: of the published model.
        config: of its shape.
        head: whether the folder has the masked-LM head.
        kind: type of the weights.
        bin: a pickle in the place of safetensors.
    """

    name: str
    model_type: str
    layers: int
    config: dict[str, Any]
    head: bool = True
    kind: torch.dtype = torch.float32
    bin: bool = False


MODELS = [
    RoundTripModel("mBERT", "bert", 12, {"vocab_size": 119_547}),
    RoundTripModel("mBERT, .bin", "bert", 12, {"vocab_size": 119_547}, bin=True),
    RoundTripModel("DistilmBERT", "distilbert", 6, {"vocab_size": 119_547}),
    RoundTripModel("Multilingual MiniLM, e5-small (no head)", "bert", 12, MINI, head=False),
    RoundTripModel("XLM-R base, InfoXLM, XLM-Align", "xlm-roberta", 12, XLMR),
    RoundTripModel("XLM-R large", "xlm-roberta", 24, XLMR | LARGE),
    RoundTripModel(
        "bge-m3 (XLM-R large, no head), float16", "xlm-roberta", 24, XLMR | LARGE, head=False, kind=torch.float16
    ),
    RoundTripModel("mDeBERTa-v3 base", "deberta-v2", 12, {"vocab_size": 251_000, **DEBERTA}),
    RoundTripModel("mmBERT base", "modernbert", 22, MODERN),
    RoundTripModel("RemBERT", "rembert", 32, {"vocab_size": 250_300}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=Path, required=True, help="vocab.txt of bert-base-multilingual-cased, for all")
    parser.add_argument("--layers", type=int, default=2, help="of each model; 0: as many as the published one has")
    parser.add_argument("--only", help="rows whose name holds this")
    parser.add_argument("--keep", type=Path, help="write the folders and checkpoints here and keep them")
    args = parser.parse_args()
    print("| model | `model_type` | tensors | bit-identical | files equal | logits by rows | in, s | out, s |")
    print("|---|---|---|---|---|---|---|---|")
    wrong = 0
    for model in MODELS:
        if args.only and args.only not in model.name:
            continue
        name = model.name.replace(" ", "_")
        folder = args.keep / name if args.keep else Path(tempfile.mkdtemp(prefix="weam-round-trip-"))
        try:
            wrong += not row(model, folder, args)
        finally:
            if not args.keep:
                shutil.rmtree(folder)
    print(f"memory at the peak: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB", file=sys.stderr)
    sys.exit(1 if wrong else 0)


def row(model: RoundTripModel, folder: Path, args: argparse.Namespace) -> bool:
    """Prints one line; is everything as it should be?"""
    there, checkpoint, back = folder / "there", folder / "published.pt", folder / "back"
    make(model, there, args)
    start = time.perf_counter()
    done = from_hf.convert(there, checkpoint)
    read = time.perf_counter()
    to_hf.convert(checkpoint, back)
    written = time.perf_counter()
    before, after = read_weights(there).tensors, read_weights(back).tensors
    if not model.head:  # beside a new head the names have the base model's prefix
        after = {name.split(".", 1)[1]: value for name, value in after.items()}
    same = [n for n in before if n in after and after[n].dtype == before[n].dtype and torch.equal(before[n], after[n])]
    files = [path.name for path in there.iterdir() if path.suffix == ".json"]
    equal = [name for name in files if (there / name).read_bytes() == (back / name).read_bytes()]
    print(
        f"| {model.name} | `{model.model_type}` | {len(before)} | {len(same)} | {len(equal)} of {len(files)} | "
        f"{done.difference:.1e} | {read - start:.0f} | {written - read:.0f} |",
        flush=True,
    )
    return len(same) == len(before) and len(equal) == len(files)


def make(model: RoundTripModel, folder: Path, args: argparse.Namespace) -> None:
    """The folder, as transformers saves it, every parameter random."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    layers = args.layers or model.layers
    config = AutoConfig.for_model(model.model_type, num_hidden_layers=layers, **model.config)
    torch.manual_seed(1)
    built = (AutoModelForMaskedLM if model.head else AutoModel).from_config(config)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    built.to(model.kind).save_pretrained(folder)
    if model.bin:
        torch.save(read_weights(folder).tensors, folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    BertWordPieceTokenizer(str(args.vocab), lowercase=False).save(str(folder / "tokenizer.json"))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    names["tokenizer_class"] = "PreTrainedTokenizerFast"
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")


if __name__ == "__main__":
    main()
