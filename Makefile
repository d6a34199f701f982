# `make up` and `make test` need nothing installed beforehand on Debian (see scripts/setup).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help up down test lint format fuzz bench golden lock clean setup setup-dev

PYTHON := .venv/bin/python
UV ?= uv
ARGS ?=

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what `make up` needs
	@scripts/setup server

setup-dev: ## install what `make test` and `make bench` need as well
	@scripts/setup dev

up: setup ## run the whole product on this machine; ARGS='--https-port 443' and the like pass through
	@exec .venv/bin/mysocket up $(ARGS)

down: ## stop the product that `make up` started from this directory
	@[[ ! -x .venv/bin/mysocket ]] || .venv/bin/mysocket down $(ARGS)

test: setup-dev lint ## lint, type check and run every test; ARGS='tests/e2e -k ssh' narrows the tests
	@scripts/test $(ARGS)

lint: setup-dev ## ruff, formatting and mypy
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: setup-dev ## rewrite the code the way `make lint` wants it
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

FUZZ_SECONDS ?= 60
fuzz: setup-dev ## let Atheris look for inputs that break a parser; FUZZ_SECONDS=600 for ten minutes each
	@scripts/fuzz $(FUZZ_SECONDS) $(ARGS)

bench: setup-dev ## measure against Envoy, nginx and HAProxy on this machine; a full run writes bench/report.md
	@$(PYTHON) -m bench $(ARGS)

golden: setup-dev ## regenerate tests/golden from the code, to be read in the diff
	@$(PYTHON) -m pytest tests/golden --golden-update -q || git diff --stat -- tests/golden

COMPILE := pip compile --quiet --generate-hashes --no-emit-index-url --no-header --universal
lock: ## resolve the hashed requirement files anew (needs uv)
	@$(UV) $(COMPILE) pyproject.toml -o requirements/base.txt
	@$(UV) $(COMPILE) --extra server pyproject.toml -o requirements/server.txt
	@$(UV) $(COMPILE) --extra build -c requirements/server.txt pyproject.toml -o requirements/build.txt
	@$(UV) $(COMPILE) --extra server --extra build --extra dev pyproject.toml -o requirements/dev.txt
	@$(UV) $(COMPILE) requirements/original-client.in -o requirements/original-client.txt

clean: ## remove the environment and every cache; the product's state in .mysocket stays
	@rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
