"""The Python interface: data-bins for torch's DataLoader, Hugging Face's Trainer and accelerate, without fairseq.

docs/python.md has examples. For the same seed, epoch and batch size the batches are those of weam-train.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_type_hints

import numpy as np
from torch import Tensor
from torch.utils.data import Sampler

from weam_fairseq.common.documents import shown
from weam_fairseq.common.errors import InputError
from weam_fairseq.common.process_setup import open_more_files
from weam_fairseq.data.databin import choose_pairs, read_manifest, read_symbols, read_vocabulary
from weam_fairseq.data.split import Pair
from weam_fairseq.method.batch import flat
from weam_fairseq.method.dataset import WordExchangeDataset
from weam_fairseq.method.limits import check_argument, check_choice
from weam_fairseq.method.objectives import OBJECTIVES
from weam_fairseq.method.policy import Policy, check_probabilities
from weam_fairseq.method.word_exchange import LinkPolicy

if TYPE_CHECKING:
    from weam_fairseq.method.modeling import WordExchange


def load_data(
    data_bin: str | Path,
    split: Literal["train", "valid"] = "train",
    pairs: Sequence[str] | None = None,
    seed: int = 1,
    *,
    objective: str = "weam",
    mask_prob: float = 0.3,
    mask_replace: Literal["bert", "all"] = "bert",
    mask_unit: Literal["piece", "word"] = "piece",
    one_to_many: Literal["mean", "first", "one-to-one", "weighted"] = "mean",
    piece_policy: Literal["all", "first", "monotone"] = "all",
    skip_identical: bool = False,
    one_segment: bool = False,
    reset_positions: bool = False,
    shuffle_order: bool = False,
    sampling_temperature: float = 1.0,
) -> WordExchangeDataset:
    """Opens a split of a data-bin that weam-preprocess made.

    Args:
        data_bin: folder of the data-bin.
        split: `train` or `valid`. `valid` always draws the same masks, and measures both losses with the true links
            for every objective.
        pairs: language pairs, for example ["en-de", "en-es"]; None: all pairs of the data-bin.
        seed: seed of masks, wrong links, order and sampling.
        objective: a name in `OBJECTIVES` (objectives.py), which describes each objective.
        mask_prob: probability that a unit is masked.
        mask_replace: `bert` (80 % [MASK], 10 % a random piece, 10 % kept) or `all` (always [MASK]).
        mask_unit: the unit that is masked: single pieces or whole words.
        one_to_many: what a word with several links receives: their mean, the first one, nothing, or their mean
            weighted by link probability.
        piece_policy: which pieces of a linked word are exchanged: all, the first, or for the k-th piece the
            proportional one.
        skip_identical: a piece that is linked to the same piece keeps its own row.
        one_segment: use segment 0 everywhere, instead of the tokenizer's segments.
        reset_positions: positions of the second sentence start at 0 again. Also give it to `WordExchange`.
        shuffle_order: the target comes first in half of the pairs, drawn for each pair and epoch.
        sampling_temperature: T. `LengthBatches` draws language pairs in proportion to (their sentence pairs)^(1/T).

    Raises:
        InputError: a file of the data-bin is missing or damaged, a pair is not in it, or a value is not allowed.
    """
    choices = {
        "split": split,
        "mask_replace": mask_replace,
        "mask_unit": mask_unit,
        "one_to_many": one_to_many,
        "piece_policy": piece_policy,
    }
    check_choice("objective", objective, tuple(OBJECTIVES))
    hints = get_type_hints(load_data)
    for name, value in choices.items():
        check_choice(name, value, get_args(hints[name]))
    check_argument("seed", seed)
    check_argument("mask_prob", mask_prob)
    check_argument("sampling_temperature", sampling_temperature)
    policy = Policy(
        objective=objective,
        mask_prob=mask_prob,
        mask_replace=mask_replace,
        mask_unit=mask_unit,
        links=LinkPolicy(one_to_many, piece_policy, skip_identical),
        one_segment=one_segment,
        reset_positions=reset_positions,
        shuffle_order=shuffle_order,
        sampling_temperature=sampling_temperature,
    )
    folder = Path(data_bin)
    open_more_files()
    manifest = read_manifest(folder)
    check_probabilities(manifest, folder, policy.links)
    if isinstance(pairs, str):
        raise InputError(f'pairs must be a list of names, as ["en-de"], but is the text {shown(pairs)}.')
    names = choose_pairs(None if pairs is None else list(pairs), manifest, folder, "pairs")
    vocabulary = read_vocabulary(manifest, read_symbols(folder, manifest))
    return WordExchangeDataset.open(folder, split, names, vocabulary, policy, seed)


class LengthBatches(Sampler[list[int]]):
    """Batches of pairs of similar length, for `batch_sampler` of torch's DataLoader.

    In training the order of the batches is drawn from seed and epoch. In validation batches are sorted by length.

    Args:
        data: a data set from `load_data`.
        batch_size: limit on the pairs of a batch.
        max_tokens: limit on rows times columns of a batch. At least one of the two limits is required.

    Raises:
        InputError: neither limit is given, a limit is below 1, or max_tokens is too small for the longest pair.
    """

    def __init__(
        self, data: WordExchangeDataset, *, batch_size: int | None = None, max_tokens: int | None = None
    ) -> None:
        if batch_size is None and max_tokens is None:
            raise InputError("batch_size or max_tokens must limit the size of a batch, but neither is given.")
        for name, limit in (("batch_size", batch_size), ("max_tokens", max_tokens)):
            if limit is not None:
                check_argument(name, limit)
        longest, _ = data.longest()
        if max_tokens is not None and max_tokens < longest:
            raise InputError(
                f"max_tokens must be large enough for every pair, but is {max_tokens}, and the longest pair takes "
                f"{longest}. Give at least {longest}, or preprocess with a smaller --max-pieces."
            )
        self.data = data
        # Not named `batch_size`, because accelerate would then drop smaller batches.
        self._limits = max_tokens, batch_size
        self._made: tuple[int, list[list[int]]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the data set."""
        self.data.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches())

    def __len__(self) -> int:
        return len(self._batches())

    def _batches(self) -> list[list[int]]:
        epoch = self.data.epoch
        if self._made is None or self._made[0] != epoch:
            batches = [batch.tolist() for batch in self.data.batches(self.data.ordered_indices(), *self._limits)]
            if self.data.fixed_epoch is None:
                np.random.RandomState(self.data.seed + epoch).shuffle(batches)
            self._made = epoch, batches
        return self._made[1]


