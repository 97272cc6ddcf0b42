# Two commands set everything up on a machine with Python >= 3.10 and make:
#   make demo   trains on real MRI and ends with the path of a report
#   make test   runs every test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint clean

demo: $(VENV)/installed
	rm -rf runs/demo
	$(BIN)/s2mnet demo -o runs/demo

# Two processes: with OpenVINO and the benchmark's bf16 in it, one process crashed in a later test, cause not known yet.
test: $(VENV)/installed lint
	$(BIN)/python -m pytest --ignore=tests/bench
	$(BIN)/python -m pytest tests/bench

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# constraints.txt is what makes pip take the CPU build of torch; without it gigabytes of CUDA come along.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist src/*.egg-info
