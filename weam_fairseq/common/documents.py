"""Reads untrusted JSON, YAML and file names. All sizes are limited, all values are checked, and no code is run.

An untrusted file may be huge, deeply nested or self-referencing, contain numbers of a million digits, or repeat a key.
Each of these is reported in one sentence with the file and, if known, the line.
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

MAX_JSON_BYTES = 1 << 28  # the largest tokenizer.json in use has 35 MB
MAX_YAML_BYTES = 1 << 20
MAX_DEPTH = 100
MAX_DIGITS = 100  # model_max_length in Hugging Face's tokenizer_config.json has 31
MAX_YAML_VALUES = 100_000  # counted after every alias is replaced by its target
_LONGEST_NAME = 255  # bytes, on all common file systems
_SHOWN = 60  # characters of a value in an error
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_text(path: Path, max_bytes: int = MAX_JSON_BYTES, hint: str = "") -> str:
    """Reads a UTF-8 file. Removes the byte order mark.

    Raises:
        InputError: the file has more than `max_bytes` bytes or is not UTF-8.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(max_bytes + 1)  # the size of a pipe or a device is not known in advance
    if len(data) > max_bytes:
        raise InputError(f"{path} must have at most {max_bytes:,} bytes, but has more.{hint}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line} must be UTF-8, but byte {error.start:,} of the file is not.{hint}") from None


def read_json(
    path: Path, kind: type = object, *, nan: bool = False, max_bytes: int = MAX_JSON_BYTES, hint: str = ""
) -> Any:
    """Reads a JSON file. Arguments and errors are those of `read_text` and `parse_json`."""
    return parse_json(read_text(path, max_bytes, hint), path, kind, nan=nan, hint=hint)


