"""JSON, YAML and file names that come from elsewhere: bounded, checked, and never code.

A file that somebody sends may be huge, nested without end, hold numbers of a million digits, say one key twice, or
refer to itself. Each of these becomes one sentence with the file and, where it is known, the line.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from weam_fairseq.common.errors import InputError

MOST_JSON_BYTES = 1 << 28  # the largest tokenizer.json in use has 35 MB
MOST_YAML_BYTES = 1 << 20
MOST_DEPTH = 100
MOST_DIGITS = 100  # model_max_length in Hugging Face's tokenizer_config.json has 31
MOST_YAML_VALUES = 100_000  # after every alias is replaced by what it refers to
_LONGEST_NAME = 255  # bytes, on all common file systems
_SHOWN = 60  # characters of a value in an error
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_text(path: Path, most_bytes: int = MOST_JSON_BYTES, hint: str = "") -> str:
    """A UTF-8 file, without its byte-order mark.

    Raises:
        InputError: more bytes than `most_bytes`, or no UTF-8.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(most_bytes + 1)  # a pipe or a device has no size to ask for
    if len(data) > most_bytes:
        raise InputError(f"{path} must have at most {most_bytes:,} bytes, but has more.{hint}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line} must be UTF-8, but byte {error.start:,} of the file is not.{hint}") from None


def read_json(
    path: Path, kind: type = object, *, nan: bool = False, most_bytes: int = MOST_JSON_BYTES, hint: str = ""
) -> Any:
    """The value of a JSON file; the options and errors are those of `read_text` and `parse_json`."""
    return parse_json(read_text(path, most_bytes, hint), path, kind, nan=nan, hint=hint)


