"""A batch that a data worker sends is the batch that the trainer gets."""

from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing
from test_dataset import dataset

from weam_fairseq.method.batch import PickledBatch
from weam_fairseq.method.policy import Policy
from weam_fairseq.plugin.fairseq_dataset import FairseqWordExchangeDataset


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in leaves(item, f"{name}.{key}").items()}
    if isinstance(value, tuple):
        return {k: v for key, item in value._asdict().items() for k, v in leaves(item, f"{name}.{key}").items()}
    return {name: value}


def test_a_batch_arrives_unchanged_without_shared_files(small_data_bin: Path) -> None:
    data = dataset(small_data_bin, Policy(), kind=FairseqWordExchangeDataset)
    batch = data.collater([data[i] for i in (0, 5, 61)])
    assert isinstance(batch, PickledBatch)
    message = bytes(ForkingPickler.dumps(batch))
    assert b"rebuild_storage" not in message, "torch's way through shared memory"
    received = ForkingPickler.loads(message)
    sent, found = leaves(batch), leaves(received)
    assert type(received["net_input"]["exchange"]) is type(batch["net_input"]["exchange"])
    assert sent.keys() == found.keys()
    assert sum(isinstance(value, torch.Tensor) for value in sent.values()) == 12
    for name, value in sent.items():
        assert type(found[name]) is type(value), name
        same = torch.equal(found[name], value) if isinstance(value, torch.Tensor) else found[name] == value
        assert same, name
