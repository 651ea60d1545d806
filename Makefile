# Millpond. `make` lists what there is. Needs Rust (rustup fetches the rest) and a C compiler, since
# zstd is built from C. Every target can be run again.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
MILLPOND := $(TARGET_DIR)/release/millpond
KILLS ?= 100
SEQUENCES ?= 100000
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help build demo test rocksdb kill-test model-test bench fuzz-smoke fmt lint doc deny ci tools

help: ## list the targets
	@echo "make <target>:"
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS="$$(printf '\t')" read -r name what; do printf '  %-12s %s\n' "$$name" "$$what"; done

tools:
	@command -v $(CARGO) >/dev/null || { \
		echo "cargo is missing: install Rust from https://rustup.rs"; exit 1; }
	@command -v $${CC:-cc} >/dev/null || { \
		echo "a C compiler is missing: on Debian or Ubuntu, sudo apt install build-essential"; exit 1; }

build: tools ## build the command with every backend at target/release/millpond
	$(CARGO) build --release --locked -p millpond-cli

demo: build ## run the flights job, kill it twice, restore it, compare with a single pass
	$(MILLPOND) demo --kills 2

test: tools ## run all tests; documentation, a short kill test and tiny benchmarks included
	@echo "Installs nothing but crates, into cargo's own folders."
	$(CARGO) test --workspace --locked
	$(CARGO) test --locked -p millpond-benches --benches

rocksdb: tools ## build RocksDB once for this machine if it is missing, and test what stands on it
	@echo "Installs libclang if it is missing, and keeps the library in the user's cache folder."
	env="$$(.ci/rocksdb.sh)" && eval "$$env" && \
		$(CARGO) test --locked -p millpond-rocksdb && \
		$(CARGO) test --locked -p millpond-cli --features rocksdb && \
		$(CARGO) test --locked -p millpond-benches --features rocksdb --bench rocksdb

kill-test: build ## kill each job 100 times at random moments (KILLS=n for another number)
	$(MILLPOND) demo --job flights --kills $(KILLS)
	$(MILLPOND) demo --job aircraft-days --kills $(KILLS)
	$(MILLPOND) demo --job timeouts --kills $(KILLS)

model-test: tools ## compare 100000 random sequences of operations with a model (SEQUENCES=n)
	SEQUENCES=$(SEQUENCES) $(CARGO) test --release --locked -p millpond-tests --test sequences

bench: tools ## run all benchmarks, each with its floor in the same run
	$(CARGO) bench --locked -p millpond-benches

fuzz-smoke: tools ## run each fuzz target for 60 s (FUZZ_SECONDS=n for another time)
	@$(CARGO) +nightly --version >/dev/null 2>&1 || { \
		echo "the nightly toolchain is missing: rustup toolchain install nightly"; exit 1; }
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { \
		echo "cargo-fuzz is missing: cargo install cargo-fuzz --locked"; exit 1; }
	@for target in $$($(CARGO) +nightly fuzz list); do \
		echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
		$(CARGO) +nightly fuzz run "$$target" -- -max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

fmt: ## format all source
	$(CARGO) fmt --all

lint: tools ## check format and lints
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc: tools ## build the documentation, warnings are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

deny: tools ## check licences, advisories and sources of all dependencies
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
		echo "cargo-deny is missing: cargo install cargo-deny --locked"; exit 1; }
	$(CARGO) deny check

ci: ## what CI runs: lint, documentation, tests, licences
	.ci/run
