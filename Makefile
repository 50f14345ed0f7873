# The contributor's door. Everything installs what it needs into .venv (bench peers: into a cache outside the checkout).
PYTHON ?= python3
BIN := .venv/bin
ROUTE ?= examples/openai.yaml
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo run test test-llama check format crd images bench bench-routing clean e2e cluster-up cluster-down

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: .venv/demo ## simulated providers, a sidecar and live traffic: watch it route around trouble
	$(BIN)/python -m examples.demo $(ARGS)

run: .venv/sidecar ## serve ROUTE=my.yaml with your own keys
	$(BIN)/llmroute serve $(ROUTE) $(ARGS)

test: .venv/dev ## every test (those that need Node.js or a Kubernetes say so where there is no way to it)
	scripts/node-clients
	$(BIN)/python -m tests.cluster prepare
	$(BIN)/pytest $(ARGS)

e2e: .venv/dev ## the stories on a real Kubernetes: given, kind, or as root on Linux our own (built first: 15 to 25 minutes)
	$(BIN)/pytest tests/e2e $(ARGS)

cluster-up: .venv/dev ## a Kubernetes to look around in, by the same ways; CLUSTER=name for several
	$(BIN)/python -m tests.cluster up

cluster-down: .venv/dev ## its end, without residue
	$(BIN)/python -m tests.cluster down

test-llama: .venv/dev ## against a real llama.cpp server (builds it first: 4 to 7 minutes)
	scripts/llama-server
	$(BIN)/pytest -m llama tests/llama $(ARGS)

check: .venv/dev ## format, lint, types, import contracts, generated files
	scripts/check

format: .venv/dev ## format and fix what can be fixed
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

crd: .venv/dev ## regenerate crds/, its copy in the chart and docs/reference.md from the types
	$(BIN)/python -m llmroute.crd > crds/llmroutes.yaml
	cp crds/llmroutes.yaml charts/llmroute/files/llmroutes.yaml
	$(BIN)/python -m llmroute.reference > docs/reference.md

images: ## the images of sidecar and operator (TAG, REGISTRY, PYTHON_IMAGE) by docker, podman or buildah
	scripts/images

bench: ## the sidecar beside its peers, on BENCH_PYTHON; results in bench/results/
	PYTHON=$(PYTHON) scripts/bench $(ARGS)

bench-routing: .venv/dev ## routing policies in simulation: SCENARIOS=file OUT=file.json SEEDS=3
	$(BIN)/python -m bench.routing $(if $(SCENARIOS),--scenarios $(SCENARIOS)) $(if $(OUT),--out $(OUT)) --seeds $(or $(SEEDS),3) $(ARGS)

clean: ## remove what make installed
	rm -rf .venv .venv-bench tests/clients/node/node_modules

.venv/%: requirements/%.txt pyproject.toml
	scripts/install $(PYTHON) $*
	@touch $@
