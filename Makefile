# Two commands from a fresh clone:  make train  and  make test.  They need Python >= 3.10 with pip, nothing else.

PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
RUN_DIR ?= outputs/sample
# Files of tests side by side, one to a core; more than four would take more memory than a laptop has.
PYTEST_ARGS ?= --numprocesses=auto --maxprocesses=4 --dist=loadfile

# With more OpenMP threads than free cores, spinning while waiting costs far more than sleeping.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help train test test-fast check format lint types clean

help:
	@echo "make train      set up .venv, train on the bundled sample, evaluate, show summaries (minutes on a CPU)"
	@echo "make test       set up .venv with test tools, run every test that needs no network and no GPU"
	@echo "make test-fast  the tests that take seconds"
	@echo "make check      format, lint, types, then make test"
	@echo "make clean      remove caches (runs in outputs/ stay)"

train: $(VENV)/installed
	$(BIN)/python scripts/train.py experiment=sample run_dir=$(RUN_DIR)
	$(BIN)/python scripts/evaluate.py run=$(RUN_DIR)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not network and not gpu"

test-fast: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not network and not gpu and not slow"

check: format lint types test

format: $(VENV)/installed-dev
	$(BIN)/ruff format .

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

clean:
	rm -rf .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path "./$(VENV)/*" -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install $(PIP_ARGS) --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install $(PIP_ARGS) --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/installed
