# SPDX-License-Identifier: AGPL-3.0-or-later
#
# A short front to Meson. MESON_FLAGS is handed to `meson setup` when a build folder is made, as in
# `make check MESON_FLAGS=-Dwerror=true`.
MESON_FLAGS ?=
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
AFL_TARGETS ?=
SOAK_N ?= 1000000
CHECK_SOAK_N ?= 100000
CRASH_ROUNDS ?= 200
CHECK_CRASH_ROUNDS ?= 10
TORTURE_SECONDS ?= 4
SOAK_MINUTES ?= 30
CHECK_TORTURE_SECONDS ?= 0.5

PROGRAMS = smp-server smp-bench
LATER = tests/later/smp-server-later
SANITIZE = -Db_lundef=false -Doptimization=1

# $(call setup,folder,compiler,options): make a build folder unless it is there.
setup = test -f $(1)/build.ninja || CC=$(2) meson setup $(1) $(3) $(MESON_FLAGS)
# $(call setup_tests,folder,compiler): the same with unit tests; a folder made without them gets them.
setup_tests = { $(call setup,$(1),$(2),-Dtests=enabled); } && { meson introspect $(1) --tests | \
	grep -q ':unit"' || meson setup --reconfigure $(1) -Dtests=enabled; }

# Two makes in one build folder would fight over it; Ninja runs the jobs of one in parallel.
.NOTPARALLEL:
.PHONY: all run check check-later check-websocket asan tsan clang lint dev docs format fuzz afl soak soak-mixed soak-proxy crash torture timing bench bench-scale bench-idle bench-moderate bench-instructions bench-start bench-web bench-compaction bench-database bench-takeover bench-proxy bench-storm bench-small bench-locks chroot-check check-systemd web check-web check-lighthouse check-tlsfuzzer deb check-certs check-arm64 check-reproducible check-container check-outages check-pooler check-delivery check-deb install clean help \
	deps-build deps-test deps-lint deps-fuzz deps-afl deps-bench deps-deb deps-sbom deps-systemd deps-web deps-certs deps-tls deps-container deps-pooler

all: deps-build ## build build/smp-server and build/smp-bench (the default)
	@$(call setup,build,gcc,-Dtests=disabled)
	@ninja -C build $(PROGRAMS)

run: all ## build, make a server in ./run unless there is one, and start it
	@tools/run-local build/smp-server

check: deps-test ## build, and run all tests; ends with "N passed, N failed"
	@$(call setup_tests,build,gcc)
	@ninja -C build $(PROGRAMS) $(LATER)
	@tools/run-tests build --conformance --soak $(CHECK_SOAK_N) --crash $(CHECK_CRASH_ROUNDS) \
		--torture $(CHECK_TORTURE_SECONDS)

check-later: deps-test ## all conformance tests on a store that always answers later
	@$(call setup_tests,build,gcc)
	@ninja -C build $(LATER)
	@tools/run-tests build --no-unit --later

check-websocket: deps-test ## all conformance tests by WebSocket
	@$(call setup_tests,build,gcc)
	@ninja -C build $(PROGRAMS)
	@tools/run-tests build --no-unit --websocket

asan: deps-test ## unit and conformance tests with AddressSanitizer and UBSan
	@$(call setup,build-asan,gcc,-Db_sanitize=address$(comma)undefined $(SANITIZE) -Dtests=enabled)
	@ninja -C build-asan $(PROGRAMS) $(LATER)
	@tools/run-tests build-asan --conformance

tsan: deps-test ## unit and conformance tests with ThreadSanitizer
	@$(call setup,build-tsan,gcc,-Db_sanitize=thread $(SANITIZE) -Dtests=enabled)
	@ninja -C build-tsan $(PROGRAMS) $(LATER)
	@tools/run-tests build-tsan --conformance

clang: deps-lint ## build with clang, and run the unit tests
	@$(call setup,build-clang,clang,-Dtests=enabled)
	@ninja -C build-clang $(PROGRAMS)
	@tools/run-tests build-clang

dev: deps-test ## build with warnings as errors, and run the unit tests
	@$(call setup,build-dev,gcc,-Dwerror=true -Dtests=enabled)
	@ninja -C build-dev $(PROGRAMS)
	@tools/run-tests build-dev

lint: deps-lint ## check format, clang-tidy, layers, banned functions, sizes, licence lines
	@$(call setup,build-clang,clang,-Dtests=enabled)
	@tools/lint build-clang

chroot-check: ## make run and make check in a fresh Debian or Ubuntu: SUITE=bookworm, trixie, noble
	@tools/chroot-check $(CHROOT_FLAGS) $(SUITE)

