# Two stages: what builds is not what runs. The second has no compiler, no pip cache and needs no shell.
#
# The base is named by tag so that this file can be read. A release pins it: pass the digest that was tested,
#   docker build --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:... -t switchyard .
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN ["python", "-m", "venv", "/opt/venv"]
# The locks alone first: this layer is built again only when a dependency changes. For embedders of the kind `onnx`,
#   docker build --build-arg LOCK=local-embedder -t switchyard .
# and for exports to Parquet LOCK=export.
ARG LOCK=runtime
COPY requirements/build.txt requirements/build.txt
COPY requirements/${LOCK}.txt requirements/lock.txt
RUN ["/opt/venv/bin/pip", "install", "--require-hashes", "--only-binary", ":all:", "-r", "requirements/lock.txt"]
RUN ["python", "-m", "pip", "install", "--require-hashes", "--only-binary", ":all:", "-r", "requirements/build.txt"]
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
# No build isolation: nothing without a hash is fetched.
RUN ["python", "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "wheels", "."]
RUN ["/opt/venv/bin/pip", "install", "--no-deps", "--no-index", "--find-links", "wheels", "switchyard"]
RUN ["mkdir", "-p", "/data"]

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_HOST=0.0.0.0 \
    GATEWAY_PORT=8080 \
    GATEWAY_POLICIES=/app/policies \
    GATEWAY_MIGRATIONS=/app/migrations \
    GATEWAY_DATA=/data
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY migrations migrations
COPY policies policies
# The journal lives here: mount a volume, or calls in flight are lost with the container.
COPY --from=build --chown=65532:65532 /data /data
VOLUME /data
USER 65532:65532
EXPOSE 8080
# SIGTERM drains: no new calls, open streams end, the journal is shipped.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['GATEWAY_PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["gateway"]
CMD ["serve"]
