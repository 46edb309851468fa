"""A pretrained encoder under a new head, or a fine-tuned folder as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError
from weam_fairseq.evaluation.fine_tuning.heads.head import Head
from weam_fairseq.evaluation.hf_folder import first_line, loading_options


class HeadedModel(NamedTuple):
    """`new` names the weights that the seed made up; `pooler` says whether BERT's pooler is among them."""

    model: Any
    new: list[str]
    pooler: bool


def put_head_on(path: Path, head: Head, seed: int, device: str) -> HeadedModel:
    """Loads the encoder in `path` under a new head, whose weights follow from the seed.

    Raises:
        InputError: the checkpoint lacks weights of the encoder itself. BERT's pooler may be new: a masked language
            model does not train it, and many exports leave it out.
    """
    import torch

    torch.manual_seed(seed)
    model, info = _load(path, head, labelled=True)
    prefix = model.base_model_prefix + "."
    new = sorted(info["missing_keys"])
    of_encoder = [key for key in new if key.startswith(prefix)]
    lost = [key for key in of_encoder if not key.startswith(prefix + "pooler.")]
    if lost:
        raise InputError(
            f"{path}: the checkpoint lacks {len(lost)} weights of its encoder, such as {lost[0]}. "
            "Export the whole model."
        )
    return HeadedModel(model.to(device), new, len(of_encoder) > 0)


def load_fine_tuned(path: Path, head: Head, device: str) -> Any:
    """Loads a folder that fine-tuning wrote; every weight must be there."""
    model, info = _load(path, head, labelled=False)
    if info["missing_keys"]:
        raise InputError(f"{path} lacks {len(info['missing_keys'])} weights. Remove the folder and fine-tune again.")
    return model.to(device).eval()


def _load(path: Path, head: Head, labelled: bool) -> tuple[Any, dict[str, Any]]:
    import pickle

    import safetensors
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    names = dict(enumerate(head.labels))
    labels: dict[str, Any] = {}
    if labelled and names:
        labels = {"id2label": names, "label2id": {label: number for number, label in names.items()}}
    try:
        model, info = getattr(transformers, head.auto_class).from_pretrained(path, **loading_options(path), **labels)
        return model.float(), info
    except (
        *(OSError, ValueError, RuntimeError, KeyError, EOFError),
        *(pickle.UnpicklingError, safetensors.SafetensorError),
    ) as error:
        raise InputError(f"{path} does not load under a head for {head.name}: {first_line(error)}") from error
