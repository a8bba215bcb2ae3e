GO ?= go

# Versions of tools. Each version is installed in a directory of its own.
# Later modules of Alertmanager lack its web interface and cannot be built.
PROMETHEUS_VERSION      := v0.316.0
ALERTMANAGER_VERSION    := v0.31.1
VICTORIAMETRICS_VERSION := v1.140.0
HELM_VERSION            := v3.22.0
GOLANGCI_LINT_VERSION   := v2.15.0
ACTIONLINT_VERSION      := v1.7.12
OPERATOR_VERSION        := v0.94.0
CYCLONEDX_VERSION       := v1.10.0
GOVULNCHECK_VERSION     := v1.9.0
# Later modules of nfpm require a module that is not available.
NFPM_VERSION   := v2.45.2
CRANE_VERSION  := v0.22.1
COSIGN_VERSION := v3.1.3
ORAS_VERSION   := v1.3.0

TOOLS               := $(CURDIR)/.tools
PROMETHEUS_DIR      := $(TOOLS)/prometheus-$(PROMETHEUS_VERSION)
ALERTMANAGER_DIR    := $(TOOLS)/alertmanager-$(ALERTMANAGER_VERSION)
VICTORIAMETRICS_DIR := $(TOOLS)/victoriametrics-$(VICTORIAMETRICS_VERSION)
HELM                := $(TOOLS)/helm-$(HELM_VERSION)/helm
GOLANGCI_LINT       := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
ACTIONLINT          := $(TOOLS)/actionlint-$(ACTIONLINT_VERSION)/actionlint
CYCLONEDX           := $(TOOLS)/cyclonedx-gomod-$(CYCLONEDX_VERSION)/cyclonedx-gomod
GOVULNCHECK         := $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION)/govulncheck
NFPM                := $(TOOLS)/nfpm-$(NFPM_VERSION)/nfpm
CRANE               := $(TOOLS)/crane-$(CRANE_VERSION)/crane
COSIGN              := $(TOOLS)/cosign-$(COSIGN_VERSION)/cosign
ORAS                := $(TOOLS)/oras-$(ORAS_VERSION)/oras

# The CRDs of the Prometheus operator, and a Kubernetes control plane.
CRD_DIR            := $(TOOLS)/prometheus-operator-$(OPERATOR_VERSION)
KUBERNETES_VERSION := $(shell sed -n 's|.*k8s.io/kubernetes \(v[0-9.]*\).*|\1|p' internal/test/kubernetes/go.mod)
KUBERNETES_DIR     := $(TOOLS)/kubernetes-$(KUBERNETES_VERSION)
KUBERNETES         := $(KUBERNETES_DIR)/kube-apiserver $(KUBERNETES_DIR)/kube-controller-manager
ETCD               ?= $(shell command -v etcd)

PROMTOOL        := $(PROMETHEUS_DIR)/promtool
SERVERS         := $(PROMETHEUS_DIR)/prometheus $(PROMTOOL) $(ALERTMANAGER_DIR)/alertmanager $(ALERTMANAGER_DIR)/amtool
VICTORIAMETRICS := $(VICTORIAMETRICS_DIR)/victoria-metrics $(VICTORIAMETRICS_DIR)/vmalert

# Paths of programs for the tests.
E2E_ENV     := E2E_EXPORTER='$(CURDIR)/truefoundry_exporter' E2E_PROMETHEUS_DIR='$(PROMETHEUS_DIR)' E2E_ALERTMANAGER_DIR='$(ALERTMANAGER_DIR)' E2E_VICTORIAMETRICS_DIR='$(VICTORIAMETRICS_DIR)'
CHART_ENV   := CHARTTEST_EXPORTER='$(CURDIR)/truefoundry_exporter' CHARTTEST_PROMTOOL='$(PROMTOOL)' CHARTTEST_HELM='$(HELM)' \
	CHARTTEST_KUBERNETES_DIR='$(KUBERNETES_DIR)' CHARTTEST_CRD_DIR='$(CRD_DIR)' CHARTTEST_ETCD='$(ETCD)'
RELEASE_ENV := RELEASE_DIST='$(CURDIR)/.build/dist' HELM='$(HELM)' COSIGN='$(COSIGN)'

# The number of scrapes of the soak test. Shortly before the timeout, it ends early. With
# SOAK_FLAGS=-soak.race=false, the exporter is built without the race detector.
SCRAPES      ?= 30000
SOAK_FLAGS   ?=
SOAK_TIMEOUT ?= 3h

# Tests with many dependencies are in a separate module.
INTEGRATION := internal/test/integration
MODULES     := . $(INTEGRATION)

# Build information of the binary. Without git, or outside a clone, revision and branch are
# empty. Special characters are removed because the values are used in a command line.
safe         = | tr -cd '[:alnum:]@._/:-'
VERSION     := $(shell cat VERSION)
REVISION    ?= $(shell git rev-parse --verify HEAD 2>/dev/null)
BRANCH      ?= $(shell git branch --show-current 2>/dev/null $(safe))
BUILD_USER  ?= $(shell echo "$$(id -un)@$$(uname -n)" $(safe))
# SOURCE_DATE_EPOCH makes builds reproducible. The second form of date is for BSD.
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

