"""Untrusted documents are read as data or refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weam_fairseq.common import documents
from weam_fairseq.common.documents import check_name, parse_json, read_json, read_text, read_yaml, value_at
from weam_fairseq.common.errors import InputError

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 10)}]}}\n" for old, new in zip("abcdef", "bcdefg", strict=True)
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "f.json must be JSON, but is not: Expecting property name enclosed in double quotes at column 2."),
        ('{"a": 1,\n "b": }', "f.json:2 must be JSON, but is not: Expecting value at column 7."),
        ("", "f.json must be JSON, but is not: Expecting value at column 1."),
        ("[" * 100_000, "f.json must be nested at most 100 levels deep, but is nested deeper."),
        ("[" * 101 + "]" * 101, "f.json must be nested at most 100 levels deep, but is nested deeper."),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, "f.json must be nested at most 100 levels deep, but is nested deeper."),
        ("9" * 5_000, "f.json must hold numbers of at most 100 digits and below 1e308, but holds '9999"),
        ("[1,\n" + "9" * 101 + "]", "f.json:2 must hold numbers of at most 100 digits and below 1e308, but holds "),
        ("[1e999]", "f.json must hold numbers of at most 100 digits and below 1e308, but holds '1e999'."),
        ("[NaN]", "f.json must hold JSON's numbers only, but holds NaN."),
        ("[\n-Infinity]", "f.json:2 must hold JSON's numbers only, but holds -Infinity."),
        ('{"a": {"b": 1, "b": 1}}', "f.json must hold each key of an object once, but holds 'b' twice in one."),
        ('{"a": "\\ud800"}', "f.json must hold complete characters, but holds half a surrogate pair"),
    ],
)
def test_invalid_json_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as error:
        parse_json(text, "f.json")
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


@settings(max_examples=30)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_the_output_of_json_dumps_is_read_like_json_loads(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert parse_json(text, "f.json") == json.loads(text)


@given(st.text('[]{}",:\\ud8019-.eNaInfity \n') | st.binary(max_size=20))
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    try:
        value = parse_json(text, "f.json")
    except InputError:
        return
    assert value == json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))


def test_nan_is_read_if_the_caller_allows_it() -> None:
    value = parse_json('{"loss": NaN, "top": Infinity}', "log", nan=True)
    assert str(value["loss"]) == "nan"
    assert value["top"] == float("inf")


def test_types_of_documents_and_values_are_checked() -> None:
    assert parse_json("[]", "f.json", list) == []
    with pytest.raises(InputError, match=r"^f.json must be an object, but is a list. Make it again.$"):
        parse_json("[]", "f.json", dict, hint=" Make it again.")
    document = {"a": {"b": 1, "c": True}, "d": "x"}
    assert value_at(document, "a.b", int, "f.json") == value_at(document, "a.b", float, "f.json") == 1
    for path, kind, found in (("a.c", int, "true or false"), ("d", dict, "a text"), ("a", str, "an object")):
        with pytest.raises(InputError, match=rf"^f.json must have .* as `{path}`, but has {found}\.$"):
            value_at(document, path, kind, "f.json")
    for path in ("e", "d.e", "a.b.c"):
        with pytest.raises(InputError, match=rf"^f.json must have a text as `{path}`, but has none\.$"):
            value_at(document, path, str, "f.json")


def test_files_must_be_small_and_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(file) == {"a": 1}  # with a byte-order mark
    with pytest.raises(InputError, match="must have at most 10 bytes, but has more"):
        read_json(file, max_bytes=10)
    with pytest.raises(InputError, match="must have at most 100 bytes"):
        read_text(Path("/dev/zero"), 100)
    file.write_bytes(b'{\n"a": "\xff"}')
    with pytest.raises(InputError, match=r"f.json:2 must be UTF-8, but byte 8 of the file is not\.$"):
        read_json(file)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "f.yaml:1: the file must be YAML, but is not: "),
        ("a: 1\nb: 2\na: 3", "f.yaml:3: `a` appears twice. Remove one."),
        ("a: {b: 1, b: 2}", "f.yaml:1: `b` appears twice. Remove one."),
        ("{a: " * 5_000, "f.yaml must be nested at most 100 levels deep, but is nested deeper."),
        ("a: " + "[" * 120 + "]" * 120, "f.yaml:1: values must be nested at most 100 levels deep"),
        (LAUGHS, "the file must hold at most 100,000 values in 100 levels once its aliases are replaced, but"),
        (MERGES, "the file must hold at most 100,000 values in 100 levels once its aliases are replaced, but"),
        ("a: &a [*a]", "f.yaml:1: an alias must not lie inside its own target, but one does."),
        ("a: &a {<<: *a}", "f.yaml:1: an alias must not lie inside its own target, but one does."),
        ("a: 2\nb: " + "9" * 5_000, "the value must be valid YAML, but is not: Exceeds the limit"),
        ("a: 0x" + "f" * 5_000, "a number must have at most 100 digits, but one has more."),
        ("a: 2021-99-99", "the value must be valid YAML, but is not: month must be in 1..12."),
        ("a: !!python/object/apply:os.system ['true']", "f.yaml:1: the file must be YAML, but is not: could not"),
        ("a: !!binary ä", "the file must be YAML, but is not: "),
        ("a: 1\n---\nb: 2", "f.yaml:2: the file must be YAML, but is not: but found another document."),
        ("a: \x00", "the file must be YAML, but is not: "),
    ],
)
def test_invalid_yaml_is_refused_in_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_yaml(file)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250 + len(str(tmp_path))


def test_plain_yaml_is_read(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(
        "base: &base {lr: 1e-4, warmup: 10}\nrun: {<<: *base, time: 12:00:00, lr: [0.5, 2]}", encoding="utf-8"
    )
    expected = {"warmup": 10, "time": "12:00:00", "lr": [0.5, 2]}
    assert read_yaml(file) == {"base": {"lr": "1e-4", "warmup": 10}, "run": expected}


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/x", "a\\b", "x\0", "a\nb", ".bashrc", "\ud800", "x" * 256, "ä" * 128, 3, None],
)
def test_names_that_are_not_plain_are_refused(name: object) -> None:
    with pytest.raises(InputError, match="must name files") as error:
        check_name(name, "ck.pt")
    str(error.value).encode()  # can be printed
    assert len(str(error.value)) < 250


def test_plain_names_are_accepted() -> None:
    for name in ("vocab.txt", "тест.model", "x" * 255, "a b", "-x"):
        assert check_name(name, "ck.pt") == name
    assert documents.shown("x" * 100) == repr("x" * 100)[:60] + "…"
