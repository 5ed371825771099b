# The two commands of a fresh machine: `make serve` and `make test`. Every target makes the environment that it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATA ?= ../shared/data
CONFIG ?= training/configs/vgg.toml

SERVE := .venv/bin/python
DEV := .venv-dev/bin/python
# With an NVIDIA GPU at hand the service is installed with CUDA's libraries, else with the small CPU build.
LOCK := $(shell nvidia-smi -L >/dev/null 2>&1 && echo requirements/gpu.lock || echo requirements/cpu.lock)
LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet -c requirements/constraints.txt

.PHONY: serve test test-clients lint format train bench bench-quality docker-test torture soak audit lock compose-test swarm-test kubernetes-test clean

serve: .venv/installed
	$(SERVE) -m app

test: .venv-dev/installed
	$(DEV) -m pytest -n auto

# The compatible endpoints against the clients of the services that they speak for.
test-clients: .venv-dev/installed
	$(DEV) -m pip install --quiet --disable-pip-version-check -r requirements/clients.txt
	$(DEV) -m pytest tests/compat

lint: .venv-dev/installed
	$(DEV) -m ruff check .
	$(DEV) -m ruff format --check .
	$(DEV) -m mypy app fer_client
	.venv-dev/bin/lint-imports

format: .venv-dev/installed
	$(DEV) -m ruff check --fix .
	$(DEV) -m ruff format .

train: .venv-dev/installed
	$(DEV) -m training train --config $(CONFIG) --data $(DATA)/fer2013.zip

# Speed: the service, its stages and a baseline, in runs/bench/. With WRITE=--write-docs also in docs/performance.md.
bench: .venv-dev/installed
	$(DEV) -m benchmarks --data $(DATA) $(WRITE)

# Faces found, accuracy through a photograph, streams.
bench-quality: .venv-dev/installed
	$(DEV) -m benchmarks.detection --data $(DATA)
	$(DEV) -m benchmarks.end_to_end --data $(DATA)
	$(DEV) -m benchmarks.stream

# Everything that tries to break the service, bounded, on a quiet machine; one table at the end (docs/reliability.md).
torture: .venv-dev/installed
	$(DEV) -m stress

# Mixed traffic for a time: make soak MINUTES=60
MINUTES ?= 10
soak: .venv-dev/installed
	$(DEV) -m stress.soak --minutes $(MINUTES)

# Known weaknesses of what is installed for serving, to the last dependency; asks the vulnerability database over the
# network, and fails where that cannot tell (pip-audit alone would say that it found none).
audit: .venv-dev/installed
	$(DEV) -m pip_audit --strict --disable-pip --require-hashes -r requirements/cpu.lock -r requirements/gpu.lock
	$(DEV) -m pip_audit --strict --disable-pip --no-deps -r requirements/otel.txt

# What `make serve` and the images install, with the hashes of every platform's files; after a change of requirements.
lock: .venv-dev/installed
	$(DEV) -m pip install --quiet --disable-pip-version-check uv==0.13.9
	.venv-dev/bin/uv pip compile requirements/cpu.txt $(LOCK_OPTIONS) -o requirements/cpu.lock
	.venv-dev/bin/uv pip compile requirements.txt requirements/cuda.txt $(LOCK_OPTIONS) -o requirements/gpu.lock

docker-test:
	tests/e2e/docker_test.sh

compose-test:
	tests/e2e/compose_test.sh

swarm-test:
	tests/e2e/swarm_test.sh

kubernetes-test: .venv-dev/installed
	$(DEV) -m tests.deploy.kubernetes_objects
	$(DEV) -m pytest tests/deploy/test_kubernetes.py

clean:
	rm -rf .venv .venv-dev .schemathesis .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

.venv/installed: $(LOCK)
	$(PYTHON) -m venv .venv
	$(SERVE) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	touch $@

.venv-dev/installed: requirements/dev.txt requirements/cpu.txt requirements/otel.txt requirements/training.txt requirements/constraints.txt
	$(PYTHON) -m venv .venv-dev
	$(DEV) -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	touch $@
