PYTHON ?= python3
BIN := .venv/bin
SETTINGS := setup.cfg pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help install sweep results test test-gpu test-slurm bench bench-gpu lint format clean

help:  ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

install: .venv/installed  ## make .venv and install the project into it

sweep: .venv/installed  ## three architectures x eight strategies on built-in images, and their table: minutes on two cores
	$(BIN)/python run.py -m experiment=demo

results: .venv/installed-test  ## check results/runs, and make the CSV, the tables and the report of them anew
	$(BIN)/python -m analysis publish results

# A file's tests in one process: they share what is slow to set up. The files in the order of tests/conftest.py, the slow ones first.
test: .venv/installed-test  ## run all tests, several at a time
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

test-gpu: .venv/installed-test  ## run the tests that need a GPU, on this machine's
	$(BIN)/python -m pytest -m gpu tests/test_gpu.py

test-slurm: .venv/installed-test  ## run the tests that need SLURM, on one that it starts on this machine (root on Debian)
	tests/slurm/slurm-up
	$(BIN)/python -m pytest -m slurm; status=$$?; tests/slurm/slurm-down; exit $$status

bench: .venv/installed-bench  ## speed beside the usual loop and other libraries, on the processor: 24 minutes on two cores
	$(BIN)/python -m benchmarks --device cpu

bench-gpu: .venv/installed-bench  ## the same on a GPU: ten minutes
	$(BIN)/python -m benchmarks --device cuda --minutes 9

lint: .venv/installed-test  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed-test  ## put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv and caches; runs and data stay
	rm -rf .venv *.egg-info build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch and torchvision have to match, so one call of pip resolves both.
.venv/installed: $(SETTINGS)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed-test: $(SETTINGS)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch .venv/installed $@

.venv/installed-bench: $(SETTINGS)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch .venv/installed $@
