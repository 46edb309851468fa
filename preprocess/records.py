"""Parquet files, and data sets of the Hugging Face Hub: `copy_texts` writes the texts of both languages as JSON Lines.

A run reads its inputs several times, and needs only two columns of them. So it copies these columns once, in batches.
All later stages read JSON Lines, on other machines too, and need no package for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from weam_fairseq.common.errors import InputError

HUB = "hub:"
_PARQUET = b"PAR1"
_ROWS = 10_000  # that are held in memory
_TEXTS = ("string", "large_string", "string_view")


class _Source(NamedTuple):
    """An Arrow schema, and for two top-level columns the batches of their rows."""

    schema: Any
    batches: Any


def is_on_hub(path: Path) -> bool:
    """Whether it is `hub:NAME`, `hub:NAME:CONFIGURATION` or `hub:NAME:CONFIGURATION:SPLIT` instead of a file."""
    return str(path).startswith(HUB)


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its content. False for what cannot be read: its reader gives the error."""
    try:
        with path.open("rb") as file:
            return file.read(len(_PARQUET)) == _PARQUET
    except OSError:
        return False


def copy_texts(path: Path, languages: tuple[str, str], columns: tuple[str, str] | None, target: Path) -> None:
    """Writes the two texts of each row to `target`, as JSON Lines. Row n becomes line n.

    Args:
        languages: without `columns`, the texts are under `translation.LANGUAGE` or `LANGUAGE`.

    Raises:
        InputError: a package is missing, the data cannot be read, or there are no such columns of text.
    """
    if columns is not None and columns[0].isdecimal():
        raise InputError(f"--columns must give the names of two columns of {path}, but is {','.join(columns)}.")
    with target.open("w", encoding="utf-8", newline="\n") as file:
        source = _open_hub(path) if is_on_hub(path) else _open_parquet(path)
        keys = [_find(path, source.schema, languages[side], columns and columns[side]) for side in (0, 1)]
        for batch in source.batches([".".join(key) for key in keys]):
            rows = zip(*(_texts(path, batch, key) for key in keys), strict=True)
            file.writelines(json.dumps(_record(keys, texts), ensure_ascii=False) + "\n" for texts in rows)


def _find(path: Path, schema: Any, language: str, column: str | None) -> list[str]:
    """The column of a language: its name, after the names of the structs that it is in.

    Raises:
        InputError: there is no such column, or it holds no text.
    """
    names = [column] if column else [f"translation.{language}", language]
    # A name is that of a column, or else leads into structs.
    for key in (key for name in names for key in dict.fromkeys([(name,), tuple(name.split("."))])):
        fields: Any = schema
        for name in key:
            index = fields.get_field_index(name) if hasattr(fields, "get_field_index") else -1
            if index < 0:
                break
            field = fields.field(index)
            fields = field.type
        else:
            kind = getattr(field.type, "value_type", field.type)  # of a dictionary, its values
            if str(kind) in _TEXTS:
                return list(key)
            raise InputError(f"{path}: the column {'.'.join(key)} must hold text, but holds {field.type}.")
    raise InputError(
        f"{path} must have a column {' or '.join(names)}, but has {', '.join(schema.names)}. Name the columns of both "
        "languages with --columns SOURCE,TARGET; a dot leads into a struct, as in translation.en."
    )


def _texts(path: Path, batch: Any, key: Sequence[str]) -> list[str | None]:
    import pyarrow.compute

    values = batch[key[0]]
    try:
        return list((pyarrow.compute.struct_field(values, list(key[1:])) if key[1:] else values).to_pylist())
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: the column {'.'.join(key)} must hold UTF-8 text, but holds other bytes ({error.reason}). Write "
            "the file again from the original text."
        ) from None


def _record(keys: Sequence[Sequence[str]], texts: Sequence[str | None]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for (*outer, name), text in zip(keys, texts, strict=True):
        inner = record
        for each in outer:
            inner = inner.setdefault(each, {})
        inner[name] = text
    return record


def _open_parquet(path: Path) -> _Source:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"{path} is a Parquet file, which needs the package pyarrow. Install it: pip install pyarrow"
        ) from None

    def damaged(error: Exception) -> InputError:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        return InputError(f"{path} is a Parquet file that cannot be read ({reason}). Download it again.")

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(error) from error

    def batches(columns: list[str]) -> Iterator[Any]:
        """One row group after the other."""
        try:
            yield from file.iter_batches(_ROWS, columns=columns)
        except (pyarrow.ArrowException, OSError) as error:
            raise damaged(error) from error

    return _Source(file.schema_arrow, batches)


def _open_hub(path: Path) -> _Source:
    try:
        import datasets
    except ImportError:
        raise InputError(f"{path} needs the package datasets. Install it: pip install 'datasets>=4'") from None
    name, config, split = [*path.as_posix().removeprefix(HUB).split(":", 2), "", ""][:3]
    split = split or "train"
    try:
        rows = datasets.load_dataset(name, config or None, split=split)
    except (ValueError, OSError, KeyError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        # RuntimeError: a data set that is a program, which is never run.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"{path}: `datasets` cannot load the split {split} ({reason}). Write hub:NAME:CONFIGURATION:SPLIT, or "
            "download a file of the data set and name the file."
        ) from None

    def batches(columns: list[str]) -> Iterator[Any]:
        outer = list(dict.fromkeys(column.split(".")[0] for column in columns))
        return iter(rows.select_columns(outer).with_format("arrow").iter(_ROWS))

    return _Source(rows.features.arrow_schema, batches)
