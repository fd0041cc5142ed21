#!/bin/sh
# What `./dev gpu test` runs, on a machine with a GPU: the tests of the CUDA backend, the command
# line and Python on the GPU, the harness (tests/conformance) with all calls on the GPU, and, where
# it is installed, compute-sanitizer. Ends by writing the receipt.
set -eu
cd "$(dirname "$0")/.."
logs=$PWD/build/gpu
mkdir -p "$logs"
rm -f "$logs"/*.log
tests=build/release/tests

cmake --preset release >"$logs/build.txt"
cmake --build --preset release --target test_backends_cuda test_conformance test_cuda_device \
  tilewise_cli >>"$logs/build.txt" || {
  tail -n 40 "$logs/build.txt"
  exit 1
}

# run NAME SECONDS COMMAND...: its output goes to a file; what fails or hangs stops no other.
run() {
  name=$1 seconds=$2
  shift 2
  echo "== $name"
  status=0
  timeout "$seconds" "$@" >"$logs/$name.log" 2>&1 || status=$?
  [ "$status" = 0 ] && return
  echo "== ended with $status" >>"$logs/$name.log"
  echo "   $name ended with $status: $logs/$name.log"
}

# The timed tests run alone, the others side by side. All share a cache of kernels, so that few are
# compiled twice.
export TILEWISE_CACHE="$logs/cache"
run cost 60 "$tests/test_cuda_device" --gtest_filter=Cost.*
grep '^empty launch' "$logs/cost.log" || true
run unit 300 "$tests/test_backends_cuda" &
run faces 300 sh tools/gpu_faces.sh build/release &
run device 300 "$tests/test_cuda_device" --gtest_filter=-Cost.* &
# The harness runs once with the best of the packed kernels and once with the plain ones. Far.* is
# left out: it maps its tensors itself, so the device cannot read them. Only Featured.*, which has
# each feature and each pair, runs with all kernels: random calls would compile kernels for hundreds
# of sets of features.
export TILEWISE_TEST_DEVICE=cuda
run featured 300 "$tests/test_conformance" --gtest_filter=Featured.* &
run harness 300 env TILEWISE_CUDA_KERNELS=packed "$tests/test_conformance" \
  --gtest_filter=-Far.*:Featured.* &
run harness_plain 300 env TILEWISE_CUDA_KERNELS=plain "$tests/test_conformance" \
  --gtest_filter=-Far.* &
# A second GPU, where there is one, gets a short list.
if build/release/bin/tilewise explain --case tiny --device cuda:1 >/dev/null 2>&1; then
  run second 150 env TILEWISE_TEST_DEVICE=cuda:1 TILEWISE_TIER=smoke TILEWISE_CUDA_KERNELS=packed \
    "$tests/test_conformance" --gtest_filter=-Far.* &
fi
wait
if command -v compute-sanitizer >/dev/null; then
  # Wrong numbers in tables must make no kernel leave its buffers. The test left out has none.
  run planted 240 compute-sanitizer --tool memcheck --error-exitcode 9 "$tests/test_cuda_device" \
    --gtest_filter='Tables.*-Tables.OfTheHostMayBeLarge' &
  run compiled 240 compute-sanitizer --tool memcheck --error-exitcode 9 "$tests/test_conformance" \
    --gtest_filter=Featured.* &
  # One family: the slowest tool takes a hundred times as long as the calls themselves.
  export TILEWISE_TIER=smoke TILEWISE_CASE=random/gauss TILEWISE_CUDA_KERNELS=packed
  for tool in memcheck synccheck initcheck; do
    run "$tool" 150 compute-sanitizer --tool "$tool" --error-exitcode 9 "$tests/test_conformance" \
      --gtest_filter='Conformance.*:Aligned.*:Append.*:Merge.*:Rotary.*' &
  done
  # The receipt counts errors by racecheck's summary, and its exit status does not matter: racecheck
  # does not know votes (__ballot_sync), so it warns of accesses that a vote orders, as in
  # kernels/score/softmax.h.
  run racecheck 150 compute-sanitizer --tool racecheck \
    "$tests/test_conformance" --gtest_filter='Merge.*:Aligned.EveryHeadDim' &
  wait
  grep 'SUMMARY' "$logs"/planted.log "$logs"/compiled.log "$logs"/*check.log || true
fi
exec python3 tools/receipt.py write "$logs"/*.log
