#!/bin/sh
# Where the packages of the rest of the command line are missing, the demo can be built without it,
# and of the harness it takes the bounds alone.
# Usage: demo_alone.sh SOURCE_FOLDER
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake -S "$1" -B "$work" -DCMAKE_DISABLE_FIND_PACKAGE_CLI11=ON \
  -DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON -DTILEWISE_BUILD_TESTS=OFF >"$work/cmake.log"
grep "apt-get install libcli11-dev nlohmann-json3-dev" "$work/cmake.log"
cmake --build "$work" --target help >"$work/targets"
grep tilewise_demo "$work/targets"
if grep -E "tilewise_cli(:|_parts)" "$work/targets"; then exit 1; fi

# What would be compiled for it, beside the library; other generators cannot tell.
[ "${CMAKE_GENERATOR-}" = Ninja ] || exit 0
ninja -C "$work" -t commands tilewise_demo >"$work/steps"
grep -q "demo_report\\.cpp\\.o" "$work/steps"
others="bench|measure|check|completion|parser|json|cases_json|sweep|generate"
if grep -E "($others)\\.cpp\\.o" "$work/steps"; then
  echo "The demo compiles what it does not show." >&2
  exit 1
fi
