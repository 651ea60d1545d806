# Millpond. `make` lists what there is. Needs Rust (rustup fetches the rest) and a C and C++ compiler,
# for zstd and RocksDB. Every target can be run again.
#
# RocksDB is compiled once for a machine, by .ci/rocksdb.sh, into the user's cache folder; `make demo`
# does without it.

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
MILLPOND := $(TARGET_DIR)/release/millpond
KILLS ?= 100
BACKEND ?= memory
WITH_ROCKSDB := env="$$(.ci/rocksdb.sh)" && eval "$$env" &&
SEQUENCES ?= 100000
FUZZ_SECONDS ?= 60
INTERLEAVINGS ?= 200000
SCHEDULES ?= 1000000

.DEFAULT_GOAL := help
.PHONY: help build demo test kill-test model-test bench bench-limited bench-peers sim bench-results plots fuzz-smoke interleavings breakages sanitize fmt lint doc deny ci tools

help: ## list the targets
	@echo "make <target>:"
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS="$$(printf '\t')" read -r name what; do printf '  %-13s %s\n' "$$name" "$$what"; done

tools:
	@command -v $(CARGO) >/dev/null || { \
		echo "cargo is missing: install Rust from https://rustup.rs"; exit 1; }
	@command -v $${CC:-cc} >/dev/null || { \
		echo "a C compiler is missing: on Debian or Ubuntu, sudo apt install build-essential"; exit 1; }

build: tools ## build the command with every backend at target/release/millpond
	$(WITH_ROCKSDB) $(CARGO) build --release --locked -p millpond-cli

demo: tools ## run the flights job, kill it twice, restore it, compare (BACKEND=fs or rocksdb for those)
ifneq ($(BACKEND),rocksdb)
	$(CARGO) build --release --locked -p millpond-cli --no-default-features
else
	$(WITH_ROCKSDB) $(CARGO) build --release --locked -p millpond-cli
endif
	$(MILLPOND) demo --kills 2 --state-backend $(BACKEND)

test: tools ## run all tests; documentation, a short kill test and tiny benchmarks included
	@echo "Installs libclang if it is missing, crates into cargo's folders, and RocksDB, compiled" \
		"once for this machine, into the user's cache folder."
	$(WITH_ROCKSDB) $(CARGO) test --workspace --locked
	$(WITH_ROCKSDB) $(CARGO) test --locked -p millpond-tests --features rocksdb --test equivalence \
		--test corruption --test power_loss
	$(WITH_ROCKSDB) $(CARGO) test --locked -p millpond-benches --features rocksdb --benches

kill-test: build ## kill each job at random moments, full and incremental (KILLS=n, BACKEND=fs or rocksdb)
	@set -e; for job in flights aircraft-days timeouts nexmark-q3 nexmark-q5 nexmark-q11; do \
		for how in "--incremental false" "--incremental true" "--incremental true --local-recovery"; do \
			echo "$(MILLPOND) demo --job $$job --kills $(KILLS) --state-backend $(BACKEND) $$how"; \
			$(MILLPOND) demo --job $$job --kills $(KILLS) --state-backend $(BACKEND) $$how; \
		done; \
	done

model-test: tools ## compare 100000 random sequences of operations with a model (SEQUENCES=n)
	SEQUENCES=$(SEQUENCES) $(CARGO) test --release --locked -p millpond-tests --test sequences

bench: tools ## run all benchmarks, each with its floor in the same run
	$(WITH_ROCKSDB) $(CARGO) bench --locked -p millpond-benches --features rocksdb

bench-limited: tools ## fs and raw RocksDB with state three times the memory allowed (as root: needs a control group)
	$(WITH_ROCKSDB) $(CARGO) bench --locked -p millpond-benches --features rocksdb --bench fs_limited

bench-peers: tools ## fs beside cobble, another Rust engine for streaming state (a package of its own)
	cd benches/peers && $(CARGO) run --locked --release -- access 5000000 100
	cd benches/peers && $(CARGO) run --locked --release -- access 5000000 8

# Records so that each run lasts some seconds: with fewer no checkpoint of the interval is taken.
BENCH_JOB := --rounds 3 --interval off,1s --incremental true --raw --json

bench-results: build ## measure anew what docs/bench keeps, on this machine (half an hour)
	$(MILLPOND) bench state --raw --rounds 3 --json > docs/bench/state.jsonl
	$(MILLPOND) bench snapshot --json > docs/bench/snapshot.jsonl
	$(MILLPOND) bench restore --keys 100000,500000,2000000 --json > docs/bench/restore.jsonl
	$(MILLPOND) bench job --state-backend memory --records 200000000 $(BENCH_JOB) > docs/bench/job.jsonl
	$(MILLPOND) bench job --state-backend fs --records 100000000 $(BENCH_JOB) >> docs/bench/job.jsonl
	$(MILLPOND) bench job --state-backend rocksdb --records 20000000 $(BENCH_JOB) >> docs/bench/job.jsonl

plots: build ## draw the plots in docs/bench from the results that are kept there
	$(MILLPOND) bench plot docs/bench/*.jsonl --out docs/bench

sim: tools ## run 1000000 simulated schedules of the checkpoint protocol (SCHEDULES=n)
	$(CARGO) build --release --locked -p millpond-cli --no-default-features
	$(MILLPOND) sim --schedules $(SCHEDULES)

fuzz-smoke: tools ## run each fuzz target for 60 s (FUZZ_SECONDS=n for another time)
	.ci/fuzz $(FUZZ_SECONDS)

interleavings: tools ## run the threads that hand files over in 200000 orders of each kind (INTERLEAVINGS=n)
	INTERLEAVINGS=$(INTERLEAVINGS) $(CARGO) test --release --locked -p millpond-tests --test interleavings

breakages: tools ## break the code on purpose, and see a test fail each time
	.ci/breakages

sanitize: tools ## run tests under ThreadSanitizer, AddressSanitizer and Miri (nightly)
	.ci/sanitize

fmt: ## format all source
	$(CARGO) fmt --all

lint: tools ## check format and lints
	$(CARGO) fmt --all -- --check
	$(WITH_ROCKSDB) $(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy --locked -p millpond-cli --no-default-features -- -D warnings

doc: tools ## build the documentation, warnings are errors
	$(WITH_ROCKSDB) RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

deny: tools ## check licences, advisories and sources of all dependencies
	@$(CARGO) deny --version >/dev/null 2>&1 || { \
		echo "cargo-deny is missing: cargo install cargo-deny --locked"; exit 1; }
	$(CARGO) deny check

ci: ## what CI runs: lint, documentation, tests, licences
	.ci/run
