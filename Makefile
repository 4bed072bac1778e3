# The commands of this repository. `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup up demo test check bench lock install uninstall
SHELL := /bin/bash
PY := .venv/bin/python
# The checkout that this Makefile lies in, whatever the environment has installed.
export PYTHONPATH := $(CURDIR)

PREFIX ?= /opt/ggnet
DESTDIR ?=

help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

setup:  ## system packages (where allowed), .venv, locked dependencies
	@.ci/setup

up: setup  ## a boot server in the lab, with its API on this machine, until Ctrl-C
	@$(PY) -m tests.lab up

demo: setup  ## commit manifests, boot a PC with no disk from them, end clean
	@$(PY) -m tests.lab demo

test: setup  ## all tests; ARGS="-k name" picks some
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup  ## style, types, and the direction of imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy --no-error-summary
	.venv/bin/lint-imports

bench: setup  ## figures, each beside its peer
	@$(PY) -m tests.bench $(ARGS)

lock: setup  ## resolve pyproject.toml into the two locks; UPGRADE=--upgrade for newer versions
	.venv/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --extra dev --extra otel --extra sentry --no-header --no-emit-index-url $(UPGRADE) -o requirements.lock pyproject.toml
	.venv/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-emit-index-url -c requirements.lock -o requirements-runtime.lock pyproject.toml

install: setup  ## the service: PREFIX (/opt/ggnet), units, /etc/ggnet/ggnet.env; DESTDIR for packaging
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" systemd/install

uninstall:  ## take the service away; the data stays, and where it lies is said
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" systemd/uninstall
