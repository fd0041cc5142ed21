#!/bin/sh
# Installs a build into a fresh prefix, moves that prefix, and builds users' projects against it: by
# find_package, by pkg-config with plain cc, and as a subdirectory.
# Usage: check.sh BUILD_FOLDER SOURCE_FOLDER
set -eu
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/first" >"$work/install.log"
mv "$work/first" "$work/prefix"
prefix=$work/prefix

cmake -S "$source/tests/consumers/cmake" -B "$work/cmake" -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_PREFIX_PATH="$prefix" >"$work/cmake.log"
cmake --build "$work/cmake"
for program in from_c from_cpp from_cpp_static; do
  echo "+ $program"
  "$work/cmake/$program"
done

pc=$(find "$prefix" -name tilewise.pc)
PKG_CONFIG_PATH=$(dirname "$pc")
export PKG_CONFIG_PATH
library_folder=$(pkg-config --variable=libdir tilewise)
# The flags are several words.
# shellcheck disable=SC2046
cc -std=c11 -O1 "$source/tests/consumers/call.c" -o "$work/plain" \
  $(pkg-config --cflags --libs tilewise)
echo "+ plain cc, shared"
LD_LIBRARY_PATH=$library_folder "$work/plain"

echo "+ the README's line, which lets the program find the library"
cp "$source/tests/consumers/call.c" "$work/program.c"
line=$(sed -n 's/.*\(cc program\.c [^`]*\).*/\1/p' "$source/README.md")
[ -n "$line" ]
(cd "$work" && eval "$line" && ./a.out)

# shellcheck disable=SC2046
cc -std=c11 -O1 "$source/tests/consumers/call.c" -o "$work/plain_static" \
  $(pkg-config --cflags tilewise) "$library_folder/libtilewise.a" \
  $(pkg-config --static --libs-only-l --libs-only-other tilewise | sed 's/-ltilewise//')
echo "+ plain cc, static"
"$work/plain_static"

if [ -x "$prefix/bin/tilewise" ]; then
  echo "+ the installed command line"
  "$prefix/bin/tilewise" --version
fi

# As a subdirectory it must bring neither tests nor the command line into its parent.
mkdir "$work/parent"
cat >"$work/parent/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(parent LANGUAGES CXX)
add_subdirectory($source tilewise)
if(TARGET tilewise_cli OR TARGET test_core OR NOT TARGET tilewise::tilewise)
  message(FATAL_ERROR "As a subdirectory, Tilewise must give the library and nothing else.")
endif()
END
echo "+ as a subdirectory"
cmake -S "$work/parent" -B "$work/parent/build" >"$work/parent.log"
