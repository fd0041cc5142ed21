#!/bin/sh
# What `./dev test [quick|full]` runs, part by part, with the time of each; a part that fails does
# not stop the others. The last line adds up the cases of all parts. Expects the packages and
# build/venv that `./dev test` provides.
set -eu
cd "$(dirname "$0")/.."
extent=${1-usual}
results=$PWD/build/results
jobs=$(nproc)
# Where a test finds the GPU's run-time compiler.
export VIRTUAL_ENV="$PWD/build/venv"

# part NAME COMMAND...: runs it in a shell of its own, keeps its status for the closing line.
part() {
  name=$1
  shift
  echo "== $name"
  begin=$(date +%s)
  mkdir -p "$results/$name"
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  echo "$name $status" >>"$results/parts.txt"
  if [ $status = 0 ]; then ending="took"; else ending="FAILED after"; fi
  echo "== $name $ending $(($(date +%s) - begin)) s"
}

# built PRESET TARGET...: configures and builds, showing what was printed only when that fails.
built() {
  preset=$1
  shift
  { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$jobs" --target "$@"; } \
    >"$results/$preset.log" 2>&1 || { tail -n 60 "$results/$preset.log" && false; }
}

# tested PART PRESET [CTEST OPTION...]: each test program writes its cases where they are added up.
tested() {
  where=$results/$1 preset=$2
  shift 2
  GTEST_OUTPUT=xml:$where/ GTEST_BRIEF=1 ctest --preset "$preset" -j "$jobs" \
    --output-junit "$where/ctest.xml" "$@"
}

preset_tests() {
  built "$1" all
  tested "$1" "$1"
}

# The programs in which threads meet; the thread sanitizer makes the others slow for nothing.
threaded="^test_(parallel|robust|api|backends_.*)$"
thread_tests() {
  built tsan all
  tested tsan tsan --tests-regex "$threaded"
}

# Kernels for another processor, on the machine that QEMU makes of this one.
neon_tests() {
  built neon test_backends_cpu test_conformance
  tested neon neon
}

python_tests() {
  build/venv/bin/pip install -q --disable-pip-version-check .
  build/venv/bin/pytest -q --junit-xml="$results/python/pytest.xml"
}

# What the pages show must compile, run and print what they say.
page_examples() {
  python3 tools/readme_examples.py --build build/release \
    --python "$PWD/build/venv/bin/python"
}

# Every case of the list; stopped half-way, it goes on from there the next time, unless what it
# checks has changed.
whole_list() {
  library=$(cksum <build/release/libtilewise.so | cut -d ' ' -f 1)
  journal=build/check-$library.jsonl
  build/release/bin/tilewise check --tier full --resume "$journal" || return
  rm "$journal"
}

# In the folder that lint has configured. NullDereference takes each absent tensor for present on
# some path.
analysis() {
  checks='-*,clang-analyzer-core.*,clang-analyzer-cplusplus.*,-clang-analyzer-core.NullDereference'
  checks=$checks,performance-unnecessary-value-param
  find src cli -name '*.cpp' | sort |
    xargs -n 1 -P "$jobs" clang-tidy-14 --quiet --checks="$checks" -p build/tidy \
      2>"$results/analysis.log"
}

rm -rf "$results"
mkdir -p "$results"
case $extent in
  quick)
    part release preset_tests release
    ;;
  usual | full)
    if [ "$extent" = full ]; then threaded=.; fi
    part lint sh tools/lint.sh
    part release preset_tests release
    part clang preset_tests clang
    part asan preset_tests asan
    part tsan thread_tests
    if [ "$(uname -m)" = x86_64 ]; then part neon neon_tests; fi
    part python python_tests
    part examples page_examples
    if [ "$extent" = full ]; then
      part dev preset_tests dev
      part check whole_list
      part mutants python3 tools/mutants.py
      part fuzz sh tools/fuzz.sh 300
      part analysis analysis
    fi
    ;;
  *)
    echo "test.sh has no such extent: $extent; it has usual, quick and full." >&2
    exit 2
    ;;
esac
echo
exec python3 tools/sum_results.py "$results"
