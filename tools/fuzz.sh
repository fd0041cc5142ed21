#!/bin/sh
# What `./dev fuzz SECONDS` runs: each fuzz target for a third of the time, starting from the inputs
# in tests/fuzz/corpus and those that earlier runs found. New inputs go to build/fuzz/TARGET. If a
# target fails, its input is named, with how to run and keep it. Expects the packages that
# `./dev fuzz` provides.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
programs=$root/build/fuzz/tests/fuzz
targets="descriptors npy arguments"

# Nine digits are as many as every shell can count with.
seconds=${1-}
case $seconds in
  "" | 0* | *[!0-9]* | ??????????*) seconds=0 ;;
esac
if [ "$seconds" -lt 3 ] || [ $# -ne 1 ]; then
  echo "./dev fuzz takes a whole number of seconds, from 3; it was given: ${*:-nothing}." >&2
  exit 2
fi

# The longest input that is tried: descriptors of all tensors, a header with numbers, a long line.
longest() {
  case $1 in
    descriptors) echo 2048 ;;
    npy) echo 1024 ;;
    arguments) echo 512 ;;
  esac
}

# fuzz TARGET: a line of what it did; false when an input broke a promise.
fuzz() {
  target=$1
  found=$root/build/fuzz/$target
  log=$root/build/fuzz/$target.log
  mkdir -p "$found"
  rm -f "$found".crash-* "$found".timeout-* "$found".oom-* "$found".leak-* "$found".slow-*
  set -- "$found" "$root/tests/fuzz/corpus/$target" -artifact_prefix="$found." \
    -max_total_time=$((seconds / 3)) -max_len="$(longest "$target")" -len_control=0 \
    -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
  words=$root/tests/fuzz/$target.dict
  [ ! -f "$words" ] || set -- "$@" -dict="$words"
  status=0
  "$programs/fuzz_$target" "$@" >"$log" 2>&1 || status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  cover=$(sed -n 's/.* \(cov: [0-9]* ft: [0-9]*\).*/\1/p' "$log" | tail -n 1)
  echo "$target: ${runs:-no} executions, ${cover:-nothing covered}" | tee -a "$summary"
  [ $status -eq 0 ] && return 0
  grep -E '^broken promise|ERROR|runtime error|SUMMARY' "$log" >&2 || tail -n 20 "$log" >&2
  broken=
  for file in "$found".*-*; do
    [ -f "$file" ] || continue
    broken=$file
    echo "The input is $file; all that was said is in $log." >&2
    echo "  see it again:  $programs/fuzz_$target $file" >&2
    echo "  keep it:       mend the bug, then" >&2
    echo "                 cp $file tests/fuzz/corpus/$target/what_went_wrong" >&2
  done
  [ -n "$broken" ] || echo "No input was left behind; all that was said is in $log." >&2
  return 1
}

echo "== building the fuzz targets"
mkdir -p build/fuzz
if ! { cmake --preset fuzz && cmake --build --preset fuzz; } >build/fuzz/build.log 2>&1; then
  tail -n 40 build/fuzz/build.log >&2
  exit 1
fi
summary=$root/build/fuzz/summary.txt
: >"$summary"
crashes=0
for target in $targets; do
  echo "== fuzzing $target for $((seconds / 3)) s"
  fuzz "$target" || crashes=$((crashes + 1))
done
echo
cat "$summary"
echo "crashes: $crashes"
[ "$crashes" -eq 0 ]
