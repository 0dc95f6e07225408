# Everything is made in .venv and build/; each target makes what it needs and works twice in a row.
# `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
JOBS ?= $(shell nproc)
NICE := nice

NATIVE_SOURCES := $(wildcard native/src/*.cpp native/bind/*.[ch]pp native/include/mpserve/*.hpp) native/CMakeLists.txt
NATIVE_TESTS := $(wildcard native/tests/*.cpp native/tests/*.hpp)
CXX_FILES = $(shell git ls-files 'native/*.cpp' 'native/*.hpp')
CMAKE := PATH=$(CURDIR)/$(BIN):$$PATH CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(NICE) $(BIN)/cmake
PIP := PATH=$(CURDIR)/$(BIN):$$PATH CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(NICE) $(BIN)/python -m pip install --quiet --disable-pip-version-check
STUBGEN := $(BIN)/python -m nanobind.stubgen --quiet --module mpserve._native --pattern-file native/bind/stub_patterns.nb
# Build requirements, so that the core is built in place and only what changed is built again.
EDITABLE := --no-build-isolation --editable

DEMO := .demo/models
DEMO_PORT ?= 8000
DEMO_URL := http://127.0.0.1:$(DEMO_PORT)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- what is installed --------------------------------------------------------------------------

$(BIN)/.tools: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) 'scikit-build-core>=0.11' 'nanobind>=2.9' 'numpy>=1.26' 'cmake>=3.26' ninja
	@touch $@

# The package in place, with what the demo needs.
$(BIN)/.demo: $(BIN)/.tools pyproject.toml
	$(PIP) $(EDITABLE) '.[grpc,sklearn,xgboost]'
	@touch $@ $(BIN)/.core

# The package in place, with everything for work on it.
$(BIN)/.dev: $(BIN)/.tools pyproject.toml
	$(PIP) $(EDITABLE) '.[dev]'
	@touch $@ $(BIN)/.demo $(BIN)/.core

# The native core, built anew when its sources changed after an installation.
$(BIN)/.core: $(NATIVE_SOURCES) | $(BIN)/.tools
	$(PIP) --no-deps $(EDITABLE) .
	@touch $@

.PHONY: build
build: $(BIN)/.dev $(BIN)/.core ## Install the package in place with all tools, core built

# --- try it -------------------------------------------------------------------------------------

$(DEMO)/.made: $(wildcard examples/*.py examples/*/*.py) | $(BIN)/.demo
	$(BIN)/python examples/build_demo.py $(DEMO)
	@touch $@

.PHONY: run
run: $(BIN)/.demo $(BIN)/.core $(DEMO)/.made ## Start a server with three demo models
	@$(BIN)/python -m mpserve serve --model-repository=$(DEMO) --model-control-mode=explicit \
		--load-model='*' --http-address=127.0.0.1 --grpc-address=127.0.0.1 \
		--http-port=$(DEMO_PORT) & server=$$!; \
	trap 'wait $$server; exit $$?' INT; \
	trap 'kill -TERM $$server; wait $$server; exit $$?' TERM; \
	tries=300; \
	until $(BIN)/python -m mpserve models list --url $(DEMO_URL) --timeout 5 2>/dev/null; do \
		tries=$$((tries - 1)); \
		kill -0 $$server 2>/dev/null && [ $$tries -gt 0 ] || { wait $$server; exit 1; }; \
		sleep 0.2; \
	done; \
	printf '\nThe server runs until Ctrl-C. Try from another terminal:\n\n'; \
	printf '  %s\n' \
		'curl -s $(DEMO_URL)/v2/models/mnist-svm' \
		'curl -s $(DEMO_URL)/v2/repository/index -d {}' \
		'curl -s $(DEMO_URL)/v2/models/simple/infer -d @examples/requests/simple.json'; \
	wait $$server

# --- checks -------------------------------------------------------------------------------------

PYTEST := HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-ci} $(BIN)/python -m pytest
PURE_TESTS := tests/unit tests/property tests/fuzz
SERVER_TESTS := tests/process tests/protocol tests/faults tests/packaging

# Tests that start no servers share the processors; the others have them for themselves. A part that
# fails hides nothing of the other; in one of them, `-k` may select none (5). A path is one call.
.PHONY: test
test: build ## Run all tests, or those of a path (PYTEST_ARGS="..." adds options)
ifneq (,$(findstring tests/,$(PYTEST_ARGS)))
	$(PYTEST) $(PYTEST_ARGS)
