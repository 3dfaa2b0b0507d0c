# Portico on one machine. `make run` and `make test` install what they need (Debian 12, as root) and may run at once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Set by stack/setup.sh: each of the two has a virtual environment of its own.
RUN_PYTHON = $$(cat .portico/venv-run)/bin/python
TEST_PYTHON = $$(cat .portico/venv-test)/bin/python
TESTS ?= tests

.PHONY: help run test lint audit setup setup-test assets bench clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: setup ## Run the whole stack in the foreground until Ctrl-C
	@exec $(RUN_PYTHON) -m stack run

test: setup-test lint ## Check everything: style, types, layers, translations, tests (TESTS=tests/stack for some)
	@echo "==> pytest"
	@exec $(TEST_PYTHON) -m stack.elsewhere $(TEST_PYTHON) -m tests $(TESTS)

lint: setup-test ## Style, types, layers and translations only
	@bin=$$(cat .portico/venv-test)/bin; \
	echo "==> ruff"; $$bin/ruff check .; $$bin/ruff format --check .; \
	echo "==> mypy"; $$bin/mypy; \
	echo "==> import-linter"; $$bin/lint-imports; \
	echo "==> translations"; $$bin/python -m stack.translations check

audit: setup-test ## Look for packages with known holes; 3 when the advisories cannot be asked
	@$(TEST_PYTHON) -m stack.audit

setup: ## Install what `make run` needs
	@stack/setup.sh

setup-test: ## Install what `make test` needs
	@stack/setup.sh --test

assets: ## Fetch again what the portal's pages load
	@rm -f portal/static/vendor/.stamp
	@stack/setup.sh

bench: setup-test ## Measure, side by side with FreeRADIUS as it is used today; writes bench/RESULTS.md
	@BENCH_RESULTS="$(CURDIR)/bench" $(TEST_PYTHON) -m stack.elsewhere $(TEST_PYTHON) -m bench

clean: ## Remove what was built here; data directories and virtual environments stay
	@rm -rf node_modules portal/static/vendor .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
