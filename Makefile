# dra-netdev: `make help` lists the targets.
#
# All targets run on one Debian machine as root. `make deps` installs missing
# Debian packages, and go downloads missing modules.

SHELL      := /bin/bash -o pipefail
VERSION    ?= v0.1.0-$(shell git describe --always --dirty 2>/dev/null || echo unknown)
NODES      ?= 2
FUZZTIME   ?= 20s
BENCH_N    ?= 200
CYCLES     ?= 1000
GOTESTFLAGS ?=
HELM_TIMEOUT ?= 1m

PLUGIN     := dra-netdev-kubeletplugin
IMAGE      := cluster.test/dra-netdev
NAMESPACE  := dra-netdev
CLUSTER_SH := test/cluster
VM_SH      := test/vm
VM_TESTS   ?= ^TestVM

# The same flags everywhere, so that builds, tests and checks share one build
# cache. Without gRPC's tracing, which the driver does not use, the linker can
# drop unused code: a third of the driver's size.
TAGS := grpcnotrace
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -tags=$(TAGS)
# The image's tag is a hash of its content, so a changed build rolls out the DaemonSet.
TAG     := cat $(CURDIR)/bin/dra-netdev-hook $(CURDIR)/bin/dra-netdev-probe $(CURDIR)/bin/$(PLUGIN) | sha256sum | cut -c1-12
GOBUILD := go build -ldflags='-s -w -X k8s.io/component-base/version.gitVersion=$(VERSION) -X main.version=$(VERSION)'

# Packages whose tests need root and network namespaces, and packages whose tests
# need nothing.
KERNEL_PKGS := ./pkg/netdev/... ./pkg/inventory/... ./internal/nstest/... ./cmd/dra-netdev-hook/...
NODE_PKGS   := ./pkg/driver/...
E2E_PKGS    := ./test/e2e/...
UNIT_PKGS    = $(shell go list ./... | grep -v -e /pkg/netdev -e /pkg/inventory -e /dra-netdev-hook -e /internal/nstest -e /pkg/driver -e /test/e2e)

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
VULNDB      := https://vuln.go.dev
MODULES     := . test/node test/chart test/cluster test/cluster/runc
SIZE_LIMIT  := 43100000

.DEFAULT_GOAL := help
.PHONY: help deps build check test test-unit test-kernel test-node test-vm e2e lint size verify vulncheck demo cluster-up cluster-down install image bench bench-node bench-pod chaos fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install the Debian packages that are missing
	@test/e2e/deps

build: ## build the driver into bin/
	$(GOBUILD) -o bin/ ./cmd/...

check: lint verify test ## run all checks that CI runs

test: deps ## run all tests, and check that they leave nothing behind
	@test/e2e/run-tests

test-unit: ## run the tests that need no privileges, and those of the chart
	go test $(GOTESTFLAGS) $(UNIT_PKGS)
	go test -C test/chart $(GOTESTFLAGS) -count=1 ./...

test-kernel: deps ## run the tests that need root and network namespaces
	go test $(GOTESTFLAGS) -count=1 -timeout=20m $(KERNEL_PKGS)

test-node: deps ## test the driver with the code of the kubelet, NRI and the API server, in namespaces
	go test $(GOTESTFLAGS) -count=1 -timeout=20m $(NODE_PKGS)
	@$(CLUSTER_SH)/build > /dev/null
	go test -C test/node $(GOTESTFLAGS) -count=1 -parallel=4 ./...

test-vm: deps ## test on NICs emulated by QEMU, in VMs with Linux 6.1, and show the demo on a cluster with a VM; installs QEMU and builds the VM (2 min), then takes 7 min
	@VM_TESTS='$(VM_TESTS)' $(VM_SH)/test $(GOTESTFLAGS)

e2e: deps ## run the tests on a real cluster of two nodes
	go test $(GOTESTFLAGS) -count=1 -timeout=25m -tags=e2e,$(TAGS) $(E2E_PKGS)

lint: size ## check format, vet, staticcheck, shell syntax and the size of the programs
	@test -z "$$(gofmt -l cmd internal pkg test)" || { echo "gofmt -l:"; gofmt -l cmd internal pkg test; exit 1; }
	go vet ./... && go vet -tags=e2e,$(TAGS) ./test/e2e/... && go vet -tags=vm,$(TAGS) ./pkg/...
	go run $(STATICCHECK) -tags=e2e,vm,$(TAGS) ./...
	for m in node chart; do (cd test/$$m && go vet ./... && go run $(STATICCHECK) ./...) || exit 1; done
	@for f in $$(git ls-files | xargs grep -lE '^#!/bin/(ba)?sh'); do bash -n $$f || exit 1; done

