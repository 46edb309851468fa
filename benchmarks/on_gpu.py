"""Figure 8 of docs/performance.md on a machine with a GPU and without a network, as one command.

    python benchmarks/on_gpu.py pack runs/gpu-kit --data DIR      # where there is a network
    python3 benchmarks/on_gpu.py run runs/gpu-kit --peak 989      # on the GPU machine, in a copy of this folder

`pack` puts wheels and a data-bin into one folder (61 MB). torch and numpy are the GPU machine's own and are not packed;
`--python` is its Python, and `run` has to be called by it. `run` measures `weam_mbert_base` in bf16 with 32 rows of 128
pieces, the memory of that, and then each contestant with more and more rows until its memory does not hold them. It can
be called again: what is measured stays.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BENCH = ROOT / "benchmarks" / "training"

# What the contestants import, but for what torch brings along itself.
NEEDED = (
    *("antlr4-python3-runtime", "bitarray", "cffi", "click", "colorama", "hydra-core", "joblib"),
    *("omegaconf", "packaging", "portalocker", "PyYAML", "pycparser", "regex", "sacrebleu", "sacremoses", "tabulate"),
    *("anyio", "h11", "httpcore2", "httpx2", "huggingface_hub", "idna", "safetensors", "tokenizers", "tqdm"),
    *("transformers", "truststore", "typing_extensions"),
)
ONLY_AS_SOURCE = ("antlr4-python3-runtime",)  # pure Python
# fairseq imports them when it registers tasks and criteria that nobody trains here: 50 MB that are not packed.
STAND_INS = {"lxml": ("etree",), "scipy": ("optimize", "stats"), "sklearn": ("metrics",)}
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")


def main(argv: list[str] | None = None) -> int:
    options = parser().parse_args(argv)
    if options.step == "run":  # PYTHONPATH must hold wherever a contestant runs
        options.out = options.out.resolve()
    return pack(options) if options.step == "pack" else run(options)


def pack(options: argparse.Namespace) -> int:
    kit: Path = options.kit
    beside = kit.with_name(f"{kit.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    wheels = beside / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    there = [*("--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", options.python)]
    there += [word for platform in PLATFORMS for word in ("--platform", platform)]
    lock = pinned(ROOT / "requirements.lock")
    built = [f"{name}=={lock[name]}" for name in ONLY_AS_SOURCE]
    ready = [f"{name}=={lock[name]}" for name in NEEDED if name not in ONLY_AS_SOURCE]
    fairseq = ["--require-hashes", "-r", str(ROOT / "requirements-fairseq.lock")]
    for words in (
        ["download", *there, "--dest", str(wheels), *ready],
        ["download", *there, "--dest", str(wheels), *fairseq],
        ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), *built],
    ):
        subprocess.run([*pip, *words], check=True, stdout=subprocess.DEVNULL)
    sys.path.insert(0, str(BENCH))
    from data_bins import make_data_bins

    options.scratch.mkdir(parents=True, exist_ok=True)
    (data_bin,) = make_data_bins(options.data, options.scratch)
    shutil.copytree(data_bin, beside / "data-bin")
    shutil.rmtree(kit, ignore_errors=True)
    beside.replace(kit)
    size = sum(file.stat().st_size for file in kit.rglob("*") if file.is_file())
    print(f"{kit}: {len(list((kit / 'wheels').iterdir()))} wheels for Python {options.python}, {size / 1e6:.0f} MB")
    return 0


def pinned(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))


def run(options: argparse.Namespace) -> int:
    site = options.out / "site"
    if not site.is_dir():
        wheels = sorted(map(str, (options.kit / "wheels").glob("*.whl")))
        if not wheels:
            raise SystemExit(f"{options.kit} must hold what `{Path(__file__).name} pack` put there, but has no wheels.")
        part = site.with_name("site.part")
        shutil.rmtree(part, ignore_errors=True)
        install = ["install", "--quiet", "--no-index", "--no-deps", "--target", str(part), *wheels]
        subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *install], check=True)
        for name, modules in STAND_INS.items():
            if importlib.util.find_spec(name) is None:
                _stand_in(part / name, modules)
        part.replace(site)
    results = options.out / "gpu.jsonl"
    common = [sys.executable, str(BENCH), "--device", options.device, "--precisions", "bf16"]
    common += ["--workloads", options.workload, "--memory-workloads", options.workload, "--results", str(results)]
    common += ["--data-bins", str(options.kit / "data-bin"), "--scratch", str(options.out)]
    common += ["--peak", str(options.peak)] if options.peak else []
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "TOKENIZERS_PARALLELISM": "false"}

    def bench(*words: str) -> bool:
        return subprocess.run([*common, *words], env=environment, stdout=subprocess.DEVNULL).returncode == 0

    first, *more = options.rows.split(",")
    if not bench("--rows", first, "--parts", "full,memory"):
        raise SystemExit("The first measurement failed; its reason stands above.")
    for contestant in ("ours", "fairseq", "hf"):
        for rows in more:
            if not bench("--rows", rows, "--parts", "full", "--contestants", contestant):
                print(
                    f"{contestant}: {rows} rows fail, and more are not tried. The reason stands above; if it is not "
                    "the GPU's memory, its largest batch is not what the table shows.",
                    file=sys.stderr,
                )
                break
    return subprocess.run([*common, "--parts", ""], env=environment).returncode


def _stand_in(package: Path, modules: tuple[str, ...]) -> None:
    package.mkdir()
    (package / "__init__.py").touch()
    for name in modules:
        (package / f"{name}.py").write_text("def __getattr__(name):\n    return None\n")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="benchmarks/on_gpu.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = made.add_subparsers(dest="step", required=True)
    packs = steps.add_parser("pack", help="wheels and a data-bin into one folder")
    packs.add_argument("kit", type=Path, metavar="KIT")
    packs.add_argument("--data", type=Path, metavar="DIR", help="as of benchmarks/training (the demo's corpus)")
    packs.add_argument("--python", default="3.12", metavar="3.N", help="of the GPU machine (3.12)")
    packs.add_argument("--scratch", type=Path, default=Path("runs/training"), metavar="DIR", help="(runs/training)")
    runs = steps.add_parser("run", help="all measurements, and the table")
    runs.add_argument("kit", type=Path, metavar="KIT")
    runs.add_argument("--out", type=Path, default=Path("runs/gpu"), metavar="DIR", help="gpu.jsonl (runs/gpu)")
    runs.add_argument("--peak", type=float, metavar="TFLOPS", help="dense bf16 peak: 989 for an H100 or H200")
    runs.add_argument("--rows", default="32,128,512,1024,1536,2048", metavar="N,N", help="(32,128,512,1024,1536,2048)")
    runs.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to see whether it runs")
    runs.add_argument("--workload", default="G", metavar="NAME", help="of benchmarks/training (G)")
    return made


if __name__ == "__main__":
    sys.exit(main())
