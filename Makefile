# One command a need. Each makes and uses the virtual environment .venv itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SAMPLES := runtime/picker_runtime/samples
PICKS := picks

.DEFAULT_GOAL := help
.PHONY: help detect test test-long check bench clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

detect: $(VENV)/base.stamp ## pick the sample tomogram into ./picks and score the picks against its truth
	@$(BIN)/picker-runtime detect $(SAMPLES)/shrec12_sample.mrc -o $(PICKS)
	@$(BIN)/picker-training evaluate --rule shrec2020 --picks $(PICKS)/shrec12_sample.csv --truth $(SAMPLES)/shrec12_sample

test: $(VENV)/test.stamp ## the tests that take seconds
	$(BIN)/python -m pytest -q -m "not long"

test-long: $(VENV)/test.stamp ## the tests that take minutes
	$(BIN)/python -m pytest -q -m long

check: $(VENV)/dev.stamp ## format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/test.stamp ## seconds and memory of a 200x512x512 tomogram, by stage
	$(BIN)/python tests/benchmark/detect_tomogram.py --larger

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else \
		"$(PYTHON) is Python %d.%d; picker needs 3.11 to 3.13. Say: make PYTHON=python3.12 $(MAKECMDGOALS)" % v)'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/base.stamp: pyproject.toml | $(BIN)/python
	$(PIP) -e .
	@touch $@

# The tests build TensorRT-RTX engines where its wheel can be had; they say so where it cannot.
$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[test]'
	@$(PIP) 'tensorrt-rtx-cu13>=1.7' || echo "TensorRT-RTX cannot be installed: the tests that build engines are skipped"
	@touch $@ $(VENV)/base.stamp

$(VENV)/dev.stamp: $(VENV)/test.stamp
	$(PIP) -e '.[test,dev]'
	@touch $@
