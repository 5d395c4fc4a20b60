# Everything here works on a fresh machine with Python 3.11 or newer and nothing else but a package index.

VENV    := .venv
BIN     := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEV     := $(VENV)/.installed-dev
PROTOS  := $(wildcard protos/wavelet/v1/*.proto)

# Where it is set, each of the hundreds of processes that tests start compiles all of wavelet, for half a second.
unexport PYTHONDONTWRITEBYTECODE

# Rounds of the fault tests, each with other moments to die at; a round takes a minute or two.
SOAK_ROUNDS ?= 30

# Settings of the wavelet that makes wavelet's image, e.g. a site's mirrors: a file as for `wavelet serve`.
CONFIG ?=

.PHONY: run test check bench soak docs wheel tarball image clean

run: $(RUNTIME)
	$(BIN)/wavelet demo

test: $(DEV)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: $(DEV)
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py

bench: $(DEV)
	$(BIN)/python benchmarks/bench.py

soak: $(DEV)
	for seed in $$(seq $(SOAK_ROUNDS)); do \
	  WAVELET_SEED=$$seed $(BIN)/python -m pytest -q tests/faults || exit 1; \
	done

docs: $(DEV)
	$(BIN)/mkdocs build --strict

wheel: $(DEV)
	rm -f dist/wavelet-*.whl dist/wavelet-*.tar.gz
	$(BIN)/python -m build --outdir dist .

tarball: wheel
	rm -rf build/bundle
	$(BIN)/python -m venv --without-pip build/bundle
	$(BIN)/python -m pip --python build/bundle/bin/python install --quiet dist/wavelet-*.whl
	build/bundle/bin/python packaging/tarball.py

image: wheel
	$(BIN)/python packaging/image.py $(if $(CONFIG),--config '$(CONFIG)') dist/wavelet-*.whl

clean:
	rm -rf $(VENV) daemon/wavelet/v1 build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): $(BIN)/python pyproject.toml hatch_build.py $(PROTOS)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(DEV): $(BIN)/python pyproject.toml hatch_build.py $(PROTOS)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(RUNTIME) $@

# The newest Python that is new enough; a python3 that is older is not a reason to stop before the others were tried.
$(BIN)/python:
	@for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "making $(VENV) with $$python"; \
	    exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "wavelet needs Python 3.11 or newer with its venv module (on Debian and Ubuntu: apt-get install python3-venv)" >&2; \
	exit 1
