"""The contestants behind one interface: each makes whole updates, optimizer included, on batches that it is told.

ours     weam-train's own objects (task, criterion, trainer), objectives weam and tlm on the same model
fairseq  the stock task masked_lm with RoBERTa of the same shape: one loss. Its bf16 fails on CPUs and GPUs alike, so
         its forward pass is wrapped in autocast, as ours is
hf       a plain loop over BertForMaskedLM or XLMRobertaForMaskedLM: labels −100, scaled_dot_product_attention,
         torch.optim.AdamW; it projects every position

Each is given the ids of the data-bins, so that none of them tokenises.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from shapes import MASK_PROB, Workload
from texts import Text, evenly, full_rows, open_text, some_pairs, without_exchange

from weam_fairseq.method.batch import Batch
from weam_fairseq.method.losses import predict_and_weigh

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16}
LR = 5e-5
FULL_BATCHES = 3  # different ones, taken in turn
PAIRS_USED = 20_000
MAX_PIECES = 128


class Contestant(ABC):
    """Holds a model, its optimizer and its batches.

    Args:
        workload: the shape.
        folders: data-bins.
        device: cpu or cuda.
        used: how many batches stand for an epoch in the form *as used*.
    """

    forms: tuple[str, ...] = ("full", "used")

    def __init__(self, workload: Workload, folders: list[Path], device: str, used: int) -> None:
        self.workload, self.device = workload, torch.device(device)
        self.text: Text = open_text(folders, one_segment=workload.roberta)
        self.full = [
            self.text.data.collater(pairs)
            for pairs in full_rows(self.text.data, workload.rows, workload.length, FULL_BATCHES)
        ]
        self.indices = some_pairs(self.text.data, PAIRS_USED, min(MAX_PIECES, workload.length))
        self.batches: dict[str, list[Batch]] = {"full": self.from_full(), "used": self.as_used(used)}
        self.batches = {form: [_on(batch, self.device) for batch in some] for form, some in self.batches.items()}
        self.build()

    def config(self) -> Any:
        """The workload's encoder as transformers describes it."""
        from weam_fairseq.encoder.sizes import Size, config_of

        w, data = self.workload, self.text.data
        size = Size(w.layers, w.width, w.heads, w.feed_forward, model_type="xlm-roberta" if w.roberta else "bert")
        special = {"pad": data.vocabulary.pad, "cls": 0, "sep": 0}  # no text is written with them here
        return config_of(size, max(w.vocabulary, len(data.vocabulary)), special)

    @abstractmethod
    def build(self) -> None: ...

    @abstractmethod
    def from_full(self) -> list[Batch]: ...

    @abstractmethod
    def as_used(self, count: int) -> list[Batch]: ...

    @abstractmethod
    def parameters(self) -> list[torch.nn.Parameter]: ...

    @abstractmethod
    def update(self, objective: str, form: str, number: int, precision: str) -> float:
        """One whole update; returns its loss per predicted row, in nats."""

    def told(self, form: str, number: int) -> dict[str, int]:
        """Real pieces, masked rows, linked masked rows, places of the grid."""
        batch = self.batches[form][number % len(self.batches[form])]
        return {name: int(batch[name]) for name in ("pieces", "masked", "linked", "grid")}


def _on(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: _on(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple):
        return type(batch)(*(_on(value, device) for value in batch))
    return batch


def _counted(batch: Batch, ours: Batch) -> Batch:
    exchange = ours["net_input"].get("exchange")
    return {
        **batch,
        "pieces": ours["ntokens"],
        "masked": len(ours["target"]),
        "linked": 0 if exchange is None else len(exchange.linked),
        "grid": ours["net_input"]["tokens"].numel(),
    }


def _fairseq(arguments: list[str]) -> tuple[Any, Any]:
    """Task and trainer as fairseq_cli.train makes them."""
    import weam_fairseq

    weam_fairseq.register()
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.trainer import Trainer

    parser = options.get_training_parser()
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, arguments))
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(1)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    trainer.begin_epoch(1)
    return task, trainer


def _common(device: torch.device) -> list[str]:
    words = (
        f"--lr {LR} --lr-scheduler fixed --seed 1 --max-update 1000000 --no-save --batch-size 32 --disable-validation"
    )
    return [*words.split(), *(["--cpu"] if device.type == "cpu" else [])]