def parse_json(text: str | bytes, where: Path | str, kind: type = object, *, nan: bool = False, hint: str = "") -> Any:
    """The value of a JSON text.

    Args:
        where: the file, or the file and the line, for errors.
        kind: what the value must be: dict, list, str, int, float; object: anything.
        nan: accept NaN and Infinity, which JSON does not have and Python writes.
        hint: a sentence for the end of each error, with a space before it: what to do.

    Raises:
        InputError: no JSON, another kind, more than 100 levels, a number of more than 100 digits or out of range, a key
            twice in one object, half a character.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{where} must be UTF-8, but byte {error.start:,} is not.{hint}") from None
    content = text

    def refuse(must: str, but: str, line: int | None = None) -> NoReturn:
        place = f"{where}:{line}" if line is not None and "\n" in content.strip() else f"{where}"
        raise InputError(f"{place} must {must}, but {but}.{hint}")

    def number(written: str, read: type[int] | type[float]) -> int | float:
        found = read(written) if read is float or len(written) <= MOST_DIGITS else math.inf
        if not math.isfinite(found) and not (nan and read is float):
            line = content.count("\n", 0, content.find(written)) + 1
            refuse(f"hold numbers of at most {MOST_DIGITS} digits and below 1e308", f"holds {shown(written)}", line)
        return found

    def constant(written: str) -> float:
        if not nan:
            line = content.count("\n", 0, content.find(written)) + 1
            refuse("hold JSON's numbers only", f"holds {written}", line)
        return float(written)

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            refuse("hold each key of an object once", f"holds {shown(twice)} twice in one")
        return found

    try:
        value = json.loads(
            content,
            parse_int=lambda written: number(written, int),
            parse_float=lambda written: number(written, float),
            parse_constant=constant,
            object_pairs_hook=mapping,
        )
    except json.JSONDecodeError as error:
        refuse("be JSON", f"is not: {error.msg} at column {error.colno}", error.lineno)
    except RecursionError:
        refuse(f"be nested at most {MOST_DEPTH} levels deep", "is nested deeper")
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        if depth > MOST_DEPTH:
            refuse(f"be nested at most {MOST_DEPTH} levels deep", "is nested deeper")
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    if _SURROGATE.search(content):  # json makes a text of them that nothing can write
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            refuse("hold whole characters", "holds half a surrogate pair (\\ud800 to \\udfff)")
    if not _is(value, kind):
        refuse(f"be {_KINDS[kind]}", f"is {_kind_of(value)}")
    return value


def value_at(document: dict[str, Any], path: str, kind: type, where: Path | str, hint: str = "") -> Any:
    """The value at `path` (keys joined by dots) of nested objects.

    Raises:
        InputError: it is not there, or of another kind. A whole number is a number (float), true is neither.
    """
    found: Any = document
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            raise InputError(f"{where} must have {_KINDS[kind]} as `{path}`, but has none.{hint}")
        found = found[key]
    if not _is(found, kind):
        raise InputError(f"{where} must have {_KINDS[kind]} as `{path}`, but has {_kind_of(found)}.{hint}")
    return found


_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    object: "a value",
}


def _is(value: Any, kind: type) -> bool:
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _kind_of(value: Any) -> str:
    names = {type(None): "null", **{kind: name for kind, name in _KINDS.items() if kind is not object}}
    return names.get(type(value), f"a {type(value).__name__}")


def shown(value: object) -> str:
    """A value for an error: what Python writes for it, cut after 60 characters."""
    try:
        written = repr(value)
    except ValueError:
        return "a number of more than 4,300 digits"
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"


def read_yaml(path: Path) -> Any:
    """The value of a YAML file with one document, of plain types; None: an empty file.

    Raises:
        InputError: as `compose_yaml` and `construct_yaml`.
        OSError: the file cannot be read.
    """
    node, loader, _ = compose_yaml(path)
    return None if node is None else construct_yaml(path, node, loader)


def compose_yaml(path: Path) -> tuple[Any, Any, str]:
    """The root node of a YAML file (None: an empty file), the loader that can construct its values, and the text.

    Raises:
        InputError: more than a mebibyte, no UTF-8, no YAML, a key twice in one mapping, more than 100 levels, an alias
            inside what it refers to, or more than 100,000 values once aliases are replaced.
        OSError: the file cannot be read.
    """
    import yaml

    text = read_text(path, MOST_YAML_BYTES)
    try:
        loader = _loader()(text)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        _refuse_yaml(path, error)
    except RecursionError:
        raise InputError(f"{path} must be nested at most {MOST_DEPTH} levels deep, but is nested deeper.") from None
    if node is not None:
        _check_nodes(path, node)
    return node, loader, text


def construct_yaml(path: Path, node: Any, loader: Any) -> Any:
    """The value of a node of `compose_yaml`.

    Raises:
        InputError: a tag that YAML's plain types do not have, a date that is none, a number of too many digits.
    """
    import yaml

    where = f"{path}:{node.start_mark.line + 1}"
    try:
        value = loader.construct_object(node, deep=True)
    except yaml.YAMLError as error:
        _refuse_yaml(path, error)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where}: the value must be one that YAML can read, but is not: {error}.") from None
    level = [value]
    while level:
        for each in level:
            if isinstance(each, int) and abs(each) >= 10**MOST_DIGITS:
                raise InputError(f"{where}: a number must have at most {MOST_DIGITS} digits, but one has more.")
        level = [inner for each in level for inner in _inner(each)]
    return value


def _inner(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list | tuple | set):
        yield from value


def _refuse_yaml(path: Path, error: Any) -> NoReturn:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    found = " ".join(str(getattr(error, "problem", None) or error).split())[:200]
    raise InputError(f"{where}: the file must be YAML, but is not: {found}.") from None


@functools.cache
def _loader() -> Any:
    """YAML 1.1's safe loader, but for 12:00:00: there a number to the base of 60, here a text, as in YAML 1.2."""
    import yaml

    base_60 = re.compile(r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?$")

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [("tag:yaml.org,2002:str", base_60), *rules] if first in "+-0123456789" else list(rules)
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Loader


def _check_nodes(path: Path, root: Any) -> None:
    """Raises InputError for repeated keys, depth, and aliases that multiply or refer to themselves."""
    counted: dict[int, tuple[int, int]] = {}  # of a node: the values in it, aliases replaced, and its depth

    def refuse(node: Any, must: str) -> NoReturn:
        raise InputError(f"{path}:{node.start_mark.line + 1}: {must}")

    def count(node: Any, above: tuple[int, ...]) -> tuple[int, int]:
        if id(node) in above:
            refuse(node, "an alias must not lie inside what it refers to, but one does.")
        if id(node) not in counted:
            if len(above) >= MOST_DEPTH:
                refuse(node, f"values must be nested at most {MOST_DEPTH} levels deep, but one is nested deeper.")
            if node.id == "mapping":
                _check_keys(path, node)
            values = [part for pair in node.value for part in pair] if node.id == "mapping" else node.value
            inner = [count(each, (*above, id(node))) for each in values] if node.id != "scalar" else []
            counted[id(node)] = 1 + sum(size for size, _ in inner), 1 + max((deep for _, deep in inner), default=0)
        size, depth = counted[id(node)]
        if size > MOST_YAML_VALUES or len(above) + depth > MOST_DEPTH:
            refuse(
                node,
                f"the file must hold at most {MOST_YAML_VALUES:,} values in {MOST_DEPTH} levels, its aliases replaced, "
                "but holds more.",
            )
        return size, depth

    count(root, ())


def _check_keys(path: Path, node: Any) -> None:
    """YAML would take the last one of two equal keys without a word."""
    seen: set[str] = set()
    for key, _ in node.value:
        written = str(key.value) if key.id == "scalar" else ""
        if written and written in seen and written != "<<":
            raise InputError(f"{path}:{key.start_mark.line + 1}: `{written[:_SHOWN]}` stands twice. Leave one out.")
        seen.add(written)


def check_name(name: object, where: Path | str) -> str:
    """A name from elsewhere that becomes the name of a file: one part of a path, not hidden.

    Raises:
        InputError: no text, empty, longer than 255 bytes, with a slash, a backslash, a control character or half a
            surrogate pair, or with a dot at its beginning.
    """
    if (
        not isinstance(name, str)
        or not name
        or name.startswith(".")
        or re.search(r"[/\\\x00-\x1f\x7f\ud800-\udfff]", name)
    ):
        raise InputError(
            f"{where} must name files by plain names (no folder, no dot first, no control character), but names "
            f"{shown(name)}."
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise InputError(f"{where} must name files in at most {_LONGEST_NAME} bytes, but one is {shown(name)}.")
    return name
