#!/usr/bin/env bash
# All that wants a GPU, in one call: builds tercet with the CUDA library for the device that is there, runs the tests
# on it, the same under compute-sanitizer (memory, races, uninitialised reads, barriers), and the benchmark.
#
#   tests/cuda/run_on_gpu.sh [OUTPUT]     logs and tables go to OUTPUT (gpu-results)
#
# Needs nvcc, a driver, Python with numpy and pytest; the benchmark needs torch, and takes late-interaction-kernels and
# flash-maxsim where they are. Goes on after a failure, and fails in the end if anything did.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-gpu-results}")
mkdir -p "$out"
python=${PYTHON:-python3}
status=0

step() { # NAME COMMAND...
  local name=$1
  shift
  echo "== $name"
  if "$@" > "$out/$name.log" 2>&1; then
    tail -n 3 "$out/$name.log"
  else
    status=1
    echo "FAILED: $name"
    tail -n 40 "$out/$name.log"
  fi
}

nvidia-smi | tee "$out/device.txt"
arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
[ "$arch" = 90 ] && arch=90a
"$python" -m venv --system-site-packages "$out/venv"
python="$out/venv/bin/python"
step install "$python" -m pip install --quiet scikit-build-core pybind11 cmake ninja numpy pytest hypothesis
step build "$python" -m pip install --quiet --no-build-isolation --no-deps -Ccmake.define.TERCET_CUDA=ON \
  "-Ccmake.define.TERCET_CUDA_ARCHITECTURES=$arch-real" .
"$python" - << 'PY' || exit 1
import tercet
why = tercet.cuda.why_unavailable()
print("== no device:", why) if why else print("== tercet.cuda is available")
raise SystemExit(1 if why else 0)
PY
step tests "$python" -m pytest -q tests/cuda
if command -v compute-sanitizer > /dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    step "$tool" compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" -m pytest -q tests/cuda \
      -k "test_flat or test_multivector or test_rerank or test_maxsim"
  done
else
  echo "== SKIPPED: compute-sanitizer is not installed"
fi
step bench env PYTHONPATH=bench "$python" bench/bench_cuda.py
cat "$out/bench.log"
exit $status
