# Two commands do everything a newcomer needs: `make demo` and `make test`. Both set up .venv by themselves.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Tests often wait for servers and clocks, so three processes keep two processors busy; PYTEST_WORKERS=0 runs in one, for a debugger.
PYTEST_WORKERS ?= 3
# Tests start winback some hundred times: it is not compiled anew each time, whatever the caller's own habit.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml requirements/dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "winback needs Python 3.11 or newer; say which with: make PYTHON=python3.12 …" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

.PHONY: setup
setup: $(READY) ## Make .venv with the locked dependencies

.PHONY: demo
demo: $(READY) ## Fill the demo shop, run its campaigns, write the report, say what to open
	$(BIN)/winback demo

.PHONY: test
test: $(READY) ## Run every test, on SQLite and PostgreSQL
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS)

.PHONY: check
check: lint types layers test ## Everything CI runs: format, lint, types, layers, tests (with the docs)

.PHONY: format
format: $(READY) ## Format the code
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

.PHONY: lint
lint: $(READY)
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks

.PHONY: types
types: $(READY)
	$(BIN)/mypy
	$(BIN)/mypy benchmarks

.PHONY: layers
layers: $(READY)
	$(BIN)/lint-imports

# What winback is compared with stands beside the locked tools; without it those lines of the table say that it is missing.
var/bench/packages: benchmarks/requirements.txt $(READY)
	@rm -rf $@ && mkdir -p $@
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $@ -r benchmarks/requirements.txt

.PHONY: bench
bench: $(READY) var/bench/packages ## Measure winback beside other ways to send the same letters (a few minutes)
	$(BIN)/python -m benchmarks --packages var/bench/packages

# Say POSTGRES=postgresql://postgres@host/postgres to measure PostgreSQL too, CUSTOMERS=100000 for a smaller shop.
CUSTOMERS ?= 1000000

.PHONY: bench-audience
bench-audience: $(READY) ## Measure audiences, planning, scores and imports in a shop of a million customers (half an hour)
	$(BIN)/python -m benchmarks.audience --customers $(CUSTOMERS) --postgres "$(POSTGRES)"

.PHONY: screenshots
screenshots: $(READY) ## Take pictures of the demo shop's pages into var/screenshots (needs Chromium)
	$(BIN)/python -m tests.web.screenshots

.PHONY: lock
lock: ## Renew requirements/dev.lock (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate --generate-hashes \
		pyproject.toml --extra postgres --extra stats --group dev -o requirements/dev.lock
