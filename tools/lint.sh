#!/bin/sh
# What `./dev lint [full]` runs: the checks of the sources, and the tests of these checks. All run,
# even after one has failed; the last line says how many failed. Expects the packages and build/venv
# that `./dev lint` provides.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build
extent=${1-usual}
jobs=${TILEWISE_JOBS-$(nproc)}
failed=0

# run COMMAND...: names what failed, and goes on.
run() {
  "$@" && return
  echo "lint: this failed: $*"
  failed=$((failed + 1))
}

formatted() {
  find . -path ./build -prune -o \
    \( -name '*.h' -o -name '*.hpp' -o -name '*.cpp' -o -name '*.c' \) -print | sort |
    xargs clang-format-14 --dry-run -Werror
}

# Without precompiled headers, behind which an include may be missing.
headers_alone() {
  { cmake --preset clang -B build/tidy -D CMAKE_DISABLE_PRECOMPILE_HEADERS=ON &&
    cmake --build build/tidy -j "$jobs" --target all_verify_interface_header_sets -- -k 0; } \
    >build/lint.log 2>&1 || { tail -n 40 build/lint.log && false; }
}

# Takes the compile commands of build/tidy, which headers_alone has configured. Looks first whether
# .clang-tidy can be read: if not, clang-tidy would only remark on it and run other checks.
tidy() {
  if clang-tidy-14 --dump-config 2>&1 | grep '\.clang-tidy'; then return 1; fi
  all=
  if [ "$extent" = full ]; then all=--all; fi
  python3 tools/changed_sources.py $all build/tidy/compile_commands.json >build/tidy/files || return
  if ! xargs -r -n 1 -P "$jobs" clang-tidy-14 --quiet -p build/tidy <build/tidy/files \
    2>build/tidy.log; then
    # Findings went to standard output. If clang-tidy itself failed, the reason is in this log.
    grep -v ' warnings\{0,1\} generated' build/tidy.log | tail -n 20
    return 1
  fi
}

echo "-- the checks themselves"
run python3 -m unittest discover -q -b -s tools/tests -t tools
run python3 tools/check_layers.py
run python3 tools/check_shape.py
run python3 tools/check_words.py
run python3 tools/check_links.py
run python3 tools/check_mutants.py
run python3 tools/receipt.py check

echo "-- shell"
run shellcheck dev tools/*.sh tests/consumers/*.sh .ci/run

echo "-- Python"
run build/venv/bin/ruff check -q .
run build/venv/bin/ruff format --check .
run build/venv/bin/mypy --no-error-summary

echo "-- clang-format"
run formatted

echo "-- headers, each alone"
run headers_alone

echo "-- clang-tidy"
run tidy

if [ "$failed" != 0 ]; then
  echo "lint: $failed checks failed"
  exit 1
fi
echo "lint: all passed"
