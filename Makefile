# `make` shows the targets. The work is in scripts/, tests/cluster/, tests/demo/ and image/.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
# The targets share one cargo target directory and one cluster: with -j they still run one by one.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-long test-unit test-chart test-redis test-cluster lint generate bench image release book \
	cluster-up cluster-down clean-cache

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  USE_EXISTING_CLUSTER=1 KUBECONFIG=... : test, demo and bench use that cluster (CONTRIBUTING.md)"

demo: ## Start a cluster, fragment a three-pod Redis, watch the operator cure it under write load
	@. scripts/lib.sh; need_rust; tests/demo/run

demo-down: ## Remove what the demo made, and the cluster if the demo started it
	@tests/demo/down

test: ## Run all tests, cheapest first: unit, chart, real Redis, real Kubernetes
	@scripts/test

test-unit: ## Run the tests that need nothing but cargo
	@scripts/test unit

test-chart: ## Run the tests that render the Helm chart
	@scripts/test chart

test-redis: ## Run the tests on real Redis processes
	@scripts/test redis

test-cluster: ## Run the tests on a real Kubernetes (needs root, or USE_EXISTING_CLUSTER=1)
	@scripts/test cluster

test-long: ## Run what is too long for every day too: CONTRIBUTING.md lists it with its last result
	@RMO_LONG=1 RMO_SIM_SCHEDULES=$${RMO_SIM_SCHEDULES:-200000} scripts/test

lint: ## Check format, lints, dependencies, shell scripts, chart and generated files
	@scripts/lint

generate: ## Write crds/, docs/reference.md, the chart's README, config and other copies from their sources
	@scripts/generate

bench: ## Measure what watching costs and how long writes pause (docs/performance.md)
	@scripts/bench

book: ## Build the book of docs/ into target/book, by an mdBook that is built once
	@scripts/book

image: ## Build the operator's image as a docker-archive file and print its path
	@. scripts/lib.sh; need_rust; need jq "install jq (Debian: jq)"; \
		image/build --tag "localhost/redis-memory-operator:$$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)"

release: ## Make the files of a release (CHECK=1: twice, in two directories, and compare them)
	@scripts/release $(if $(CHECK),check,build)

cluster-up: ## Start the one-node test cluster (idempotent; needs root)
	@tests/cluster/up

cluster-down: ## Stop the test cluster and show that nothing is left behind
	@tests/cluster/down
	@tests/cluster/leaks

clean-cache: ## Remove built Kubernetes tools and image files (the next test run builds them again)
	@. tests/cluster/env.sh; rm -rf "$$RMO_CACHE/tools" "$$RMO_CACHE/images"; echo "removed: $$RMO_CACHE/tools and images"