def parse_json(text: str | bytes, where: Path | str, kind: type = object, *, nan: bool = False, hint: str = "") -> Any:
    """Parses a JSON text.

    Args:
        where: the file, or the file and the line, for errors.
        kind: the required type: dict, list, str, int or float; object: any type.
        nan: accept NaN and Infinity, which Python writes but JSON does not allow.
        hint: a sentence to add to each error, starting with a space: what the user should do.

    Raises:
        InputError: the text is not JSON, has another type or more than 100 levels, has a number of more than 100 digits
            or out of range, repeats a key in an object, or has half a surrogate pair.
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
        result = read(written) if read is float or len(written) <= MAX_DIGITS else math.inf
        if not math.isfinite(result) and not (nan and read is float):
            line = content.count("\n", 0, content.find(written)) + 1
            refuse(f"hold numbers of at most {MAX_DIGITS} digits and below 1e308", f"holds {shown(written)}", line)
        return result

    def constant(written: str) -> float:
        if not nan:
            line = content.count("\n", 0, content.find(written)) + 1
            refuse("hold JSON's numbers only", f"holds {written}", line)
        return float(written)

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            seen_keys: set[str] = set()
            repeated = next(key for key, _ in pairs if key in seen_keys or seen_keys.add(key))  # type: ignore[func-returns-value]
            refuse("hold each key of an object once", f"holds {shown(repeated)} twice in one")
        return result

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
        refuse(f"be nested at most {MAX_DEPTH} levels deep", "is nested deeper")
    level, depth = [value], 0
    while level := [container for container in level if isinstance(container, dict | list)]:
        depth += 1
        if depth > MAX_DEPTH:
            refuse(f"be nested at most {MAX_DEPTH} levels deep", "is nested deeper")
        level = [
            inner for container in level for inner in (container.values() if isinstance(container, dict) else container)
        ]
    if _SURROGATE.search(content):  # json decodes these into a string that cannot be encoded
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            refuse("hold complete characters", "holds half a surrogate pair (\\ud800 to \\udfff)")
    if not _is(value, kind):
        refuse(f"be {_KINDS[kind]}", f"is {_kind_of(value)}")
    return value


def value_at(document: dict[str, Any], path: str, kind: type, where: Path | str, hint: str = "") -> Any:
    """Returns the value at `path` (keys joined by dots) in nested objects.

    Raises:
        InputError: the value is missing or has another type. An integer counts as a number (float); true does not.
    """
    value: Any = document
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise InputError(f"{where} must have {_KINDS[kind]} as `{path}`, but has none.{hint}")
        value = value[key]
    if not _is(value, kind):
        raise InputError(f"{where} must have {_KINDS[kind]} as `{path}`, but has {_kind_of(value)}.{hint}")
    return value


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
    """Formats a value for an error message: its repr, cut after 60 characters."""
    try:
        written = repr(value)
    except ValueError:
        return "a number of more than 4,300 digits"
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"


def read_yaml(path: Path) -> Any:
    """Reads a YAML file with one document of plain types. Returns None for an empty file.

    Raises:
        InputError: see `compose_yaml` and `construct_yaml`.
        OSError: the file cannot be read.
    """
    node, loader, _ = compose_yaml(path)
    return None if node is None else construct_yaml(path, node, loader)


def compose_yaml(path: Path) -> tuple[Any, Any, str]:
    """Returns the root node of a YAML file (None if it is empty), the loader for its values, and the text.

    Raises:
        InputError: the file has more than 1 MiB, is not UTF-8 or not YAML, repeats a key in a mapping, has more than
            100 levels, has an alias inside its own target, or has more than 100,000 values once aliases are replaced.
        OSError: the file cannot be read.
    """
    import yaml

    text = read_text(path, MAX_YAML_BYTES)
    try:
        loader = _loader()(text)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        _refuse_yaml(path, error)
    except RecursionError:
        raise InputError(f"{path} must be nested at most {MAX_DEPTH} levels deep, but is nested deeper.") from None
    if node is not None:
        _check_nodes(path, node)
    return node, loader, text


def construct_yaml(path: Path, node: Any, loader: Any) -> Any:
    """Returns the value of a node from `compose_yaml`.

    Raises:
        InputError: a tag is not one of YAML's plain types, a date is invalid, or a number has too many digits.
    """
    import yaml

    where = f"{path}:{node.start_mark.line + 1}"
    try:
        value = loader.construct_object(node, deep=True)
    except yaml.YAMLError as error:
        _refuse_yaml(path, error)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where}: the value must be valid YAML, but is not: {error}.") from None
    level = [value]
    while level:
        for item in level:
            if isinstance(item, int) and abs(item) >= 10**MAX_DIGITS:
                raise InputError(f"{where}: a number must have at most {MAX_DIGITS} digits, but one has more.")
        level = [inner for item in level for inner in _inner(item)]
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
    problem = " ".join(str(getattr(error, "problem", None) or error).split())[:200]
    raise InputError(f"{where}: the file must be YAML, but is not: {problem}.") from None


@functools.cache
def _loader() -> Any:
    """YAML 1.1's safe loader, except that 12:00:00 is a text, as in YAML 1.2, and not a number in base 60."""
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
    counted: dict[int, tuple[int, int]] = {}  # node -> number of values with aliases replaced, and depth

    def refuse(node: Any, must: str) -> NoReturn:
        raise InputError(f"{path}:{node.start_mark.line + 1}: {must}")

    def count(node: Any, ancestors: tuple[int, ...]) -> tuple[int, int]:
        if id(node) in ancestors:
            refuse(node, "an alias must not lie inside its own target, but one does.")
        if id(node) not in counted:
            if len(ancestors) >= MAX_DEPTH:
                refuse(node, f"values must be nested at most {MAX_DEPTH} levels deep, but one is nested deeper.")
            if node.id == "mapping":
                _check_keys(path, node)
            values = [part for pair in node.value for part in pair] if node.id == "mapping" else node.value
            inner = [count(part, (*ancestors, id(node))) for part in values] if node.id != "scalar" else []
            counted[id(node)] = 1 + sum(size for size, _ in inner), 1 + max((levels for _, levels in inner), default=0)
        size, depth = counted[id(node)]
        if size > MAX_YAML_VALUES or len(ancestors) + depth > MAX_DEPTH:
            refuse(
                node,
                f"the file must hold at most {MAX_YAML_VALUES:,} values in {MAX_DEPTH} levels once its aliases are "
                "replaced, but holds more.",
            )
        return size, depth

    count(root, ())


def _check_keys(path: Path, node: Any) -> None:
    """Rejects repeated keys. YAML would silently use the last one."""
    earlier: set[str] = set()
    for key, _ in node.value:
        written = str(key.value) if key.id == "scalar" else ""
        if written and written in earlier and written != "<<":
            raise InputError(f"{path}:{key.start_mark.line + 1}: `{written[:_SHOWN]}` appears twice. Remove one.")
        earlier.add(written)


def check_name(name: object, where: Path | str) -> str:
    """Checks an untrusted name that becomes a file name: one path component, not hidden.

    Raises:
        InputError: the name is not a text, is empty, has more than 255 bytes, has a slash, a backslash, a control
            character or half a surrogate pair, or starts with a dot.
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
