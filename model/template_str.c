#include "config.h"
#include "model/template_impl.h"

#include "base/mem.h"

#include <string.h>

#include <utf8proc.h>

/* Strings: views into blocks of bytes and origins. A block may have room after its used part; a
 * string that ends exactly there can be appended to in place (older views keep their length), which
 * makes `s = s + x` in a loop linear. */

uint32_t sn_jutf8(const char *s, size_t n, size_t *len)
{
    const unsigned char c = (unsigned char)s[0];
    if (c < 0x80) {
        *len = 1;
        return c;
    }
    utf8proc_int32_t cp;
    const utf8proc_ssize_t k =
        utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &cp);
    *len = k > 0 ? (size_t)k : 1;
    return k > 0 ? (uint32_t)cp : 0xFFFD;
}

bool sn_jspace(uint32_t cp)
{
    if (cp < 0x80)
        return cp == ' ' || (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x1F);
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool sn_jstr_is(const struct sn_jstr *s, const char *text)
{
    const size_t n = strlen(text);
    return s->n == n && memcmp(s->s, text, n) == 0;
}

bool sn_jstr_same(const struct sn_jstr *a, const struct sn_jstr *b)
{
    return a->n == b->n && (a->s == b->s || memcmp(a->s, b->s, a->n) == 0);
}

size_t sn_jstr_chars(const struct sn_jstr *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += (s->s[i] & 0xC0) != 0x80;
    return n;
}

size_t sn_jstr_at(const struct sn_jstr *s, size_t i)
{
    for (size_t at = 0; at < s->n; at++)
        if ((s->s[at] & 0xC0) != 0x80 && i-- == 0)
            return at;
    return s->n;
}

size_t sn_jstr_find(const struct sn_jstr *s, const struct sn_jstr *what, size_t at)
{
    if (at > s->n || what->n > s->n - at)
        return SIZE_MAX;
    if (what->n == 0)
        return at;
    const char *p = memmem(s->s + at, s->n - at, what->s, what->n);
    return p ? (size_t)(p - s->s) : SIZE_MAX;
}

static int wrap(struct sn_jrun *r, struct sn_jstr s, struct sn_jval *out)
{
    struct sn_jstr *p = sn_jalloc(r, sizeof *p);
    if (!p)
        return -(int)r->d->code;
    *p = s;
    *out = (struct sn_jval){.kind = SN_J_STR, .u.s = p};
    return 0;
}

int sn_jstr_new(struct sn_jrun *r, const char *s, size_t n, struct sn_jval *out)
{
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    sn_jbuf_put(&b, s, n, NULL);
    return sn_jbuf_done(&b, out);
}

int sn_jstr_view(struct sn_jrun *r, const struct sn_jstr *s, size_t at, size_t n,
                 struct sn_jval *out)
{
    const struct sn_jstr v = {s->s + at, s->from ? s->from + at : NULL, n, s->block, s->safe};
    return wrap(r, v, out);
}

int sn_jstr_mark(struct sn_jrun *r, const struct sn_jstr *s, bool safe, struct sn_jval *out)
{
    struct sn_jstr v = *s;
    v.safe = safe;
    return wrap(r, v, out);
}

int sn_jstr_escape(struct sn_jrun *r, const struct sn_jstr *s, struct sn_jval *out)
{
    static const struct { char c; const char *text; } entities[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"},
    };
    if (s->safe)
        return sn_jstr_view(r, s, 0, s->n, out);
    struct sn_jbuf b;
    sn_jbuf_init(&b, r);
    for (size_t i = 0; i < s->n && !b.failed; i++) {
        size_t k = 0;
        while (k < SN_COUNT(entities) && entities[k].c != s->s[i])
            k++;
        if (k < SN_COUNT(entities))
            sn_jbuf_fill(&b, entities[k].text, strlen(entities[k].text), s->from ? s->from[i] : 0);
        else
            sn_jbuf_view(&b, s, i, 1);
    }
    const int rc = sn_jbuf_done(&b, out);
    return rc < 0 ? rc : sn_jstr_mark(r, out->u.s, true, out);
}

int sn_jstr_add(struct sn_jrun *r, const struct sn_jstr *a, const struct sn_jstr *b,
                struct sn_jval *out)
{
    if (!a->safe && !b->safe)
        return sn_jstr_concat(r, a, b, out);
    struct sn_jval x, y;
    int rc = sn_jstr_escape(r, a, &x);
    if (rc == 0)
        rc = sn_jstr_escape(r, b, &y);
    if (rc == 0)
        rc = sn_jstr_concat(r, x.u.s, y.u.s, out);
    return rc < 0 ? rc : sn_jstr_mark(r, out->u.s, true, out);
}

static void block_append(struct sn_jblock *b, const struct sn_jstr *s)
{
    if (!s->n)
        return;
    memmove(b->s + b->used, s->s, s->n);
    if (s->from)
        memmove(b->from + b->used, s->from, s->n);
    else
        memset(b->from + b->used, 0, s->n);
    b->used += s->n;
}

static struct sn_jblock *block_new(struct sn_jrun *r, size_t cap)
{
    struct sn_jblock *b = sn_jalloc(r, sizeof *b);
    char *bytes = b ? sn_jalloc(r, 2 * cap) : NULL;
    if (!bytes)
        return NULL;
    *b = (struct sn_jblock){.s = bytes, .from = (uint8_t *)bytes + cap, .cap = cap};
    return b;
}

int sn_jstr_concat(struct sn_jrun *r, const struct sn_jstr *a, const struct sn_jstr *b,
                   struct sn_jval *out)
{
    if (b->n > SN_J_MAX_STRING - a->n)
        return sn_jfail(r, SN_ELIMIT, "a string of more than %zu MiB", SN_J_MAX_STRING >> 20);
    struct sn_jblock *k = a->block;
    if (!k || a->s + a->n != k->s + k->used || k->cap - k->used < b->n) {
        const size_t n = a->n + b->n;
        const int rc = sn_jtick_bytes(r, n);
        if (rc < 0)
            return rc;
        k = block_new(r, a->block ? 2 * n : n);
        if (!k)
            return -(int)r->d->code;
        block_append(k, a);
    }
    const size_t at = k->used - a->n;
    block_append(k, b);
    const struct sn_jstr s = {k->s + at, k->from + at, a->n + b->n, k, false};
    return wrap(r, s, out);
}

/* --- building ----------------------------------------------------------------------------- */

void sn_jbuf_init(struct sn_jbuf *b, struct sn_jrun *r) { *b = (struct sn_jbuf){.r = r}; }

static bool reserve(struct sn_jbuf *b, size_t n)
{
    if (b->failed)
        return false;
    if (n > SN_J_MAX_STRING - b->b.used) {
        b->failed = b->over = true;
        return false;
    }
    if (n <= b->b.cap - b->b.used)
        return true;
    const size_t cap = sn_max(sn_max(b->b.used + n, 2 * b->b.cap), 64);
    char *bytes = sn_jalloc(b->r, 2 * cap);
    if (!bytes) {
        b->failed = true;
        return false;
    }
    if (b->b.used) {
        memcpy(bytes, b->b.s, b->b.used);
        memcpy(bytes + cap, b->b.from, b->b.used);
    }
    b->b.s = bytes;
    b->b.from = (uint8_t *)bytes + cap;
    b->b.cap = cap;
    return true;
}

void sn_jbuf_put(struct sn_jbuf *b, const char *s, size_t n, const uint8_t *from)
{
    if (n && reserve(b, n)) {
        const struct sn_jstr v = {.s = s, .from = from, .n = n};
        block_append(&b->b, &v);
    }
}

void sn_jbuf_fill(struct sn_jbuf *b, const char *s, size_t n, uint8_t from)
{
    if (!n || !reserve(b, n))
        return;
    memcpy(b->b.s + b->b.used, s, n);
    memset(b->b.from + b->b.used, from, n);
    b->b.used += n;
}

void sn_jbuf_lit(struct sn_jbuf *b, const char *s) { sn_jbuf_put(b, s, strlen(s), NULL); }

void sn_jbuf_str(struct sn_jbuf *b, const struct sn_jstr *s) { sn_jbuf_put(b, s->s, s->n, s->from); }

void sn_jbuf_view(struct sn_jbuf *b, const struct sn_jstr *s, size_t at, size_t n)
{
    sn_jbuf_put(b, s->s + at, n, s->from ? s->from + at : NULL);
}

void sn_jbuf_cp(struct sn_jbuf *b, uint32_t cp, uint8_t from)
{
    utf8proc_uint8_t s[4];
    const utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)cp, s);
    if (n > 0)
        sn_jbuf_fill(b, (const char *)s, (size_t)n, from);
}

void sn_jbuf_pad(struct sn_jbuf *b, char c, size_t n)
{
    if (!n || !reserve(b, n))
        return;
    memset(b->b.s + b->b.used, c, n);
    memset(b->b.from + b->b.used, 0, n);
    b->b.used += n;
}

int sn_jbuf_check(struct sn_jbuf *b)
{
    if (b->over)
        return sn_jfail(b->r, SN_ELIMIT, "a text of more than %zu MiB", SN_J_MAX_STRING >> 20);
    return b->failed ? -(int)b->r->d->code : 0;
}

int sn_jbuf_done(struct sn_jbuf *b, struct sn_jval *out)
{
    int rc = sn_jbuf_check(b);
    if (rc == 0)
        rc = sn_jtick_bytes(b->r, b->b.used);
    if (rc < 0)
        return rc;
    if (b->b.used == 0) /* perhaps without a block */
        return wrap(b->r, (struct sn_jstr){.s = ""}, out);
    struct sn_jblock *k = sn_jalloc(b->r, sizeof *k);
    if (!k)
        return -(int)b->r->d->code;
    *k = b->b;
    const struct sn_jstr s = {k->s, k->from, k->used, k, false};
    return wrap(b->r, s, out);
}
