# make demo: search an architecture for handwritten digits.  make test: the whole check.
# make quick: format, lint, import contracts and the tests that take no long time.
PYTHON ?= python3
BIN := .venv/bin
# More threads only wait for each other on networks this small.
export OMP_NUM_THREADS ?= 1
# Hundreds of processes import the same modules, so what the first has compiled is kept.
export PYTHONDONTWRITEBYTECODE :=
# Three, because tests wait for processes and servers now and then. The tests of a module stay together
# on one worker, with what the module has made.
PARALLEL := --numprocesses 3 --dist loadscope
# Without bytecode of what nobody imports an environment is made in half the time.
PIP := $(BIN)/pip install --quiet --no-compile --constraint constraints.txt

.PHONY: demo test quick format lint types imports docs notebooks tests beside clean

demo: .venv/demo
	@mkdir -p runs/demo
	$(BIN)/surrogate-nas search --data digits --space cell --surrogate pretrained \
	    --trials 20 --epochs 6 --limit parameters=2e5 --storage sqlite:///runs/demo/nas.db \
	    --folder runs/demo/final-$$(date +%Y%m%d-%H%M%S) --report runs/demo/report.html
	@$(BIN)/python -m studies.demo.compare --storage sqlite:///runs/demo/nas.db

# What needs one core runs beside the tests, which wait for processes and servers now and then. Its
# output comes after theirs; the failure of any part fails the whole.
test: .venv/dev
	@mkdir -p build
	@$(MAKE) --no-print-directory --keep-going beside >build/beside.log 2>&1 & beside=$$!; \
	failed=0; $(MAKE) --no-print-directory tests || failed=1; \
	wait $$beside || failed=1; cat build/beside.log; exit $$failed

beside: lint imports types docs

quick: .venv/dev lint imports
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PARALLEL) --quiet -m 'not slow'

.venv/torch:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; run make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(PIP) torch
	@touch $@

.venv/demo: .venv/torch pyproject.toml constraints.txt
	$(PIP) --editable '.[dashboard,report]'
	@touch $@

.venv/dev: .venv/torch pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	@touch $@ .venv/demo

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/dev
	$(BIN)/mypy

imports: .venv/dev
	$(BIN)/lint-imports

# Bring notebooks and the scripts that they are paired with in line, the newer of each two winning.
notebooks: .venv/dev
	$(BIN)/jupytext --sync notebooks/*.py

# The pages of docs/ and the reference from the docstrings, in build/docs; every warning is an error.
docs: .venv/dev
	$(BIN)/sphinx-build -E -W --keep-going -n -q -b html docs build/docs

tests: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PARALLEL) --cov --cov-report term:skip-covered --cov-fail-under 95

clean:
	rm -rf .venv runs build
