# `make demo` and `make test` do all the set-up they need, from a bare clone with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BENCH ?= var/bench
WORKERS ?= 2
FIELD ?= ../shared/data/field-dev

.PHONY: help demo test check wheel-test bundle field-bench faults clean
help:                ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/ --/'

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) deploy/setup/ensure_venv.py $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.ready ## a simulated store camera, a real broker, the daemon and a live table, for a minute
	@$(BIN)/edge-runtime demo

test: $(VENV)/.ready ## all tests; those that need a Debian program say so when they skip
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term

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

field-bench: $(VENV)/.ready ## before and after on held-out shelves, rendered once into var/bench, and on FIELD; long, resumable
	@set -e; set_name=heldout-$$(cat edge_runtime/simulator/*.py | sha256sum | cut -c1-8); \
	$(BIN)/python -m edge_runtime.simulator dataset --out $(BENCH)/$$set_name --plan bench --packs heldout \
		--seed 3312 --shelves 12 --severities 1 3 5 --swaps 0.05; \
	$(BIN)/edge-runtime field-bench $(BENCH)/$$set_name --baselines --report $(BENCH)/heldout.html
	@if [ -d "$(FIELD)" ]; then $(BIN)/edge-runtime field-bench "$(FIELD)" --baselines --report $(BENCH)/field.html; \
		else echo "$(FIELD) is not there: skipped. Name another field dataset with FIELD=..."; fi

faults: $(VENV)/.ready ## every fault campaign and its table in docs/faults.md (an hour); QUICK=1 takes a sample of each
	@$(BIN)/python -m benchmarks.faults $(if $(QUICK),--quick)

clean:               ## forget the virtual environment and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
