"""Packaging. Versions are wide here and pinned in requirements.lock, which is what `make setup` installs.

fairseq is not in install_requires: its wheels (`ve-fairseq`) ask for torchaudio, whose published builds break
`import transformers` beside a CPU-only torch. `make setup` installs it with --no-deps; docs/install.md has the
commands to install by hand.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

# Address of the repository, once it has a public one, such as https://example.org/weam_fairseq.
REPOSITORY = ""


def describe() -> str:
    """README as an index of packages shows it: relative links lead to the repository, or become plain text."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    link = re.compile(r"!?\[([^]]*)\]\((?![a-z]+:|#)([^)]*)\)")
    if REPOSITORY:
        return link.sub(lambda m: f"{m[0][: m.start(2) - m.start()]}{REPOSITORY}/blob/main/{m[2]})", text)
    return link.sub(lambda m: "" if m[0].startswith("!") else m[1], text)


CORE = [
    "numpy>=1.26",
    "torch>=2.6",
    "tqdm>=4.60",
    "transformers>=5.23",
    "tokenizers>=0.20",
    "safetensors>=0.4",
    "sacremoses>=0.1",
    "sentencepiece>=0.2",
    "sil-thot>=3.5",
    "pyyaml>=6",
    "pydantic>=2.8",
]

# What fairseq imports for text, without the speech packages that it also asks for.
FAIRSEQ_TEXT = [
    "hydra-core>=1.3",
    "omegaconf>=2.3",
    "bitarray>=2.8",
    "sacrebleu>=2.4",
    "regex",
    "scikit-learn>=1.3",
    "cython",
    "cffi",
]

setup(
    name="weam-fairseq",
    version="0.1.0",
    description="WEAM: word-exchange alignment pre-training of multilingual masked language models, for fairseq",
    long_description=describe(),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    keywords="multilingual masked language model, word alignment, cross-lingual transfer, fairseq, Hugging Face",
    project_urls={"Paper": "https://arxiv.org/abs/2106.01732", **({"Repository": REPOSITORY} if REPOSITORY else {})},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Operating System :: MacOS",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11,<3.15",  # fairseq has wheels for 3.11 and 3.12 alone: docs/install.md
    # The folder is `preprocess/`; its import name must not claim the word `preprocess` for everybody.
    package_dir={"weam_fairseq": "weam_fairseq", "weam_preprocess": "preprocess"},
    packages=[
        *find_packages(include=["weam_fairseq", "weam_fairseq.*"]),
        "weam_preprocess",
        "weam_preprocess.aligners",
        "weam_preprocess.words",
    ],
    package_data={"weam_fairseq": ["py.typed", "report/templates/*", "training/presets/*.yaml"]},
    install_requires=CORE,
    extras_require={
        "fairseq": FAIRSEQ_TEXT,
        # Words and files of some texts (preprocess/README.md); a missing package is named with its pip command.
        "zh": ["rjieba>=0.2"],
        "ja": ["sudachipy>=0.6", "sudachidict_core"],
        "th": ["pythainlp>=5"],
        "icu": ["icu4py>=1.2"],
        "zst": ["backports.zstd>=1.0"],
        "language-id": ["py3langid>=0.4"],
        "slurm": ["submitit>=1.5"],
        "parquet": ["pyarrow>=16"],
        "hub": ["datasets>=4"],  # earlier versions can run a data set's program
        "report": ["matplotlib>=3.8", "jinja2>=3.1", "scipy>=1.11", "tabulate>=0.9"],
        "trainer": ["accelerate>=1.1"],  # for Hugging Face's Trainer: docs/python.md
        "dev": [
            *("pytest>=8", "pytest-timeout>=2.3", "pytest-xdist>=3.5", "hypothesis>=6.100", "submitit>=1.5"),
            *("accelerate>=1.1", "pyarrow>=16"),
            *("ruff>=0.6", "mypy>=1.11", "types-PyYAML", "types-tqdm"),
        ],
    },
    entry_points={
        "console_scripts": [
            "weam-preprocess=weam_preprocess.cli:main",
            "weam-train=weam_fairseq.training.train:main",
            "weam-from-hf=weam_fairseq.convert.from_hf:main",
            "weam-to-hf=weam_fairseq.convert.to_hf:main",
            "weam-show=weam_fairseq.show:main",
            "weam-score=weam_fairseq.evaluation.score:main",
            "weam-evaluate=weam_fairseq.evaluation.cli:main",
            "weam-report=weam_fairseq.report.report:main",
            "weam-launch=weam_fairseq.launch.cli:main",
            "weam-study=weam_fairseq.study.cli:main",
        ]
    },
)
