"""Pure: turns piece links into an exchange, and exchanges rows (Yang et al. 2021, Figure 1).

For each row with links, an exchange gives the rows of the other sentence from which its representation comes: R' = E R,
where row i of E is the (weighted) mean of the one-hot rows of the pieces linked to i. E is never built.

Links are (L, 3) int64 arrays: element indices into the ragged source and target of a batch, and the link's weight. Only
the ratio of the weights within a row matters (all 1: the plain mean). Words are batch-wide word numbers of the elements
(`number_words`), so that every step is one vectorized operation.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from weam_fairseq.data.layout import Ragged


class LinkPolicy(NamedTuple):
    """Choices of the method: which links of a word count, and which pieces of a linked word.

    Attributes:
        one_to_many: `mean` of all linked words, the mean `weighted` by the probability of each link, the `first` linked
            word, or `one-to-one` (only words with one link each).
        piece_policy: `all` pieces of a linked word, its `first` piece, or `monotone` (k-th piece to the proportional
            piece).
        skip_identical: pieces that are linked to the same piece keep their own state (as Figure 1 shows for "?").
    """

    one_to_many: str = "mean"
    piece_policy: str = "all"
    skip_identical: bool = False

    @property
    def weighted(self) -> bool:
        return self.one_to_many == "weighted"


class Edges(NamedTuple):
    """Directed edges between rows of the flattened batch: `to` receives `weight` times `origin`.

    Attributes:
        to, origin: (K,) int64, sorted by `to`, then `origin`.
        weight: (K,) float32, with sum 1 for each `to`.
    """

    to: np.ndarray
    origin: np.ndarray
    weight: np.ndarray


class Exchange(NamedTuple):
    """The edges that reach masked rows, as tensors.

    Attributes:
        linked: (L,) int64, indices of the masked rows (0..N-1) that have links, ascending.
        segment: (K,) int64, index of the linked row (0..L-1) that each edge leads to.
        origin: (K,) int64, row of the flattened batch that each edge comes from.
        weight: (K,) float32.
    """

    linked: Tensor
    segment: Tensor
    origin: Tensor
    weight: Tensor


def number_words(words: Ragged) -> np.ndarray:
    """(P,) consecutive word numbers in text order: equal within a word, different between words and sentences."""
    key = words.owner() * (int(words.flat.max(initial=0)) + 1) + words.flat
    return np.unique(key, return_inverse=True)[1]


def choose_links(
    links: np.ndarray, source_words: np.ndarray, target_words: np.ndarray, policy: LinkPolicy
) -> tuple[np.ndarray, np.ndarray]:
    """Selects the links that a policy uses, for rows of the source and for rows of the target.

    Args:
        links: (L, 3) links of every piece of a linked word with every piece of its partner, with weights.
        source_words, target_words: (P,) `number_words` of each side.

    Returns:
        (L', 3) source piece <- target piece, and (L'', 3) target piece <- source piece, with weights.
    """
    if policy.one_to_many == "one-to-one":
        links = _only_one_to_one(links, source_words, target_words)
    return (
        _one_way(links, source_words, target_words, policy),
        _one_way(links[:, [1, 0, 2]], target_words, source_words, policy),
    )


def without_identical(into: np.ndarray, identical: np.ndarray) -> np.ndarray:
    """Drops the links into pieces that are linked to the same piece: with --skip-identical these keep their own state.

    Args:
        into: (L, 3) piece <- piece of the other sentence, with weights.
        identical: the pieces that have a link to the same piece, whether or not the policy uses that link.
    """
    return into[~np.isin(into[:, 0], identical)]


def edges_between(
    into_source: np.ndarray, into_target: np.ndarray, source_rows: np.ndarray, target_rows: np.ndarray
) -> Edges:
    """Builds directed edges between rows. A row receives the weighted mean of its partners.

    A repeated link counts once, with its first weight.

    Args:
        into_source, into_target: from `choose_links`.
        source_rows, target_rows: (P,) row of each element.
    """
    to = np.concatenate([source_rows[into_source[:, 0]], target_rows[into_target[:, 0]]])
    origin = np.concatenate([target_rows[into_source[:, 1]], source_rows[into_target[:, 1]]])
    weight = np.concatenate([into_source[:, 2], into_target[:, 2]])
    base = int(max(to.max(initial=0), origin.max(initial=0))) + 1
    key, named_first = np.unique(to * base + origin, return_index=True)
    to, origin, weight = key // base, key % base, weight[named_first]
    place = np.unique(to, return_inverse=True)[1]
    sums = np.bincount(place, weights=weight)
    return Edges(to, origin, (weight / sums[place]).astype(np.float32))


def edges_into(edges: Edges, masked_rows: np.ndarray) -> Exchange:
    """Keeps the edges that lead to a masked row. Only these affect a loss.

    Args:
        masked_rows: (N,) ascending rows of the flattened batch.
    """
    place = np.searchsorted(masked_rows, edges.to)
    reaches = place < len(masked_rows)
    reaches[reaches] = masked_rows[place[reaches]] == edges.to[reaches]
    linked, segment = np.unique(place[reaches], return_inverse=True)
    return Exchange(
        torch.from_numpy(linked.astype(np.int64)),
        torch.from_numpy(segment.astype(np.int64)),
        torch.from_numpy(edges.origin[reaches]),
        torch.from_numpy(edges.weight[reaches]),
    )


def exchange_rows(states: Tensor, exchange: Exchange) -> Tensor:
    """Computes the representations that linked masked rows receive: (R, D) states -> (L, D)."""
    brought = states.index_select(0, exchange.origin) * exchange.weight.to(states.dtype).unsqueeze(1)
    received = torch.zeros(len(exchange.linked), states.size(1), dtype=states.dtype, device=states.device)
    return received.index_add(0, exchange.segment, brought)


def next_in_cycle(targets: Ragged, numbers: np.ndarray) -> np.ndarray:
    """Replaces each target piece by the next one in a random cycle, for the control `shuffled`.

    The number of links, linked rows and partners per row stays the same. With two or more target pieces no piece is
    replaced by itself, although a link between words of several pieces can still reach its own word.

    Args:
        targets: the ragged target pieces.
        numbers: (P,) a uniform number for each target piece.

    Returns:
        (P,) element index -> element index of the same sentence.
    """
    cycle = np.lexsort((numbers, targets.owner()))  # the pieces of each sentence in random order, end to end
    is_last = targets.inside() + 1 == np.repeat(targets.sizes, targets.sizes)
    successor = np.where(is_last, np.arange(len(cycle)) - targets.inside(), np.arange(len(cycle)) + 1)
    replacement = np.empty(len(cycle), dtype=np.int64)
    replacement[cycle] = cycle[successor]
    return replacement


def from_whole_sentence(links: np.ndarray, near: Ragged, far: Ragged) -> np.ndarray:
    """Replaces the partners of each linked piece by all pieces of the other sentence, for the control `sentence`.

    A whole sentence in place of a word is the idea of MEXMA (Janeiro et al. 2024, arXiv 2409.12737), which uses the
    state of [CLS] and encodes the two sentences apart.

    Args:
        links: (L, 3) piece of the `near` sentence <- piece of the `far` one, with weights.

    Returns:
        (L', 3) the same pieces <- every piece of the far sentence, with weight 1.
    """
    to = np.unique(links[:, 0])
    sentence = near.owner()[to]
    sizes = far.sizes[sentence]
    every = Ragged(np.repeat(far.starts()[sentence], sizes), sizes)
    return np.column_stack([np.repeat(to, sizes), every.flat + every.inside(), np.ones_like(every.flat)])


def from_next_pair(links: np.ndarray, far: Ragged, numbers: np.ndarray) -> np.ndarray:
    """Moves the partners of each linked piece to another sentence pair of the batch, for the control `stranger`.

    The pairs form a random cycle. The k-th piece of a sentence becomes the k-th piece of the next pair's sentence in
    the same place (modulo its length, so two partners can become one). The next pair can be of another language pair. A
    batch of one pair has no other pair, and exchanges nothing.

    Args:
        links: (L, 3) piece of the near sentence <- piece of the `far` one, with weights.
        numbers: (B,) a uniform number for each pair.

    Returns:
        (L, 3) links, or (0, 3) for one pair.
    """
    if len(far.sizes) < 2:
        return links[:0]
    cycle = np.argsort(numbers, kind="stable")
    successor = np.empty(len(cycle), dtype=np.int64)
    successor[cycle] = np.roll(cycle, -1)
    origin = links[:, 1]
    stranger = successor[far.owner()[origin]]
    return np.column_stack(
        [links[:, 0], far.starts()[stranger] + far.inside()[origin] % far.sizes[stranger], links[:, 2]]
    )


def _only_one_to_one(links: np.ndarray, source_words: np.ndarray, target_words: np.ndarray) -> np.ndarray:
    words = np.unique(np.stack([source_words[links[:, 0]], target_words[links[:, 1]]], axis=1), axis=0)
    source_degree = np.bincount(words[:, 0], minlength=int(source_words.max(initial=0)) + 1)
    target_degree = np.bincount(words[:, 1], minlength=int(target_words.max(initial=0)) + 1)
    alone = (source_degree[source_words[links[:, 0]]] == 1) & (target_degree[target_words[links[:, 1]]] == 1)
    return links[alone]


def _one_way(links: np.ndarray, near: np.ndarray, far: np.ndarray, policy: LinkPolicy) -> np.ndarray:
    """Returns the links (to, origin, weight) with which pieces of the `near` sentence receive from the `far` one."""
    if policy.one_to_many == "first":
        first = np.full(len(near), np.iinfo(np.int64).max)
        np.minimum.at(first, links[:, 0], far[links[:, 1]])
        links = links[far[links[:, 1]] == first[links[:, 0]]]
    if policy.piece_policy == "first":
        rank, _ = _places_in_word(far)
        links = links[rank[links[:, 1]] == 0]
    elif policy.piece_policy == "monotone":
        near_rank, near_size = _places_in_word(near)
        far_rank, far_size = _places_in_word(far)
        to, origin = links[:, 0], links[:, 1]
        links = links[far_rank[origin] == near_rank[to] * far_size[origin] // near_size[to]]
    return links


def _places_in_word(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P,) index of each piece within its word, and (P,) number of pieces in that word."""
    order = np.argsort(words, kind="stable")
    sizes = np.bincount(words)
    rank = np.empty(len(words), dtype=np.int64)
    rank[order] = Ragged(order, sizes).inside()
    return rank, sizes[words]
