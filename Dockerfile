# Two images out of one base: `sidecar` (what is added to app pods) and `operator` (operator and injector).
#
#   make images                                      # docker, podman or buildah, whichever is there
#   docker build --target sidecar -t llmroute/sidecar:0.1.0 .
#
# Both are what their process opens and nothing else: no shell, no package manager, no pip. 3.13 because every locked
# dependency has wheels for it, on amd64 and arm64; any glibc-based image with Python 3.11 or newer and pip serves as well.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

FROM build AS wheel
COPY requirements/build.txt requirements/
RUN ["python3", "-m", "venv", "--without-pip", "/build"]
RUN ["python3", "-m", "pip", "--python", "/build/bin/python", "install", "--require-hashes", "-r", "requirements/build.txt"]
COPY pyproject.toml README.md LICENSE ./
COPY sidecar sidecar
COPY operator operator
RUN ["/build/bin/python", "-m", "hatchling", "build", "-t", "wheel", "-d", "/wheel"]

# Interpreter, standard library, shared libraries, certificates: one layer that both images share.
FROM build AS python-root
COPY scripts/image_root.py scripts/
RUN ["python3", "scripts/image_root.py", "python", "/root-of-image"]

# What changes with every release is a layer of its own, the smallest.
FROM build AS sidecar-dependencies
COPY requirements/sidecar.txt requirements/
RUN ["python3", "-m", "venv", "--without-pip", "/opt/llmroute"]
RUN ["python3", "-m", "pip", "--python", "/opt/llmroute/bin/python", "install", "--require-hashes", "-r", "requirements/sidecar.txt"]
COPY scripts/image_root.py scripts/
RUN ["python3", "scripts/image_root.py", "dependencies", "/root-of-image"]

FROM sidecar-dependencies AS sidecar-package
COPY --from=wheel /wheel /wheel
RUN ["python3", "scripts/image_root.py", "sidecar", "/root-of-package"]

FROM build AS operator-dependencies
COPY requirements/operator.txt requirements/
RUN ["python3", "-m", "venv", "--without-pip", "/opt/llmroute"]
RUN ["python3", "-m", "pip", "--python", "/opt/llmroute/bin/python", "install", "--require-hashes", "-r", "requirements/operator.txt"]
COPY scripts/image_root.py scripts/
RUN ["python3", "scripts/image_root.py", "dependencies", "/root-of-image"]

FROM operator-dependencies AS operator-package
COPY --from=wheel /wheel /wheel
RUN ["python3", "scripts/image_root.py", "operator", "/root-of-package"]

FROM scratch AS runtime
COPY --from=python-root /root-of-image /
# Bytecode is compiled above, so that a start on a read-only root compiles nothing.
ENV PATH=/opt/llmroute/bin:/usr/local/bin:/usr/bin LANG=C.UTF-8 HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
WORKDIR /
USER 10001:10001

FROM runtime AS operator
COPY --from=operator-dependencies /root-of-image /
COPY --from=operator-package /root-of-package /
RUN ["/opt/llmroute/bin/python", "-c", "import llmroute_operator, kopf, kubernetes.aio, cryptography"]
ENTRYPOINT ["llmroute-operator"]
ARG VERSION=0.0.0 REVISION=unknown CREATED=1970-01-01T00:00:00Z PYTHON_IMAGE
LABEL org.opencontainers.image.title="LLMRoute operator and injector" \
      org.opencontainers.image.description="Reconciles LLMRoutes, and adds sidecars to pods" \
      org.opencontainers.image.licenses="Apache-2.0" org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"

FROM runtime AS sidecar
COPY --from=sidecar-dependencies /root-of-image /
COPY --from=sidecar-package /root-of-package /
# The sidecar shares a pod with somebody's app: no code in it can speak to the API server.
RUN ["/opt/llmroute/bin/python", "-c", "import importlib.util as u, llmroute.server; found = [n for n in ('kopf', 'kubernetes', 'cryptography', 'llmroute_operator', 'pip') if u.find_spec(n)]; assert not found, found"]
ENTRYPOINT ["llmroute"]
ARG VERSION=0.0.0 REVISION=unknown CREATED=1970-01-01T00:00:00Z PYTHON_IMAGE
LABEL org.opencontainers.image.title="LLMRoute sidecar" \
      org.opencontainers.image.description="Sends every LLM call to the target that will answer it soonest" \
      org.opencontainers.image.licenses="Apache-2.0" org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