class Ours(Contestant):
    def build(self) -> None:
        w = self.workload
        words = f"{self.text.folders[0]} --arch weam_published --task weam --criterion weam --optimizer adam_bert"
        words += " --segment-ids zero" if w.roberta else ""
        with TemporaryDirectory() as folder:
            path = Path(folder, "config.json")
            path.write_text(self.config().to_json_string(use_diff=False))
            arguments = [*words.split(), "--encoder-config", str(path)]
            self.task, self.trainer = _fairseq([*arguments, *_common(self.device)])
        # The data-bins may be several, of which the task was given one: logs are per language pair of all of them.
        self.trainer.criterion.pairs = [split.name for split in self.text.data.splits]

    def from_full(self) -> list[Batch]:
        return [_counted(batch, batch) for batch in self.full]

    def as_used(self, count: int) -> list[Batch]:
        """As weam-train batches: by length."""
        data = self.text.data
        order = np.random.default_rng(1).permutation(self.indices)
        order = order[np.argsort(data.places(order), kind="stable")]
        batches = data.batches(order, batch_size=self.workload.rows)
        chosen = evenly(batches, np.asarray([data.places(batch).sum() for batch in batches]), count)
        collated = [data.collater(data.__getitems__(batch)) for batch in chosen]
        return [_counted(batch, batch) for batch in collated]

    def parameters(self) -> list[torch.nn.Parameter]:
        return list(self.trainer.model.parameters())

    def update(self, objective: str, form: str, number: int, precision: str) -> float:
        batch = self.batches[form][number % len(self.batches[form])]
        self.trainer.criterion.autocast = AUTOCAST[precision]
        log = self.trainer.train_step([without_exchange(batch) if objective == "tlm" else batch])
        return float(log["loss"])

    def head_seconds(
        self, form: str, number: int, precision: str, clocks: Callable[[], tuple[float, ...]]
    ) -> tuple[float, ...]:
        """The head's share of an update of tlm: the masked rows through head and loss, and back to the rows."""
        batch = self.batches[form][number % len(self.batches[form])]
        model, target = self.trainer.model, batch["target"]
        rows = torch.randn(len(target), self.workload.width, device=self.device, requires_grad=True)
        start = clocks()
        with torch.autocast(self.device.type, dtype=AUTOCAST[precision], enabled=precision != "fp32"):
            weights = torch.ones(len(target), device=self.device)
            predict_and_weigh(*model.predictor.project(rows), target, weights).loss.backward()
        passed = tuple(after - before for before, after in zip(start, clocks(), strict=True))
        model.zero_grad(set_to_none=True)
        return passed


