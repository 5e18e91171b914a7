#!/bin/sh
# Includes go downwards only, and the source keeps to the style; and the checks do find faults.
top=$(cd "${srcdir:-.}" && pwd)
fail=0
"$top/build-aux/check-layers" "$top" || fail=1
"$top/build-aux/check-style" "$top" || fail=1

tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
for folder in base compute model llm media include cli lib samples tests; do
    mkdir "$tmp/$folder"
done
# refused CHECK FILE TEXT
refused() {
    printf '%s\n' "$3" >"$tmp/$2"
    if "$top/build-aux/$1" "$tmp" >/dev/null 2>&1; then
        echo "FAIL: $1 lets pass in $2: $3"
        fail=1
    fi
    rm "$tmp/$2"
}
refused check-layers base/a.c '#include "model/gguf.h"'
refused check-layers llm/a.c '#include "media/image.h"'
refused check-layers lib/a.c '#include "cli/options.h"'
refused check-layers llm/a.c '#include <jansson.h>'
refused check-style base/a.c '    strcpy(a, b);'
refused check-style model/a.c '    printf("hello");'
refused check-style llm/a.c '    p = malloc(3);'
refused check-style cli/a.c '    /* TO''DO */'
"$top/build-aux/check-layers" "$tmp" && "$top/build-aux/check-style" "$tmp" || {
    echo "FAIL: nothing at all is refused"
    fail=1
}
exit $fail
