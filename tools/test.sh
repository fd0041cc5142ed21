#!/bin/sh
# What each part of `./dev test` does; tools/run_parts.py says which parts run, and when. Expects
# the packages and build/venv that `./dev test` provides. Usage: test.sh PART. TILEWISE_JOBS is how
# many processes the part may have; TILEWISE_EXTENT is `full` for `./dev test full`.
set -eu
cd "$(dirname "$0")/.."
part=$1
jobs=${TILEWISE_JOBS-$(nproc)}
extent=${TILEWISE_EXTENT-usual}
results=$PWD/build/results/$part
mkdir -p "$results"
# Where a test finds the GPU's run-time compiler.
export VIRTUAL_ENV="$PWD/build/venv"

# built PRESET TARGET...: configures and builds, showing what was printed only when that fails.
built() {
  preset=$1
  shift
  { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$jobs" --target "$@"; } \
    >"$results/build.log" 2>&1 || { tail -n 60 "$results/build.log" && false; }
}

# tested PRESET [CTEST OPTION...]: each test program writes its cases where they are added up.
tested() {
  preset=$1
  shift
  GTEST_OUTPUT=xml:$results/ GTEST_BRIEF=1 ctest --preset "$preset" -j "$jobs" \
    --output-junit "$results/ctest.xml" "$@"
}

preset_tests() {
  built "$part" all
  tested "$part"
}

# Runs the programs whose tests use several threads under the thread sanitizer. test_conformance
# takes one family of numbers and leaves out `others`: they make no calls, or calls that use threads
# as other tests' calls do. tests/CMakeLists.txt leaves the emulated kernels out of the thread
# sanitizer's test_backends_cuda, because they would take a minute to compile.
thread_tests() {
  if [ "$extent" = full ]; then
    preset_tests
    return
  fi
  programs="test_parallel test_robust test_api test_conformance test_backends_cuda"
  # shellcheck disable=SC2086
  built tsan $programs
  others='List.*:Families.*:Bound.*:BoundFormula.*:Derivative.*:Properties.*:*.AThousandRuns*'
  TILEWISE_CASE=random/gauss GTEST_FILTER="-$others" \
    tested tsan --tests-regex "^($(echo "$programs" | tr ' ' '|'))\$"
}

# Tests the processor's kernels and the harness, for the part clang as clang optimises them (asan
# has clang with -O1), for the part neon as built for 64-bit ARM and run by QEMU.
kernel_tests() {
  built "$part" test_backends_cpu test_conformance
  tested "$part"
}

# The systems that the wheel promises to run on; test_fast.py checks its files against that.
wheel_tag="py3-none-manylinux_2_28_$(uname -m)"

# For the processor the wheel has only the kernels that the tests on this machine use; in
# `./dev test full` it has those of all instruction sets.
python_tests() {
  sets=widest
  if [ "$extent" = full ]; then sets=all; fi
  rm -rf build/wheel
  CMAKE_BUILD_PARALLEL_LEVEL=$jobs build/venv/bin/pip wheel -q --disable-pip-version-check \
    --no-deps -w build/wheel -C cmake.define.TILEWISE_INSTRUCTION_SETS=$sets \
    -C cmake.define.TILEWISE_PACK=ON -C cmake.define.TILEWISE_PACK_ARCHITECTURES="$packed" \
    -C wheel.tags="$wheel_tag" .
  install_wheel build/venv
  TILEWISE_EXPECT_PACK=1 build/venv/bin/pytest -q --junit-xml="$results/pytest.xml"
}

# Every kernel must compile, and pass the checks of tools/pack.cpp. What has not changed since the
# last time is not compiled again.
packed=sm_80,sm_90
if [ "$extent" = full ]; then packed=$packed,sm_100,sm_120; fi
pack_tests() {
  built release tilewise_pack
  build/release/bin/tilewise_pack "$results/tilewise.pack" --check --jobs "$jobs" \
    --keep build/pack/kept --arch "$packed"
  # Where there is no NVRTC, a build goes on and says what it leaves out.
  TILEWISE_NVRTC=/nowhere build/release/bin/tilewise_pack "$results/none.pack" --if-found \
    --keep build/pack/kept >"$results/none.txt"
  grep -q WITHOUT "$results/none.txt"
  [ ! -s "$results/none.pack" ]
  taking_packs
}

# install_wheel VENV: the wheel that python_tests built.
install_wheel() {
  "$1/bin/pip" install -q --disable-pip-version-check --no-deps --force-reinstall \
    build/wheel/tilewise-*.whl
}

# A build takes a pack of its own kernels. A pack of other kernels, or one that is cut short or
# changed, is left out with a warning; if the build named that pack, the build stops.
taking_packs() {
  own=build/release/embedded/cuda_sources.cpp
  sed '1s/packs: ......../packs: 00000000/' "$own" >"$results/others.cpp"
  take_pack "$own" ON
  cmp "$results/tilewise.pack" "$results/taken.pack"
  take_pack "$results/others.cpp" OFF >"$results/others.txt" 2>&1
  grep -q 'LEFT OUT' "$results/others.txt"
  grep -q '^tilewise pack of other kernels$' "$results/taken.pack"
  if take_pack "$results/others.cpp" ON 2>/dev/null; then return 1; fi
  head -c 100000 "$results/tilewise.pack" >"$results/short.pack"
  take_pack "$own" OFF short >"$results/short.txt" 2>&1
  grep -q 'is damaged.* LEFT OUT' "$results/short.txt"
  if take_pack "$own" ON short 2>/dev/null; then return 1; fi
  # In the name of the first kernel.
  cp "$results/tilewise.pack" "$results/changed.pack"
  printf '?' | dd of="$results/changed.pack" bs=1 seek=130 conv=notrunc status=none
  take_pack "$own" OFF changed >"$results/changed.txt" 2>&1
  grep -q 'another hash.* LEFT OUT' "$results/changed.txt"
}

# take_pack SOURCES IS_NAMED [NAME]
take_pack() {
  cmake -DPACK="$results/${3:-tilewise}.pack" -DSOURCES="$1" -DIS_NAMED="$2" \
    -DOUTPUT="$results/taken.pack" -P cmake/take_pack.cmake
}

# The same wheel beside torch and JAX, on the processor. Their packages are taken once.
torch_tests() {
  venv=build/torch-venv
  if ! cmp -s tools/torch_requirements.txt $venv/requirements.txt; then
    rm -rf $venv
    python3 -m venv $venv
    if ! $venv/bin/pip install -q --disable-pip-version-check \
      -r tools/torch_requirements.txt; then
      # If the index answers, the fault is in the list of packages.
      if $venv/bin/pip download -q --disable-pip-version-check --no-deps -d "$results" pip; then
        return 1
      fi
      rm -rf $venv
      echo "pip reaches no package index; it says above why"
      exit 77 # as run_parts.py has it: this machine lacks it
    fi
    cp tools/torch_requirements.txt $venv/requirements.txt
  fi
  install_wheel $venv
  $venv/bin/pytest -q --junit-xml="$results/pytest.xml" python/tests/test_torch_*.py \
    python/tests/test_flash_attn_*.py python/tests/test_transformers_*.py \
    python/tests/test_jax*.py python/tests/test_fast.py python/tests/test_report.py
}

# What the pages show must compile, run and print what they say.
page_examples() {
  python3 tools/readme_examples.py --build build/release \
    --python "$PWD/build/venv/bin/python"
  python_on_a_played_gpu
}

# Arrays on the played GPU: the loader finds the emulator's libcuda.so.1 in place of the driver.
python_on_a_played_gpu() {
  played=$PWD/build/release/emulated_cuda
  LD_LIBRARY_PATH="$played" TILEWISE_NVRTC="$played/libcuda.so.1" TILEWISE_CACHE="" \
    TILEWISE_NEEDS_GPU=1 build/venv/bin/pytest -q -p no:cacheprovider \
    python/tests/test_device.py python/tests/test_there.py python/tests/test_jax_handlers.py
}

# Checks every case of the tier full. After a check that was stopped, the next goes on from there,
# unless the library has changed.
whole_list() {
  library=$(cksum <build/release/libtilewise.so | cut -d ' ' -f 1)
  journal=build/check-$library.jsonl
  build/release/bin/tilewise check --tier full --resume "$journal" || return
  rm "$journal"
}

# Runs clang's analyzer with the compile commands of build/tidy, which the part lint configures.
# NullDereference is left out: it reports reads of absent tensors on paths that a check rules out.
analysis() {
  checks='-*,clang-analyzer-core.*,clang-analyzer-cplusplus.*,-clang-analyzer-core.NullDereference'
  checks=$checks,performance-unnecessary-value-param
  find src cli bench -name '*.cpp' | sort |
    xargs -n 1 -P "$jobs" clang-tidy-14 --quiet --checks="$checks" -p build/tidy \
      2>"$results/tidy.log"
}

case $part in
  lint) sh tools/lint.sh "$extent" ;;
  release | asan | dev) preset_tests ;;
  clang | neon) kernel_tests ;;
  tsan) thread_tests ;;
  pack) pack_tests ;;
  python) python_tests ;;
  torch) torch_tests ;;
  examples) page_examples ;;
  check) whole_list ;;
  mutants) python3 tools/mutants.py ;;
  fuzz) sh tools/fuzz.sh 300 ;;
  analysis) analysis ;;
  *)
    echo "test.sh has no part $part." >&2
    exit 2
    ;;
esac
