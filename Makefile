# Everything sets itself up: a fresh machine needs python3 >= 3.11 and make.
#
#   make demo    install, then run the embedded marketplace end to end into runs/demo
#   make serve   put the demo's bundle online at http://127.0.0.1:8000, with a key for it
#   make test    install with developer tools, lint, type-check, check layers, run all tests
#   make check   the same without the tests
#   make advisories   look the installed packages up in the public list of known holes
#
# Variables (make test NAME=value):
#   PYTHON       interpreter to build the environment with          (python3)
#   VENV         where the environment lives                        (.venv)
#   TORCH_INDEX  package index for torch alone, e.g. for the small CPU build
#                https://download.pytorch.org/whl/cpu               (pip's own)
#   CONSTRAINTS  file of tested versions; empty for the newest      (constraints.txt)
#   WORKERS      test processes                                     (2)
#   TESTS        what to test                                       (tests)
# pip reads its usual settings (PIP_INDEX_URL, PIP_FIND_LINKS, ...) from the environment.

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
CONSTRAINTS ?= constraints.txt
WORKERS ?= 2
TESTS ?= tests

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check $(if $(CONSTRAINTS),-c $(CONSTRAINTS))

.PHONY: demo serve test check advisories format clean help
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//p' Makefile

demo: $(VENV)/.installed
	$(BIN)/hardrank run examples/demo.toml --out runs/demo

# The key is printed once; every start makes another one.
serve: $(VENV)/.installed-serve
	@test -d runs/demo/control || $(MAKE) demo
	@test -d runs/demo/guarded || { \
	    $(BIN)/hardrank guard fit examples/guards/demo.toml --out runs/demo/guards && \
	    $(BIN)/hardrank guard attach runs/demo/guards runs/demo/bundle -o runs/demo/guarded --gate; }
	@echo "a key that opens everything, shown once:"
	@$(BIN)/hardrank keys add make-serve --role admin --store sqlite:///runs/demo/shop.db
	HARDRANK_SERVE_CONTROL=runs/demo/control \
	    $(BIN)/hardrank serve runs/demo/guarded --store sqlite:///runs/demo/shop.db

# One thread a worker: more only fight for the same cores.
test: check
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false \
	    $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(TESTS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

advisories: $(VENV)/.installed-dev
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --disable-pip-version-check -q pip-audit
	$(BIN)/python -m pip list --format=freeze --exclude hardrank > $(VENV)-audit/packages.txt
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip -r $(VENV)-audit/packages.txt

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-audit .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "hardrank: no '$(PYTHON)' found; install Python 3.11 or newer," \
	         "or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "hardrank: needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) -V 2>&1);" \
	         "name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	    echo "hardrank: '$(PYTHON) -m venv' failed; on Debian and Ubuntu run:" \
	         "apt install python3-venv" >&2; exit 1; }
	@touch $@

# torch goes first and alone: later steps find it there and leave it as it is.
$(VENV)/.torch: $(VENV)/.created $(CONSTRAINTS)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) 'torch>=2.6,<3'
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-serve: $(VENV)/.installed
	$(PIP) -e '.[serve]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	@touch $@
