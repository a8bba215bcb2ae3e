GO ?= go

# Pinned; a new version gets a folder of its own, and is therefore installed.
PROMETHEUS_VERSION    := v0.316.0
GOLANGCI_LINT_VERSION := v2.15.0

TOOLS          := $(CURDIR)/.tools
PROMETHEUS_DIR := $(TOOLS)/prometheus-$(PROMETHEUS_VERSION)
GOLANGCI_LINT  := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint

# What the binary says of its build. Without git, or outside a clone, revision
# and branch stay empty. Only harmless characters get into the command line.
safe         = | tr -cd '[:alnum:]@._/:-'
VERSION     := $(shell cat VERSION)
REVISION    := $(shell git rev-parse --verify HEAD 2>/dev/null)
BRANCH      := $(shell git branch --show-current 2>/dev/null $(safe))
BUILD_USER  ?= $(shell echo "$$(id -un)@$$(uname -n)" $(safe))
# SOURCE_DATE_EPOCH makes a build repeatable; the second form is BSD's.
DATE_FORMAT := +%Y%m%d-%H:%M:%S
BUILD_DATE  := $(if $(SOURCE_DATE_EPOCH),$(shell \
	date -u -d "@$(SOURCE_DATE_EPOCH)" $(DATE_FORMAT) 2>/dev/null || \
	date -u -r "$(SOURCE_DATE_EPOCH)" $(DATE_FORMAT)),$(shell date -u $(DATE_FORMAT)))

LDFLAGS := \
	-X github.com/prometheus/common/version.Version=$(VERSION) \
	-X github.com/prometheus/common/version.Revision=$(REVISION) \
	-X github.com/prometheus/common/version.Branch=$(BRANCH) \
	-X github.com/prometheus/common/version.BuildUser=$(BUILD_USER) \
	-X github.com/prometheus/common/version.BuildDate=$(BUILD_DATE)

# -buildvcs=false: the flags above carry the revision, and git may be absent.
.PHONY: build
build: ## Build ./truefoundry_exporter, a static binary.
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o truefoundry_exporter .

.PHONY: test
test: unit e2e ## Run all tests; installs what they need into .tools/.

.PHONY: unit
unit: ## Run the hermetic tests only.
	@command -v $$($(GO) env CC) >/dev/null || { echo 'The race detector needs a C compiler, such as gcc.' >&2; exit 1; }
	$(GO) test -race ./...

# -count=1: the test cache does not see the programs that these tests start.
.PHONY: e2e
e2e: build $(PROMETHEUS_DIR)/prometheus $(PROMETHEUS_DIR)/promtool ## Run the built binary against a real Prometheus.
	cd internal/e2e && E2E_EXPORTER='$(CURDIR)/truefoundry_exporter' E2E_PROMETHEUS_DIR='$(PROMETHEUS_DIR)' \
		$(GO) test -race -count=1 ./...

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Run the linters, and check that go.mod is tidy.
	$(GO) mod tidy -diff
	$(GOLANGCI_LINT) run
	cd internal/e2e && $(GO) mod tidy -diff
	cd internal/e2e && $(GOLANGCI_LINT) run

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the code.
	$(GOLANGCI_LINT) fmt
	cd internal/e2e && $(GOLANGCI_LINT) fmt

.PHONY: tools
tools: $(PROMETHEUS_DIR)/prometheus $(PROMETHEUS_DIR)/promtool $(GOLANGCI_LINT) ## Install the pinned tools.

# remove_all_sd: no test needs service discovery, whose clouds' clients are most of the build.
$(PROMETHEUS_DIR)/%:
	GOBIN='$(@D)' $(GO) install -tags remove_all_sd github.com/prometheus/prometheus/cmd/$*@$(PROMETHEUS_VERSION)

$(GOLANGCI_LINT):
	GOBIN='$(@D)' $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "%-6s %s\n", $$1, $$2 }' Makefile

.PHONY: clean
clean: ## Remove what was built here, the tools too.
	rm -rf truefoundry_exporter .build .tarballs .tools
