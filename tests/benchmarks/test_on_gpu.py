"""benchmarks/on_gpu.py: what can be said of it without a GPU and a network."""

import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "on_gpu.py"


def test_all_that_is_packed_is_pinned_and_nothing_of_torch_is() -> None:
    spec = importlib.util.spec_from_file_location("on_gpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    on_gpu = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(on_gpu)
    lock = on_gpu.pinned(ROOT / "requirements.lock")
    assert [name for name in on_gpu.NEEDED if name not in lock] == []
    assert set(on_gpu.ONLY_AS_SOURCE) <= set(on_gpu.NEEDED)
    assert not {"torch", "numpy", *on_gpu.STAND_INS} & set(on_gpu.NEEDED)


def test_an_empty_kit_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "run", str(tmp_path / "kit"), "--out", str(tmp_path / "out")]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 1
    assert told.stderr == f"{tmp_path / 'kit'} must hold what `on_gpu.py pack` put there, but has no wheels.\n"
