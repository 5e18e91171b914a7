#!/bin/sh
# Every fuzz target over its corpus and over the inputs that once broke it.
srcdir=${srcdir:-.}
status=0 ran=0
for program in tests/fuzz/replay_*; do
    case $program in *.o | *.c) continue ;; esac
    [ -x "$program" ] || continue
    name=${program##*/replay_}
    set --
    for f in "$srcdir/tests/fuzz/corpus/$name"/* "$srcdir/tests/fuzz/regressions/$name"/*; do
        [ -f "$f" ] && set -- "$@" "$f"
    done
    [ $# -gt 0 ] || { echo "FAIL: $name has no corpus"; status=1; continue; }
    "$program" "$@" || { echo "FAIL: $name"; status=1; }
    ran=$((ran + 1))
done
[ $ran -gt 0 ] || { echo "FAIL: no replay_* program"; status=1; }
exit $status
