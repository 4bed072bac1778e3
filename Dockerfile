# GGnet as two images of one build: "api" (the default: unprivileged, no tools) and "controller" (the tools of a boot server).
#
#     docker build -t ggnet .        docker build -t ggnet-controller --target controller .
#
# A site that pins images by digest says so with --build-arg PYTHON_IMAGE=NAME@sha256:DIGEST.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
# uv as the lock has it, by its hash: the only thing that pip installs.
COPY requirements.lock requirements-runtime.lock ./
RUN awk '/^uv==/ {on = 1; print; next} /^[^ ]/ {on = 0} on && /--hash/' requirements.lock | sed '$ s/ *\\$//' > uv.txt
RUN python -m venv /build/tools && /build/tools/bin/pip --disable-pip-version-check --no-cache-dir install --require-hashes --no-deps -r uv.txt
# What runs is what the lock says, each file by its hash.
RUN python -m venv --without-pip /opt/ggnet
RUN /build/tools/bin/uv pip sync --python /opt/ggnet/bin/python --require-hashes --compile-bytecode requirements-runtime.lock
# Our own package comes last: a change of ours installs nothing else anew.
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY controller controller
COPY manifests manifests
COPY migrations migrations
RUN /build/tools/bin/uv build --python /opt/ggnet/bin/python --wheel --build-constraints requirements.lock --require-hashes --out-dir /build/dist .
RUN /build/tools/bin/uv pip install --python /opt/ggnet/bin/python --no-deps --compile-bytecode /build/dist/*.whl
RUN /opt/ggnet/bin/ggnet --version

FROM ${PYTHON_IMAGE} AS base
# A number of its own, so that files of secrets can be given to the group on any host.
RUN groupadd --gid 10001 ggnet && useradd --uid 10001 --gid ggnet --no-create-home --home-dir /var/lib/ggnet --shell /usr/sbin/nologin ggnet
RUN install -d -o ggnet -g ggnet -m 2770 /var/lib/ggnet /var/lib/ggnet/pool /var/lib/ggnet/pool/uploads
COPY --from=build /opt/ggnet /opt/ggnet
ENV PATH=/opt/ggnet/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/ggnet
VOLUME ["/var/lib/ggnet"]
# SIGTERM ends both daemons gracefully: answers under way are given, the lease is given back.
STOPSIGNAL SIGTERM
ENTRYPOINT ["ggnet"]
LABEL org.opencontainers.image.title="ggnet" \
      org.opencontainers.image.description="Declarative reconciler for diskless boot" \
      org.opencontainers.image.licenses="Apache-2.0"

FROM base AS controller
# Root of the container, as its unit is: configfs and dhcpd's folder belong to root. See docs/deployment.md for what it is given.
RUN apt-get update && apt-get install --yes --no-install-recommends git qemu-utils isc-dhcp-server ipxe systemd && rm -rf /var/lib/apt/lists/*
CMD ["controller"]
# It holds its state folder's lock for as long as it works; /proc/locks tells without taking it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD grep -q "FLOCK.*:$(stat --format=%i /var/lib/ggnet/controller.lock) " /proc/locks

FROM base AS api
USER 10001:10001
# Reached by the proxy beside it; nothing is published by itself.
ENV GGNET_LISTEN=0.0.0.0:8080
EXPOSE 8080
CMD ["api"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD python -c "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['GGNET_LISTEN'].rpartition(':')[2] + '/healthz', timeout=3)"
