# make demo: set up and run the whole pipeline. make unit: set up and run the fast tests. make test: the suite.
# make sbom: a bill of materials (CycloneDX) of each image. make audit: known vulnerabilities of what the images install.
# make test-ci: the tests that the suite has no room for; `.ci/run` runs both.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST = $(BIN)/python -m pytest --dist loadgroup --no-loadscope-reorder
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

# Some environments forbid Python to keep compiled code; every process would compile all it imports, at twice the cost.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo unit test test-ci lint bench sbom audit clean

demo: $(VENV)/.demo
	$(BIN)/karma demo

unit: $(VENV)/.dev
	$(PYTEST) -n 2 -m 'not long and not ci and not server' --hypothesis-profile=quick \
	  tests/properties tests/unit tests/contracts $(PYTEST_ARGS)

test: $(VENV)/.dev
	$(PYTEST) -n 4 $(PYTEST_ARGS)

test-ci: $(VENV)/.dev
	$(PYTEST) -n 4 -m ci $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint deploy/Dockerfile

# Benchmarks of speed, one JSON file each; BENCH_ARGS goes to all of them, AGAINST names a commit that is measured beside.
BENCH ?= bench
AGAINST ?=
bench: $(VENV)/.dev
	@mkdir -p $(BENCH)
	$(BIN)/python -m tests.benchmarks.endpoint --json $(BENCH)/endpoint.json $(AGAINST:%=--against %) $(BENCH_ARGS)
	$(BIN)/python -m tests.benchmarks.overhead --json $(BENCH)/overhead.json $(AGAINST:%=--against %) $(BENCH_ARGS)
	$(BIN)/python -m tests.benchmarks.scale --json $(BENCH)/scale.json --most 100000 $(BENCH_ARGS)
	$(BIN)/python -m tests.benchmarks.workers --json $(BENCH)/workers.json $(BENCH_ARGS)
	$(BIN)/python -m tests.benchmarks.local --json $(BENCH)/local.json $(BENCH_ARGS)

sbom: $(VENV)/.python
	@mkdir -p sbom
	@for file in deploy/requirements/*.txt; do \
	  $(BIN)/uv tool run --quiet --constraints constraints.txt --from cyclonedx-bom cyclonedx-py requirements $$file \
	    --output-reproducible --output-file sbom/$$(basename $$file .txt).cdx.json && echo sbom/$$(basename $$file .txt).cdx.json; \
	done

audit: $(VENV)/.python
	@for file in deploy/requirements/*.txt; do \
	  echo $$file; \
	  $(BIN)/uv tool run --quiet --constraints constraints.txt pip-audit --strict --requirement $$file --require-hashes --disable-pip || exit 1; \
	done

clean:
	rm -rf $(VENV) sbom bench .karma .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "KARMA needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@touch $@

# The CPU build of torch is taken where a local one is offered; a virtual environment is made once and kept.
$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo
