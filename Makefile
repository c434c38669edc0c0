# Everything runs in a virtual environment that `make` makes; nothing else is touched.
# ARGS is passed on: make demo ARGS=--keep, make test ARGS="-k storm"

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
DEMO_INSTALLED = $(VENV)/.installed-demo
ARGS ?=

.PHONY: demo test lint types bench format clean

demo: $(DEMO_INSTALLED)
	$(BIN)/python -m synapse_withheld.demo $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest $(ARGS)

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist

$(VENV):
	$(PYTHON) -m venv $(VENV)

$(DEMO_INSTALLED): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

$(INSTALLED): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(DEMO_INSTALLED)
