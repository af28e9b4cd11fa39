# make run | test | interop | check | bench | chaos | fuzz | clean. Everything is put into .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml setup.py $(shell find src -name '*.pyx' 2>/dev/null)

.PHONY: run test check interop bench chaos fuzz clean

run: $(VENV)/.server
	@exec $(BIN)/sipgram serve --demo

test: check
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest tests --ignore tests/interop
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --format=total
	$(BIN)/python scripts/coverage_floors.py

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

interop: $(VENV)/.dev
	bash scripts/install-interop
	$(BIN)/python -m pytest tests/interop --timeout 120

bench: $(VENV)/.server
	$(BIN)/sipgram bench relay

chaos: $(VENV)/.dev
	PYTHONPATH=tests $(BIN)/python -m chaos.chaos --kills 200 $(CHAOS)

fuzz: $(VENV)/.dev
	$(BIN)/python fuzz/differential.py --seconds 3600
	$(BIN)/python fuzz/payloads.py --seconds 600

clean:
	rm -rf $(VENV) build dist src/*.egg-info .coverage*
	find src -name '*.so' -delete

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo "sipgram needs Python 3.11 or newer: apt install python3 (or set PYTHON=…)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "sipgram needs Python 3.11 or newer, this is $$($(PYTHON) --version): set PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	@touch $@

$(VENV)/.server: $(VENV)/.python $(SOURCES)
	$(BIN)/pip install -q -e '.[server]'
	@touch $@

$(VENV)/.dev: $(VENV)/.python $(SOURCES)
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@
