# make demo: the four scripts on the embedded miniature.   make test: the suite.
PYTHON ?= python3
PY := .venv/bin/python
SCRIPTS := prepare_data.py train_asr.py infer.py evaluate.py
PIP := $(PY) -m pip install --disable-pip-version-check -q

.PHONY: demo test clean-demo
.DELETE_ON_ERROR:

# One thread: more would only wait for each other at the miniature's size.
demo: .venv/.demo
	$(PY) -m demo.make_miniature
	@set -e; for script in $(SCRIPTS); do \
	  echo; echo "== $$script"; \
	  OMP_NUM_THREADS=1 $(PY) $$script --config-name demo/config; \
	done

test: .venv/.test
	$(PY) -m ruff check .
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadgroup

clean-demo:
	rm -rf demo/data demo/exp

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 or 3.12 is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.demo: requirements.txt requirements-demo.txt | .venv/bin/python
	$(PIP) -r requirements-demo.txt
	touch $@

.venv/.test: requirements.txt requirements-demo.txt requirements-cluster.txt requirements-test.txt | .venv/bin/python
	$(PIP) -r requirements-test.txt
	touch $@
