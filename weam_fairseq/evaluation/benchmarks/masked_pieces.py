"""Masked pieces: how often a masked piece is among the model's first 1 and first 5 guesses, by language.

Each sentence is read alone, which measures the language model of that language. 15 % of its pieces, at least one, are
replaced by the mask piece, all at once. The seed and the sentence's line number determine which ones, so all models
with one tokenizer predict the same pieces. Special and unknown pieces are never masked. Sentences that occur twice
are used once. The text of the source language is the source side of all pairs together.

The unigram bound is reported with each figure: the share of masked pieces that belong to the k most frequent pieces
among these masked pieces. It is the best that any k constant guesses can reach on this text. No unigram model
estimated on other text can beat it, and a model above it has used the context.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.benchmark import OWN_PAIRS, Benchmark, Measurement, Setting
from weam_fairseq.evaluation.encode import Pieces, batches_by_length, padded_inputs, tokenize
from weam_fairseq.evaluation.hf_folder import Folder
from weam_fairseq.evaluation.readers import TextPair, read_pairs
from weam_fairseq.evaluation.terminal import progress

if TYPE_CHECKING:
    import torch


MASK_SHARE = 0.15
GUESSES = (5, 1)


class MaskedSentence(NamedTuple):
    """Texts with masks, and for each text its masked positions and the ids that were masked."""

    pieces: Pieces
    positions: list[list[int]]
    targets: list[list[int]]


def measure_masked_pieces(
    folder: Folder, data: Mapping[str, Sequence[TextPair]], setting: Setting
) -> list[Measurement]:
    """Two measurements a language, the source language first: accuracy@5 and accuracy@1.

    Raises:
        InputError: the tokenizer has no mask piece, a language has nothing to mask, or a logit is not finite.
    """
    if folder.tokenizer.mask_token_id is None:
        raise InputError(
            f"the tokenizer in {folder.path} has no mask piece, so the model is not a masked language model."
        )
    measurements: list[Measurement] = []
    for language, texts in texts_by_language(data, setting.source_language).items():
        measurements += _measure_language(folder, texts, setting, language)
    return measurements


def texts_by_language(data: Mapping[str, Sequence[TextPair]], source_language: str) -> dict[str, list[str]]:
    """Each language's sentences in order of first occurrence."""
    texts = {source_language: list(dict.fromkeys(pair.source for pairs in data.values() for pair in pairs))}
    for language, pairs in data.items():
        texts[language] = list(dict.fromkeys(pair.target for pair in pairs))
    return texts


def draw_masks(maskable: Sequence[int], seed: int, line: int) -> list[int]:
    """Chooses 15 % of the `maskable` positions, rounded, and at least one of them if there are any."""
    if not maskable:
        return []
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, line], dtype=np.uint64)))
    count = max(1, round(MASK_SHARE * len(maskable)))
    return sorted(int(position) for position in rng.permutation(np.asarray(maskable))[:count])


def unigram_bound(targets: Sequence[int], guesses: int) -> float:
    """The best figure, 0–100, that `guesses` constant guesses reach on `targets`."""
    return 100.0 * sum(count for _, count in Counter(targets).most_common(guesses)) / len(targets)


def _measure_language(folder: Folder, texts: Sequence[str], setting: Setting, language: str) -> list[Measurement]:
    masked = _mask(folder, texts, setting.seed)
    targets = [target for row in masked.targets for target in row]
    if not targets:
        raise InputError(f"no {language} sentence has a piece that can be masked. Check the text and the tokenizer.")
    ranks = _ranks(folder, masked, setting.batch_size, f"masked pieces {language}")
    return [
        Measurement(
            language=language,
            split=setting.split,
            metric=f"accuracy@{guesses}",
            value=100.0 * float((ranks < guesses).mean()),
            n=len(targets),
            detail={
                "unigram_bound": unigram_bound(targets, guesses),
                "sentences": len(texts),
                "sentences_without_masks": sum(not row for row in masked.targets),
                "sentences_cut": masked.pieces.cut,
                "distinct_targets": len(set(targets)),
            },
            method={
                "lang": language,
                "split": setting.split,
                "mask": f"{MASK_SHARE:g}",
                "replace": "all",
                "input": "single",
            },
        )
        for guesses in GUESSES
    ]


def _mask(folder: Folder, texts: Sequence[str], seed: int) -> MaskedSentence:
    pieces = tokenize(folder, texts, cut=True)
    never = set(folder.tokenizer.all_special_ids)  # holds the unknown piece as well
    ids, positions, targets = [], [], []
    for line, row in enumerate(pieces.inputs["input_ids"]):
        chosen = draw_masks([position for position, piece in enumerate(row) if piece not in never], seed, line)
        positions.append(chosen)
        targets.append([row[position] for position in chosen])
        ids.append([folder.tokenizer.mask_token_id if at in set(chosen) else piece for at, piece in enumerate(row)])
    return MaskedSentence(pieces._replace(inputs={**pieces.inputs, "input_ids": ids}), positions, targets)


def _ranks(folder: Folder, masked: MaskedSentence, batch_size: int, label: str) -> np.ndarray:
    """How many pieces the model prefers to each target, over all masked pieces in no particular order.

    *Shape:* `(masked pieces,)`. A piece with the target's own logit counts as preferred, so a model with
    equal logits scores 0.
    """
    import torch

    ranks = []
    with torch.no_grad(), folder.autocast():  # inference_mode converts all weights in each call
        batches = batches_by_length(masked.pieces, batch_size)
        for indices in progress(batches, label, "batches", len(batches)):
            rows = [row for row, index in enumerate(indices) for _ in masked.positions[index]]
            if not rows:
                continue
            logits = _logits_at(
                folder,
                padded_inputs(folder, masked.pieces, indices),
                torch.tensor(rows, device=folder.device),
                torch.tensor([at for index in indices for at in masked.positions[index]], device=folder.device),
            )
            if not torch.isfinite(logits).all():
                raise InputError(f"{folder.path} returns logits that are not finite: its training diverged.")
            gold = torch.tensor([piece for index in indices for piece in masked.targets[index]], device=folder.device)
            ranks.append(((logits >= logits.gather(1, gold[:, None])).sum(dim=1) - 1).cpu().numpy())
    return np.concatenate(ranks)


def _logits_at(
    folder: Folder, inputs: dict[str, torch.Tensor], row: torch.Tensor, position: torch.Tensor
) -> torch.Tensor:
    """*Shape:* inputs `(B, T)` and `N` masked places to `(N, V)`.

    Every masked-LM head in transformers treats positions one by one. So the encoder's output is narrowed to the masked
    places before the head, under any architecture's names: the vocabulary projection over all
    `B x T` positions would be the costliest part and several gigabytes.
    """

    def keep_masked(module: Any, args: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[row, position].unsqueeze(0)
        return output

    handle = folder.model.base_model.register_forward_hook(keep_masked)
    try:
        return folder.model(**inputs).logits[0].float()
    finally:
        handle.remove()


BENCHMARK = Benchmark(
    name="masked-pieces",
    summary="masked pieces of single sentences, with the unigram bound",
    languages=None,
    files=("{split}.{pair}.tsv",),
    read=read_pairs,
    measure=measure_masked_pieces,
    metric="accuracy@5",
    citation="Devlin et al. 2019 (masked language model)",
    published=OWN_PAIRS,
    needs_head=True,
    draws=True,
)
