#!/bin/sh
# Every header compiles alone; the public one also as C99 and C++, without our flags.
top=$(cd "${srcdir:-.}" && pwd)
fail=0
try() {
    name=$1
    shift
    printf '#include "%s"\n' "$name" | "$@" -fsyntax-only -Wall -Wextra -Werror - || {
        echo "FAIL: $name does not compile alone"
        fail=1
    }
}
cd "$top" || exit 99
for header in base/*.h compute/*.h model/*.h llm/*.h media/*.h encoders/*.h fusion/*.h pipeline/*.h queue/*.h cli/*.h; do
    test -e "$header" || continue
    case $header in
        *_impl.h | *_tmpl.h) continue ;; # pieces of one .c file's inside
    esac
    # shellcheck disable=SC2086
    try "$header" ${SN_CC:-cc} $SN_CPPFLAGS -I"$SN_BUILDDIR" -I"$top" -std=gnu11 -x c
done
# shellcheck disable=SC2086
try sensorium.h ${SN_CC:-cc} -Iinclude -std=c99 -pedantic -x c
if echo 'int main() { return 0; }' | ${CXX:-c++} -x c++ -fsyntax-only - 2>/dev/null; then
    try sensorium.h "${CXX:-c++}" -Iinclude -x c++
fi
exit $fail
