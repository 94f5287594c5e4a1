# Everything here works from a bare checkout: only make and Python 3.11 or newer are needed.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST_FLAGS ?= -q -n auto

TRACE ?= traces/router-imix.pcap
RUN_FLAGS ?= --driver mlx5 --era v4.19 --recycle 0
# Folders whose tests drive compiled code; they run again with bounds checks, and interpreted.
COMPILED_TESTS := $(addprefix tests/,engine mm net drivers)
INTERPRETED_TESTS := $(COMPILED_TESTS) tests/conformance

.PHONY: help venv run test lint mutants bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

venv: .venv/installed ## Create .venv with what running needs
	@echo "ready: $(BIN)/netemu"

run: .venv/installed ## Replay a bundled trace through mlx5 and print the report
	@$(BIN)/netemu replay $(TRACE) $(RUN_FLAGS)

test: compiled ## Run the suite, then what drives compiled code again, interpreted and bounds-checked
	@echo "== whole suite"
	@$(BIN)/python -m pytest $(PYTEST_FLAGS)
	@echo "== interpreted: $(INTERPRETED_TESTS)"
	@NETEMU_JIT=0 $(BIN)/python -m pytest $(PYTEST_FLAGS) $(INTERPRETED_TESTS)
	@echo "== bounds-checked: $(COMPILED_TESTS)"
	@NETEMU_CHECKED=1 $(BIN)/python -m pytest $(PYTEST_FLAGS) $(COMPILED_TESTS)

# Both builds at once: a compiler uses one core.  Vectors and models call what no replay comes to, too.
.PHONY: compiled
compiled: .venv/installed-test
	@NETEMU_CHECKED=1 $(BIN)/netemu warmup & checked=$$!; $(BIN)/netemu warmup --all; wait $$checked

# mypy does not see that drivers/ and traces/ are installed inside netemu/, so it gets a folder of links shaped like
# the installed package.
lint: .venv/installed-dev ## Check format, lint and types
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@$(BIN)/ruff check .
	@rm -rf build/typing && mkdir -p build/typing/netemu
	@ln -s $(addprefix ../../../,$(wildcard netemu/* drivers traces)) build/typing/netemu/
	@cd build/typing && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache

mutants: .venv/installed-test ## Make deliberate mistakes in a copy and see that the tests find them (minutes)
	@$(BIN)/python -m tests.mutants

bench: .venv/installed ## Measure the emulator on this machine
	@$(BIN)/netemu bench

clean: ## Remove the environment and everything built
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@for python in python3.13 python3.12 python3.11 python3; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "netemu needs Python 3.11 or newer; none of python3.13, python3.12, python3.11, python3 is. Install one and run make again." >&2; \
	    exit 1; \
	fi; \
	echo "creating .venv with $$($$python --version)"; \
	$$python -m venv --clear .venv || { rm -rf .venv; \
	    echo "cannot create .venv: does this Python have its venv module (on Debian and Ubuntu: apt install python3-venv)?" >&2; exit 1; }

.venv/installed: pyproject.toml | .venv/bin/python
	@echo "installing netemu"
	@$(PIP) install --editable .
	@touch $@

.venv/installed-test: .venv/installed
	@echo "installing the test tools"
	@$(PIP) install --editable '.[test]'
	@touch $@

.venv/installed-dev: .venv/installed-test
	@echo "installing the development tools"
	@$(PIP) install --editable '.[dev]'
	@touch $@
