"""weam-show: shows sentence pairs with their links and masks, and both predictions of each masked piece."""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from weam_fairseq.common.arguments import CommandParser, natural
from weam_fairseq.common.command import run_command
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.files import check_file_destination, write_json
from weam_fairseq.common.tokenizers import open_tokenizer

if TYPE_CHECKING:
    from weam_fairseq.data.split import Pair
    from weam_fairseq.method.dataset import WordExchangeDataset

PROG = "weam-show"
TOP = 3


class ShownSide(NamedTuple):
    """One sentence of a pair: the rows of its pieces in the batch, and the texts of its pieces and words."""

    name: str
    language: str
    rows: np.ndarray
    pieces: list[str]
    words: list[str]


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 after one sentence on stderr."""
    return run_command(PROG, lambda: _run(argv))


def _run(argv: list[str] | None) -> None:
    parser = CommandParser(
        prog=PROG,
        description="Shows sentence pairs of a data-bin: word links, masked pieces, the pieces linked to them, and the "
        "model's predictions before and after the exchange.",
        epilog=f"example:\n  {PROG} runs/weam/checkpoint_last.pt data-bin --pair en-de --index 3 --index 5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint (.pt) of weam-train")
    parser.add_argument("data_bin", type=Path, help="data-bin made by weam-preprocess")
    parser.add_argument(
        "--pair", required=True, action="append", metavar="XX-YY", help="language pair, for example en-de; repeatable"
    )
    parser.add_argument("--split", default="valid", help="split of the data-bin (default: valid)")
    parser.add_argument(
        "--index",
        type=int,
        action="append",
        metavar="N",
        help="index in the split, from 0 (default: 0); repeatable",
    )
    parser.add_argument("--mask-prob", type=float, default=0.3, metavar="P", help="masking probability (default: 0.3)")
    parser.add_argument("--seed", type=natural, default=1, help="seed of the masks (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the examples as JSON instead of showing them")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)  # before importing fairseq, which would log its missing speech packages
    if args.json is not None:
        check_file_destination(args.json, overwrite=True)
        args.json.parent.mkdir(parents=True, exist_ok=True)
    examples = [
        example
        for pair in args.pair
        for example in explain(
            args.checkpoint, args.data_bin, args.split, pair, args.index or [0], args.mask_prob, args.seed
        )
    ]
    if args.json is None:
        print("\n\n".join(map(render, examples)))
    else:
        write_json(args.json, {"models": [args.checkpoint.parent.name], "examples": examples})


def explain(
    checkpoint: Path, data_bin: Path, split: str, pair: str, indices: list[int], mask_prob: float, seed: int
) -> list[dict[str, Any]]:
    """Returns examples as plain values: words, pieces, links, and the partners and predictions of each masked piece."""
    import torch

    from weam_fairseq.convert.to_hf import read
    from weam_fairseq.data.databin import read_dictionary, read_manifest, read_vocabulary
    from weam_fairseq.data.split import open_split
    from weam_fairseq.method.dataset import WordExchangeDataset
    from weam_fairseq.method.limits import check_number
    from weam_fairseq.method.modeling import WordExchange
    from weam_fairseq.method.policy import Policy, check_probabilities

    check_number("mask_prob", mask_prob)
    manifest = read_manifest(data_bin)
    if pair not in manifest["pairs"]:
        raise InputError(f"--pair must be one of {', '.join(manifest['pairs'])}, but is {pair}.")
    carried = read(checkpoint)
    if carried.pieces_sha256 != manifest["tokenizer"]["pieces_sha256"]:
        raise InputError(
            f"{checkpoint} and {data_bin} must have the same tokenizer, but their pieces differ. Give "
            "the data-bin on which the checkpoint was trained."
        )
    vocabulary = read_vocabulary(manifest, read_dictionary(data_bin, pair.split("-")[0], manifest))
    # The policy of the training, but always with links and with pairs in one sequence, because those are to be shown.
    trained = Policy.of(carried.description["method"] or Policy().plain())
    policy = replace(trained, mask_prob=mask_prob, objective="weam", shuffle_order=False)
    check_probabilities(manifest, data_bin, policy.links)
    pairs_of_split = open_split(data_bin, split, pair, policy.links.weighted)
    dataset = WordExchangeDataset([pairs_of_split], vocabulary, policy, seed, fixed_epoch=0)
    names = _piece_names(data_bin / manifest["tokenizer"]["folder"], len(vocabulary))
    model = WordExchange(
        carried.model, cp_head="own" if carried.own_head else "shared", reset_positions=policy.reset_positions
    ).eval()
    if model.own_head is not None:
        model.own_head.load_state_dict(carried.own_head)
    examples = []
    for index in indices:
        if not 0 <= index < len(dataset):
            raise InputError(f"--index must lie in 0..{len(dataset) - 1} for {split} of {pair}, but is {index}.")
        with torch.no_grad():
            examples.append(_explain_one(dataset, index, model, names, pair))
    return examples


def _explain_one(
    dataset: "WordExchangeDataset", index: int, model: Any, names: list[str], pair_name: str
) -> dict[str, Any]:
    from weam_fairseq.method.word_exchange import exchange_rows

    pair = dataset[index]
    batch = dataset.collater([pair])["net_input"]
    states = model.states(batch["tokens"], batch["attention_mask"], batch["segments"], batch.get("positions"))[0]
    exchange, masked = batch["exchange"], batch["masked_rows"]
    own = _top(model.predictor.logits(states[masked]), names)
    # The second prediction is of all masked rows, and a second head predicts rows without links differently too.
    exchanged = states[masked].index_copy(0, exchange.linked, exchange_rows(states, exchange))
    again = _top(model.cp_predictor.logits(exchanged), names)
    sides = _sides(dataset, pair, names, pair_name)
    location = {int(row): (side.name, i) for side in sides for i, row in enumerate(side.rows)}
    pieces = {side.name: side.pieces for side in sides}
    masked_pieces = []
    for n, row in enumerate(masked.tolist()):
        side, piece_idx = location[row]
        edges = (exchange.linked[exchange.segment] == n).nonzero().flatten()
        partners = [location[int(exchange.origin[edge])] for edge in edges]
        masked_pieces.append(
            {
                "side": side,
                "piece_idx": piece_idx,
                "piece": pieces[side][piece_idx],
                "input_piece": names[int(batch["tokens"][0, row])],
                "exchanged_with": [{"side": s, "piece_idx": i, "piece": pieces[s][i]} for s, i in partners],
                "own_top": own[n],
                "exchanged_top": again[n],
            }
        )
    word_links = {(int(pair.source_words[i]), int(pair.target_words[j])) for i, j in pair.links}
    return {
        "pair": pair_name,
        "index": index,
        **{s.name: {"language": s.language, "words": s.words, "pieces": s.pieces} for s in sides},
        "word_links": sorted(word_links),
        "piece_links": pair.links.tolist(),
        "masked": masked_pieces,
    }


def _sides(dataset: "WordExchangeDataset", pair: "Pair", names: list[str], pair_name: str) -> list[ShownSide]:
    before, between = len(dataset.vocabulary.pair.before), len(dataset.vocabulary.pair.between)
    source_rows = np.arange(len(pair.source)) + before
    target_rows = np.arange(len(pair.target)) + before + len(pair.source) + between
    languages = pair_name.split("-")
    return [
        _side("source", languages[0], source_rows, pair.source, pair.source_words, names),
        _side("target", languages[1], target_rows, pair.target, pair.target_words, names),
    ]


def _side(
    name: str, language: str, rows: np.ndarray, ids: np.ndarray, words: np.ndarray, names: list[str]
) -> ShownSide:
    pieces = [names[i] for i in ids]
    texts = [""] * (int(words.max()) + 1)
    for piece, word in zip(pieces, words, strict=True):
        texts[word] += piece.removeprefix("##").removeprefix("▁")
    return ShownSide(name, language, rows, pieces, texts)


def _piece_names(folder: Path, pieces: int) -> list[str]:
    """Returns the text of each piece."""
    names: list[str] = open_tokenizer(folder).convert_ids_to_tokens(range(pieces))
    return names


def _top(logits: Any, names: list[str]) -> list[list[str]]:
    # A model can have more rows than its tokenizer has pieces.
    return [[names[i] for i in row] for row in logits[:, : len(names)].topk(TOP).indices.tolist()]


def render(example: dict[str, Any]) -> str:
    """Formats one example for a terminal."""
    lines = [f"{example['pair']} pair {example['index']}"]
    for side in ("source", "target"):
        lines.append(f"  {example[side]['language']}: {' '.join(example[side]['pieces'])}")
    source, target = example["source"]["words"], example["target"]["words"]
    lines.append("  links: " + (", ".join(f"{source[i]}–{target[j]}" for i, j in example["word_links"]) or "none"))
    header = ("masked piece", "seen as", "own row predicts", "exchanged with", "exchanged row predicts")
    table = [header]
    for m in example["masked"]:
        partners = " ".join(p["piece"] for p in m["exchanged_with"]) or "(no link: its own row)"
        table.append((m["piece"], m["input_piece"], " ".join(m["own_top"]), partners, " ".join(m["exchanged_top"])))
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
