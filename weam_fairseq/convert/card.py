"""Writes the model card of an exported folder, and reads facts from the base model's card."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from weam_fairseq import __version__

# Fields that the new card copies from the base model's card.
_COPIED_FIELDS = ("license", "license_name", "license_link", "language")
_MAX_CHARACTERS = 1 << 20


def read_card(folder: Path) -> dict[str, Any]:
    """Reads license and languages from a folder's model card. Empty if there is no readable card."""
    path = folder / "README.md"
    try:
        text = path.read_text(encoding="utf-8-sig")[:_MAX_CHARACTERS]
    except (OSError, UnicodeDecodeError):
        return {}
    header = re.match(r"---\n(.*?)\n---\s*\n", text, re.DOTALL)
    if header is None:
        return {}
    try:
        values = yaml.load(header[1], Loader=yaml.BaseLoader)  # all values are texts: `no` is Norwegian
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {name: values[name] for name in _COPIED_FIELDS if _is_plain(values.get(name))}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 500 and all(isinstance(item, str) and len(item) <= 50 for item in value)
    return isinstance(value, str) and len(value) <= 500


def write_card(facts: dict[str, Any]) -> str:
    """Returns the text of README.md.

    Args:
        facts: `class` (of transformers), `layers`, `width`, `rows`, `languages` (codes), `published` (about the base
            model: `folder`, `revision`, `card`, `missing`, `layers` if it was cut; None: no base model), `pairs`,
            `updates`, `aligner`, `method`, `seed`.
    """
    origin = facts["published"]
    card = {} if origin is None else origin.get("card") or {}
    header: dict[str, Any] = {
        "language": sorted({*_as_list(card.get("language")), *facts["languages"]}),
        **({"base_model": origin["folder"]} if origin is not None else {}),
        **{name: card[name] for name in ("license", "license_name", "license_link") if name in card},
        "library_name": "transformers",
        "pipeline_tag": "fill-mask",
        "tags": ["weam"],
    }
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in header.items()]
    return f"""---
{chr(10).join(lines)}
---

# A masked language model trained with weam_fairseq {__version__}

{_shape(facts)} {_training(facts)}

WEAM: Yang, Ma, Cui, Ye, Che, Wang, *Bilingual Alignment Pre-Training for Zero-Shot Cross-Lingual Transfer*, MRQA 2021
(arXiv 2106.01732).

```python
from transformers import AutoModelForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("PATH_OF_THIS_FOLDER")
model = AutoModelForMaskedLM.from_pretrained("PATH_OF_THIS_FOLDER")
```
"""


def _shape(facts: dict[str, Any]) -> str:
    return f"{facts['class']}, {facts['layers']} layers × {facts['width']}, {facts['rows']:,} rows of the vocabulary."


def _training(facts: dict[str, Any]) -> str:
    origin = facts["published"]
    started = ""
    if origin is not None:
        revision = f" (commit {_code(origin['revision'])})" if origin.get("revision") else ""
        cut = ""
        if origin.get("layers"):
            kept, depth = origin["layers"]
            head = " with a new head" if origin.get("missing") else ""
            cut = f", cut to its first {kept} of {depth} layers{head} (not trained at that size before)"
        started = f"Started from {_code(origin['folder'])}{revision}{cut}. "
    if not facts["pairs"]:
        return f"{started}Not trained since."
    seed = "" if facts.get("seed") is None else f", seed {facts['seed']}"
    text = (
        f"{started}{facts['updates']:,} updates in its last training on the pairs {', '.join(facts['pairs'])}{seed}, "
        f"links from {_code(facts['aligner'])}.\n\nMethod: {_code(facts['method'])}"
    )
    return (
        f"{text}\n\n## How to train such a model\n\nOn your own text, with the default settings. "
        f"Those of this model are in *Method* above.\n\n```bash\n{_commands(facts)}\n```"
    )


def _commands(facts: dict[str, Any]) -> str:
    """The commands that train such a model, with placeholders for the files."""
    origin = facts["published"] or {}
    pairs = " ".join(f"--pair {pair}={pair.upper()}_TEXT.tsv" for pair in facts["pairs"])
    objective = _word((facts["method"] or {}).get("objective", "weam"))
    tokenizer, start, lines = f"--train-tokenizer wordpiece --vocab-size {facts['rows']}", "--arch ARCH", []
    if origin:
        name = _word(origin["folder"])
        layers = f" --layers {origin['layers'][0]}" if origin.get("layers") else ""
        tokenizer, start = f"--tokenizer {name}", f"--from {name}{layers}"
        if origin.get("revision"):  # weam-train always takes the newest commit
            lines = [f"weam-from-hf {name} start.pt --revision {_word(origin['revision'])}{layers}"]
            start = "--from start.pt"
    seed = "" if facts.get("seed") is None else f" --seed {facts['seed']}"
    lines += [
        f"weam-preprocess {pairs} {tokenizer} --valid-size 200 --destdir data-bin",
        f"weam-train data-bin {start} --objective {objective} --max-update {facts['updates']}{seed} --save-dir run",
        "weam-to-hf run/checkpoint_last.pt FOLDER",
    ]
    return "\n".join(lines)


def _word(value: Any) -> str:
    """Formats a value from a checkpoint as one word of a command."""
    return re.sub(r"[^A-Za-z0-9._/+-]", "_", str(value))


def _code(value: Any) -> str:
    """Formats a value from a checkpoint as Markdown code. Backticks in the value cannot end the code."""
    text = value if isinstance(value, str) else json.dumps(value)
    plain = " ".join(text.replace("`", "'").split())
    return f"`{plain}`"


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
