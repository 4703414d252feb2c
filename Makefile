# Earshot: `make run` serves the app, `make test` tests it; both set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where torch's CPU build comes from. Empty: the index that pip is configured with has a build of 2.13.0 for the CPU.
# On a machine whose index offers CUDA builds, use TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
TORCH := torch==2.13.0
# How many processes tests run in: one a core, and not more than four, since each loads the base. Each takes the next of
# the rest when its share is done, so all end together.
PROCESSES := --numprocesses auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install setup run test test-postgres test-cluster test-faults check screenshots audit bench bench-quality bench-speed

help: ## Show the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(if $(shell grep -m1 sha256: requirements.lock),--require-hashes) --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install: $(VENV)/installed ## Create .venv with the pinned dependencies

setup: install ## Verify the base, migrate, load the starter songs, encode the catalogue
	$(BIN)/earshot setup

run: setup ## Set everything up and serve on http://127.0.0.1:8000
	$(BIN)/earshot serve

test: install ## Run every test (browser and training suites too) but those of test-postgres, -cluster and -faults
	@tools/chromium
	$(BIN)/python -m pytest $(PROCESSES)

test-postgres: install ## Run its own tests and those of services and jobs on a real PostgreSQL (root installs Debian's)
	@tools/postgres
	$(BIN)/python -m pytest -m postgres tests/postgres
	$(BIN)/python -m pytest $(PROCESSES) --database postgres tests/services

screenshots: setup ## Take the pictures of docs/screenshots anew
	@tools/chromium
	$(BIN)/python tools/screenshots.py $${EARSHOT_HOME:-.}

$(VENV)/cluster: $(VENV)/installed requirements-cluster.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-cluster.lock
	@touch $@

test-cluster: $(VENV)/cluster ## Run the tests on Ray and on an S3 (installs the extras); `make test` leaves them out by -m
	@tools/postgres >/dev/null
	$(BIN)/python -m pytest -m cluster tests/cluster tests/lm/test_shared_storage.py tests/test_lock.py

test-faults: install ## Kill processes at every step, fill disks, damage files, send any input (hours)
	$(BIN)/python -m pytest -m faults tests/faults
	EARSHOT_TEST_INPUTS=100 $(BIN)/python -m pytest tests/web/test_any_input.py tests/web/test_any_protocol.py tests/services/imports

check: install ## Lint and type-check
	$(BIN)/ruff check app tests benchmarks tools
	$(BIN)/ruff format --check app tests benchmarks tools
	$(BIN)/mypy
	@$(MAKE) --no-print-directory audit

# Status 0 when there was nothing to ask; what pip-audit finds fails the target.
audit: install ## Look the pins up among known vulnerabilities, where that data can be had
	@tools/audit

DATA ?= data/listening
TASK ?= discover
LISTENERS ?= 100

bench: bench-speed bench-quality ## Measure both: the next two

bench-quality: install ## Measure the recommendations: make bench-quality DATA=folder TASK=discover|new-artists|newcomer|likes|ask
	$(BIN)/python -m benchmarks.quality --data $(DATA) --task $(TASK) --listeners $(LISTENERS) $(ARGS)

bench-speed: install ## Measure the speed beside the stock way and the limit: make bench-speed [ARGS="--json --only adapters"]
	$(BIN)/python -m benchmarks.speed $(ARGS)