class Collator:
    """Turns sentence pairs into a batch for `WordExchange`: masking, layout, exchange.

    Random numbers depend only on seed, epoch and index, not on the worker or the other pairs of the batch.
    """

    def __init__(self, data: WordExchangeDataset) -> None:
        self.data = data

    def __call__(self, pairs: Sequence[Pair]) -> dict[str, Tensor]:
        """`batch.flat` describes the keys and shapes."""
        return flat(self.data.collater(list(pairs)))


def check_fits(model: "WordExchange", data: WordExchangeDataset, tokenizer: str | Path | None = None) -> None:
    """Checks that a model fits a data set.

    Args:
        tokenizer: the model's folder or its name on the Hugging Face Hub, to check that the data-bin has its tokenizer.

    Raises:
        InputError: the model has fewer rows than the tokenizer has pieces, fewer segments than pairs need, or fewer
            positions than the longest pair has pieces; or the tokenizers differ.
    """
    from weam_fairseq.encoder.huggingface import longest_sequence

    vocabulary, masked_lm = data.vocabulary, model.masked_lm
    rows = masked_lm.get_input_embeddings().weight.shape[0]
    if rows < len(vocabulary):
        raise InputError(
            f"The model must have a row for each of the {len(vocabulary):,} pieces of the data-bin, but has {rows:,}. "
            "Preprocess with the tokenizer of the model."
        )
    used = 1 if data.policy.one_segment else vocabulary.segments()
    segments = getattr(masked_lm.config, "type_vocab_size", 0) or 0
    if 0 < segments < used:
        raise InputError(
            f"The tokenizer of the data-bin writes pairs with {used} segment ids, but the model has {segments}. Load "
            "the data with one_segment=True, or preprocess with the tokenizer of the model."
        )
    _, pieces = data.longest()
    positions = longest_sequence(masked_lm)
    if positions is not None and positions < pieces:
        raise InputError(
            f"A pair must not be longer than the model's {positions} positions, but one has {pieces} pieces. "
            f"Preprocess with --max-pieces {positions}."
        )
    if tokenizer is not None:
        _check_tokenizer(tokenizer, data)


def _check_tokenizer(tokenizer: str | Path, data: WordExchangeDataset) -> None:
    from weam_fairseq.common.hub import resolve
    from weam_fairseq.common.tokenizers import read_tokenizer

    facts = read_tokenizer(resolve(tokenizer, weights=False).folder)
    difference = None
    if facts.pieces_sha256 != data.vocabulary.pieces_sha256:
        difference = "their pieces differ"
    elif facts.behaviour_sha256 != data.vocabulary.behaviour_sha256:
        difference = "they split the same text differently (casing or normalization)"
    if difference is not None:
        raise InputError(
            f"{tokenizer} and the data-bin must have the same tokenizer, but {difference}. Make the data-bin with "
            f"weam-preprocess --tokenizer {tokenizer}."
        )
