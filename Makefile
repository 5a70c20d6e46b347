# make demo        install into .venv and climb the demo song
# make test        every test; make test-fast leaves out the slow ones
# make lint        ruff and mypy
# make docs        write again the pages that are generated: docs/blocks.md, docs/certificate.md, docs/accuracy.md
# make bench      the speed of ours and of the peers' packages: writes docs/benchmarks.md (installs the peers)
# make clean       remove .venv and what tools leave behind

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

# Tests run as one process a core with one thread each: most are too small for two threads to share.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint docs bench clean

help:
	@sed -n 's/^# make/make/p' Makefile

demo: .venv/.installed
	$(BIN)/hitchain optimize

test: .venv/.installed-tests
	$(PYTEST)

test-fast: .venv/.installed-tests
	$(PYTEST) -m "not slow"

lint: .venv/.installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.installed-tests
	$(BIN)/python -m hitchain.blocks.document --write docs/blocks.md
	$(ONE_THREAD) $(BIN)/python -m hitchain.blocks.certificate --write docs/certificate.md
	$(PYTEST) tests --accuracy=docs/accuracy.md

bench: .venv/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python -m benchmarks --write docs/benchmarks.md

# The package is installed in place, so that a change of its code needs no second installation.
.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.installed-tests: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,lint]"
	touch .venv/.installed $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hitchain needs Python 3.11 or later; this is $$($(PYTHON) --version). Name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "the venv module does not work here; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