else
	@failed=; none=; \
	run() { echo "pytest $$*"; $(PYTEST) "$$@" $(PYTEST_ARGS); case $$? in \
		0) ;; 5) none="$$none $$1" ;; *) failed="$$failed $$1" ;; esac; }; \
	run $(PURE_TESTS) -n $(JOBS) --dist worksteal; \
	run $(SERVER_TESTS); \
	test -z "$$failed" || { echo "failed: the parts that begin with$$failed"; exit 1; }; \
	test "$$none" != " tests/unit tests/process" || { echo 'no test was selected'; exit 5; }
endif

.PHONY: clients
clients: build ## Install clients that need an environment of their own (KServe's, MLServer's), once
	$(BIN)/python -m tests.fixtures.client_environments

.PHONY: differential
differential: build ## Ask the peers and mpserve the same requests (installs them in .bench once)
	MPSERVE_DIFFERENTIAL=1 $(BIN)/python -m pytest tests/differential $(PYTEST_ARGS)

.PHONY: test-fast
test-fast: build ## Run unit and property tests with few examples
	HYPOTHESIS_PROFILE=dev $(BIN)/python -m pytest tests/unit tests/property $(PYTEST_ARGS)

COVERAGE := COVERAGE_FILE=$(CURDIR)/build/coverage/data $(NICE) $(BIN)/python -m coverage
COVERED_TESTS := unit property fuzz process protocol faults packaging

# In parts, so that a test which fails does not cost the figures of all; it fails the target at the end.
.PHONY: coverage
coverage: build native-coverage ## Run all tests and report the lines of mpserve/ and native/ they reach
	rm -rf build/coverage && mkdir -p build/coverage
	@failed=; for part in $(COVERED_TESTS); do \
		HYPOTHESIS_PROFILE=dev MPSERVE_TEST_SLACK=10 \
			$(COVERAGE) run -m pytest --timeout=600 tests/$$part $(PYTEST_ARGS) || failed="$$failed $$part"; \
	done; \
	$(COVERAGE) combine --quiet && $(COVERAGE) report --fail-under=90 || failed="$$failed report"; \
	cat build/native-coverage/summary.txt; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

.PHONY: native-coverage
native-coverage: $(BIN)/.dev ## Run the C++ tests and report the lines of native/ they reach
	$(CMAKE) -S native -B build/native-coverage -G Ninja -DCMAKE_BUILD_TYPE=Debug \
		-DMPSERVE_BINDINGS=OFF -DMPSERVE_NATIVE_TESTS=ON -DCMAKE_CXX_FLAGS="--coverage -fprofile-update=atomic"
	$(CMAKE) --build build/native-coverage
	find build/native-coverage -name '*.gcda' -delete
	$(BIN)/ctest --test-dir build/native-coverage --output-on-failure --no-tests=error
	$(BIN)/gcovr --root native --filter native/src --filter native/include \
		--print-summary build/native-coverage > build/native-coverage/report.txt
	@cat build/native-coverage/report.txt
	@sed -n 's/^lines: /native lines: /p' build/native-coverage/report.txt > build/native-coverage/summary.txt

.PHONY: dependencies
dependencies: $(BIN)/.dev ## Write build/sbom.json, and ask osv.dev for known faults in it
	$(BIN)/python .ci/dependencies.py build/sbom.json

.PHONY: chaos
chaos: build ## Let everything die, reload and vanish for 10 minutes under load
	MPSERVE_TEST_FULL=1 $(BIN)/python -m pytest tests/faults/test_chaos.py -s

.PHONY: soak
soak: build ## Load a server for 10 minutes: memory, descriptors and latency stay as they are
	MPSERVE_TEST_FULL=1 $(BIN)/python -m pytest tests/process/test_soak.py -s

.PHONY: lint
lint: $(BIN)/.dev ## Check style, spelling, formatting and the rules between rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	$(BIN)/codespell $(shell git ls-files | grep -v -e '\.svg$$' -e '^LICENSE$$')
	$(BIN)/lint-imports

.PHONY: types
types: build ## Check types with mypy and basedpyright, and that the stub of the core is fresh
	@mkdir -p build
	@$(STUBGEN) -o build/_native.pyi
	@diff -u mpserve/_native.pyi build/_native.pyi || { echo 'stale stub: run `make docs`'; exit 1; }
	$(BIN)/mypy
	$(BIN)/basedpyright

.PHONY: native-test
native-test: $(BIN)/.tools ## Build and run the C++ tests
	$(CMAKE) -S native -B build/native-test -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DMPSERVE_BINDINGS=OFF -DMPSERVE_NATIVE_TESTS=ON
	$(CMAKE) --build build/native-test
	$(BIN)/ctest --test-dir build/native-test --output-on-failure --no-tests=error

