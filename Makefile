# Every verb sets up what it lacks. A seventh service needs no line here: members are found in services/*.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
UV := $(shell command -v uv || echo .tools/uv/bin/uv)
RUN := .venv/bin/python
GRACE := .venv/bin/grace
MEMBERS := libs/grace_common cli $(wildcard services/*)
TASKS ?=

.PHONY: help demo test test-unit check up down status clean fmt schemas bench bench-growth chaos images lock setup sandbox
help: ## Show these verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup sandbox ## The main job, end to end: a request becomes reviewed code with a receipt (TASKS=DIR for your own tasks)
	@$(GRACE) demo $(if $(TASKS),--tasks "$(TASKS)")

test: setup sandbox ## Every test, on real Kafka and PostgreSQL, with coverage
	@bash tools/test.sh

test-unit: setup ## The tests that need no server and no patience
	@$(RUN) -m pytest -n 2 --dist loadscope -m "not stack and not sweep" $(ARGS)

check: setup ## Format, lint, types, boundaries, schemas
	@bash tools/check.sh

up: setup sandbox ## Start Kafka, PostgreSQL and the six services in the background
	@$(GRACE) up

down: ## Stop everything that `up` started
	@test ! -x $(GRACE) || $(GRACE) down

status: setup ## Show what runs
	@$(GRACE) status

clean: ## Stop everything and remove all local state
	@test ! -x $(GRACE) || $(GRACE) down --purge
	@rm -rf .grace .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

fmt: setup ## Format the code
	@$(RUN) -m ruff format -q . && $(RUN) -m ruff check -q --fix .

schemas: setup ## Write schemas/ from the code
	@$(RUN) -m tools.schemas write

bench: setup sandbox ## Measure, and write docs/benchmarks.md
	@$(RUN) -m tools.bench

bench-growth: setup ## Measure ledgers up to ten million entries (30 GB of disk), and write that part of the page
	@$(RUN) -m tools.bench.growth

chaos: setup sandbox ## Kill everything under load, at every stage and at random (KILLS=100 ENTRIES=50000 SEED= KEEP=DIR)
	@$(RUN) -m tools.chaos $(if $(KILLS),--kills $(KILLS)) $(if $(ENTRIES),--entries $(ENTRIES)) \
		$(if $(SEED),--seed $(SEED)) $(if $(KEEP),--keep "$(KEEP)")

images: ## Build one container image per service (needs a Docker engine; deploy/README.md)
	@for service in $(notdir $(wildcard services/*)); do \
		docker build -q -f deploy/Dockerfile --build-arg SERVICE=$$service $(BUILD) -t grace/$$service . || exit 1; done

lock: .tools/ready ## Compile requirements.lock from what the members declare
	@$(UV) pip compile --python $(PYTHON) --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--no-emit-package grace-common --universal -q -o requirements.lock --group dev \
		$(addsuffix /pyproject.toml,$(MEMBERS))

setup: .venv/ready

sandbox:
	@bash tools/bubblewrap.sh

.tools/ready:
	@mkdir -p .tools
	@command -v uv >/dev/null || test -x .tools/uv/bin/uv || { \
		echo "installing uv into .tools/"; $(PYTHON) -m pip install -q --disable-pip-version-check --target .tools/uv uv; }
	@touch $@

.venv/ready: .tools/ready requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS))
	@test -n "$(PYTHON)" || { echo "Grace needs Python 3.11 or newer; install it and try again" >&2; exit 1; }
	@test -x $(RUN) || $(UV) venv -q --python $(PYTHON) .venv
	@echo "installing the locked packages into .venv/"
	@$(UV) pip install --python $(RUN) --require-hashes -r requirements.lock
	@$(UV) pip install -q --python $(RUN) --no-deps --no-build-isolation --offline $(foreach member,$(MEMBERS),-e ./$(member))
	@touch $@
