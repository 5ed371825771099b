# Targets: cpu (default, small) and gpu (with CUDA's libraries; needs the NVIDIA container runtime).
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python3 -m venv --without-pip /opt/venv
WORKDIR /build
COPY requirements ./requirements

FROM build AS build-cpu
RUN pip --python /opt/venv/bin/python install --compile --require-hashes -r requirements/cpu.lock
# Remove tests and ONNX Runtime's tools for model authors: the service does not import them.
RUN cd /opt/venv/lib/python3*/site-packages \
    && rm -rf onnxruntime/transformers onnxruntime/quantization onnxruntime/tools onnxruntime/datasets \
    && find . -type d -name tests -prune -exec rm -rf {} +

FROM build AS build-gpu
RUN pip --python /opt/venv/bin/python install --compile --require-hashes -r requirements/gpu.lock

FROM ${BASE} AS runtime
# Numeric, because Kubernetes cannot verify that a user name is not root.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin fer
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ORT_DISABLE_TELEMETRY=1 FER_HOST=0.0.0.0
WORKDIR /srv
COPY deploy/docker/healthcheck /usr/local/bin/healthcheck
COPY app ./app
COPY models ./models
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["healthcheck"]
# The kernel drops a SIGTERM that arrives before process 1 handles it, but keeps a blocked one. The service unblocks it.
ENTRYPOINT ["env", "--block-signal=TERM", "python", "-m", "app"]

FROM runtime AS gpu
COPY --from=build-gpu /opt/venv /opt/venv
ENV FER_DEVICE=cuda NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
COPY --from=build-cpu /opt/venv /opt/venv
ENV FER_DEVICE=cpu
