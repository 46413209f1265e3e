# Both commands set everything up by themselves: they need Python 3.11 or newer, git and make.
PYTHON ?= python3
READY := .venv/.ready

.PHONY: demo test lint

demo: $(READY)
	.venv/bin/rewrite demo --out demo

test: $(READY)
	.venv/bin/python -m pytest

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet uv
	.venv/bin/uv pip install --quiet --python .venv/bin/python --editable . --group dev
	touch $(READY)
