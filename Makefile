# make demo: the stages on the embedded miniature, two measures without a recogniser, and the score
# of one sentence.
# make test: ruff, mypy and the suite.
# make demo-reconstruct: speech back from each layer on it, after make demo.
# make test-kernels: the tests of numbers, as other processors compute them.
PYTHON ?= python3
PY := .venv/bin/python
SCRIPTS := prepare_data.py train_asr.py infer.py "baselines.py baselines=[mbstoi,stoi]" evaluate.py
PIP := $(PY) -m pip install --disable-pip-version-check -q
OWN := demo/data/clarity_CPC1_data_test/clarity_data
PYTEST := -m pytest -n 2 --dist loadgroup

# Tests of numbers: the simulation, recognisers and search, similarity, scoring.
NUMBERS := tests/msbg tests/intelligibility/recognisers tests/intelligibility/test_similarity.py \
  tests/intelligibility/evaluation/test_scoring.py
# Variables that choose the code of another processor, one run of the tests per line. Two threads per
# process are more than there are cores: they sleep while they wait.
define KERNELS
OPENBLAS_CORETYPE=Haswell ATEN_CPU_CAPABILITY=default NUMBA_CPU_NAME=generic OMP_NUM_THREADS=1
$(if $(shell grep -sm1 avx512dq /proc/cpuinfo),OPENBLAS_CORETYPE=SkylakeX) OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE
endef
export KERNELS

.PHONY: demo demo-baselines demo-reconstruct demo-reconstruct-all test test-kernels clean-demo
.DELETE_ON_ERROR:

# One thread: more would only wait for each other at the miniature's size.
demo: .venv/.demo
	$(PY) -m demo.make_miniature
	@set -e; for script in $(SCRIPTS); do \
	  echo; echo "== $$script"; \
	  OMP_NUM_THREADS=1 $(PY) $$script --config-name demo/config; \
	done
	@echo; echo "== score.py"
	OMP_NUM_THREADS=1 $(PY) score.py --config-name demo/config model=demo/exp \
	  processed=$(OWN)/HA_outputs/test/S90601_L9001_E901.wav audiogram=N1 \
	  reference=$(OWN)/scenes/S90601_target_anechoic.wav
	@echo; echo "Now open demo/exp/report.html"

# After make demo, which has MBSTOI and STOI: HASPI and ESTOI as well.
demo-baselines: .venv/.demo
	OMP_NUM_THREADS=1 $(PY) baselines.py --config-name demo/config 'baselines=[mbstoi,haspi,stoi,estoi]'
	OMP_NUM_THREADS=1 $(PY) evaluate.py --config-name demo/config

# Two networks, one task; the second target adds the third, the other tasks, RecGAN and enhancement.
RECONSTRUCT := OMP_NUM_THREADS=1 $(PY) reconstruction/reconstruct.py --config-name demo/config
demo-reconstruct: .venv/.demo
	$(RECONSTRUCT) network=recogniser
	$(RECONSTRUCT) network=vggish

demo-reconstruct-all: demo-reconstruct
	$(RECONSTRUCT) network=all task=all
	$(RECONSTRUCT) network=all inverter=recgan
	$(RECONSTRUCT) network=recogniser target=ref

test: .venv/.test
	$(PY) -m ruff check .
	$(PY) -m mypy
	OMP_NUM_THREADS=1 $(PY) $(PYTEST)

test-kernels: .venv/.test
	@echo "$$KERNELS" | while read -r kernels; do \
	  echo "== $$kernels"; \
	  env $$kernels $(PY) $(PYTEST) $(NUMBERS) </dev/null || exit 1; \
	done

clean-demo:
	rm -rf demo/data demo/exp

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 to 3.14 is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.demo: requirements.txt requirements-demo.txt requirements-baselines.txt | .venv/bin/python
	$(PIP) -r requirements-demo.txt
	$(PIP) --no-deps -r requirements-baselines.txt
	touch $@

.venv/.test: $(wildcard requirements*.txt) | .venv/bin/python
	$(PIP) -r requirements-test.txt
	$(PIP) --no-deps -r requirements-baselines.txt
	touch $@