check-systemd: all deps-systemd ## run the unit under a systemd of its own, as PID 1 in namespaces (needs root)
	@tests/packaging/systemd/run build

check-certs: all deps-certs ## simplex-servers-certs against an authority on this machine (needs root)
	@tests/scripts/acme/run build

check-outages: all deps-test ## PostgreSQL away for 5 s and for a minute, silent, full, promoted, under load (5 minutes)
	@$$(tools/find-python) -m pytest -q -m long tests/cli --server-binary build/smp-server

check-pooler: all deps-test deps-pooler ## conformance tests through PgBouncer (2 minutes; SMP_TEST_POOL_MODE=transaction from 1.21 on)
	@$$(tools/find-python) -m pytest -q -n 2 --store database-pooled --server-binary build/smp-server \
		$(foreach t,concurrency delivery links queues send services,tests/conformance/test_$(t).py)

check-container: all deps-container ## the container image, built by buildah and run by podman (needs root)
	@tests/container/run build

check-delivery: check-systemd check-certs check-deb check-arm64 check-reproducible check-container ## all long tests of packages, scripts and image (needs root)

DEB_FOLDER = build-deb$(if $(SUITE),-$(SUITE))
deb: ## build the Debian package of the commit that is checked out, in build-deb; for another distribution, in build-deb-SUITE (needs root): SUITE=trixie
	@$(if $(SUITE),tools/build-in $(SUITE) $(DEB_FOLDER),tools/deps deb && tools/make-deb $(DEB_FOLDER))

check-deb: deb ## install, upgrade and remove the package in a chroot, by dpkg and from a repository (needs root): SUITE=trixie
	@tests/packaging/deb/run $(DEB_FOLDER) $(SUITE)

check-arm64: ## build for arm64 in a chroot, and run the unit tests by qemu-user (needs root): SUITE=bookworm
	@tests/packaging/arm64/run $(SUITE)

check-reproducible: deps-deb deps-sbom ## build a release twice in different circumstances, and compare; its list of components (needs root, npm)
	@tests/packaging/reproducible/run

docs: all ## write docs/generated and the manual pages anew
	@ninja -C build src/app/options-doc src/stats/stats-doc
	@build/src/app/options-doc >docs/generated/options.md
	@build/src/app/options-doc limits >docs/generated/limits.md
	@build/src/stats/stats-doc >docs/generated/statistics.md
	@tools/make-man build/smp-server

# The pinned packages of web/package-lock.json; no script of theirs is run.
NPM_CI = cd web && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

web: deps-web ## write the pages anew that are made out of web/src (needs npm; the results are in git)
	@$(NPM_CI) && node build.mjs

check-web: all deps-web ## the pages in Chromium: rows, links, QR codes, accessibility, bytes (2 minutes; pictures in build/web-screens)
	@$(NPM_CI)
	@node tests/web/run.mjs

# Pinned here, and not among the packages of web/, which build and tests need: it brings 150 others.
LIGHTHOUSE = lighthouse@12.8.2

check-lighthouse: all deps-web ## scores of Lighthouse for the pages, as a phone and as a computer (needs npm, and a machine that does nothing else)
	@mkdir -p build/lighthouse && cd build/lighthouse && { test -d node_modules || \
		npm install --ignore-scripts --no-audit --no-fund --loglevel=error $(LIGHTHOUSE); }
	@node tests/web/lighthouse.mjs

format: deps-lint ## rewrite all C files as .clang-format says
	@find src tests -name '*.[ch]' | xargs clang-format -i

fuzz: deps-fuzz ## run each fuzz target for FUZZ_SECONDS (60) with libFuzzer
	@$(call setup,build-fuzz,clang,-Dfuzz=true -Dtests=disabled \
		-Db_sanitize=address$(comma)undefined $(SANITIZE))
	@ninja -C build-fuzz
	@tools/run-fuzz build-fuzz $(FUZZ_SECONDS)

afl: deps-afl ## run each fuzz target, or AFL_TARGETS, for FUZZ_SECONDS (60) with AFL++
	@$(call setup,build-afl,afl-clang-fast,-Dfuzz=true -Dtests=disabled \
		-Db_sanitize=address$(comma)undefined $(SANITIZE))
	@tools/run-afl build-afl $(FUZZ_SECONDS) $(AFL_TARGETS)

soak: all deps-test ## push SOAK_N (1000000) messages through one server
	@tools/run-tests build --no-unit --soak $(SOAK_N)

