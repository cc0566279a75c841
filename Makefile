# `make setup` from a clean clone needs python3 (3.11 to 3.13) and make. Every environment is made
# from a hash-pinned lock and counts as made only once a copy of that lock lies in it, so that an
# interrupted installation is started over and a changed lock is noticed, whatever the file times.

PYTHON ?= python3
PYTHON311 ?= python3.11
ARGS ?=

VENV := .venv
VENV_TF215 := .venv-tf215
VENV_LIGHT := .venv-light
VENV_LOCK := .venv-lock
PIP_INSTALL := -m pip install -qq --disable-pip-version-check --no-deps
LOCKED := $(PIP_INSTALL) --require-hashes
UV_VERSION := 0.13.9
UV_COMPILE := $(VENV_LOCK)/bin/uv --quiet --no-config pip compile --universal --generate-hashes \
	--python-version 3.11 --fork-strategy fewest --no-header $(LOCK_ARGS)
UNIT := not training and not tensorflow

.DEFAULT_GOAL := help
.PHONY: help setup setup-light setup-dev setup-tf215 demo test test-unit test-tf215 proof-fuzz \
	proof-smoke proof-kills proof-damage proof-json proof-odapi bench lint lock clean

help:
	@echo 'make setup       the environment that trains (TensorFlow 2.20), in $(VENV)'
	@echo 'make setup-light the environment without TensorFlow: diagnose, diff, fix, zoo, in $(VENV_LIGHT)'
	@echo 'make demo        ablate the batch size on the embedded data (ARGS=... adds flags)'
	@echo 'make test        lint, types, unit tests, then the tests that train'
	@echo 'make test-unit   the tests that need no TensorFlow: a minute or two'
	@echo 'make test-tf215  the tests that train, on TensorFlow 2.15.1 (needs python3.11)'
	@echo 'make proof-NAME  a proof that takes long; its last output is benchmarks/proofs/NAME.txt:'
	@echo '     fuzz        diagnose on 10,000 damaged configs: two minutes'
	@echo '     smoke       every factor on both pipelines, a few steps each: six minutes'
	@echo '     kills       real trainings killed at random and resumed: two minutes'
	@echo '     damage      500 damaged folders of runs and results: two minutes'
	@echo '     json        20,000 mutated COCO json files through three commands: five minutes'
	@echo '     odapi       the own tests and models of the OD API, both stacks: an hour'
	@echo 'make bench       the ratios of benchmarks/, as JSON lines'
	@echo 'make lint        ruff and mypy'
	@echo 'make lock        resolve the locks anew from requirements/*.in'
	@echo 'make clean       remove the environments and what tools leave behind'

# $(call check_python,PYTHON,LOWEST MINOR,HIGHEST MINOR,HOW TO NAME ANOTHER)
define check_python
	@command -v $(1) >/dev/null 2>&1 || { \
		echo "make: found no $(1); expected Python 3.$(2) to 3.$(3); help: $(4)" >&2; exit 2; }
	@$(1) -c 'import sys; sys.exit(not (3, $(2)) <= sys.version_info[:2] <= (3, $(3)))' || { \
		echo "make: $(1) is $$($(1) --version 2>&1 || true); expected Python 3.$(2) to 3.$(3);" \
			"help: $(4)" >&2; exit 2; }
	@$(1) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "make: $(1) has no venv module; help: install it (Debian, Ubuntu:" \
			"apt-get install python3-venv)" >&2; exit 2; }
endef

# $(call make_venv,FOLDER,PYTHON,LOCK): nothing to do when the copy of the lock in it is the same.
# The build tools go first, so that what comes as source is built with the locked ones.
define make_venv
	@if cmp -s $(3) $(1)/.installed.lock && $(1)/bin/python -c '' 2>/dev/null; then :; else \
		set -e; \
		echo "make: installing $(3) into $(1) (a few minutes; up to 2 GB)"; \
		rm -rf $(1); \
		$(2) -m venv $(1); \
		awk '/^[a-z0-9]/ { keep = /^(setuptools|wheel)==/ } keep' $(3) >$(1)/build.lock; \
		$(1)/bin/python $(LOCKED) -r $(1)/build.lock; \
		$(1)/bin/python $(LOCKED) --no-build-isolation -r $(3); \
		$(1)/bin/python $(PIP_INSTALL) --no-build-isolation \
			--config-settings editable_mode=compat -e .; \
		cp $(3) $(1)/.partial.lock; \
		mv $(1)/.partial.lock $(1)/.installed.lock; \
		echo "make: $(1) is ready"; \
	fi
endef

# $(call add_dev,FOLDER)
define add_dev
	@if cmp -s requirements-dev.lock $(1)/.installed-dev.lock; then :; else \
		set -e; \
		echo "make: installing requirements-dev.lock into $(1)"; \
		$(1)/bin/python $(LOCKED) -r requirements-dev.lock; \
		cp requirements-dev.lock $(1)/.partial.lock; \
		mv $(1)/.partial.lock $(1)/.installed-dev.lock; \
	fi
endef