size: build ## print the sizes of the programs and check the limit for the driver
	@cd bin && stat -c '%s %n' $(PLUGIN) dra-netdev-hook dra-netdev-probe | awk '{printf "%5.1f MB %s\n", $$1 / 1e6, $$2}'
	@size=$$(stat -c %s bin/$(PLUGIN)); [ $$size -le $(SIZE_LIMIT) ] || { echo "$(PLUGIN) has $$size bytes, want at most $(SIZE_LIMIT): was it built with -tags=$(TAGS)?"; exit 1; }

verify: ## check that go.mod files and generated documents are up to date
	@for m in $(MODULES); do (cd $$m && go mod tidy -diff) || { echo "run go mod tidy in $$m"; exit 1; }; done
	go test -count=1 -run='^TestReference$$' ./pkg/inventory ./pkg/netdev

vulncheck: ## check the dependencies for known vulnerabilities; needs the vulnerability database on the internet
	@curl -fsS --max-time 30 -o /dev/null $(VULNDB)/index/db.json || \
	  { echo "vulncheck: cannot reach the vulnerability database $(VULNDB): nothing was checked" >&2; exit 1; }
	go run $(GOVULNCHECK) -db=$(VULNDB) -test ./...
	@for m in $(filter-out .,$(MODULES)); do (cd $$m && go run $(GOVULNCHECK) -db=$(VULNDB) -scan=module) || exit 1; done

demo: deps ## show on a real cluster how a pod gets a NIC; KEEP=1 keeps the cluster
	@test/e2e/demo

cluster-up: deps ## start a cluster; NODES=2
	@$(CLUSTER_SH)/up $(NODES)

cluster-down: ## end the cluster
	@$(CLUSTER_SH)/down

image: build ## build the driver's image as bin/image.tar
	@cd test/cluster && go run ./mkimage -o $(CURDIR)/bin/image.tar -name $(IMAGE):$$($(TAG)) \
	  -cmd /$(PLUGIN) /$(PLUGIN)=$(CURDIR)/bin/$(PLUGIN) /dra-netdev-hook=$(CURDIR)/bin/dra-netdev-hook /dra-netdev-probe=$(CURDIR)/bin/dra-netdev-probe '/var/run=>/run'

install: image ## load the image into the nodes and install the chart
	@$(CLUSTER_SH)/load bin/image.tar
	@$(CLUSTER_SH)/helm upgrade --install dra-netdev $(CURDIR)/deployments/helm/dra-netdev --namespace $(NAMESPACE) --create-namespace \
	  --set image.repository=$(IMAGE),image.tag=$$($(TAG)) $(HELM_FLAGS) --wait --timeout $(HELM_TIMEOUT) > bin/helm.log || { cat bin/helm.log; exit 1; }
	@echo "dra-netdev is installed in namespace $(NAMESPACE)"

bench: deps ## measure attach, detach and the runtime hook, compared with the bare kernel, iproute2 and runc
	@mkdir -p bench
	go test -count=1 -run='^$$' -bench=BenchmarkAttach -benchtime=1x ./pkg/netdev -args -bench.n=$(BENCH_N) -bench.out=$(CURDIR)/bench/results.json
	go test -count=1 -run='^$$' -bench=BenchmarkHook -benchtime=1x ./cmd/dra-netdev-hook -args -bench.n=$(BENCH_N) -bench.runc=$$($(CLUSTER_SH)/build)/bin/runc

bench-node: deps ## measure the driver's CPU time and memory with 16 and 1,000 links, idle and while links change, and the time to publish
	@$(CLUSTER_SH)/build > /dev/null
	go test -C test/node -count=1 -v -run='^TestCosts$$' . -args -costs.links=16,1000 -costs.for=20s | grep -E '^ +costs_test|^(---|ok|FAIL)'

bench-pod: deps ## measure how long pods with 0 to 24 interfaces take to start and to stop on a real cluster, beside the CNI plugin host-device; 6 min, KEEP=1 leaves it up
	@test/e2e/bench-pod

chaos: deps ## kill the driver at random moments and check that all interfaces are restored; CYCLES=1000
	go test -count=1 -timeout=0 -v -run='^TestChaos$$' ./pkg/attachment -args -chaos.cycles=$(CYCLES) | grep -v '^=== '

fuzz: ## run all fuzz targets, each for FUZZTIME=20s
	@for p in $$(grep -rlE '^func Fuzz' --include=*_test.go pkg); do \
	  for f in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9]+)\(.*/\1/p' $$p); do \
	    echo "fuzz $$f ($$(dirname $$p))"; go test -run='^$$' -fuzz="^$$f$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=100x ./$$(dirname $$p) || exit 1; done; done

clean: ## remove build results
	rm -rf bin
