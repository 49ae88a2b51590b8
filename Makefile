# GNU make and a POSIX shell. Each target sets up what it needs; a second time that takes a moment.
PYTHON ?= $(shell command -v python3 || command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3.14)
BIN := .venv/bin
# Some environments forbid the compiled files that halve the start of each process.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup runtime dev demo up test lint bench clean

help:
	@echo 'make demo          start everything on this machine, feed it the samples, show progress; Ctrl-C ends it'
	@echo 'make demo ONCE=1   the same, but ends by itself; fails if a sample did not reach its expected state'
	@echo 'make up            start everything without samples'
	@echo 'make test          every test'
	@echo 'make lint          ruff, pyright, import-linter'
	@echo 'make bench         the benchmarks, beside their peers'
	@echo 'make setup         only install the locked packages into .venv'
	@echo 'make clean         remove .venv, the caches, and the sandbox with all its data (.glp1)'

setup: dev

runtime dev:
	@if [ -x $(BIN)/python ] && $(BIN)/python -I -S bootstrap.py is-done-$@ 2>/dev/null; then exit 0; fi; \
	if [ -z '$(PYTHON)' ]; then \
	  echo 'Python 3.11 or later is needed and none was found. Install it, or name it: make PYTHON=/path/to/python3.11' >&2; \
	  exit 1; \
	fi; \
	'$(PYTHON)' bootstrap.py $@

demo: runtime
	@$(BIN)/glp1 demo $(if $(filter-out 0 no false,$(ONCE)),--once)

up: runtime
	@$(BIN)/glp1 up

# Several files at a time, each process with servers of its own. Tests wait for servers half of their time: three
# processes keep two cores busy. In the order of `testpaths`: else the few long ones come last, one after the other.
test: dev
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

bench: dev
	@$(BIN)/python -m bench $(ARGS)

clean:
	@'$(PYTHON)' bootstrap.py clean
