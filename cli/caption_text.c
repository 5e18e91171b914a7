#include "config.h"
#include "cli/caption_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <utf8proc.h>

#include "base/mem.h"
#include "cli/text.h"

/* XML 1.0, production 2 (Char). */
static bool is_xml_char(utf8proc_int32_t c)
{
    return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c <= 0xD7FF) ||
           (c >= 0xE000 && c <= 0xFFFD) || (c >= 0x10000 && c <= 0x10FFFF);
}

static const char *xml_reference(utf8proc_int32_t c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    case '\r': return "&#13;"; /* as itself a parser makes it a line feed */
    default: return NULL;
    }
}

void caption_put_xml(struct sn_strbuf *to, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t got =
            utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &c);
        const size_t len = got > 0 ? (size_t)got : 1;
        const char *reference = got > 0 ? xml_reference(c) : NULL;
        if (reference)
            sn_strbuf_puts(to, reference);
        else if (got > 0 && is_xml_char(c))
            sn_strbuf_append(to, s + i, len);
        else
            sn_strbuf_put_utf8(to, 0xFFFD);
        i += len;
    }
}

void caption_put_csv(struct sn_strbuf *to, const char *s, size_t n)
{
    sn_strbuf_putc(to, '"');
    if (n && s[0] && strchr("=+-@\t\r", s[0]))
        sn_strbuf_putc(to, '\'');
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"')
            sn_strbuf_putc(to, '"');
        sn_strbuf_putc(to, s[i]);
    }
    sn_strbuf_putc(to, '"');
}

void caption_put_base64(struct sn_strbuf *to, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        const unsigned b1 = i + 1 < n ? bytes[i + 1] : 0, b2 = i + 2 < n ? bytes[i + 2] : 0;
        const unsigned v = (unsigned)bytes[i] << 16 | b1 << 8 | b2;
        const char group[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=',
                               i + 2 < n ? digits[v & 63] : '='};
        sn_strbuf_append(to, group, sizeof group);
    }
}

void caption_trim(const char **s, size_t *n)
{
    while (*n && isspace((unsigned char)(*s)[0]))
        ++*s, --*n;
    while (*n && isspace((unsigned char)(*s)[*n - 1]))
        --*n;
}

static void hex_key(const char *key, char *to, size_t size)
{
    snprintf(to, size, "%s_hex", key);
}

bool caption_json_set_name(json_t *object, const char *key, const char *name)
{
    const size_t n = strlen(name);
    if (json_object_set_new(object, key, sn_json_text(name, n)) != 0)
        return false;
    json_t *exact = json_stringn(name, n);
    json_decref(exact);
    if (exact)
        return true;
    char other[32];
    hex_key(key, other, sizeof other);
    struct sn_strbuf b = {0};
    for (size_t i = 0; i < n; i++)
        sn_strbuf_printf(&b, "%02x", (unsigned char)name[i]);
    const bool ok = !b.failed && json_object_set_new(object, other, json_stringn(b.data, b.len)) == 0;
    sn_strbuf_fini(&b);
    return ok;
}

/* NULL where `hex` is not an even number of digits, or has a zero byte. */
static char *from_hex(const char *hex, size_t n)
{
    char *name = n % 2 == 0 ? sn_calloc(n / 2 + 1, 1) : NULL;
    for (size_t i = 0; name && i < n; i += 2) {
        unsigned v;
        if (!isxdigit((unsigned char)hex[i]) || !isxdigit((unsigned char)hex[i + 1]) ||
            sscanf(hex + i, "%2x", &v) != 1 || v == 0) {
            sn_free(name);
            return NULL;
        }
        name[i / 2] = (char)v;
    }
    return name;
}

char *caption_json_name(const json_t *object, const char *key)
{
    char other[32];
    hex_key(key, other, sizeof other);
    const json_t *hex = json_object_get(object, other), *plain = json_object_get(object, key);
    if (json_is_string(hex))
        return from_hex(json_string_value(hex), json_string_length(hex));
    if (!json_is_string(plain) || strlen(json_string_value(plain)) != json_string_length(plain))
        return NULL;
    return sn_strdup(json_string_value(plain));
}