# The path of the binary.
BINARY := truefoundry_exporter

# -buildvcs=false, because LDFLAGS contain the revision and git may not be installed.
.PHONY: build
build: ## Build ./truefoundry_exporter, a static binary.
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o '$(BINARY)' .

# The platforms of a release, by default those in .promu.yml, and its output directory.
RELEASE_PLATFORMS ?= $(shell sed -n 's|^ *- \([a-z]*/[a-z0-9]*\)$$|\1|p' .promu.yml)
DIST              ?= dist

# Releases are reproducible: they do not contain the user, the branch or the build time.
.PHONY: release
release: $(CYCLONEDX) $(NFPM) $(HELM) ## Build the archives, packages, chart and image of a release in dist/; needs GNU tar.
	CYCLONEDX='$(CYCLONEDX)' NFPM='$(NFPM)' HELM='$(HELM)' DIST='$(DIST)' VERSION='$(VERSION)' .ci/release $(RELEASE_PLATFORMS)

.PHONY: publish
publish: $(CRANE) $(HELM) $(COSIGN) $(ORAS) ## Push the image and the chart in dist/ to REGISTRY, and sign them.
	CRANE='$(CRANE)' HELM='$(HELM)' COSIGN='$(COSIGN)' ORAS='$(ORAS)' DIST='$(DIST)' VERSION='$(VERSION)' REGISTRY='$(REGISTRY)' .ci/publish

# This only compiles. Tests run on the platform of this machine.
.PHONY: cross-build
cross-build: ## Compile for 32-bit platforms and for macOS.
	GOOS=linux GOARCH=386 $(GO) build ./...
	GOOS=linux GOARCH=arm $(GO) build ./...
	GOOS=darwin GOARCH=arm64 $(GO) build ./...

.PHONY: test
test: unit e2e ## Run all tests; installs what they need into .tools/.

.PHONY: unit
unit: ## Run the hermetic tests only.
	@command -v $$($(GO) env CC) >/dev/null || { echo 'The race detector needs a C compiler, such as gcc.' >&2; exit 1; }
	$(GO) test -race ./...

# Only the exporter is built with -race. The test itself would be much slower.
.PHONY: soak
soak: ## Scrape SCRAPES times (30000) during faults and reloads; takes half an hour.
	$(GO) test -count=1 -v -timeout=$(SOAK_TIMEOUT) ./internal/test/soak -soak.scrapes=$(SCRAPES) $(SOAK_FLAGS)

FUZZTIME ?= 1m

# The coverage of sockets and goroutines is not deterministic, so minimizing inputs would
# take forever. go test sometimes fails at the end of FUZZTIME without a failing input. The
# second command then runs all known inputs, and decides.
.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME (1m).
	@set -e; packages=$$($(GO) list ./...); for package in $$packages; do \
		targets=$$($(GO) test -list '^Fuzz' $$package); for target in $$targets; do \
			case $$target in Fuzz*) ;; *) continue ;; esac; \
			echo "fuzz $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package || \
				$(GO) test -count=1 -run "^$$target\$$" $$package; \
		done; \
	done

# -count=1, because the test cache ignores changes of the programs.
.PHONY: e2e
e2e: build $(SERVERS) $(VICTORIAMETRICS) ## Run the built binary against a real Prometheus, Alertmanager and VictoriaMetrics.
	cd $(INTEGRATION) && $(E2E_ENV) $(GO) test -race -count=1 ./e2e/...

.PHONY: deploy-check
deploy-check: rules-check chart-check dashboard-check $(SERVERS) ## Check everything in deploy/; needs npm, nginx, HAProxy, Squid, systemd and python3-prometheus-client.
	cd $(INTEGRATION) && $(E2E_ENV) $(GO) test -race -count=1 -timeout=30m ./deploy

# .ci/test-packages requires root.
.PHONY: release-check
release-check: $(CRANE) $(HELM) $(COSIGN) $(ORAS) ## Build a release, publish it to a test registry, and install its packages; needs debootstrap and rpm.
	rm -rf .build/dist
	$(MAKE) --no-print-directory release DIST=.build/dist RELEASE_PLATFORMS='linux/amd64 linux/arm64'
	cd $(INTEGRATION) && $(RELEASE_ENV) $(GO) test -race -count=1 ./release/...
	$(if $(filter-out 0,$(shell id -u)),sudo) .ci/test-packages .build/dist

.PHONY: rules-check
rules-check: $(PROMTOOL) ## Test the alerts.
	$(PROMTOOL) check rules --lint=all --lint-fatal deploy/prometheus/rules.yml
	printf '%s\n' deploy/prometheus/rules*_test.yml | xargs -n 1 -P 2 $(PROMTOOL) test rules

