# Everything a person runs by hand. Needs Python 3.11 or 3.12 with venv, git and make; the rest lands in .venv.

PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN_DIR ?= runs/demo

.PHONY: setup test test-slurm demo demo-short bench lint format clean help

help:
	@echo 'make setup       .venv with the pinned versions of requirements.lock'
	@echo 'make test        the tests (sets up first, if needed)'
	@echo 'make test-slurm  starts a two-node Slurm cluster and tests on it (Debian: slurm-wlm, munge)'
	@echo 'make demo        trains a published encoder on real text and evaluates it: runs/demo/report.html'
	@echo 'make demo-short  trains a toy model from scratch with the steps of the demo: runs/demo-short'
	@echo 'make bench       compares our speed with that of fairseq and Hugging Face (DATA=folder; FULL=1: all workloads)'
	@echo 'make lint        ruff and mypy'
	@echo 'make format      formats the code and applies the fixes of ruff'
	@echo 'make clean       removes .venv and caches; runs/ stays'

setup: .venv/ready

.venv/ready: setup.py requirements.lock requirements-fairseq.lock
	@test -n "$(PYTHON)" || { echo 'make setup: error: Python 3.11 or 3.12 with venv must be on PATH, but is not; on Debian: apt-get install python3-venv, or name one: make setup PYTHON=/path/to/python3.11' >&2; exit 2; }
	@test "$$(uname -sm)" = 'Linux x86_64' || { echo "make setup: error: fairseq's wheels (ve-fairseq 0.12.3) are for Linux on x86-64 only, but this is $$(uname -sm)" >&2; exit 2; }
	@echo "Setting up .venv with $$($(PYTHON) --version) (about two minutes)"
	$(PYTHON) -m venv .venv
	$(PIP) install --no-deps -r requirements.lock
	$(PIP) install --no-deps --require-hashes -r requirements-fairseq.lock
	@# Where torch is a CUDA build this installs the CUDA libraries that it asks for; for a CPU build, nothing.
	$(PIP) install $$(grep '^torch==' requirements.lock)
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@
	@echo 'Ready: source .venv/bin/activate'

# Idle OpenMP threads sleep: tests start processes that share the cores.
test: export OMP_WAIT_POLICY ?= PASSIVE
test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slurm: export OMP_WAIT_POLICY ?= PASSIVE
test-slurm: setup
	$(BIN)/python -m pytest -m slurm tests/slurm

demo: setup
	$(BIN)/python scripts/demo.py --run-dir $(RUN_DIR)

demo-short: setup
	$(BIN)/python scripts/demo.py --run-dir runs/demo-short --short

bench: export OMP_WAIT_POLICY ?= PASSIVE
bench: setup
	$(BIN)/python benchmarks/training $(if $(DATA),--data $(DATA)) $(if $(FULL),--full)

lint: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: setup
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
