# Both commands set everything up by themselves: they need Python 3.11 or newer, git and make.
PYTHON ?= python3
READY := .venv/.ready

.PHONY: demo test lint mutants docs versions

demo: $(READY)
	.venv/bin/rewrite demo --out demo

# One worker for each core, and one thread for each worker: more would only wait for one another. Bytecode is kept: several
# tests start processes of their own, and compiling what they import is half of their time.
test: $(READY)
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= .venv/bin/python -m pytest -n auto --dist worksteal

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/basedpyright --pythonpath .venv/bin/python

# How many mutants of the numerical core its tests kill; about half an hour of one core.
mutants: $(READY)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --group mutants
	.venv/bin/python -m benchmarks.mutants --sample 60

# The wheel on every Python found here, with the newest and the oldest versions of what it needs; some minutes.
versions: $(READY)
	.ci/versions

# The documentation as a site, in site/.
docs: $(READY)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --group docs
	.venv/bin/python -m mkdocs build --quiet

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet uv
	.venv/bin/uv pip install --quiet --python .venv/bin/python --editable . --group dev
	touch $(READY)
