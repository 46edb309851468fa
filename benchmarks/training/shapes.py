"""The workloads: a model, a vocabulary and a batch of full rows."""

from typing import NamedTuple

MASK_PROB = 0.3


class Workload(NamedTuple):
    """`vocabulary` rows of the embeddings; a batch of full rows is `rows` × `length` pieces."""

    name: str
    arch: str
    layers: int
    width: int
    heads: int
    feed_forward: int
    vocabulary: int
    rows: int
    length: int
    roberta: bool = False

    def told(self) -> str:
        shape = f"{self.layers} layers × {self.width}, V = {self.vocabulary:,}, {self.rows} × {self.length}"
        return f"{self.name}: {self.arch}, {shape}"


WORKLOADS = {
    workload.name: workload
    for workload in (
        # multilingual-e5-small.
        Workload("E", "weam_minilm", 12, 384, 12, 1536, 250_037, 32, 64),
        Workload("A", "weam_small", 6, 384, 6, 1536, 119_547, 32, 128),
        Workload("B", "weam_mbert_base", 12, 768, 12, 3072, 119_547, 8, 128),
        Workload("C", "weam_xlmr_base", 12, 768, 12, 3072, 250_002, 8, 128, roberta=True),
        # One GPU: the batch of the issue; larger ones by --rows.
        Workload("G", "weam_mbert_base", 12, 768, 12, 3072, 119_547, 32, 128),
        # Seconds on one core, for tests and CI: what it takes says nothing.
        Workload("smoke", "weam_tiny", 2, 128, 2, 512, 2_000, 4, 64),
    )
}


def operations(workload: Workload, pieces: int, projected: int) -> float:
    """Floating-point operations of one update: forward, and twice that for the gradients.

    The encoder's matrices on every piece, attention's two products over rows of `length`, and the head on the rows that
    are projected; a multiplication and an addition are two operations. Embeddings, LayerNorm, softmax and the optimizer
    are left out, and so is what activation checkpointing computes again.
    """
    w = workload
    per_piece = w.layers * (2 * (4 * w.width**2 + 2 * w.width * w.feed_forward) + 4 * w.length * w.width)
    per_row = 2 * w.width**2 + 2 * w.width * w.vocabulary
    return 3.0 * (pieces * per_piece + projected * per_row)
