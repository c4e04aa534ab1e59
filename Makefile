# Every target sets up what it needs: .venv/, with exactly the versions in requirements.txt.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help book test check matrix browser lighthouse peers bench trainers newest mutants \
	notebooks claims lab serve clean

PYTHON ?= $(shell for p in python3.11 python3; do $$p -c 'import sys, ensurepip; \
	sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done)
NO_PYTHON := Python 3.11 with its venv module is needed: put python3.11 on PATH, or say make \
	PYTHON=/path/to/python3.11.
BIN := .venv/bin
READY := .venv/ready
NOTEBOOKS = $(wildcard book/*.ipynb)

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## */\1	/p' Makefile | expand -t 12

book: build  ## build the website
	@echo 'Open _build/html/index.html'

test: browser check  ## all tests, the last of them on the website in a browser
	$(BIN)/pytest --quiet --numprocesses auto --dist loadfile \
		--ignore tests/site/test_lighthouse.py tests/site
	$(BIN)/pytest tests/site/test_lighthouse.py  # by itself: it measures time

check: $(READY)  ## all tests that need no browser
	$(BIN)/pre-commit run --all-files  # style and types
	$(BIN)/pytest --quiet --numprocesses auto --dist worksteal --doctest-modules --cov \
		--ignore tests/site --ignore tests/peers kltutorial tests
	$(BIN)/pytest --quiet --nbval --numprocesses auto --dist loadscope $(NOTEBOOKS)
	@$(MAKE) --no-print-directory build

matrix: $(READY)  ## install and test the package on Python 3.11 to 3.13, oldest and newest NumPy
	$(BIN)/nox

# From nothing each time: Sphinx keeps pages whose source is gone, and does not repeat the
# warnings of pages that have not changed.
.PHONY: build
build: $(READY)
	rm -rf _build
	$(BIN)/jupyter-book build . -W -n --keep-going

lighthouse: browser build  ## measure all pages as on a phone, into _build/lighthouse.md
	$(BIN)/python -m tests.site.lighthouse

browser: $(READY)
	@$(BIN)/python tests/site/chromium.py

# PyTorch is heavy, and the book does without: it goes into an environment of its own.
PEERS := .venv-peers/bin
# Of the trainers only the source is read, so that these wheels do on any machine.
WHEELS := $(PEERS)/pip download --quiet --disable-pip-version-check --no-deps \
	--only-binary :all: --platform manylinux1_x86_64 --implementation cp --python-version 3.11

peers: .venv-peers/ready  ## compare with other implementations, in PyTorch (.venv-peers/)
	$(PEERS)/pytest --capture=no --confcutdir tests/peers tests/peers

bench: .venv-peers/ready  ## time the package beside NumPy's and PyTorch's formulas
	$(PEERS)/python -m benchmarks

trainers: .venv-peers/ready  ## rewrite book/trainers.md from what the trainers do
	$(PEERS)/python -m tests.peers

# Every tenth mutant of a function, the same ones each time; all are '*'.
SAMPLE := *__mutmut_*7

mutants: $(READY)  ## count the wrong formulas that tests and notebooks notice (an hour)
	rm -rf mutants
	-$(BIN)/mutmut run --max-children 2 '$(SAMPLE)'
	-$(BIN)/mutmut results
	$(BIN)/python -m tests.book.mutants

newest: .venv-peers/ready  ## ask the newest trainers whether they do what the pinned ones do
	@rm -rf .venv-peers/newest
	@sed -n 's/==.*//p' tests/peers/trainers.txt | xargs $(WHEELS) --dest .venv-peers/newest
	@ls .venv-peers/newest
	TRAINER_WHEELS=.venv-peers/newest $(PEERS)/pytest --capture=no --confcutdir tests/peers \
		tests/peers/test_trainers.py

.venv-peers/ready: tests/peers/requirements.txt tests/peers/trainers.txt
	@test -n '$(PYTHON)' || { echo '$(NO_PYTHON)'; exit 1; }
	@test -x $(PEERS)/python || '$(PYTHON)' -m venv .venv-peers
	@echo 'Installing PyTorch into .venv-peers/ (a few minutes, only once) ...'
	@$(PEERS)/pip install --quiet --disable-pip-version-check --requirement $<
	@rm -rf .venv-peers/wheels
	@$(WHEELS) --dest .venv-peers/wheels --requirement tests/peers/trainers.txt
	@$(PEERS)/pip install --quiet --disable-pip-version-check --no-deps \
		.venv-peers/wheels/liger_kernel-*.whl  # it asks for triton: what is used does without
	@touch $@

# Without times, without the kernel's version, and with what a cell prints in one piece however
# it arrived: running twice changes nothing.
notebooks: $(READY)  ## execute the notebooks in place
	@$(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level WARN \
		--KernelManager.transport=ipc --KernelManager.ip="$$(mktemp -d)/kernel" \
		--ExecutePreprocessor.record_timing=False \
		--NotebookExporter.preprocessors=nbconvert.preprocessors.CoalesceStreamsPreprocessor \
		--ClearMetadataPreprocessor.enabled=True \
		--ClearMetadataPreprocessor.clear_cell_metadata=False \
		--ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec $(NOTEBOOKS)

claims: $(READY)  ## rewrite book/claims.md from the tests
	$(BIN)/python -m tests.claims

lab: $(READY)  ## open a copy of the notebooks in JupyterLab; what you change there stays
	@mkdir -p _lab
	@for f in book/*.md $(NOTEBOOKS); do test -e _lab/$${f##*/} || cp $$f _lab/; done
	$(BIN)/jupyter lab _lab

serve: $(if $(wildcard _build/html/index.html),$(READY),book)  ## show the website at localhost:8000
	$(BIN)/python -m http.server --bind localhost --directory _build/html

clean:  ## remove what was built; .venv/, .venv-peers/ and _lab/ stay
	rm -rf _build dist mutants .coverage .nox .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(READY): requirements.txt pyproject.toml
	@test -n '$(PYTHON)' || { echo '$(NO_PYTHON)'; exit 1; }
	@test -x $(BIN)/python || '$(PYTHON)' -m venv .venv
	@echo 'Installing the pinned packages into .venv/ (a few minutes, only once) ...'
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
