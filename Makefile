# Thin door to bin/millrace and the test suites; `make` alone prints what there is.
SHELL := /bin/bash
ENV := $(or $(MILLRACE_TOOLCHAIN),.millrace)/env
SPARK_PYTHON := $(ENV)/spark/bin/python
AIRFLOW_PYTHON := $(ENV)/airflow/bin/python
SERVING_PYTHON := $(ENV)/serving/bin/python
TOOLS_PYTHON := $(ENV)/tools/bin/python
export PYTHONPATH := $(CURDIR)

.DEFAULT_GOAL := help
.PHONY: help setup demo up down status lint test-fast test test-unit test-spark test-lake test-ml test-dags test-serving test-services test-hpc test-browser test-long test-faults bench-stream bench-training bench-drift bench-loop workloads golden docs

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing, locked; quick when nothing is
	@bin/millrace setup

demo: setup ## the main job on the shipped sample: set-up, stack, replay, drain, both DAGs, summary
	@bin/millrace demo

up: setup ## start the stack and wait until it is healthy
	@bin/millrace up

down: ## stop every process of the stack
	@bin/millrace down

status: ## every service with state, health, port, memory and restarts
	@bin/millrace status

lint: lint-images ## ruff, mypy strict, import contracts, images and compose files
	$(ENV)/tools/bin/ruff check .
	$(SPARK_PYTHON) -m mypy contracts spark_apps streaming expectations
	$(ENV)/tools/bin/lint-imports

.PHONY: lint-images
lint-images:
	$(ENV)/tools/bin/hadolint --config infra/images/hadolint.yaml infra/images/Dockerfile
	@# --builtin-schema: nothing is asked of the network
	$(ENV)/tools/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	@if docker compose version >/dev/null 2>&1; then \
		docker compose --profile '*' config --quiet && \
		docker compose --profile '*' --file docker-compose.yml --file docker-compose.official.yml config --quiet; \
	else echo "docker compose config skipped: Compose is not installed (its schema was checked all the same)"; fi

test-fast: lint ## lint, and the tests that start no JVM
	$(SPARK_PYTHON) -m pytest tests/unit -m "not spark and not kafka and not stack and not setup and not long" --numprocesses 2 --dist loadfile
	$(SERVING_PYTHON) -m pytest tests/serving

test: setup-for-tests lint test-unit test-spark test-serving test-dags test-services test-hpc-kills test-images test-browser ## set-up, lint and every suite but the long ones

.PHONY: setup-for-tests
setup-for-tests:
	@bin/millrace setup --browser --notebook --hpc

test-unit:
	$(SPARK_PYTHON) -m pytest tests/unit -m "not spark and not long"

# Two sessions beside each other, each in a process of its own: planning a query keeps one core busy. What hangs is ended
# with the stacks of all threads: after a time limit inside a test, Python and the JVM no longer speak of the same call.
test-spark:
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-lake test-ml

SPARK_TESTS := -m "spark and not long" --timeout 600 --timeout-method thread --durations 15

test-lake:
	timeout 2400 $(SPARK_PYTHON) -m pytest tests/unit/lake $(SPARK_TESTS)

test-ml:
	timeout 2400 $(SPARK_PYTHON) -m pytest tests/unit/ml $(SPARK_TESTS)

test-serving:
	$(SERVING_PYTHON) -m pytest tests/serving

test-dags:
	$(AIRFLOW_PYTHON) -m pytest tests/dags

test-services:
	$(SPARK_PYTHON) -m pytest tests/integration tests/faults -m "not many" --durations 25

test-hpc: ## the operator on a live Slurm lab; skipped where its Debian packages are missing
	@bin/millrace setup --hpc
	$(AIRFLOW_PYTHON) -m pytest tests/hpc -m "not many" --durations 10
	@bin/millrace setup --browser --notebook
	$(TOOLS_PYTHON) -m pytest tests/browser -k "form or landed_in_slurm"

.PHONY: test-hpc-kills
test-hpc-kills: ## two kills of each kind beside the lab, counted by Slurm; all of them: make test-faults
	$(AIRFLOW_PYTHON) -m pytest tests/hpc/test_kills.py -m "not many" --durations 5

test-browser:
	@if command -v chromium >/dev/null; then $(TOOLS_PYTHON) -m pytest tests/browser -m "not many and not hpc"; \
	else echo "browser tests skipped: no chromium (Debian package chromium)"; fi

.PHONY: test-loop
test-loop: setup-for-tests ## two champions drifted on purpose in the whole stack, and what follows by itself
	$(TOOLS_PYTHON) -m pytest tests/browser -m many -s

