# Everything here works on a fresh machine with Python 3.11 or newer and nothing else but a package index.

VENV    := .venv
BIN     := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEV     := $(VENV)/.installed-dev
LATEST  := .venv-latest
PROTOS  := $(wildcard protos/wavelet/v1/*.proto)

# The Python to make the environment with; without it, the newest that is there: make test PYTHON=/usr/bin/python3
PYTHON ?=

# What `make test` runs, and how, where it is not everything: make test TESTS='tests/front -k grpc'
TESTS ?=

# Where it is set, each of the hundreds of processes that tests start compiles all of wavelet, for half a second.
unexport PYTHONDONTWRITEBYTECODE

# Rounds of the fault tests, each with other moments to die at; a round takes a minute or two.
SOAK_ROUNDS ?= 30

# Rounds in which one of two nodes is killed around the binding of names; one takes some five seconds.
SOAK_BINDINGS ?= 200

# Settings of the wavelet that makes wavelet's image, e.g. a site's mirrors: a file as for `wavelet serve`.
CONFIG ?=

.PHONY: run test test-quick test-latest lock check bench soak docs packs wheel tarball image clean

run: $(RUNTIME)
	$(BIN)/wavelet demo

test: $(DEV)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(TESTS)

# Values, policies, and doors against doubles: no engine, no process of the daemon.
test-quick: $(DEV)
	$(BIN)/python -m pytest --quick --numprocesses auto --dist worksteal $(TESTS)

# The same with the newest libraries that pyproject.toml admits; says which of them the lock does not have yet.
test-latest:
	rm -rf $(LATEST)
	$(MAKE) $(LATEST)/bin/python VENV=$(LATEST)
	$(LATEST)/bin/python -m pip install --quiet --editable '.[dev]'
	$(LATEST)/bin/python requirements/drift.py requirements/dev.txt
	$(LATEST)/bin/python -m pytest --quick --numprocesses auto --dist worksteal $(TESTS)

# Renews what `make run` and `make test` install, from what pyproject.toml admits today.
lock: $(DEV)
	$(BIN)/python requirements/lock.py --upgrade

check: $(DEV)
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

bench: $(DEV)
	$(BIN)/python benchmarks/bench.py

soak: $(DEV)
	WAVELET_BINDING_ROUNDS=$(SOAK_BINDINGS) $(BIN)/python -m pytest -q -s tests/faults/test_bindings_crash.py
	WAVELET_CALLS=200 $(BIN)/python -m pytest -q tests/cli/test_ensure.py -k many_calls
	for seed in $$(seq $(SOAK_ROUNDS)); do \
	  WAVELET_SEED=$$seed $(BIN)/python -m pytest -q tests/faults || exit 1; \
	done

docs: $(DEV)
	$(BIN)/mkdocs build --strict

# The pack `trace` has programs of Debian, for all architectures; where it was made, the wheel has it too.
packs: $(DEV)
	$(BIN)/python packaging/trace_pack.py

# Both of what is here: a wheel that is built of the sdist would not have the pack.
wheel: $(DEV)
	rm -f dist/wavelet-*.whl dist/wavelet-*.tar.gz
	$(BIN)/python -m build --sdist --wheel --outdir dist .

tarball: wheel
	rm -rf build/bundle
	$(BIN)/python -m venv --without-pip build/bundle
	$(BIN)/python -m pip --python build/bundle/bin/python install --quiet dist/wavelet-*.whl
	build/bundle/bin/python packaging/tarball.py

image: wheel
	$(BIN)/python packaging/image.py $(if $(CONFIG),--config '$(CONFIG)') dist/wavelet-*.whl

clean:
	rm -rf $(VENV) .venv-* daemon/wavelet/v1 build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Locked, with hashes, by plain pip, so that any mirror of an index will do; then wavelet itself, with nothing else.
$(RUNTIME): $(BIN)/python pyproject.toml requirements/run.txt hatch_build.py $(PROTOS)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/run.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): $(BIN)/python pyproject.toml requirements/dev.txt hatch_build.py $(PROTOS)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(RUNTIME) $@

# The newest Python that is new enough; a python3 that is older is not a reason to stop before the others were tried.
$(BIN)/python:
	@for python in $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3); do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making $(VENV) with $$python"; \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "wavelet needs Python 3.11 or newer with its venv module (on Debian and Ubuntu: apt-get install python3-venv)" >&2; \
	exit 1
