# Everything a person or a machine does with this repository. `make` alone lists it.

PYTHON ?= python3
BIN := .venv/bin
PACKAGES := nexus_protocol relay nexus_agent nexus_tui

.DEFAULT_GOAL := help
.PHONY: help env system demo test check format bench lock clean
MAKEFLAGS += --no-print-directory
# The tests start our programs hundreds of times: compiled once, not each time.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: env system ## a relay, an agent on a desktop of its own, and the console on it
	@$(BIN)/nexus-tui demo

# One worker per core. The timeout only guards against a hang: a test waits for events, with a deadline of its own.
test: env system ## all tests, with coverage (CI=true: nothing may be skipped)
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -n auto --dist worksteal --timeout=120 $(ARGS); status=$$?; \
	$(BIN)/coverage combine -q && $(BIN)/coverage report; exit $$status

check: env ## lint, format, types, layers
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "Not formatted as above; run: make format"; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@scripts/quietly $(BIN)/lint-imports

format: env ## rewrite the code in the one format, and fix what can be fixed safely
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

bench: env ## measure, against other programs in the same run
	@scripts/system system-packages bench-packages
	@$(BIN)/python -m bench $(ARGS)

env: .venv/.installed ## .venv, from the lock files
	@:

# Two stamps: the lock files decide about the whole environment, pyproject.toml only about our own entry in it.
.venv/.installed: pyproject.toml .venv/.locked
	@scripts/quietly $(BIN)/python -m pip install --no-deps --no-build-isolation --editable .
	@scripts/quietly $(BIN)/python -m pip check
	@touch $@

.venv/.locked: requirements.lock requirements-build.lock scripts/environment
	@PYTHON=$(PYTHON) scripts/environment .venv
	@touch $@

system: ## what is needed from apt: installs it as root, else says the one command
	@scripts/system

# The lock is resolved for every platform and Python we support, from the default index, whatever this machine uses.
LOCK := $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

lock: .venv/.locked ## make the lock files again; ARGS=--upgrade for newer versions, ARGS="-P NAME" for one
	@$(LOCK) $(ARGS) --group build -o requirements-build.lock
	@$(LOCK) $(ARGS) --extra all --extra dev -o requirements.lock pyproject.toml

clean: ## remove everything that was made here
	@rm -rf .venv .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@rm -rf build dist *.egg-info
	@find $(PACKAGES) tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
