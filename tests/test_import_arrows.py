"""Who may import whom (the rooms of README, "Rooms"): the arrows are part of the design."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLUGIN, PREPROCESS = ROOT / "weam_fairseq", ROOT / "preprocess"

# The fairseq side.
FAIRSEQ_SIDE = {
    "weam_fairseq/__init__.py",
    "weam_fairseq/checkpoints.py",
    "weam_fairseq/criterion.py",
    "weam_fairseq/fairseq_dataset.py",
    "weam_fairseq/model.py",
    "weam_fairseq/optimizer.py",
    "weam_fairseq/resume.py",
    "weam_fairseq/schedule.py",
    "weam_fairseq/start.py",
    "weam_fairseq/task.py",
    "weam_fairseq/train.py",
    "weam_fairseq/trainer.py",
}
PURE = [
    "word_exchange",
    "masking",
    "losses",
    "projected_loss",
    "one_buffer",
    "data_worker",
    "layout",
    "batch",
    "dataset",
    "encoder/dropout",
    "encoder/embeddings",
    "randomness",
    "databin",
    "indexed_file",
    "split",
    "policy",
    "sampling",
    "distributed",
]
# Its output derives from transformers' ModelOutput.
WITH_TRANSFORMERS = {"weam_fairseq/modeling.py"}


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


def test_fairseq_is_imported_on_the_fairseq_side_only() -> None:
    found = {name(p) for f in (PLUGIN, PREPROCESS) for p in files(f) if packages(p) & {"fairseq", "fairseq_cli"}}
    assert found == FAIRSEQ_SIDE


@pytest.mark.parametrize("module", PURE)
def test_pure_files_import_numpy_torch_the_standard_library_and_each_other(module: str) -> None:
    path = PLUGIN / f"{module}.py"
    assert packages(path) <= {"numpy", "torch", "weam_fairseq", *sys.stdlib_module_names}
    ours = {dotted.split(".")[1] for dotted in imports(path) if dotted.startswith("weam_fairseq.")}
    assert ours <= {*(each.split("/")[0] for each in PURE), "common"}


def test_common_imports_nothing_of_ours() -> None:
    for path in files(PLUGIN / "common"):
        ours = {dotted for dotted in imports(path) if dotted.startswith("weam_fairseq.")}
        assert all(dotted.startswith("weam_fairseq.common") for dotted in ours), path
        assert packages(path, top_level_only=True) <= {"weam_fairseq", *sys.stdlib_module_names}, path


@pytest.mark.parametrize(
    ("room", "others"),
    [("encoder", {"common"}), ("convert", {"encoder", "checkpoints", "databin", "common", "__version__"})],
)
def test_encoder_and_conversion_know_nothing_of_fairseq(room: str, others: set[str]) -> None:
    for path in files(PLUGIN / room):
        ours = {dotted.split(".")[1] for dotted in imports(path) if dotted.startswith("weam_fairseq.")}
        assert ours <= {room, *others}, path


def test_rooms_do_not_reach_into_each_other() -> None:
    for path in files(PREPROCESS):
        ours = {dotted for dotted in imports(path) if dotted.startswith("weam_fairseq.")}
        assert all(dotted.startswith("weam_fairseq.common") for dotted in ours), path
    assert all("weam_preprocess" not in packages(path) for path in files(PLUGIN))
    behind = {file.removesuffix(".py").replace("/", ".") for file in FAIRSEQ_SIDE if not file.endswith("__init__.py")}
    for room in ("evaluation", "study"):
        for path in files(PLUGIN / room):
            assert not imports(path) & behind, path
    assert all("scripts" not in packages(path) for folder in (PLUGIN, PREPROCESS) for path in files(folder))


def test_transformers_is_imported_inside_functions() -> None:
    found = {
        name(p) for f in (PLUGIN, PREPROCESS) for p in files(f) if "transformers" in packages(p, top_level_only=True)
    }
    assert found == WITH_TRANSFORMERS


@pytest.mark.parametrize(
    "command",
    [
        "weam-preprocess",
        "weam-train",
        "weam-from-hf",
        "weam-to-hf",
        "weam-show",
        "weam-score",
        "weam-evaluate",
        "weam-report",
        "weam-launch",
        "weam-study",
    ],
)
def test_help_needs_neither_fairseq_nor_transformers(command: str, tmp_path: Path) -> None:
    """Runs --help with both made impossible to import."""
    program = Path(sys.executable).with_name(command).read_text(encoding="utf-8")
    blocked = (
        "import importlib.util, sys\n"
        "sys.modules['fairseq'] = sys.modules['fairseq_cli'] = sys.modules['transformers'] = None\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n, *a: None if n in ('fairseq', 'transformers') else find(n, *a)\n"
    )
    script = tmp_path / command
    script.write_text(blocked + program.split("\n", 1)[1], encoding="utf-8")
    result = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "example:" in result.stdout
