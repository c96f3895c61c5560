# Two commands: `make demo` shows the main job, `make test` runs every check. Both set up what they need.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_JOBS ?= 2

.PHONY: help setup demo test lint types floors unit mutants bench format clean

help:  ## Show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("power-loop needs Python 3.11 or newer; run make PYTHON=python3.x") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(STAMP)  ## Make the virtual environment

demo: $(STAMP)  ## A real model, killed in the middle, finished by another process
	@$(BIN)/power-loop demo $(ARGS)

test: lint types floors unit  ## Every check

lint: $(STAMP)  ## Format and lint
	$(BIN)/ruff format --check src tests examples benchmarks
	$(BIN)/ruff check src tests examples benchmarks

types: $(STAMP)  ## Strict types
	$(BIN)/mypy

floors: $(STAMP)  ## Imports go down the floors only
	$(BIN)/lint-imports --config pyproject.toml

unit: $(STAMP)  ## All tests
	$(BIN)/pytest -n $(TEST_JOBS) $(ARGS)

mutants: $(STAMP)  ## Break critical mechanisms on purpose; the tests must notice each
	$(BIN)/python tests/mutants/run.py $(ARGS)

bench: $(STAMP)  ## Measure cost, beside a program without a kernel
	$(BIN)/python -m benchmarks $(ARGS)

format: $(STAMP)  ## Rewrite to the house's format
	$(BIN)/ruff format src tests examples benchmarks
	$(BIN)/ruff check --fix src tests examples benchmarks

clean:  ## Remove what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist src/*.egg-info