class Stock(Contestant):
    """fairseq's masked_lm. In the form *as used* a pair is a line, `--sample-break-mode eos`, as TLM needs it."""

    def build(self) -> None:
        w = self.workload
        words = f"{self._folder()} --task masked_lm --criterion masked_lm --arch roberta --optimizer adam"
        words += f" --encoder-layers {w.layers} --encoder-embed-dim {w.width} --encoder-ffn-embed-dim {w.feed_forward}"
        words += f" --encoder-attention-heads {w.heads} --max-positions 512 --tokens-per-sample {w.length}"
        words += f" --sample-break-mode eos --mask-prob {MASK_PROB} --adam-betas (0.9,0.999) --weight-decay 0.01"
        self.task, self.trainer = _fairseq([*words.split(), *_common(self.device)])
        del self.task

    def _folder(self) -> Path:
        """dict.txt with as many pieces as the workload has, and the pairs as lines of one file."""
        from tempfile import mkdtemp

        if not hasattr(self, "_made"):
            self._made = Path(mkdtemp(prefix="stock-"))
            rows = max(self.workload.vocabulary, len(self.text.data.vocabulary))
            (self._made / "dict.txt").write_text("".join(f"{i} 1\n" for i in range(rows - 5)))
        return self._made

    def _own_ids(self) -> torch.Tensor:
        """fairseq's id of each tokenizer id, and of the model's rows beyond the tokenizer's."""
        vocabulary = self.text.data.vocabulary
        own_ids = torch.arange(max(self.workload.vocabulary, len(vocabulary)))
        own_ids[torch.from_numpy(vocabulary.tokenizer_ids)] = torch.arange(len(vocabulary))
        return own_ids

    def from_full(self) -> list[Batch]:
        made = []
        own_ids, pad = self._own_ids(), self.text.data.vocabulary.pad
        for ours in self.full:
            net_input = ours["net_input"]
            tokens = own_ids[net_input["tokens"]]
            target = torch.full_like(tokens, int(own_ids[pad]))
            target.view(-1)[net_input["masked_rows"]] = own_ids[ours["target"]]
            batch = {
                "id": ours["id"],
                "nsentences": len(tokens),
                "ntokens": tokens.numel(),
                "net_input": {"src_tokens": tokens, "src_lengths": torch.full((len(tokens),), tokens.size(1))},
                "target": target,
            }
            made.append(_counted(batch, ours) | {"linked": 0})
        return made

    def as_used(self, count: int) -> list[Batch]:
        """As fairseq-train batches masked_lm: lines in random order, padded to the longest of their batch."""
        from fairseq import options, tasks
        from fairseq.data.indexed_dataset import make_builder
        from fairseq.dataclass.utils import convert_namespace_to_omegaconf

        if not hasattr(np, "compat"):  # NumPy 2, on which the stock task dies (np.compat.long)
            np.compat = SimpleNamespace(long=int)
        data, folder, own_ids = self.text.data, self._folder(), self._own_ids()
        builder = make_builder(str(folder / "train.bin"), "mmap", self.workload.vocabulary)
        between = [piece for piece, _ in data.vocabulary.pair.between]
        after = [piece for piece, _ in data.vocabulary.pair.after]
        for pair in data.__getitems__(self.indices):
            line = np.concatenate([pair.source, between, pair.target, after])
            builder.add_item(own_ids[torch.from_numpy(line)])
        builder.finalize(str(folder / "train.idx"))
        words = (
            f"{folder} --task masked_lm --criterion masked_lm --arch roberta --optimizer adam --sample-break-mode eos"
        )
        words += f" --tokens-per-sample {self.workload.length} --mask-prob {MASK_PROB}"
        arguments = options.parse_args_and_arch(options.get_training_parser(), [*words.split(), *_common(self.device)])
        task = tasks.setup_task(convert_namespace_to_omegaconf(arguments).task)
        task.load_dataset("train")
        lines = task.dataset("train")
        batches = task.get_batch_iterator(lines, max_sentences=self.workload.rows, seed=1).frozen_batches
        sizes = np.asarray([int(max(lines.size(i) for i in batch)) * len(batch) for batch in batches])
        made = []
        for batch in evenly(list(batches), sizes, count):
            sample = lines.collater([lines[int(i)] for i in batch])
            tokens, target = sample["net_input"]["src_tokens"], sample["target"]
            sample |= {"pieces": int(tokens.ne(1).sum()), "masked": int(target.ne(1).sum()), "linked": 0}
            made.append(sample | {"grid": tokens.numel()})
        return made

    def parameters(self) -> list[torch.nn.Parameter]:
        return list(self.trainer.model.parameters())

    def update(self, objective: str, form: str, number: int, precision: str) -> float:
        batch = self.batches[form][number % len(self.batches[form])]
        with torch.autocast(self.device.type, dtype=AUTOCAST[precision], enabled=precision != "fp32"):
            log = self.trainer.train_step([batch])
        return float(log["loss"]) * float(np.log(2))


class HuggingFace(Contestant):
    def build(self) -> None:
        from transformers import AutoModelForMaskedLM

        torch.manual_seed(1)
        model = AutoModelForMaskedLM.from_config(self.config(), attn_implementation="sdpa")
        self.model = model.train().to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=LR, weight_decay=0.01)

    def from_full(self) -> list[Batch]:
        return [self._labelled(ours) for ours in self.full]

    def as_used(self, count: int) -> list[Batch]:
        """As transformers' examples batch lines: in random order, padded to the longest of their batch."""
        data, rows = self.text.data, self.workload.rows
        order = np.random.default_rng(3).permutation(self.indices)
        batches = [order[start : start + rows] for start in range(0, len(order), rows)]
        sizes = np.asarray([data.places(batch).max() * len(batch) for batch in batches])
        return [self._labelled(data.collater(data.__getitems__(b))) for b in evenly(batches, sizes, count)]

    def _labelled(self, ours: Batch) -> Batch:
        net_input = ours["net_input"]
        tokens = net_input["tokens"]
        labels = torch.full_like(tokens, -100)
        labels.view(-1)[net_input["masked_rows"]] = ours["target"]
        model_input = {
            "input_ids": tokens,
            "attention_mask": net_input["attention_mask"],
            "token_type_ids": net_input["segments"],
            "labels": labels,
        }
        return _counted({"model_input": model_input}, ours) | {"linked": 0}

    def parameters(self) -> list[torch.nn.Parameter]:
        return list(self.model.parameters())

    def update(self, objective: str, form: str, number: int, precision: str) -> float:
        batch = self.batches[form][number % len(self.batches[form])]
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, dtype=AUTOCAST[precision], enabled=precision != "fp32"):
            loss = self.model(**batch["model_input"]).loss
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


CONTESTANTS: dict[str, type[Contestant]] = {"ours": Ours, "fairseq": Stock, "hf": HuggingFace}
