"""WEAM, the Word-Exchange Aligning Model (Yang et al. 2021, arXiv 2106.01732), as a fairseq plugin and Python library.

`fairseq-train --user-dir weam_fairseq` imports this package after fairseq. Then it registers the task, criterion, model
and optimizer. The names in `__all__` work without fairseq (docs/python.md). They are imported on first use.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weam_fairseq.method.dataset import WordExchangeDataset
    from weam_fairseq.method.loading import Collator, LengthBatches, check_fits, load_data
    from weam_fairseq.method.modeling import WordExchange, WordExchangeOutput

__all__ = [
    "Collator",
    "LengthBatches",
    "WordExchange",
    "WordExchangeDataset",
    "WordExchangeOutput",
    "check_fits",
    "load_data",
]
__version__ = "0.1.0"

_MODULES = dict.fromkeys(("WordExchange", "WordExchangeOutput"), "method.modeling") | {
    "WordExchangeDataset": "method.dataset"
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES.get(name, 'method.loading')}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def register() -> None:
    """Registers `weam` and `adam_bert` with fairseq, and patches fairseq's trainer and checkpoints.

    Raises:
        RuntimeError: another plugin has registered the name. fairseq would silently drop ours.
    """
    from fairseq.criterions import CRITERION_REGISTRY
    from fairseq.models import MODEL_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    from weam_fairseq.plugin.checkpoints import allow_fairseq_classes, patch_saving
    from weam_fairseq.plugin.patches import patch_trainer

    for module in ("criterion", "model", "optimizer", "task"):
        importlib.import_module(f".plugin.{module}", __name__)
    registered = {
        "task": TASK_REGISTRY["weam"],
        "criterion": CRITERION_REGISTRY["weam"],
        "model": MODEL_REGISTRY["weam"],
    }
    for kind, owner in registered.items():
        if not owner.__module__.startswith(f"{__name__}."):
            raise RuntimeError(f"The {kind} name 'weam' must be free, but {owner.__module__} has registered it.")
    allow_fairseq_classes()
    patch_saving()
    patch_trainer()


if sys.modules.get("fairseq") is not None:
    register()
