# The one list of commands: `make` prints it. People, hooks and CI call these targets and nothing
# else. Plain GNU make and a POSIX shell.

CARGO ?= cargo
# For the commands that take options, as in `make smoke ARGS=--insecure`.
ARGS ?=
# Where pinned tools are installed; the version is part of the path, so an old one is never used.
TOOLS ?= $(CURDIR)/.tools

CARGO_DENY := $(TOOLS)/cargo-deny-0.20.2/bin/cargo-deny
CARGO_MACHETE := $(TOOLS)/cargo-machete-0.9.2/bin/cargo-machete
OHA := $(TOOLS)/oha-1.16.0/bin/oha
OPENAPI_CLIENT := $(TOOLS)/openapi-python-client-0.29.1/bin/openapi-python-client

# Without `-p`, cargo resolves features for the whole workspace: nothing is compiled twice.
XTASK := $(CARGO) run --bin xtask --

.DEFAULT_GOAL := help
.SUFFIXES:

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z][a-z\/%-]*:.*## / { sub(/%/, "<service>", $$1); \
		printf "  make %-20s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Develop ------------------------------------------------------------------------------------------

.PHONY: dev
dev: ## Build and start every service on its own port; Ctrl-C stops them
	@$(XTASK) dev $(ARGS)

dev/%: FORCE ## Start one service, and again whenever a file behind it changes
	@$(XTASK) dev $* $(if $(STORES),--stores $(STORES)) $(ARGS)

.PHONY: smoke
smoke: ## Call every endpoint of the running services, or with ARGS of others
	@$(XTASK) smoke $(ARGS)

.PHONY: dev-smoke
dev-smoke: ## Start the stack, call every endpoint, and stop it as Ctrl-C does
	@$(CARGO) build --workspace --bins
	@mkdir -p target; log=target/dev-smoke.log; \
	$(XTASK) dev >$$log 2>&1 & dev=$$!; \
	smoked=0; $(XTASK) smoke --wait 60s || smoked=$$?; \
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
test: test-servers ## Run all tests, against real servers; ends with what was skipped
	@rm -rf $(SKIPS) && mkdir -p $(SKIPS)
	@status=0; TEST_SKIPS_DIR=$(SKIPS) TEST_OPENAPI_PYTHON_CLIENT=$(OPENAPI_CLIENT) $(CARGO) test --workspace $(ARGS) || status=$$?; \
	echo; \
	for note in $(SKIPS)/*; do \
		if [ -e "$$note" ]; then echo "SKIPPED $${note##*/}: $$(cat "$$note")"; \
		else echo "no suite was skipped"; fi; \
	done; \
	exit $$status

# How many requests of each kind.
CASES ?= 100000

.PHONY: fuzz
fuzz: ## Send CASES random requests of each kind to the kit, on the stable toolchain
	PROPTEST_CASES=$(CASES) $(CARGO) test --workspace --test kit fuzz

# How much: on two cores 100 000 jobs take some minutes.
JOBS ?= 100000
KILLS ?= 50

.PHONY: chaos
chaos: test-servers ## Kill all of multivac KILLS times while JOBS data are fed; a short one is in make test
	CHAOS_JOBS=$(JOBS) CHAOS_KILLS=$(KILLS) $(CARGO) test --workspace --test api -- --nocapture chaos::

.PHONY: lint
lint: ## Check all that needs no test: lint/format, clippy, rustdoc, dependencies, workspace, openapi
lint: lint/format lint/clippy lint/rustdoc lint/dependencies lint/workspace lint/openapi

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

.PHONY: audit
audit: $(CARGO_DENY) ## Look up the dependencies in the RustSec advisory database
	$(CARGO_DENY) check advisories

.PHONY: bench
bench: $(OHA) ## Measure every service against a bare server, and what Criterion measures
	@missing=; command -v wrk >/dev/null || missing=' wrk'; $(install-missing)
	PATH="$(dir $(OHA)):$$PATH" $(CARGO) run --release --bin xtask -- bench $(ARGS)
	$(CARGO) bench --workspace --bench '*'

# Tools --------------------------------------------------------------------------------------------

# Installs the Debian packages in $missing. Where that cannot be done it only says so: a suite
# without its server is skipped, which CI=true does not allow.
define install-missing
if [ -z "$$missing" ]; then exit 0; fi; \
if ! command -v apt-get >/dev/null; then echo "please install:$$missing"; exit 0; fi; \
sudo=; [ "$$(id -u)" -eq 0 ] || sudo=sudo; \
echo "installing:$$missing"; \
{ $$sudo apt-get update && $$sudo env DEBIAN_FRONTEND=noninteractive \
	apt-get install --yes --no-install-recommends $$missing; \
} || echo "could not install:$$missing"
endef

# Debian keeps PostgreSQL's own programs off the PATH, and has no MongoDB: a stand-in in Java, built
# once for this user, takes its place.
.PHONY: test-servers
test-servers:
	@PATH="$$PATH:$$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')"; \
	has() { command -v "$$1" >/dev/null; }; missing=; \
	{ has postgres && has psql; } || missing="$$missing postgresql"; \
	has redis-server || has valkey-server || missing="$$missing redis-server"; \
	has mongod || has javac || missing="$$missing default-jdk-headless"; \
	has mongod || has mvn || missing="$$missing maven"; \
	python3 -c 'import ensurepip' 2>/dev/null || missing="$$missing python3-venv"; \
	$(install-missing)
	@command -v mongod >/dev/null || crates/test-support/mongo-java-server/build || \
		echo 'could not build the stand-in for MongoDB'
	@$(MAKE) --no-print-directory $(OPENAPI_CLIENT) || echo 'could not install openapi-python-client'

.PHONY: tools
tools: $(CARGO_DENY) $(CARGO_MACHETE) ## Install the pinned tools of lint and audit

# $(TOOLS)/<crate>-<version>/bin/<crate>, compiled in a folder that is thrown away.
$(CARGO_DENY) $(CARGO_MACHETE) $(OHA):
	unset CARGO_TARGET_DIR; $(CARGO) install --locked --root $(abspath $(@D)/..) \
		$(@F)@$(patsubst $(@F)-%,%,$(notdir $(abspath $(@D)/..)))

# The generator of the client that tests use, in a Python of its own.
$(OPENAPI_CLIENT):
	python3 -m venv $(abspath $(@D)/..)
	$(@D)/pip install --quiet --disable-pip-version-check openapi-python-client==0.29.1 ruff==0.17.5

.PHONY: clean
clean: ## Remove what was built; data/ and the tools stay
	$(CARGO) clean

# A target like dev/<service> cannot be .PHONY, but may depend on what never exists.
.PHONY: FORCE
FORCE:
