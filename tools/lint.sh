#!/bin/sh
# What `./dev lint [full]` runs: everything about the sources that needs no test. Stops at the first
# check that fails. Expects the packages and build/venv that `./dev lint` provides.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build
extent=${1-usual}
jobs=${TILEWISE_JOBS-$(nproc)}

echo "-- the checks themselves"
python3 -m unittest discover -q -b -s tools/tests -t tools
python3 tools/check_layers.py
python3 tools/check_shape.py
python3 tools/check_words.py
python3 tools/check_links.py
python3 tools/receipt.py check

echo "-- shell"
shellcheck dev tools/*.sh tests/consumers/*.sh .ci/run

echo "-- Python"
build/venv/bin/ruff check -q .
build/venv/bin/ruff format --check .
build/venv/bin/mypy --no-error-summary

echo "-- clang-format"
find . -path ./build -prune -o \( -name '*.h' -o -name '*.hpp' -o -name '*.cpp' -o -name '*.c' \) \
  -print | sort | xargs clang-format-14 --dry-run -Werror

echo "-- headers, each alone"
# Without precompiled headers, behind which an include may be missing.
cmake --preset clang -B build/tidy -D CMAKE_DISABLE_PRECOMPILE_HEADERS=ON >build/lint.log
if ! cmake --build build/tidy -j "$jobs" --target all_verify_interface_header_sets \
  >>build/lint.log; then
  tail -n 40 build/lint.log
  exit 1
fi

echo "-- clang-tidy"
# A broken .clang-tidy is only a remark to clang-tidy, which then checks something else.
if clang-tidy-14 --dump-config 2>&1 | grep '\.clang-tidy'; then exit 1; fi
all=
if [ "$extent" = full ]; then all=--all; fi
python3 tools/changed_sources.py $all build/tidy/compile_commands.json >build/tidy/files
xargs -r -n 1 -P "$jobs" clang-tidy-14 --quiet -p build/tidy <build/tidy/files 2>build/tidy.log

echo "lint: all passed"
