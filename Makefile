# `make demo` and `make test` need Python 3.11 or newer and nothing else; everything is put into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
KILLS ?= 200
FUZZ_READY := $(VENV)/.fuzz-ready
CASES ?= 100000

.PHONY: help demo run test lint bench corpus fuzz kills setup clean
.DEFAULT_GOAL := help

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## Install everything into .venv, at the pinned versions

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	@# Modules are compiled when they are first imported: to compile them all takes four minutes of five. And setuptools
	@# warns of every editable installation, at length.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	$(BIN)/imgmine setup
	@touch $(READY)

demo: $(READY) ## Mine the embedded miniature archive, then open the Dagster UI on the result
	$(BIN)/imgmine demo

run: $(READY) ## Start the Dagster UI and its daemon with the settings of .env
	@# Dagster's home may be another one since .env was changed.
	@$(BIN)/imgmine setup
	$(BIN)/dagster dev --workspace workspace.yaml

lint: $(READY) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## Lint, check types, run every test
	@# One more than there are cores: some tests wait for a daemon or a server. In the order of the files: by the number
	@# of tests the longest ones would come last, and one worker would be idle.
	$(BIN)/pytest -n $$($(BIN)/python -c 'from imgmine.cores import usable_cores; print(min(4, usable_cores() + 1))') \
		--dist loadfile --no-loadscope-reorder

bench: $(READY) ## Run every benchmark and print its table
	@for bench in bench/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

corpus: $(READY) ## Fetch the files that break decoders, and print what becomes of them
	$(BIN)/python bench/corpus.py

$(FUZZ_READY): $(READY)
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[fuzz]' || echo "atheris does not install here; cases will not be guided by coverage."
	@touch $(FUZZ_READY)

fuzz: $(FUZZ_READY) ## Fuzz what reads hostile bytes: CASES=100000 each, TARGETS="warc http …", SEED=…
	$(BIN)/python -m fuzz $(TARGETS) --cases $(CASES) $(if $(SEED),--seed $(SEED))

kills: $(READY) ## Kill runs at random moments, KILLS=200 times (SEED=…); the run after each must end byte-identical
	$(BIN)/python -W ignore -m tests.kills --kills $(KILLS) $(if $(SEED),--seed $(SEED))

clean: ## Remove the environment and the demo's data
	rm -rf $(VENV) .imgmine .fuzz
