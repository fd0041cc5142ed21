#!/bin/sh
# Tests the command line and Python on a GPU, for `./dev gpu test`. Ends with lines like those that
# gtest ends with, from which tools/receipt.py counts the tests. Usage: gpu_faces.sh BUILD
set -u
cd "$(dirname "$0")/.." || exit
build=$1
program=$build/bin/tilewise
library=$PWD/$build/libtilewise.so
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
passed=0
failed=0

# good NAME COMMAND...: it ends well.
good() {
  name=$1
  shift
  echo "== $name"
  if "$@"; then
    passed=$((passed + 1))
  else
    echo "   ended with $?"
    failed=$((failed + 1))
  fi
}

# Without --device the programs take the GPU, as their first line says.
on_the_gpu() {
  "$@" >"$folder/said" || return
  cat "$folder/said"
  head -n 1 "$folder/said" | grep -q 'cuda:0'
}

# What --device cpu and --device cuda write differs by rounding alone.
alike() {
  python3 - "$folder/cpu.npy" "$folder/cuda.npy" <<'END'
import struct
import sys

def numbers(path):
    content = open(path, "rb").read()
    start = 10 + struct.unpack_from("<H", content, 8)[0]
    return struct.unpack(f"<{(len(content) - start) // 8}d", content[start:])

one, other = map(numbers, sys.argv[1:])
assert len(one) == len(other) > 0
worst = max(abs(a - b) for a, b in zip(one, other))
print(f"the largest difference is {worst:.1e}")
assert worst < 1e-12
END
}

run_on() {
  "$program" run --query "$folder/q.npy" --key "$folder/k.npy" --value "$folder/v.npy" --causal \
    --output "$folder/$1.npy" --device "$1"
}

python3 - "$folder" <<'END'
import random
import struct
import sys

source = random.Random(1)
for name in ("q", "k", "v"):
    values = [source.gauss(0, 1) for _ in range(1 * 300 * 2 * 40)]
    text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 300, 2, 40), }".ljust(117) + "\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
    open(f"{sys.argv[1]}/{name}.npy", "wb").write(head + struct.pack(f"<{len(values)}d", *values))
END

good demo on_the_gpu "$program" demo
good demo_bfloat16 "$program" demo --device cuda --dtype bfloat16
good check on_the_gpu "$program" check --tier smoke
good explain on_the_gpu "$program" explain --case causal-1024
good bench on_the_gpu "$program" bench --case causal-1024 --seconds 0.2 --no-peers
good run_here run_on cpu
good run_there run_on cuda
good run_alike alike
for python in build/venv/bin/python build/peers-venv/bin/python python3; do
  "$python" -c 'import numpy, pytest' 2>/dev/null || continue
  good python env TILEWISE_LIBRARY="$library" PYTHONPATH=python:python/tests TILEWISE_NEEDS_GPU=1 \
    "$python" -m pytest -q -p no:cacheprovider python/tests/test_device.py
  break
done

echo "[  PASSED  ] $passed tests."
[ "$failed" = 0 ] || echo "[  FAILED  ] $failed tests, listed above."
[ "$failed" = 0 ]