check-tlsfuzzer: all deps-test deps-tls ## scripts of tlsfuzzer against our TLS: TLSFUZZER=clone TLSLITE=clone
	@$$(tools/find-python) tests/tls/tlsfuzzer.py --tlsfuzzer $(TLSFUZZER) --tlslite $(TLSLITE) --server-binary build/smp-server

crash: all deps-test ## kill a server CRASH_ROUNDS (200) times under load, and check what it kept
	@tools/run-tests build --no-unit --crash $(CRASH_ROUNDS)

soak-mixed: all deps-test ## mixed load and faults for SOAK_MINUTES (30): nothing lost, memory and descriptors flat
	@$$(tools/find-python) tests/soak/mixed.py --minutes $(SOAK_MINUTES) --server-binary build/smp-server

torture: all deps-test ## take descriptors, memory, disk and clock from a server under load, and look what it kept (6 minutes)
	@tools/run-tests build --no-unit --torture $(TORTURE_SECONDS)

soak-proxy: all deps-test ## forward 10,000 messages with 1, 16 and 256 under way
	@$$(tools/find-python) tests/soak/proxy.py --server-binary build/smp-server

bench-proxy: all deps-test ## measure the CPU of a forwarded message against a direct one
	@$$(tools/find-python) tests/bench/proxy.py --server-binary build/smp-server

timing: all deps-test ## does the time of a refusal tell whether a queue exists? (5 minutes)
	@$$(tools/find-python) tests/bench/timing.py --server-binary build/smp-server

bench: all deps-test ## measure all workloads of smp-bench beside their bounds (5 minutes)
	@$$(tools/find-python) tests/bench/bench.py --server-binary build/smp-server

bench-scale: all deps-test ## measure messages among 10 to 18,000 connections
	@$$(tools/find-python) tests/bench/bench.py scale --server-binary build/smp-server

bench-moderate: all deps-test ## measure what a message costs at 300 and 1,500 a second, beside full load
	@$$(tools/find-python) tests/bench/moderate.py --server-binary build/smp-server

bench-idle: all deps-test ## measure the memory of idle connections
	@$$(tools/find-python) tests/bench/bench.py idle --server-binary build/smp-server

bench-instructions: all deps-test deps-bench ## compare the instructions of an operation with the record
	@ninja -C build tests/bench/smp-server-unhurried
	@$$(tools/find-python) tests/bench/instructions.py --server-binary build/smp-server

bench-web: all deps-test ## measure what 500 slow browsers and h2load cost the clients of a shared port, and a visit's bytes
	@$$(tools/find-python) tests/bench/web.py --server-binary build/smp-server

bench-start: all deps-test ## measure time and memory of a start with 1,000,000 queues
	@$$(tools/find-python) tests/bench/start.py --server-binary build/smp-server

bench-database: all deps-test ## measure messages and SUBs on PostgreSQL among 1,000,000 queues beside the journal, database CPU apart
	@$$(tools/find-python) tests/bench/database.py --server-binary build/smp-server

bench-takeover: all deps-test ## measure how long a standby takes to take over, after SIGTERM and after kill -9
	@$$(tools/find-python) tests/bench/database.py takeover --server-binary build/smp-server

bench-compaction: all deps-test ## measure what messages wait for while the store log of 1,000,000 queues is compacted
	@$$(tools/find-python) tests/bench/compaction.py

bench-storm: all deps-test ## measure what it costs when 1,000 clients come back to 100 queues each, and what memory stays
	@$$(tools/find-python) tests/bench/storm.py --server-binary build/smp-server

bench-small: all deps-test ## measure 2,000 clients and 100,000 queues with 512 MB and one processor (needs root)
	@$$(tools/find-python) tests/bench/sizing.py --enforce --queues 100000 --clients 2000 \
		--messages-a-day 8640000 --server-binary build/smp-server

bench-locks: all deps-test ## measure which lock or thread becomes the limit first with many processors
	@ninja -C build tests/bench/smp-server-locks
	@$$(tools/find-python) tests/bench/locks.py --server-binary build/smp-server

install: all ## install under PREFIX (/usr/local); DESTDIR is honoured
	@meson configure build -Dprefix=$(PREFIX)
	@ninja -C build $(PROGRAMS)
	@meson install --no-rebuild -C build

clean: ## remove all build folders (not ./run)
	rm -rf build build-*

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s%s\n", $$1, $$2 }' Makefile

deps-build deps-test deps-lint deps-fuzz deps-afl deps-bench deps-deb deps-sbom deps-systemd deps-web deps-certs deps-tls deps-container deps-pooler:
	@tools/deps $(@:deps-%=%)

comma := ,
