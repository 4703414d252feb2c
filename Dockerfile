# The same verbs as on a machine: install, then run. Its steps were walked by hand, no engine built it; see docs/decisions.md.
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends make git && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 earshot && install -d -o earshot /srv/earshot
WORKDIR /srv/earshot
USER earshot
# An index with torch's CPU build; empty takes the configured one.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --chown=earshot Makefile pyproject.toml requirements.lock README.md ./
COPY --chown=earshot app app
RUN make install TORCH_INDEX=${TORCH_INDEX}
COPY --chown=earshot . .
RUN install -d data adapters models
VOLUME ["/srv/earshot/data", "/srv/earshot/adapters", "/srv/earshot/models"]
ENV EARSHOT_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=300s \
    CMD ["/srv/earshot/.venv/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["make", "run"]
