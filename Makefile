# Everything runs in a virtual environment that `make` makes; nothing else is touched.
# ARGS is passed on: make demo ARGS=--keep, make test ARGS="-k storm"

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
DEMO_INSTALLED = $(VENV)/.installed-demo
MUTANTS_INSTALLED = $(VENV)/.installed-mutants
PICTURES_INSTALLED = $(VENV)/.installed-pictures
FUZZ_INSTALLED = $(VENV)/.installed-fuzz
ARGS ?=

.PHONY: demo test lint types bench mutants fuzz compat disasters pictures format clean

demo: $(DEMO_INSTALLED)
	$(BIN)/python -m tests.demo $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest $(ARGS)

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench $(ARGS)

# Hypothesis tries the same examples each time where CI is set.
mutants: $(MUTANTS_INSTALLED)
	rm -rf mutants
	CI=true $(BIN)/mutmut run $(ARGS)
	$(BIN)/mutmut results

fuzz: $(FUZZ_INSTALLED)
	$(BIN)/python -m tests.fuzz $(ARGS)

disasters: $(INSTALLED)
	$(BIN)/python -m pytest tests/e2e/test_disasters.py -rP $(ARGS)

compat: $(INSTALLED)
	$(BIN)/python -m tests.compat $(ARGS)

pictures: $(PICTURES_INSTALLED)
	$(BIN)/python -m tests.pictures $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis dist mutants .compat

$(VENV):
	$(PYTHON) -m venv $(VENV)

$(DEMO_INSTALLED): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

$(INSTALLED): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(DEMO_INSTALLED)

$(FUZZ_INSTALLED): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[fuzz]'
	touch $@

$(PICTURES_INSTALLED): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[pictures]'
	touch $@

$(MUTANTS_INSTALLED): pyproject.toml | $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[mutants]'
	touch $@
