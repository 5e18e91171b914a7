#!/bin/sh
# Installs into a folder of its own, builds samples/generate.c against what was installed, with the
# shared and the static library, and runs it.
top=$(cd "${srcdir:-.}" && pwd)
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
fail=0
complain() { echo "FAIL: $*"; fail=1; }

unset MAKEFLAGS MFLAGS MAKELEVEL
make -s install prefix="$tmp/usr" libdir="$tmp/usr/lib" >"$tmp/log" 2>&1 ||
    { cat "$tmp/log"; echo "FAIL: make install"; exit 1; }
unwanted=$(cd "$tmp/usr/include" && find . -type f ! -name sensorium.h)
[ -z "$unwanted" ] || complain "more headers than the public one: $unwanted"

# The .pc file names the configured prefix: only its list of libraries is asked for.
private=$(PKG_CONFIG_PATH=$tmp/usr/lib/pkgconfig pkg-config --static --libs-only-l sensorium) ||
    complain "sensorium.pc cannot be read"
# shellcheck disable=SC2086
$SN_CC -Wall -Wextra -Werror -I"$tmp/usr/include" "$top/samples/generate.c" -o "$tmp/shared" \
    -L"$tmp/usr/lib" -lsensorium -Wl,-rpath,"$tmp/usr/lib" || complain "no shared link"
# shellcheck disable=SC2086
$SN_CC -I"$tmp/usr/include" "$top/samples/generate.c" -o "$tmp/static" \
    "$tmp/usr/lib/libsensorium.a" ${private#*-lsensorium} || complain "no static link"

hidden=$(nm -D --defined-only "$tmp/usr/lib/libsensorium.so" | awk '$3 ~ /^sn_/')
[ -z "$hidden" ] || complain "inner symbols are visible: $hidden"

for kind in shared static; do
    "$tmp/$kind" 2>/dev/null
    [ $? -eq 2 ] || complain "$kind: wrong use"
    "$tmp/$kind" "$tmp/none.gguf" hello 2>"$tmp/err"
    [ $? -eq 1 ] || complain "$kind: a missing model"
    grep -q 'none\.gguf' "$tmp/err" || complain "$kind: the error does not name the file"
    if [ -n "$SN_TEST_SMOLLM2" ]; then
        "$tmp/$kind" "$SN_TEST_SMOLLM2" 'What is the capital of France?' >"$tmp/out" ||
            complain "$kind: no answer"
        grep -q Paris "$tmp/out" || complain "$kind: $(cat "$tmp/out")"
    fi
done
exit $fail
