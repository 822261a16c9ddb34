# genir behind HTTP, on CPUs: one model folder, mounted at /model. docs/getting-started/your-own-data.md shows it.
#
#   docker build --build-arg TORCH_INDEX=ADDRESS -t genir .
#
# TORCH_INDEX is where torch's own site says that its CPU builds are. The common builds carry CUDA
# and would make the image ten times as large, so there is no default.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS build

ARG TORCH_INDEX
RUN test -n "$TORCH_INDEX" || { echo "give --build-arg TORCH_INDEX=ADDRESS of torch's CPU builds"; exit 1; }
RUN python -m venv /opt/genir
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
# First what changes seldom: a change of genir alone leaves this layer as it is.
COPY constraints.txt ./
RUN /opt/genir/bin/pip install --index-url "$TORCH_INDEX" --constraint constraints.txt torch
COPY pyproject.toml README.md ./
COPY genir genir
RUN /opt/genir/bin/pip install --constraint constraints.txt .

FROM python:${PYTHON}-slim
# A number, so that Kubernetes can see that it is not root's.
RUN useradd --system --uid 10001 --create-home genir && install --directory --owner genir /model
COPY --from=build /opt/genir /opt/genir
ENV PATH=/opt/genir/bin:$PATH HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
USER 10001
WORKDIR /home/genir
VOLUME /model
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["genir", "serve", "/model", "--host", "0.0.0.0", "--port", "8000"]
