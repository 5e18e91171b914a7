#include "base/strbuf.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define MAX_DEFAULT ((size_t)1 << 30)

static bool reserve(struct sn_strbuf *b, size_t n)
{
    const size_t max = b->max ? b->max : MAX_DEFAULT;
    if (b->failed || n > max || b->len > max - n ||
        !sn_grow((void **)&b->data, &b->cap, b->len + n + 1, 1))
        b->failed = true;
    return !b->failed;
}

void sn_strbuf_append(struct sn_strbuf *b, const void *bytes, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n)
        memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void sn_strbuf_puts(struct sn_strbuf *b, const char *s) { sn_strbuf_append(b, s, strlen(s)); }
void sn_strbuf_putc(struct sn_strbuf *b, char c) { sn_strbuf_append(b, &c, 1); }

void sn_strbuf_printf(struct sn_strbuf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !reserve(b, (size_t)n)) {
        b->failed = true;
        return;
    }
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

void sn_strbuf_put_utf8(struct sn_strbuf *b, unsigned cp)
{
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
        cp = 0xFFFD;
    char s[4];
    size_t n = 0;
    if (cp < 0x80) {
        s[n++] = (char)cp;
    } else if (cp < 0x800) {
        s[n++] = (char)(0xC0 | cp >> 6);
        s[n++] = (char)(0x80 | (cp & 0x3F));
    } else if (cp < 0x10000) {
        s[n++] = (char)(0xE0 | cp >> 12);
        s[n++] = (char)(0x80 | (cp >> 6 & 0x3F));
        s[n++] = (char)(0x80 | (cp & 0x3F));
    } else {
        s[n++] = (char)(0xF0 | cp >> 18);
        s[n++] = (char)(0x80 | (cp >> 12 & 0x3F));
        s[n++] = (char)(0x80 | (cp >> 6 & 0x3F));
        s[n++] = (char)(0x80 | (cp & 0x3F));
    }
    sn_strbuf_append(b, s, n);
}

void sn_strbuf_clear(struct sn_strbuf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

char *sn_strbuf_take(struct sn_strbuf *b)
{
    char *s = NULL;
    if (!b->failed && reserve(b, 0)) {
        b->data[b->len] = '\0';
        s = b->data;
        b->data = NULL;
    }
    sn_strbuf_fini(b);
    return s;
}

void sn_strbuf_fini(struct sn_strbuf *b)
{
    sn_free(b->data);
    *b = (struct sn_strbuf){.max = b->max};
}
