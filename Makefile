# Two commands set everything up on a machine with Python >= 3.10 and make:
#   make demo   trains on real MRI and ends with the path of a report
#   make test   runs every test
# And for maintainers:
#   make test-lowest   runs the quick tests with the oldest versions that pyproject.toml allows
#   make constraints   pins the newest versions in constraints.txt, and the oldest in constraints-lowest.txt
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint test-lowest constraints clean

demo: $(VENV)/installed
	rm -rf runs/demo
	$(BIN)/s2mnet demo -o runs/demo

# One process per core, at most four, each with one thread and whole test files.
test: $(VENV)/installed lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Tests that reach every dependency, in minutes. This old torch is to be had with CUDA only: a download of 3 GB.
QUICK := tests/test_cli.py tests/test_modelfolder.py tests/test_engines.py tests/test_predict.py tests/test_demo.py \
  tests/data tests/datasets tests/evaluation tests/inspection tests/network/test_export.py tests/volumes
test-lowest:
	$(MAKE) $(VENV)-lowest/installed VENV=$(VENV)-lowest CONSTRAINTS=constraints-lowest.txt
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(QUICK)

# Pins for every supported Python. TORCH is the version whose CPU build pip finds; see below.
TORCH := 2.13.0
COMPILE = $(VENV)-uv/bin/uv pip compile pyproject.toml --extra dev --no-annotate --no-header --quiet
constraints:
	$(PYTHON) -m venv $(VENV)-uv
	$(VENV)-uv/bin/python -m pip install --quiet uv
	echo "torch==$(TORCH)" > $(VENV)-uv/torch.txt
	$(COMPILE) --upgrade --universal --python-version 3.10 -c $(VENV)-uv/torch.txt -o constraints.txt
	$(COMPILE) --upgrade --universal --python-version 3.10 --resolution lowest-direct -o constraints-lowest.txt

# constraints.txt pins what the tests have passed with. Its torch makes pip install the CPU build where one is at hand;
# without it pip downloads gigabytes of CUDA.
CONSTRAINTS ?= constraints.txt
$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-uv build dist src/*.egg-info