setup:
	$(call check_python,$(PYTHON),11,13,make $@ PYTHON=python3.12)
	$(call make_venv,$(VENV),$(PYTHON),requirements.lock)

# Everything but training and evaluating: diagnose, diff, fix, zoo, tables.
setup-light:
	$(call check_python,$(PYTHON),11,13,make $@ PYTHON=python3.12)
	$(call make_venv,$(VENV_LIGHT),$(PYTHON),requirements-light.lock)

setup-dev: setup
	$(call add_dev,$(VENV))

setup-tf215:
	$(call check_python,$(PYTHON311),11,11,make $@ PYTHON311=/path/to/python3.11)
	$(call make_venv,$(VENV_TF215),$(PYTHON311),requirements-tf215.lock)
	$(call add_dev,$(VENV_TF215))

demo: setup
	$(VENV)/bin/python -m odapi_repro.run --pipeline pipelines/effdet_d3.config \
		--ablate batch_size $(ARGS)

lint: setup-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test-unit: setup-dev
	$(VENV)/bin/python -m pytest -n 2 -m "$(UNIT)" $(ARGS)

# Tests that only build with TensorFlow run two files at a time. Trainings run two at a time: a
# deterministic one takes one core.
test: lint test-unit
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile -m "tensorflow and not training" $(ARGS)
	$(VENV)/bin/python -m pytest -n 2 --dist loadgroup -m training $(ARGS)

test-tf215: setup-tf215
	$(VENV_TF215)/bin/python -m pytest -n 2 --dist loadgroup -m "not ($(UNIT))" tests/training $(ARGS)

# What takes too long for every change: `proof.py` keeps the last output of each.
PROOF := $(VENV)/bin/python tests/e2e/proof.py

# The unit tests run the first cases of it.
proof-fuzz: setup-dev
	$(PROOF) fuzz -- env ODAPI_REPRO_FUZZ=10000 \
		$(VENV)/bin/python -m pytest -q tests/diagnosis/test_fuzz.py $(ARGS)

proof-smoke: setup
	$(PROOF) smoke -- bash tests/e2e/smoke_all_factors.sh $(ARGS)

proof-kills: setup
	$(PROOF) kills -- $(VENV)/bin/python tests/e2e/kill_and_resume.py $(ARGS)

proof-damage: setup-dev
	$(PROOF) damage -- $(VENV)/bin/python tests/e2e/corrupt_runs.py 500

proof-json: setup-dev
	$(PROOF) json -- $(VENV)/bin/python tests/e2e/mutate_json.py 5000

# Whether the patches of training/compat.py suffice: what does not pass is accounted for in
# docs/compatibility.md, whose tables the last line prints.
proof-odapi: setup-dev setup-tf215
	@for stack in 2.20:$(VENV) 2.15:$(VENV_TF215); do \
		python=$${stack#*:}/bin/python; tables=benchmarks/proofs; name=tf$${stack%%:*}.csv; \
		$$python tests/e2e/odapi_own_tests.py $$tables/odapi_tests_$$name $(ARGS) || exit 1; \
		$$python tests/e2e/build_every_model.py $$tables/models_$$name || exit 1; \
	done
	@$(VENV)/bin/python tests/e2e/odapi_accounts.py

bench: setup-dev
	@for script in benchmarks/bench_*.py; do \
		[ -e "$$script" ] || { echo "make: benchmarks/ has no bench_*.py" >&2; exit 2; }; \
		echo "make: $$script" >&2; \
		$(VENV)/bin/python "$$script" $(ARGS) || exit 1; \
	done

$(VENV_LOCK)/.uv-$(UV_VERSION):
	$(call check_python,$(PYTHON),11,13,make $@ PYTHON=python3.12)
	$(PYTHON) -m venv --clear $(VENV_LOCK)
	$(VENV_LOCK)/bin/python $(PIP_INSTALL) uv==$(UV_VERSION)
	@touch $@

# The default lock first: the others are held to its versions. What is pinned stays pinned;
# `make lock LOCK_ARGS=--upgrade` moves everything to the newest that fits.
lock: $(VENV_LOCK)/.uv-$(UV_VERSION)
	@$(UV_COMPILE) requirements/default.in --overrides requirements/overrides.txt \
		--output-file requirements.lock >/dev/null
	@$(UV_COMPILE) requirements/light.in --overrides requirements/light-overrides.txt \
		--constraints requirements.lock --output-file requirements-light.lock >/dev/null
	@$(UV_COMPILE) requirements/tf215.in --overrides requirements/overrides.txt \
		--overrides requirements/tf215-overrides.txt \
		--output-file requirements-tf215.lock >/dev/null
	@$(UV_COMPILE) requirements/dev.in --overrides requirements/dev-overrides.txt \
		--output-file requirements-dev.lock >/dev/null

clean:
	rm -rf $(VENV) $(VENV_TF215) $(VENV_LIGHT) $(VENV_LOCK) build dist htmlcov .coverage .hypothesis \
		.mypy_cache .pytest_cache .ruff_cache ./*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
