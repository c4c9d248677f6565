# Every target works on a fresh machine that has Python 3.11, git, make and a C compiler.
SHELL := /bin/bash
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: help
help:  ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

# The lock is whole, so nothing is resolved again: pip would not know `gql[requests]` for the `gql` that is pinned.
.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: install
install: .venv/installed  ## the virtual environment, from the hash-pinned lock

.PHONY: check
check: install  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: demo
demo: install  ## the main job: two tenants, known defects, in a home of its own (.actuals-demo)
	$(BIN)/actuals demo

# command:package, for tests against real clients. As root on Debian what is missing is installed; else tests say skipped.
CLIENTS := sftp:openssh-client lftp:lftp sshd:openssh-server chromium:chromium

.PHONY: clients
clients:
	@missing=""; for pair in $(CLIENTS); do PATH="$$PATH:/usr/sbin" command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "apt-get install --yes --no-install-recommends$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $$missing >/dev/null; \
	elif [ -n "$$missing" ]; then echo "not installed, so their tests are skipped:$$missing"; fi

.PHONY: test
test: install clients  ## every test; as root on Debian it installs the clients the tests use
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

COMPILE := $(BIN)/uv pip compile pyproject.toml --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet

.PHONY: lock
lock: install  ## resolve the newest versions into requirements.lock
	$(COMPILE) --extra dev --extra spark --upgrade --output-file requirements.lock
	$(COMPILE) --extra benchmarks --constraints requirements.lock --upgrade --output-file requirements-benchmarks.lock
