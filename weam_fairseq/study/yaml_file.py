"""A YAML file read key by key: whatever is wrong is said with its file and line."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from weam_fairseq.common.arguments import suggest
from weam_fairseq.common.documents import compose_yaml, construct_yaml
from weam_fairseq.common.errors import InputError

Option = str | int | float | bool | list[Any] | None
Options = dict[str, Option]
Kind = TypeVar("Kind")

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class Section:
    """A mapping of the file. Keys are read as texts, so `1:` and `"1":` are the same.

    Attributes:
        plain: the mapping as YAML has it.
    """

    def __init__(self, file: Path, name: str, node: yaml.MappingNode, loader: Any) -> None:
        self.file, self.name, self._loader = file, name, loader
        self.line = node.start_mark.line + 1
        self._children: dict[str, Section] = {}
        loader.flatten_mapping(node)  # <<: *anchor
        self._nodes: dict[str, yaml.Node] = {str(key.value): value for key, value in node.value}
        self.plain: dict[str, Any] = {key: self._value(key) for key in self._nodes}

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __contains__(self, key: str) -> bool:
        return self.plain.get(key) is not None

    def only(self, known: Collection[str]) -> None:
        """Raises InputError for a key that is not known."""
        for key in self._nodes:
            if key not in known:
                where = f"`{self.name}`" if self.name else "a study"
                hint = suggest(key, known) or f" It has {', '.join(known)}."
                raise InputError(f"{self._where(key)}: {where} has no key `{key}`.{hint}")

    def wrong(self, key: str, must: str, hint: str = "") -> NoReturn:
        """Raises InputError: what must hold of a key's value, what it is, and what to do."""
        if key not in self._nodes:
            raise InputError(f"{self.file}:{self.line}: `{self._path(key)}` must be {must}, but is not there.{hint}")
        raise InputError(f"{self._where(key)}: `{self._path(key)}` must be {must}, but is {self.plain[key]!r}.{hint}")

    def get(self, key: str, kind: type[Kind], default: Kind | None = None) -> Kind:
        """A value of one type; a whole number is a number too.

        Raises:
            InputError: another type, or no value where there is no default.
        """
        value = self.plain.get(key)
        if value is None and default is not None:
            return default
        if kind is float and type(value) is int:
            value = float(value)
        if kind is float and isinstance(value, str) and _is_number(value):  # YAML takes 989e12 for a text
            value = float(value)
        if type(value) is not kind:
            self.wrong(key, _NAMES[kind], _quotes(value) if kind is str else "")
        return value

    def texts(self, key: str, default: Collection[str] | None = None) -> tuple[str, ...]:
        """A text, or a list of them; numbers are taken as they are written."""
        if key not in self and default is not None:
            return tuple(default)
        value = self.plain.get(key)
        found = value if isinstance(value, list) else [value]
        for each in found:
            if isinstance(each, bool) or not isinstance(each, str | int | float):
                self.wrong(key, "a text or a list of texts", _quotes(each))
        if not found:
            self.wrong(key, "a list with something in it")
        return tuple(map(str, found))

    def numbers(self, key: str) -> tuple[int, ...]:
        """A whole number from 0, or a list of them."""
        value = self.plain.get(key)
        found = value if isinstance(value, list) else [value]
        if not found or not all(type(each) is int and each >= 0 for each in found):
            self.wrong(key, "a whole number from 0 or a list of them")
        return tuple(found)

    def options(self, key: str) -> Options:
        """A command's options, by their names without `--`; underscores are taken for hyphens.

        Raises:
            InputError: no mapping from names to values and lists of them.
        """
        if key not in self:
            return {}
        section = self.section(key)
        found: Options = {}
        for name, value in section.plain.items():
            parts = value if isinstance(value, list) else [value]
            if not parts or not all(part is None or isinstance(part, str | int | float) for part in parts):
                section.wrong(name, "a value or a list of values")
            found[name.replace("_", "-")] = value
        return found

    def section(self, key: str) -> Section:
        """Raises InputError where the key is not there or no mapping."""
        node = self._nodes.get(key)
        if not isinstance(node, yaml.MappingNode):
            self.wrong(key, "a mapping")
        return self._child(key, node)

    def sections(self, key: str) -> list[Section]:
        """A list of mappings."""
        node = self._nodes.get(key)
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self.wrong(key, "a list of mappings")
        found = []
        for number, each in enumerate(node.value):
            if not isinstance(each, yaml.MappingNode):
                line = each.start_mark.line + 1
                raise InputError(f"{self.file}:{line}: each part of `{self._path(key)}` must be a mapping.")
            found.append(self._child(f"{key}[{number}]", each))
        return found

    def chosen(self, key: str, known: Collection[str], default: str | None = None) -> tuple[str, ...]:
        """Texts that must be known names."""
        found = self.texts(key, None if default is None else [default])
        for each in found:
            if each not in known:
                hint = suggest(each, known) or f" There are {', '.join(known)}."
                raise InputError(f"{self._where(key)}: `{self._path(key)}` names {each}, which is none.{hint}")
        return found

    def _child(self, name: str, node: yaml.MappingNode) -> Section:
        if name not in self._children:
            self._children[name] = Section(self.file, self._path(name), node, self._loader)
        return self._children[name]

    def _value(self, key: str) -> Any:
        return construct_yaml(self.file, self._nodes[key], self._loader)

    def _where(self, key: str) -> str:
        node = self._nodes.get(key)
        return f"{self.file}:{self.line if node is None else node.start_mark.line + 1}"

    def _path(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key


def read_yaml(path: Path) -> tuple[Section, str]:
    """The file's mapping, and its text.

    Raises:
        InputError: no such file, no mapping, or as `compose_yaml`.
    """
    if not path.is_file():
        raise InputError(f"{path} must be a study's YAML file, but there is no such file.")
    node, loader, text = compose_yaml(path)
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path} must be a mapping (title: …, grid: …), but is none.")
    return Section(path, "", node, loader), text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _quotes(value: Any) -> str:
    return " Put it in quotes." if value is not None and not isinstance(value, list | dict) else ""
