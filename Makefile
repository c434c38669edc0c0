# Everything runs in a virtual environment that `make` makes; nothing else is touched.
# ARGS is passed on: make demo ARGS=--markdown, make test ARGS="-k storm"

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
DEMO_INSTALLED = $(VENV)/.installed-demo
MUTANTS_INSTALLED = $(VENV)/.installed-mutants
PICTURES_INSTALLED = $(VENV)/.installed-pictures
SUITE_INSTALLED = $(VENV)/.installed-suite
DIST_INSTALLED = $(VENV)/.installed-dist
REQUIREMENTS = pyproject.toml $(wildcard tests/requirements/*.txt)
ARGS ?=

.PHONY: demo test lint types bench mutants fuzz compat suite soak pictures format dist clean

demo: $(DEMO_INSTALLED)
	$(BIN)/python -m tests.demo $(ARGS)

# Two files of tests at a time, since most of them wait; one with ARGS="-n 0".
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(INSTALLED)
	$(BIN)/python -m tests.bench $(ARGS)

# Hypothesis tries the same examples each time where CI is set. Without the collector of
# circles, in which CPython 3.11 crashes under mutmut's bookkeeping.
mutants: $(MUTANTS_INSTALLED)
	rm -rf mutants
	CI=true $(BIN)/python -c "import gc; gc.disable(); from mutmut.__main__ import cli; cli()" run $(ARGS)
	$(BIN)/mutmut results

# EXAMPLES=100000 for a longer look.
fuzz: $(INSTALLED)
	EXAMPLES=$(or $(EXAMPLES),20000) $(BIN)/python -m pytest tests/fuzz $(ARGS)

# ARGS="--minutes 60"; --seed lives an earlier life again.
soak: $(INSTALLED)
	$(BIN)/python -m tests.soak $(ARGS)

compat: $(INSTALLED)
	$(BIN)/python -m tests.compat $(ARGS)

suite: $(SUITE_INSTALLED)
	$(BIN)/python -m tests.suite $(ARGS)

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

# For a server without build tools and without a way out, too: see docs/install.md.
dist: $(DIST_INSTALLED)
	rm -rf dist
	$(BIN)/python -m build --no-isolation $(ARGS)
	@echo
	@echo "To install the module, copy the wheel to the server and, there, with the pip of"
	@echo "the environment that Synapse runs in:"
	@echo
	@cd dist && echo "  pip install --no-index" *.whl
	@echo
	@echo "That needs no network and no build tools: Synapse brings all that the module uses."

clean:
	rm -rf $(VENV) .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .hypothesis dist mutants .compat

$(VENV):
	$(PYTHON) -m venv $(VENV)

$(DEMO_INSTALLED): $(REQUIREMENTS) | $(VENV)
	$(BIN)/python -m pip install --quiet --editable . -r tests/requirements/demo.txt
	touch $@

$(INSTALLED): $(REQUIREMENTS) | $(VENV)
	$(BIN)/python -m pip install --quiet --editable . -r tests/requirements/dev.txt
	touch $@ $(DEMO_INSTALLED) $(DIST_INSTALLED)

$(DIST_INSTALLED): $(REQUIREMENTS) | $(VENV)
	$(BIN)/python -m pip install --quiet -r tests/requirements/dist.txt
	touch $@

$(SUITE_INSTALLED): $(REQUIREMENTS) | $(VENV)
	$(BIN)/python -m pip install --quiet --editable . -r tests/requirements/suite.txt
	touch $@

$(PICTURES_INSTALLED): $(REQUIREMENTS) | $(VENV)
	$(BIN)/python -m pip install --quiet --editable . -r tests/requirements/pictures.txt
	touch $@

$(MUTANTS_INSTALLED): $(REQUIREMENTS) | $(VENV)
	$(BIN)/python -m pip install --quiet --editable . -r tests/requirements/mutants.txt
	touch $@
