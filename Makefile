# `make help` lists the targets. Every target creates the environment that it needs.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DATA ?= ../shared/data
CONFIG ?= training/configs/vgg.toml
MINUTES ?= 10
TYPESCRIPT ?= 5.9.3
YUNET_URL ?= https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx

SERVE := .venv/bin/python
DEV := .venv-dev/bin/python
PIP := -m pip install --quiet --disable-pip-version-check
# The lock for CUDA is for machines with an NVIDIA GPU; its packages need about 2 GB.
LOCK := $(shell nvidia-smi -L >/dev/null 2>&1 && echo requirements/gpu.lock || echo requirements/cpu.lock)
LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet -c requirements/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help serve yunet test test-slow test-clients test-generated test-kserve lint format train bench bench-quality stress soak audit lock openapi \
	docker-test memory-test compose-test swarm-test kubernetes-test ray-test clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: .venv/installed ## Run the service on port 8000
	$(SERVE) -m app

yunet: ## Fetch the model file of the YuNet face detector; needs the network
	cd detectors && curl --fail --location --silent --show-error --output yunet.part $(YUNET_URL)
	cd detectors && sed 's/  .*/  yunet.part/' yunet.sha256 | sha256sum --check --quiet
	mv detectors/yunet.part detectors/face_detection_yunet_2023mar.onnx

test: .venv-dev/installed ## Run the tests; TORCH=cpu installs PyTorch without CUDA
	$(DEV) -m pytest -n auto --dist worksteal

test-slow: .venv-dev/installed ## Run the tests that take long: whole trainings, the notebook, the commands of documents
	$(DEV) -m pytest -n auto --dist worksteal -m slow

test-clients: .venv-dev/installed ## Test the compatible APIs with their official clients, and install the Python client
	$(DEV) $(PIP) -r requirements/clients.txt
	$(DEV) -m pytest tests/compat tests/client
	rm -rf .venv-client && $(PYTHON) -m venv .venv-client
	.venv-client/bin/python $(PIP) ./clients/python
	cd / && $(CURDIR)/.venv-client/bin/python -c "from fer_client import FerClient; FerClient('http://127.0.0.1:8000').close()"

test-generated: .venv-dev/installed ## Generate clients from openapi.json in Python and, with npm, TypeScript, and test them
	$(PYTHON) -m venv .venv-generators
	.venv-generators/bin/python $(PIP) -r requirements/generators.txt
	if command -v npm >/dev/null; then npm install --silent --no-save --prefix .venv-generators typescript@$(TYPESCRIPT); fi
	$(DEV) -m pytest -rs tests/client/test_generated.py

test-kserve: .venv-dev/installed ## Test the Open Inference Protocol with KServe's client
	$(PYTHON) -m venv .venv-kserve
	.venv-kserve/bin/python $(PIP) -r requirements/kserve.txt
	$(DEV) -m pytest -rs tests/compat/test_kserve.py

lint: .venv-dev/installed ## Check style, types and imports
	$(DEV) -m ruff check .
	$(DEV) -m ruff format --check .
	$(DEV) -m mypy app clients/python benchmarks stress training
	PYTHONPATH=clients/python .venv-dev/bin/lint-imports

format: .venv-dev/installed ## Format the code
	$(DEV) -m ruff check --fix .
	$(DEV) -m ruff format .

train: .venv-dev/installed ## Train a model: make train CONFIG=training/configs/vgg.toml DATA=folder
	$(DEV) -m training train --config $(CONFIG) --data $(DATA)/fer2013.zip

bench: .venv-dev/installed ## Measure speed; WRITE=--write-docs updates docs/performance.md
	$(DEV) -m benchmarks --data $(DATA) $(WRITE)

bench-quality: .venv-dev/installed ## Measure detection, accuracy on photographs, and streams
	$(DEV) -m benchmarks.detection --data $(DATA)
	$(DEV) -m benchmarks.whole_image --data $(DATA)
	$(DEV) -m benchmarks.sizes --data $(DATA)
	$(DEV) -m benchmarks.end_to_end --data $(DATA)
	$(DEV) -m benchmarks.stream

stress: .venv-dev/installed ## Run the stress tests on an idle machine (docs/reliability.md)
	$(DEV) -m stress

soak: .venv-dev/installed ## Run mixed traffic: make soak MINUTES=60
	$(DEV) -m stress.soak --minutes $(MINUTES)

audit: .venv-dev/installed ## Look up known vulnerabilities of the service's packages; needs the network
	$(DEV) -m pip_audit --strict --disable-pip --require-hashes -r requirements/cpu.lock -r requirements/gpu.lock
	$(DEV) -m pip_audit --strict --disable-pip --no-deps -r requirements/otel.txt

lock: .venv-dev/installed ## Write the lock files after a change of the requirements
	$(DEV) $(PIP) uv==0.13.9
	.venv-dev/bin/uv pip compile requirements/cpu.txt requirements/otel.txt $(LOCK_OPTIONS) -o requirements/cpu.lock
	.venv-dev/bin/uv pip compile requirements.txt requirements/cuda.txt requirements/otel.txt $(LOCK_OPTIONS) -o requirements/gpu.lock

openapi: .venv-dev/installed ## Write openapi.json after a change of the API
	$(DEV) -m app.openapi > openapi.json

docker-test: ## Build the image and test the container
	tests/e2e/docker_test.sh

memory-test: ## Test the memory limit of the container with large bodies and images
	tests/e2e/memory_test.sh

compose-test: ## Test the Compose stack: replicas, load balancer, Prometheus
	tests/e2e/compose_test.sh

swarm-test: ## Test the Swarm stack on one node
	tests/e2e/swarm_test.sh

kubernetes-test: .venv-dev/installed ## Check the Kubernetes manifests
	$(DEV) -m tests.deploy.kubernetes_objects
	$(DEV) -m pytest tests/deploy/test_kubernetes.py

ray-test: ## Test the Ray Data job on a local cluster of two nodes, and measure one and two workers
	test -x .venv-ray/bin/ray || $(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python $(PIP) -r requirements/cpu.txt -r requirements/ray.txt pytest==9.2.0
	.venv-ray/bin/python -m pytest --noconftest -W default tests/deploy/test_ray.py
	.venv-ray/bin/python -m deploy.ray.measure

clean: ## Remove environments and caches
	rm -rf .venv .venv-dev .venv-client .venv-generators .venv-kserve .venv-ray .schemathesis .hypothesis .pytest_cache .mypy_cache \
		.ruff_cache .import_linter_cache .grimp_cache

.venv/installed: $(LOCK)
	$(PYTHON) -m venv .venv
	$(SERVE) $(PIP) --require-hashes -r $(LOCK)
	touch $@

.venv-dev/installed: requirements/dev.txt requirements/cpu.txt requirements/otel.txt requirements/tensorboard.txt requirements/training.txt requirements/video.txt requirements/constraints.txt
	$(PYTHON) -m venv .venv-dev
	$(if $(filter cpu,$(TORCH)),$(DEV) $(PIP) $(shell grep '^torch==' requirements/training.txt) --index-url https://download.pytorch.org/whl/cpu)
	$(DEV) $(PIP) -r requirements/dev.txt
	touch $@
