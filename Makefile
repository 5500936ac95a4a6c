# make serve: the gateway on 127.0.0.1:8080. make test: everything. No other tool than Python 3.11 and pip is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
RUNTIME := $(VENV)/.runtime
DEV     := $(VENV)/.dev
TRAIN   := $(VENV)/.train
DATA   ?=
# One more than there are cores: some tests are always waiting.
JOBS   ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.PHONY: serve train test soak check format bench lock clean

serve: $(RUNTIME)
	$(BIN)/gateway serve --quickstart

# What the `local` trainer needs, in the CPU build that the tests use (1.2 GB).
train: $(RUNTIME) $(TRAIN)

test: $(DEV) $(TRAIN)
	$(BIN)/python -m pytest -m "not soak" -n $(JOBS) --dist loadfile --no-loadscope-reorder

soak: $(DEV)
	$(BIN)/python -m pytest -m soak

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_shape.py tests/test_straight_line.py tests/test_docs.py

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)
	$(BIN)/python -m bench $(if $(DATA),--data $(DATA))

# Needs the package index; the locks hold hashes and no addresses.
lock: $(DEV)
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --allow-unsafe -o requirements/build.txt requirements/build.in
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --allow-unsafe -o requirements/runtime.txt pyproject.toml
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --allow-unsafe --extra local-embedder -c requirements/runtime.txt -o requirements/local-embedder.txt pyproject.toml
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --allow-unsafe --extra export -c requirements/runtime.txt -o requirements/export.txt pyproject.toml
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --allow-unsafe --extra dev --extra export --extra local-embedder -o requirements/dev.txt pyproject.toml
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --allow-unsafe -o requirements/train.txt requirements/train.in
	$(BIN)/pip-compile -q --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --allow-unsafe -o requirements/sdk2.txt requirements/sdk2.in

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements/build.txt requirements/runtime.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install -q --require-hashes -r requirements/build.txt -r requirements/runtime.txt
	$(PIP) install -q --no-deps --no-build-isolation --editable .
	touch $@

$(DEV): requirements/build.txt requirements/dev.txt requirements/runtime.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) install -q --require-hashes -r requirements/build.txt -r requirements/dev.txt
	$(PIP) install -q --no-deps --no-build-isolation --editable .
	touch $@ $(RUNTIME)

# Where that build cannot be had, tests of the local trainer say so and are skipped.
$(TRAIN): requirements/train.txt | $(VENV)/bin/python
	$(PIP) install -q --require-hashes -r requirements/build.txt -r requirements/train.txt && touch $@ || \
		echo "no torch here: local training is not tested; pip install 'switchyard[train]' takes another build"

clean:
	rm -rf $(VENV) .gateway .bench .mypy_cache .ruff_cache .pytest_cache build *.egg-info
