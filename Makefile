# make demo: search an architecture for handwritten digits.  make test: the whole check.
PYTHON ?= python3
BIN := .venv/bin
# More threads only wait for each other on networks this small.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test setup format lint types imports docs notebooks tests clean

demo: .venv/demo
	@mkdir -p runs/demo
	$(BIN)/surrogate-nas search --data digits --space cell --surrogate pretrained \
	    --trials 20 --epochs 6 --limit parameters=2e5 --storage sqlite:///runs/demo/nas.db \
	    --folder runs/demo/final-$$(date +%Y%m%d-%H%M%S) --report runs/demo/report.html
	@$(BIN)/python -m studies.demo.compare --storage sqlite:///runs/demo/nas.db

test: .venv/dev lint types imports docs tests

.venv/torch:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; run make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	@touch $@

.venv/demo: .venv/torch pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dashboard,report]'
	@touch $@

.venv/dev: .venv/torch pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
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
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --cov --cov-report term:skip-covered --cov-fail-under 90

clean:
	rm -rf .venv runs build
