# eastwest: everything a contributor runs. `make` alone lists the targets.
# The virtual environment is made once and again only when a lock or pyproject.toml changes.

PYTHON      ?= python3
VENV        ?= .venv
UV          ?= $(VENV)/bin/uv
PYTEST_ARGS ?=
FUZZ_ARGS   ?=
LOCK_ARGS   ?=

BIN     := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV     := $(VENV)/.dev-installed
LOCK    := $(UV) pip compile pyproject.toml --universal --python-version 3.11 --fork-strategy fewest \
           --generate-hashes --no-strip-extras --no-emit-index-url --no-annotate --custom-compile-command "make lock" \
           --quiet $(LOCK_ARGS)

.DEFAULT_GOAL := help
.PHONY: help demo test check kernels check-bounds check-cluster test-faults fuzz fuzz-guided lint notebooks bench bench-detection bench-speed bench-stream sbom lock clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## Install eastwest into .venv and show it finding an intruder in a simulated plant.
	$(BIN)/eastwest demo --out demo-out

test: $(DEV) ## Run the tests on all cores; PYTEST_ARGS="-k name" picks some.
	$(BIN)/pytest -n auto --dist worksteal $(PYTEST_ARGS)

check: lint test ## Run what CI runs: format, lint, types, layers, tests.

lint: $(DEV) ## Run the checks that need no test run: format, lint, types, layers.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

kernels: $(DEV) ## Compile what Numba compiles, where a run would do it at its start.
	$(BIN)/python -P -c "from detector.config import Settings; from detector.service.warm import warm; warm(Settings())"

check-bounds: $(DEV) ## Run the tests of compiled kernels with bounds checks on; slow.
	NUMBA_BOUNDSCHECK=1 $(BIN)/pytest -n auto --timeout=1200 tests/features tests/score tests/normalize tests/state \
	  tests/formats/test_conn_lines.py tests/formats/test_conn_rows.py tests/formats/test_goflow2_lines.py \
	  tests/sources/test_record_batches.py

check-cluster: $(DEV) ## Try the chart on a real API server, which is built once (Go, kubectl, 15 minutes).
	tests/cluster/build.sh $${EASTWEST_CLUSTER:-$$HOME/.cache/eastwest-tests/cluster}
	$(BIN)/pytest -m cluster tests/cluster

test-faults: $(DEV) ## Run all fault tests and other long ones (an hour); EASTWEST_FAULT_KILLS=200 is the default here.
	EASTWEST_FAULT_KILLS=$${EASTWEST_FAULT_KILLS:-200} $(BIN)/pytest --timeout=7200 -m "faults or long"

fuzz: $(DEV) ## Fuzz every reader of bytes, some minutes; FUZZ_ARGS="--seconds 60 zeek.conn" picks.
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

fuzz-guided: $(DEV) ## The same led by coverage, with atheris (Linux on x86-64), which is installed for it.
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/fuzz.txt
	$(BIN)/python -m tests.fuzz --guided $(FUZZ_ARGS)

notebooks: $(DEV) ## Run the notebooks, and write them with their output.
	$(BIN)/python -m tests.notebooks

bench: $(DEV) ## Run every benchmark; each prints a table.
	@for file in benchmarks/*.py; do \
	  [ -e "$$file" ] || { echo "there are no benchmarks yet"; break; }; \
	  echo "== $$file"; $(BIN)/python "$$file" || exit 1; \
	done

bench-detection: $(DEV) ## Measure detection on plants, DARPA and captures; numbers go to out/detection.json too.
	$(BIN)/python benchmarks/detection.py --out out/detection.json

bench-speed: $(DEV) ## Measure speed beside parsers, group-bys, MIDAS-R and River; numbers go to out/speed.json too.
	$(BIN)/python benchmarks/speed.py --out out/speed.json

bench-stream: $(DEV) ## Measure the service through a real Kafka, beside a bare consumer; numbers go to out/stream.json too.
	$(BIN)/python benchmarks/stream.py --out out/stream.json

sbom: $(DEV) ## Write the bill of materials of the locked packages (CycloneDX) to out/eastwest.cdx.json.
	@mkdir -p out
	$(BIN)/cyclonedx-py requirements requirements/runtime.lock --pyproject pyproject.toml --output-reproducible \
	  --spec-version 1.6 --output-format JSON --output-file out/eastwest.cdx.json

lock: ## Work out the hashed locks anew from pyproject.toml; LOCK_ARGS=--upgrade takes newer versions.
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: make lint installs it, or set UV=/path/to/uv"; exit 1; }
	$(LOCK) --group build --extra secops --extra signing --output-file requirements/runtime.lock >/dev/null
	$(LOCK) --group build --group dev --extra notebooks --extra ray --extra secops --extra signing --constraint requirements/runtime.lock \
	  --output-file requirements/dev.lock >/dev/null

clean: ## Remove the environment, the demo's output and all caches.
	rm -rf $(VENV) demo-out out build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache \
	  .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "eastwest needs Python 3.11 or newer; give one with: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements/runtime.lock pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/runtime.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# The development lock holds the runtime lock, so one installation serves both. pip takes two minutes for it, and uv,
# which the lock holds too, a quarter of that. Where uv cannot get at an index that only pip is told of, pip does it.
$(DEV): requirements/dev.lock pyproject.toml | $(BIN)/python
	sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.lock >$(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r $(VENV)/uv.txt
	UV_SYSTEM_CERTS=1 $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.lock || \
	  $(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(RUNTIME) $@
