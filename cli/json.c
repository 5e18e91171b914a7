#include "config.h"
#include "cli/json.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"

/* Length of the UTF-8 character at s (1..4), 0 when the bytes there are none (Unicode 15, table
 * 3-7: no overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t character(const unsigned char *s, size_t n)
{
    const unsigned char c = s[0];
    if (c < 0x80)
        return 1;
    const size_t len = c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    const unsigned char low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return len;
}

json_t *cli_json_text(const char *bytes, size_t n)
{
    struct sn_strbuf b = {0};
    for (size_t i = 0; i < n;) {
        const size_t len = character((const unsigned char *)bytes + i, n - i);
        if (len)
            sn_strbuf_append(&b, bytes + i, len);
        else
            sn_strbuf_put_utf8(&b, 0xFFFD);
        i += len ? len : 1;
    }
    json_t *text = b.failed ? NULL : json_stringn(b.data ? b.data : "", b.len);
    sn_strbuf_fini(&b);
    return text;
}

json_t *cli_json_ids(const int32_t *ids, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n && list; i++)
        if (json_array_append_new(list, json_integer(ids[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

void cli_json_set(json_t *object, const char *key, json_t *value)
{
    /* A missing value shows as a missing key with a mark beside it, seen by cli_json_print(). */
    if (!value || json_object_set_new(object, key, value) != 0)
        json_object_set_new(object, "", json_false());
}

int cli_json_print(json_t *object, struct sn_diag *d)
{
    const bool whole = object && !json_object_get(object, "");
    const bool done = whole &&
                      json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0;
    json_decref(object);
    if (!done)
        return sn_fail(d, SN_ENOMEM, "the JSON output");
    putchar('\n');
    return 0;
}
