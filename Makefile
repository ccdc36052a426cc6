# `make demo` and `make test` do all the set-up they need, from a bare clone with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test check wheel-test bundle clean
help:                ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/ --/'

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) deploy/setup/ensure_venv.py $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.ready ## a simulated store camera, a real broker, the daemon and a live table, for a minute
	@$(BIN)/edge-runtime demo

test: $(VENV)/.ready ## all tests; those that need a Debian program say so when they skip
	@$(BIN)/python -m pytest --cov --cov-report=term

check: $(VENV)/.ready ## format, lint, types, rings
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

wheel-test: $(VENV)/.ready ## build the wheel, install it alone outside the checkout, run the demo from it
	@$(BIN)/python tests/wheel_outside_checkout.py

bundle: $(VENV)/.ready ## render the training set, train, quantize and pack the shipped bundles (hours; resumable)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train]'
	@$(BIN)/python models/shelf-occupancy/make.py

clean:               ## forget the virtual environment and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