test-long: setup ## whole datasets, models against the reference figures, rarer ways through the same code
	$(SPARK_PYTHON) -m pytest tests/unit/lake -m "spark and long"
	$(SPARK_PYTHON) -m pytest tests/unit/ml -m "spark and long"

test-faults: setup ## the long kill suites: at least ten kills of each kind
	$(SPARK_PYTHON) -m pytest tests/faults -m many
	@bin/millrace setup --hpc
	$(AIRFLOW_PYTHON) -m pytest tests/hpc -m many -s

.PHONY: images bench-images compose-up compose-down compose-test sbom test-images
images: ## build the container images; ONLY="page kafka" for some of them
	@$(TOOLS_PYTHON) -m infra.images.build $(ONLY)

bench-images: ## build every image without any cache, and note seconds and megabytes
	@$(TOOLS_PYTHON) -m infra.images.build --figures benchmarks/results/images.json

compose-up: ## the whole platform in containers; waits until every service is healthy
	@$(TOOLS_PYTHON) -m infra.images.secret_files
	docker compose up --detach --wait

compose-down: ## stop the containers; what they stored stays in its volumes
	docker compose --profile '*' down --timeout 90

compose-test: ## build, start, use and hurt the platform in containers; starts an engine where none is and one can run
	$(TOOLS_PYTHON) -m pytest tests/compose

sbom: ## lists of what is in each image (CycloneDX), into docs/sbom/
	@$(TOOLS_PYTHON) -m infra.images.sbom

test-images:
	$(TOOLS_PYTHON) -m pytest tests/compose -m "not docker"

bench-stream: setup ## measure the streaming path; PARTS="parse catch_up freshness --minutes 9" for some of it
	$(SPARK_PYTHON) benchmarks/stream.py $(PARTS)

workloads: setup ## train and evaluate the pipelines on the shipped samples; ONLY="higgs" for some of them
	$(SPARK_PYTHON) benchmarks/workloads.py $(ONLY)

bench-training: setup ## parallel search, a million rows, ten thousand columns, unequal classes; PARTS="search rows"
	$(SPARK_PYTHON) benchmarks/training.py $(PARTS)

bench-drift: ## false alarms and power of drift checks, beside a peer; PARTS="alarms curves series rounding speed"
	@bin/millrace setup --peers
	$(SPARK_PYTHON) benchmarks/drift.py $(PARTS)

bench-loop: setup ## a year in fast-forward: drift checks against retraining always and never; YEARS="higgs uk_traffic"
	$(SPARK_PYTHON) benchmarks/closed_loop.py $(YEARS)

.PHONY: notebook
notebook: ## JupyterLab on this machine's loopback interface, with the notebooks of this repository
	@bin/millrace setup --notebook
	$(ENV)/notebook/bin/jupyter lab --ip 127.0.0.1 notebooks

.PHONY: notebooks
notebooks: ## execute the notebooks in place, after make demo
	@bin/millrace setup --notebook
	$(ENV)/notebook/bin/python -m infra.docs.notebooks

.PHONY: occupation-study
occupation-study: setup ## one model of everybody's rows against one for each owner; JOBS=FILE for the published rows
	$(SPARK_PYTHON) benchmarks/occupation.py $(JOBS)

.PHONY: bench-hpc
bench-hpc: ## a thousand waiting jobs on one triggerer; from sbatch to Spark; PARTS="waiting starting"
	@bin/millrace setup --hpc
	$(AIRFLOW_PYTHON) benchmarks/hpc.py $(PARTS)

.PHONY: bench-scaling
bench-scaling: setup ## more cores, workers and data; little memory, skew, broadcasts; PARTS="shapes spill"
	$(SPARK_PYTHON) benchmarks/scaling.py $(PARTS)

golden: ## rebuild the golden spark-submit command lines; read the diff before committing
	REBUILD_GOLDEN=1 $(AIRFLOW_PYTHON) -m pytest -q tests/dags/test_golden.py

docs: ## rebuild the generated pages of docs/
	$(AIRFLOW_PYTHON) -m infra.docs.dag_pages
	$(SPARK_PYTHON) -m infra.docs.figures_page
	$(SPARK_PYTHON) -m infra.docs.drift_curves
	$(SPARK_PYTHON) -m infra.docs.pipelines_page
	$(SPARK_PYTHON) -m infra.docs.loop_story
	$(SPARK_PYTHON) -m infra.docs.occupation_page
