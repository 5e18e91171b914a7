#include "config.h"
#include "llm/stop.h"

#include <string.h>

#include "base/mem.h"

enum { STOPS_MAX = 64, STOP_BYTES_MAX = 4096 };

int sn_stop_init(struct sn_stop *s, const char *const *texts, size_t n, struct sn_diag *d)
{
    *s = (struct sn_stop){0};
    if (n > STOPS_MAX) return sn_fail(d, SN_EINVAL, "stop: %zu texts, over %d", n, STOPS_MAX);
    for (size_t i = 0; i < n; i++) {
        const size_t len = strlen(texts[i]);
        if (len == 0 || len > STOP_BYTES_MAX)
            return sn_fail(d, SN_EINVAL, "stop: text %zu has %zu bytes, not 1..%d", i, len,
                           STOP_BYTES_MAX);
    }
    s->texts = sn_calloc(n, sizeof *s->texts);
    bool ok = s->texts != NULL;
    for (; ok && s->n < n; s->n++) {
        s->texts[s->n] = sn_strdup(texts[s->n]);
        ok = s->texts[s->n] != NULL;
    }
    if (ok) return 0;
    sn_stop_fini(s);
    return sn_fail(d, SN_ENOMEM, "stop: %zu texts", n);
}

void sn_stop_fini(struct sn_stop *s)
{
    for (size_t i = 0; s->texts && i < s->n; i++) sn_free(s->texts[i]);
    sn_free(s->texts);
    sn_strbuf_fini(&s->held);
    *s = (struct sn_stop){0};
}

/* Length of the longest stop text that ends text[0..n-1]; 0: none does. */
static size_t ends_with(const struct sn_stop *s, const char *text, size_t n)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n; i++) {
        const size_t len = strlen(s->texts[i]);
        if (len <= n && len > longest && !memcmp(text + n - len, s->texts[i], len)) longest = len;
    }
    return longest;
}

/* Bytes at the end of text[0..n-1] that begin some stop text. */
static size_t begun(const struct sn_stop *s, const char *text, size_t n)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t len = sn_min(strlen(s->texts[i]) - 1, n);
        while (len > longest && memcmp(text + n - len, s->texts[i], len) != 0) len--;
        longest = sn_max(longest, len);
    }
    return longest;
}

int sn_stop_feed(struct sn_stop *s, const char *text, size_t n, struct sn_strbuf *out, bool *hit,
                 struct sn_diag *d)
{
    const size_t old = s->held.len;
    *hit = false;
    sn_strbuf_append(&s->held, text, n);
    if (s->held.failed) return sn_fail(d, SN_ENOMEM, "stop: %zu bytes held back", old + n);
    for (size_t end = old + 1; end <= s->held.len; end++) {
        const size_t len = ends_with(s, s->held.data, end);
        if (!len) continue;
        sn_strbuf_append(out, s->held.data, end - len);
        sn_strbuf_clear(&s->held);
        *hit = true;
        return 0;
    }
    if (!s->held.len) return 0;
    const size_t keep = begun(s, s->held.data, s->held.len), certain = s->held.len - keep;
    sn_strbuf_append(out, s->held.data, certain);
    memmove(s->held.data, s->held.data + certain, keep + 1);
    s->held.len = keep;
    return 0;
}

void sn_stop_flush(struct sn_stop *s, struct sn_strbuf *out)
{
    if (s->held.len) sn_strbuf_append(out, s->held.data, s->held.len);
    sn_strbuf_clear(&s->held);
}