.PHONY: sanitize
sanitize: sanitize-address sanitize-thread ## Run the C++ tests under ASan with UBSan, and under TSan

# TSan sees threads of one process: the tests that have none would show nothing.
THREADED = $(notdir $(basename $(shell grep -l 'std::j*thread' native/tests/*.cpp)))

.PHONY: sanitize-address sanitize-thread
sanitize-address: SANITIZERS := address,undefined
sanitize-address: TESTS := all
sanitize-thread: SANITIZERS := thread
sanitize-thread: TESTS = $(THREADED)
sanitize-thread: ONLY = -R '^($(shell echo $(THREADED) | tr ' ' '|'))$$'
sanitize-address sanitize-thread: $(BIN)/.tools
	$(CMAKE) -S native -B build/$@ -G Ninja -DCMAKE_BUILD_TYPE=Debug -DMPSERVE_BINDINGS=OFF \
		-DMPSERVE_NATIVE_TESTS=ON -DMPSERVE_SANITIZE=$(SANITIZERS)
	$(CMAKE) --build build/$@ --target $(TESTS)
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1 \
		$(BIN)/ctest --test-dir build/$@ $(ONLY) --output-on-failure --no-tests=error

FUZZ_INPUTS ?= 200000
FUZZ_CODECS := json request generate management protobuf paths
# With -S, so that an installation in place brings neither the core that is not instrumented, nor its own
# way of importing, which atheris can not instrument.
PACKAGES = $$($(CURDIR)/$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
CORE = $$($(CURDIR)/$(BIN)/python -c 'import mpserve._native; print(mpserve._native.__file__)')
ASAN = LD_PRELOAD=$$(g++ -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 \
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1

$(BIN)/.fuzz: $(BIN)/.dev
	$(PIP) 'atheris>=3'
	@touch $@

.PHONY: fuzz
fuzz: build $(BIN)/.fuzz ## Fuzz codecs and connections, the core under ASan with UBSan (FUZZ_INPUTS=200000 each)
	$(CMAKE) -S native -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=Debug -DMPSERVE_NATIVE_TESTS=ON \
		-DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -DMPSERVE_SANITIZE=address,undefined
	$(CMAKE) --build build/fuzz --target codec_fuzz _native
	MPSERVE_TEST_ROUNDS=$(FUZZ_INPUTS) $(NICE) build/fuzz/codec_fuzz
	@rm -rf build/fuzz/tree && mkdir build/fuzz/tree && cp -r mpserve tests build/fuzz/tree/
	@rm -f build/fuzz/tree/mpserve/_native*.so && cp build/fuzz/_native*.so build/fuzz/tree/mpserve/
	for target in http grpc; do \
		(cd build/fuzz/tree && $(ASAN) PYTHONPATH=$(CURDIR)/build/fuzz/tree:$(PACKAGES) $(NICE) \
			$(CURDIR)/$(BIN)/python -S -m tests.fuzz $$target --inputs $(FUZZ_INPUTS)) || exit 1; done
	@rm -f build/fuzz/tree/mpserve/_native*.so && cp $(CORE) build/fuzz/tree/mpserve/
	for target in $(FUZZ_CODECS); do \
		(cd build/fuzz/tree && PYTHONPATH=$(CURDIR)/build/fuzz/tree:$(PACKAGES) $(NICE) \
			$(CURDIR)/$(BIN)/python -S -m tests.fuzz $$target --inputs $(FUZZ_INPUTS)) || exit 1; done

.PHONY: bench
bench: build ## Measure beside Triton and MLServer, write docs/performance/comparison.md (BENCH_ARGS="--help")
	$(BIN)/python -m bench report $(BENCH_ARGS)

# --- writing ------------------------------------------------------------------------------------

.PHONY: format
format: $(BIN)/.dev ## Rewrite all sources in the house's format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

.PHONY: docs
docs: build ## Make what is made from the code: pages of the docs, stub of the core
	$(STUBGEN) -o mpserve/_native.pyi
	$(BIN)/python -c 'from mpserve.settings.usage import flags_page; print(flags_page(), end="")' > docs/flags.md
	$(BIN)/python -c 'from mpserve.telemetry.events import events_page; print(events_page(), end="")' > docs/log-events.md
	$(BIN)/python -m tests.fixtures.compatibility

.PHONY: clean
clean: ## Remove everything that was made
	rm -rf build dist .demo $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
