# The image of eastwest. Any builder of Dockerfiles will do; nothing of BuildKit is used.
#
# Pin the base by its digest where images are built:
#   docker build --build-arg PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm@sha256:... --tag eastwest:0.1.0 .
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

# The only step that needs a network: wheels of the lock, each held against its hash. No source is built but our own.
COPY requirements/runtime.lock requirements/
RUN python3 -m pip download --require-hashes --only-binary=:all: --dest /wheels --requirement requirements/runtime.lock

COPY pyproject.toml README.md LICENSE NOTICE ./
COPY detector detector
COPY models models
RUN python3 -m pip install --no-index --find-links /wheels hatchling \
 && python3 -m pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels .
RUN python3 -m venv --without-pip /opt/eastwest \
 && python3 -m pip --python /opt/eastwest/bin/python install --no-index --find-links /wheels "eastwest[secops,signing]"

# Kernels are compiled here, for nobody may write where they lie once the image runs. The demo needs most of them, and
# shows that what was installed works. They are for processors of x86-64-v3 (AVX2), which Polars wants too; for others
# give another name as LLVM has it.
ARG CPU=x86-64-v3
ENV NUMBA_CACHE_DIR=/opt/eastwest/kernels NUMBA_CPU_NAME=${CPU} NUMBA_CPU_FEATURES=""
RUN /opt/eastwest/bin/eastwest demo --out /tmp/demo && rm -r /tmp/demo
RUN /opt/eastwest/bin/python -P -c "from detector.config import Settings; from detector.service.warm import warm; warm(Settings())"
RUN chmod -R go-w /opt/eastwest && install -d -m 0750 -o 65532 -g 65532 /var/lib/eastwest

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="eastwest" \
      org.opencontainers.image.description="Finds intruders moving laterally through IT and OT networks, from Zeek and NetFlow logs." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="The eastwest authors" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11-slim-bookworm"
ARG CPU=x86-64-v3
ENV HOME=/var/lib/eastwest PATH=/opt/eastwest/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/opt/eastwest/kernels NUMBA_CPU_NAME=${CPU} NUMBA_CPU_FEATURES=""
COPY --from=build /opt/eastwest /opt/eastwest
COPY --from=build --chown=65532:65532 /var/lib/eastwest /var/lib/eastwest

# Nothing but /var/lib/eastwest is written to: run it with a read-only root and a volume there.
USER 65532:65532
WORKDIR /var/lib/eastwest
EXPOSE 9108
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-I", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9108, timeout=4); c.request('GET', '/livez'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["/opt/eastwest/bin/eastwest"]
CMD ["run", "--config", "/etc/eastwest/eastwest.yaml"]
