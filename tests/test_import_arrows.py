"""Which room may import which (CONTRIBUTING.md, "Layout"): the arrows are part of the design."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLUGIN, PREPROCESS = ROOT / "weam_fairseq", ROOT / "preprocess"

# Each room imports only rooms above it in this list, besides itself. show.py is a command of its own.
ROOMS = [
    *("common", "data", "encoder", "method", "plugin", "convert", "training"),
    *("launch", "evaluation", "study", "report"),
]
WITH_FAIRSEQ = {"plugin", "training"}
# Its output derives from transformers' ModelOutput.
WITH_TRANSFORMERS = {"weam_fairseq/method/modeling.py"}


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Full dotted names that a file imports from, relative ones resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    package = list(path.relative_to(ROOT).parent.parts)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from . import checkpoints` names a module, `from .losses import predict` a function: take both readings.
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def packages(path: Path, top_level_only: bool = False) -> set[str]:
    return {dotted.split(".")[0] for dotted in imports(path, top_level_only)}


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def rooms_of(dotted_names: set[str]) -> set[str]:
    return {dotted.split(".")[1] for dotted in dotted_names if dotted.startswith("weam_fairseq.")}


def test_every_folder_is_a_room() -> None:
    assert sorted(path.parent.name for path in PLUGIN.glob("*/__init__.py")) == sorted(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_above_it(room: str) -> None:
    allowed = {*ROOMS[: ROOMS.index(room) + 1], "__version__", "register"}
    for path in files(PLUGIN / room):
        assert rooms_of(imports(path)) <= allowed, path
        assert "weam_preprocess" not in packages(path), path
        assert "scripts" not in packages(path), path


def test_preprocess_imports_nothing_of_the_plugin_but_common() -> None:
    for path in files(PREPROCESS):
        assert rooms_of(imports(path)) <= {"common"}, path
        assert "scripts" not in packages(path), path


@pytest.mark.parametrize("room", [room for room in ROOMS if room not in WITH_FAIRSEQ])
def test_fairseq_is_imported_in_plugin_and_training_only(room: str) -> None:
    for path in files(PLUGIN / room):
        assert not packages(path) & {"fairseq", "fairseq_cli"}, path


def test_common_needs_only_the_standard_library() -> None:
    for path in files(PLUGIN / "common"):
        assert packages(path, top_level_only=True) <= {"weam_fairseq", *sys.stdlib_module_names}, path


@pytest.mark.parametrize("room", ["data", "method"])
def test_the_method_needs_only_numpy_and_torch(room: str) -> None:
    for path in files(PLUGIN / room):
        if name(path) not in WITH_TRANSFORMERS:
            needed = packages(path, top_level_only=True)
            assert needed <= {"numpy", "torch", "tqdm", "weam_fairseq", *sys.stdlib_module_names}, path


def test_transformers_is_imported_inside_functions() -> None:
    found = {
        name(p) for f in (PLUGIN, PREPROCESS) for p in files(f) if "transformers" in packages(p, top_level_only=True)
    }
    assert found == WITH_TRANSFORMERS


COMMANDS = [
    *("weam-preprocess", "weam-train", "weam-from-hf", "weam-to-hf", "weam-show", "weam-score", "weam-evaluate"),
    *("weam-report", "weam-launch", "weam-study"),
]
HELP = """
import contextlib, importlib.util, io, json, runpy, sys
sys.modules["fairseq"] = sys.modules["fairseq_cli"] = sys.modules["transformers"] = None
find = importlib.util.find_spec
importlib.util.find_spec = lambda n, *a: None if n in ("fairseq", "transformers") else find(n, *a)
for program in sys.argv[1:]:
    sys.argv, printed = [program, "--help"], io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        assert not end.code, program
    assert "example:" in printed.getvalue(), program
"""


def test_help_needs_neither_fairseq_nor_transformers() -> None:
    """Runs --help of every command, in one process where neither can be imported."""
    programs = [Path(sys.executable).with_name(command) for command in COMMANDS]
    result = subprocess.run([sys.executable, "-c", HELP, *programs], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
