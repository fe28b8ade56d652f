# `make help` lists what there is. Details are in scripts/, which work alone too.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(PATH):/usr/local/go/bin

VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo dev)
UPSTREAM ?=
TEST_DEPS := gcc redis-server postgresql pgbouncer prometheus systemd node npm chromium
FUZZTIME ?= 10s
ROUNDS ?= 9
SCENARIOS ?=
PROXIES ?=
BENCHTIME ?= 200ms

.PHONY: help run demo build test check fuzz bench prove release release-twice clean needs-go

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## start the proxy before a simulated backend, or before a real one: make run UPSTREAM=http://127.0.0.1:11434
	exec bin/vega-proxy $(if $(UPSTREAM),serve --upstream '$(UPSTREAM)',demo)

demo: build ## start the proxy, its dashboard and a simulated backend
	exec bin/vega-proxy demo

build: needs-go ## build the static binary, bin/vega-proxy
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o bin/vega-proxy ./cmd/vega-proxy

test: needs-go ## run all tests with the race detector, after installing what they need
	scripts/test-deps.sh $(TEST_DEPS)
	scripts/test.sh

check: needs-go ## what CI runs: formatting, linters, build, all tests
	scripts/lint.sh
	$(MAKE) --no-print-directory build
	$(MAKE) --no-print-directory test

fuzz: needs-go ## run each fuzz target for FUZZTIME (10s)
	FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

bench: build ## run the benchmarks and compare with other proxies, about half an hour; ROUNDS=9 SCENARIOS=S1,S3 PROXIES=direct,goproxy,vega
	scripts/test-deps.sh nginx
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./... | grep -v 'no test files'
	mkdir -p bin/bench
	cd bench && go build -o ../bin/bench/ ./...
	bin/bench/compare -bin bin/bench -vega bin/vega-proxy -o bench/out -rounds $(ROUNDS) \
		$(if $(SCENARIOS),-scenarios $(SCENARIOS)) $(if $(PROXIES),-proxies $(PROXIES))

prove: needs-go ## run the long campaigns (tests with the build tag "prove"), up to half an hour a package
	scripts/prove.sh

release: needs-go ## build archives, packages, images, lists of modules and checksums into bin/release, for all systems
	cd tools/release && go run . -root ../.. -o ../../bin/release -version '$(VERSION)'

release-twice: needs-go ## build the last commit's release in two places and compare every byte, some ten minutes
	scripts/release-twice.sh

clean: ## remove what was built and measured; data/ stays, it holds conversations
	rm -rf bin bench/out

needs-go:
	@command -v go >/dev/null || { echo 'Go 1.26 is needed: it is neither on the PATH nor in /usr/local/go/bin.' >&2; exit 1; }