.PHONY: chart-check
chart-check: build $(PROMTOOL) $(HELM) $(KUBERNETES) $(CRD_DIR) ## Test the Helm chart, also in a Kubernetes control plane; needs etcd.
	@test -n '$(ETCD)' || { echo 'etcd is not installed. On Debian, it is in the package etcd-server.' >&2; exit 1; }
	cd $(INTEGRATION) && $(CHART_ENV) $(GO) test -race -count=1 ./chart

.PHONY: dashboard-check
dashboard-check: ## Check the dashboard with Grafana's types; e2e tests its queries.
	cd internal/test/dashboard && npm ci --no-audit --no-fund && npm run check

.PHONY: bench
bench: ## Compare scrapes with their lower bound and with other programs; takes about ten minutes.
	@cd $(INTEGRATION) && $(GO) run ./bench

.PHONY: bench-check
bench-check: ## Check that the benchmark works and that all programs export the same series.
	cd $(INTEGRATION) && $(GO) test -count=1 ./bench

.PHONY: demo
demo: build $(SERVERS) ## Run the demo with its alerts in a real Prometheus and Alertmanager.
	cd $(INTEGRATION) && $(GO) build -o '$(CURDIR)/.build/demo' ./e2e/demo
	@cd $(INTEGRATION)/e2e && exec env $(E2E_ENV) '$(CURDIR)/.build/demo'

.PHONY: demo-check
demo-check: build $(SERVERS) ## Test the targets, the alerts and the dashboard of the demo.
	cd $(INTEGRATION) && $(E2E_ENV) $(GO) test -race -count=1 -run Demo ./e2e

.PHONY: lint
lint: $(GOLANGCI_LINT) $(ACTIONLINT) ## Run the linters and check that each go.mod is tidy.
	$(ACTIONLINT)
	@set -e; for module in $(MODULES); do \
		echo "lint $$module"; (cd $$module && $(GO) mod tidy -diff && $(GOLANGCI_LINT) run); \
	done
	cd internal/test/kubernetes && $(GO) mod tidy -diff

.PHONY: vulncheck
vulncheck: $(GOVULNCHECK) ## Look for known vulnerabilities in called functions; needs the internet.
	$(GOVULNCHECK) ./...

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the code.
	@set -e; for module in $(MODULES); do (cd $$module && $(GOLANGCI_LINT) fmt); done

.PHONY: tools
tools: $(SERVERS) $(VICTORIAMETRICS) $(HELM) $(GOLANGCI_LINT) $(ACTIONLINT) $(CYCLONEDX) $(NFPM) $(CRANE) $(COSIGN) $(ORAS) $(GOVULNCHECK) ## Install the pinned tools.

# remove_all_sd, because the clients for service discovery make the build slow and no test
# needs them.
$(PROMETHEUS_DIR)/%:
	GOBIN='$(@D)' $(GO) install -tags remove_all_sd github.com/prometheus/prometheus/cmd/$*@$(PROMETHEUS_VERSION)

$(ALERTMANAGER_DIR)/%:
	GOBIN='$(@D)' $(GO) install github.com/prometheus/alertmanager/cmd/$*@$(ALERTMANAGER_VERSION)

# Helm uses the version to find out what the API server supports.
$(KUBERNETES_DIR)/%:
	cd internal/test/kubernetes && $(GO) build -trimpath -ldflags '-s -w -X=k8s.io/component-base/version.gitVersion=$(KUBERNETES_VERSION)' -o '$@' k8s.io/kubernetes/cmd/$*

$(CRD_DIR):
	$(GO) mod download github.com/prometheus-operator/prometheus-operator@$(OPERATOR_VERSION)
	mkdir -p '$@' && cp "$$($(GO) env GOMODCACHE)"/github.com/prometheus-operator/prometheus-operator@$(OPERATOR_VERSION)/example/prometheus-operator-crd/*.yaml '$@'

$(VICTORIAMETRICS_DIR)/%:
	GOBIN='$(@D)' $(GO) install github.com/VictoriaMetrics/VictoriaMetrics/app/$*@$(VICTORIAMETRICS_VERSION)

$(HELM):
	GOBIN='$(@D)' $(GO) install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION)

$(GOLANGCI_LINT):
	GOBIN='$(@D)' $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(ACTIONLINT):
	GOBIN='$(@D)' $(GO) install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

$(CYCLONEDX):
	GOBIN='$(@D)' $(GO) install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION)

$(NFPM):
	GOBIN='$(@D)' $(GO) install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION)

$(COSIGN):
	GOBIN='$(@D)' $(GO) install github.com/sigstore/cosign/v3/cmd/cosign@$(COSIGN_VERSION)

$(CRANE):
	GOBIN='$(@D)' $(GO) install github.com/google/go-containerregistry/cmd/crane@$(CRANE_VERSION)

$(ORAS):
	GOBIN='$(@D)' $(GO) install oras.land/oras/cmd/oras@$(ORAS_VERSION)

$(GOVULNCHECK):
	GOBIN='$(@D)' $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)

.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-15s %s\n", $$1, $$2 }' Makefile

.PHONY: clean
clean: ## Remove all build results and tools.
	rm -rf truefoundry_exporter .build .tarballs .tools dist internal/test/dashboard/node_modules
