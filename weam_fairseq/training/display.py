"""What a person sees of a training: a table, one progress line, one line for each validation, and the next command.

fairseq's own log goes to SAVE_DIR/train.log. A run with --log-format has fairseq's log on standard output instead.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from weam_fairseq.training.config import RETRIEVAL

LOG = "train.log"
LAST, BEST = "checkpoint_last.pt", "checkpoint_best.pt"  # fairseq's names
_MEBIBYTE = 1 << 20
_NEW_HEAD = "weam_fairseq.plugin.new_head"


class Display:
    """One run, as rank 0 shows it.

    Args:
        cfg: fairseq's configuration.
    """

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.bar: Any = None
        self.trainer: Any = None
        self._shown = 0  # tenths of the run that have had a line, where there is no terminal
        self.began = time.monotonic()
        self.first: float | None = None  # retrieval of the encoder as the run found it
        self.best: float | None = None  # the best retrieval at a later validation

    def log_to_file(self) -> None:
        """Sends the log of fairseq and of Python's warnings to a file, and only our warnings to standard error."""
        logging.captureWarnings(True)
        root = logging.getLogger()
        Path(self.cfg.checkpoint.save_dir).mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(Path(self.cfg.checkpoint.save_dir, LOG), encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s | %(levelname)s | %(name)s | %(message)s"))
        errors = logging.StreamHandler(sys.stderr)
        errors.setLevel(logging.WARNING)
        errors.addFilter(lambda record: record.name.startswith("weam_fairseq"))
        errors.setFormatter(logging.Formatter("weam-train: %(message)s"))
        head = logging.StreamHandler(sys.stdout)  # a minute or two without any other sign of life
        head.setLevel(logging.INFO)
        head.addFilter(lambda record: record.name == _NEW_HEAD and record.levelno == logging.INFO)
        head.setFormatter(logging.Formatter(f"{'head':>10}  %(message)s"))
        root.handlers = [file, errors, head]

    def describe(self, trainer: Any, task: Any, epoch: Any) -> None:
        """Prints what will run."""
        self.trainer = trainer
        cfg, model = self.cfg, trainer.get_model()
        parameters = sum(p.numel() for p in model.parameters())
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        data, policy = task.dataset("train"), task.policy
        config = model.masked_lm.config
        sizes = ", ".join(f"{pair} {size:,}" for pair, size in zip(task.pairs, data.pair_sizes, strict=True))
        batch = f"{cfg.dataset.batch_size} pairs" if cfg.dataset.batch_size else f"{cfg.dataset.max_tokens:,} pieces"
        factors = (cfg.distributed_training.distributed_world_size, cfg.optimization.update_freq[0])
        together = " × ".join([*(str(factor) for factor in factors if factor != 1), batch])
        held = 4 * parameters + 12 * trained
        warm_up = getattr(cfg.lr_scheduler, "warmup_updates", 0)
        rows = {
            "model": f"{config.model_type}, {config.num_hidden_layers} layers × {config.hidden_size}, "
            f"{config.vocab_size:,} pieces, {parameters / 1e6:.1f} M parameters"
            + ("" if trained == parameters else f" ({trained / 1e6:.1f} M trained)"),
            "pairs": f"{sizes}; {len(task.dataset('valid')):,} held out"
            if "valid" in task.datasets
            else f"{sizes}; none held out",
            "objective": f"{policy.objective}: {policy.trains.help}; {policy.mask_prob:.0%} masked",
            "updates": f"{self.length()} with {together} each, {warm_up:,} of them warm-up; "
            f"learning rate {cfg.optimization.lr[0]:g}",
            "precision": f"{cfg.criterion.precision} on {trainer.device}",
            "memory": f"{held / _MEBIBYTE:,.0f} MiB for weights, gradients and Adam; activations come on top",
            "disk": f"{(4 * parameters + 8 * trained) / 1e9:.1f} GB for each checkpoint in {cfg.checkpoint.save_dir}",
            "log": str(Path(cfg.checkpoint.save_dir, LOG)),
        }
        made = trainer.get_num_updates()
        if made:
            rows["resumed"] = f"after {made:,} updates, in epoch {epoch.epoch}"
        for name, text in rows.items():
            print(f"{name:>10}  {text}", flush=True)

    def length(self) -> str:
        """How long the run is, for a person."""
        return f"{self.total():,}" if self.total() else f"those of {self.cfg.optimization.max_epoch} epochs"

    def total(self) -> int:
        """Updates of the whole run; 0 if only its epochs are known, because the schedule needs no number."""
        limit = int(self.cfg.optimization.max_update or 0)
        counted = int(float(getattr(self.cfg.lr_scheduler, "total_num_update", 0) or 0))
        return min(limit, counted) if limit and counted else limit or counted

    def validated(self, stats: dict[str, Any]) -> None:
        """Prints the line of one validation."""
        updates, found = int(stats["num_updates"]), stats.get("retrieval")
        parts = [f"{name} {float(stats[name]):.3f}" for name in _loss_names(stats) if stats[name] is not None]
        if found is not None:
            parts.append(
                f"retrieval {stats['retrieval_forward']:.1f} source to target, {stats['retrieval_backward']:.1f} back "
                f"(layer {stats['retrieval_layer']})"
            )
            if updates == 0:
                self.first = found
            elif self.best is None or found > self.best:
                self.best = found
        tqdm.write(f"{f'{updates:,}':>10}  validation: {', '.join(parts)}", file=sys.stdout)
        sys.stdout.flush()

    def progress_bar(self, make: Callable[..., Any]) -> Callable[..., Any]:
        """fairseq's `progress_bar`, whose figures this display shows too."""

        def made(iterator: Any, **options: Any) -> Any:
            return _Progress(make(iterator, **{**options, "default_log_format": "simple"}), self, "prefix" in options)

        return made

    def begin(self, made: int) -> None:
        """Opens the progress line of a run that has made so many updates; once."""
        if self.bar is None:
            self._trains_since, self._made_before = time.monotonic(), made
            self.bar = tqdm(total=self.total() or None, initial=made, unit=" updates", disable=None)

    def show(self, stats: dict[str, Any]) -> None:
        """Shows the losses and the speed: beside the bar, or without a terminal ten times in a run."""
        names = {**{name: name for name in _loss_names(stats)}, "wps": "pieces/s"}
        text = ", ".join(f"{shown} {_plain(stats[name])}" for name, shown in names.items() if name in stats)
        self.bar.set_postfix_str(text)
        made = self.trainer.get_num_updates()
        if not self.bar.disable:
            return
        if not self.total():
            print(f"{f'{made:,}':>10}  training: {text}", flush=True)
        elif 10 * made // self.total() > self._shown:
            self._shown = 10 * made // self.total()
            left = (time.monotonic() - self._trains_since) / (made - self._made_before) * (self.total() - made)
            print(f"{f'{made:,}':>10}  training: {text}, {_minutes(left)} left", flush=True)

    def end(self) -> None:
        """Prints how the run ended and which command comes next."""
        folder = Path(self.cfg.checkpoint.save_dir)
        if self.bar is None:
            print(
                f"{'done':>10}  {folder} made all its updates earlier. "
                "Raise --max-epoch or --max-update to continue, or choose another --save-dir"
            )
        else:
            self.bar.close()
        best = folder / BEST
        if self.cfg.checkpoint.best_checkpoint_metric not in RETRIEVAL or not best.is_file():
            best = folder / LAST
        if self.bar is not None:
            minutes = (time.monotonic() - self.began) / 60
            print(f"{'done':>10}  {self.trainer.get_num_updates():,} updates in {minutes:.1f} minutes")
        if (folder / BEST).is_file():
            metric = self.cfg.checkpoint.best_checkpoint_metric
            print(f"{'kept':>10}  {LAST} (after the last update) and {BEST} (best {metric} at a validation)")
        if self.first is not None and self.best is not None:
            print(f"{'retrieval':>10}  {self.first:.1f} before the run, at best {self.best:.1f} after (mean)")
        print(f"{'next':>10}  weam-to-hf {best} {folder / 'hf'}", flush=True)
        if self.first is not None and self.best is not None and self.best <= self.first:
            print(
                f"weam-train: warning: at no validation was retrieval better than before the run: "
                f"{self.first:.1f} before, at best {self.best:.1f} after. Try fewer updates, a lower --lr, "
                "or more text.",
                file=sys.stderr,
            )


class _Progress:
    """A progress bar of fairseq: it writes the log, and passes the figures on."""

    def __init__(self, inner: Any, display: Display, validates: bool) -> None:
        self._inner, self._display, self._validates = inner, display, validates

    def __iter__(self) -> Iterator[Any]:
        for item in self._inner:
            yield item
            if not self._validates:
                self._display.bar.update()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def log(self, stats: dict[str, Any], tag: str | None = None, step: int | None = None) -> None:
        self._inner.log(stats, tag=tag, step=step)
        self._display.show(stats)

    def print(self, stats: dict[str, Any], tag: str | None = None, step: int | None = None) -> None:
        self._inner.print(stats, tag=tag, step=step)
        if self._validates:
            self._display.validated(stats)


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return "less than a minute" if minutes == 0 else f"{minutes} minute{'' if minutes == 1 else 's'}"


def _loss_names(stats: dict[str, Any]) -> list[str]:
    """The losses that the criterion logs as means over language pairs: mp_loss, cp_loss."""
    return [name for name in stats if name.endswith("_loss") and ":" not in name and not name.startswith("best_")]


def _plain(value: Any) -> str:
    """A meter of fairseq or a number, short."""
    number = float(getattr(value, "smoothed_value", getattr(value, "avg", value)))
    return f"{number:,.0f}" if number >= 100 else f"{number:.3f}"
