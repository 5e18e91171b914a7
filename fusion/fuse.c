#define _GNU_SOURCE /* memmem */
#include "config.h"
#include "fusion/fuse_impl.h"

#include <string.h>

#include "base/mem.h"

static int no_memory(struct sn_fusing *w)
{
    return sn_fail(w->d, SN_ENOMEM, "fusion: a prompt of %zu tokens", w->ids.n);
}

/* --- tokens --- */

static int put_position(struct sn_fusing *w, struct sn_position at)
{
    struct sn_prompt *p = w->out;
    void *list = p->at;
    if (!sn_grow(&list, &w->cap_at, w->ids.n, sizeof *p->at)) return no_memory(w);
    p->at = list;
    p->at[w->ids.n - 1] = at;
    return 0;
}

static int put_token(struct sn_fusing *w, int32_t id, struct sn_position at)
{
    const int rc = sn_ids_push(&w->ids, id, w->d);
    return rc < 0 || !w->positions ? rc : put_position(w, at);
}

static int put_text_token(struct sn_fusing *w, int32_t id)
{
    const struct sn_position at = {w->next, w->next, w->next};
    w->next++;
    return put_token(w, id, at);
}

/* The beginning token stands before all, where the file asks for it. */
static int begin(struct sn_fusing *w, const struct sn_ids *first)
{
    const struct sn_tokenizer *t = w->f->tokenizer;
    const int32_t bos = sn_tokenizer_bos(t);
    if (w->begun || !sn_tokenizer_adds_bos(t) || bos < 0) return 0;
    return w->f->own_bos && first->n && first->v[0] == bos ? 0 : put_text_token(w, bos);
}

/* Tokenizes what text there is. */
static int flush(struct sn_fusing *w)
{
    struct sn_ids ids = {0};
    if (w->text.failed || w->plain.failed) return no_memory(w);
    int rc = 0;
    if (w->text.len)
        rc = sn_tokenizer_encode_masked(w->f->tokenizer, w->text.data, (const uint8_t *)w->plain.data,
                                        w->text.len, SN_TOK_SPECIAL, &ids, w->d);
    if (rc == 0) rc = begin(w, &ids);
    for (size_t i = 0; i < ids.n && rc == 0; i++) rc = put_text_token(w, ids.v[i]);
    sn_ids_fini(&ids);
    sn_strbuf_clear(&w->text);
    sn_strbuf_clear(&w->plain);
    w->begun = true;
    return rc;
}

static int add_text(struct sn_fusing *w, const char *s, const uint8_t *plain, size_t n)
{
    if (w->apart && n && !strchr(" \t\n\v\f\r<", s[0])) {
        sn_strbuf_putc(&w->text, ' ');
        sn_strbuf_putc(&w->plain, 0);
    }
    w->apart = w->apart && !n;
    sn_strbuf_append(&w->text, s, n);
    for (size_t i = 0; i < n; i++) sn_strbuf_putc(&w->plain, plain ? (char)plain[i] : 0);
    return w->text.failed || w->plain.failed ? no_memory(w) : 0;
}

int sn_fusing_text(struct sn_fusing *w, const char *s) { return add_text(w, s, NULL, strlen(s)); }

/* --- rows --- */

enum { ROW_TOKEN = -1 };

int sn_fusing_rows(struct sn_fusing *w, const struct sn_grid *grid, size_t n)
{
    int rc = flush(w);
    if (!w->medium_row) w->medium_start = w->ids.n;
    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct sn_position at = {w->next + w->later, w->next + (int32_t)(i / grid->w),
                                       w->next + (int32_t)(i % grid->w)};
        rc = put_token(w, ROW_TOKEN, at);
    }
    if (!w->stays) w->next += (int32_t)(grid->w > grid->h ? grid->w : grid->h);
    w->medium_row += n;
    return rc;
}

int sn_fusing_view(struct sn_fusing *w, size_t i)
{
    const struct sn_grid g = sn_views_grid(&w->medium->views, i);
    return sn_fusing_rows(w, &g, (size_t)g.w * g.h);
}

static int put_span(struct sn_fusing *w, size_t start)
{
    struct sn_prompt *p = w->out;
    void *list = p->spans;
    if (!sn_grow(&list, &w->cap_spans, p->n_spans + 1, sizeof *p->spans)) return no_memory(w);
    p->spans = list;
    p->spans[p->n_spans++] = (struct sn_span){start, w->ids.n - start};
    return 0;
}

/* Where its rows stand: behind the last of them only text is pending. */
static int put_place(struct sn_fusing *w)
{
    struct sn_prompt *p = w->out;
    void *list = p->places;
    if (!w->medium->key || !w->medium_row) return 0;
    if (!sn_grow(&list, &w->cap_places, p->n_places + 1, sizeof *p->places)) return no_memory(w);
    p->places = list;
    p->places[p->n_places++] = (struct sn_place){w->medium_start, w->ids.n - w->medium_start,
                                                 *w->medium->key};
    return 0;
}

/* --- media that are looked at --- */

static int put_look(struct sn_fusing *w, struct sn_look look)
{
    struct sn_prompt *p = w->out;
    void *list = p->looks;
    if (!sn_grow(&list, &w->cap_looks, p->n_looks + 1, sizeof *p->looks)) return no_memory(w);
    p->looks = list;
    p->looks[p->n_looks++] = look;
    return 0;
}

/* The id of a text that is one token. */
static int one_token(struct sn_fusing *w, const char *s, int32_t *id)
{
    struct sn_ids ids = {0};
    int rc = sn_tokenizer_encode(w->f->tokenizer, s, strlen(s), SN_TOK_SPECIAL, &ids, w->d);
    if (rc == 0 && ids.n != 1) rc = sn_fail(w->d, SN_EFORMAT, "fusion: the vocabulary has no token %s", s);
    if (rc == 0) *id = ids.v[0];
    sn_ids_fini(&ids);
    return rc;
}

/* The key of a memory holds those of all its media, in order; one that is not known makes it unknown. */
static int add_to_memory_key(struct sn_fusing *w)
{
    struct sn_prompt *p = w->out;
    const struct sn_digest *key = w->medium->key;
    const uint64_t n_rows = sn_views_rows(&w->medium->views);
    struct sn_sha256 *h = NULL;
    w->nameless |= !key || !sn_digest_known(key);
    if (w->nameless) {
        p->memory_key = (struct sn_digest){0};
        return 0;
    }
    int rc = sn_sha256_new(&h, w->d);
    if (rc == 0) rc = sn_sha256_field(h, "before", &p->memory_key, sizeof p->memory_key, w->d);
    if (rc == 0) rc = sn_sha256_field(h, "medium", key, sizeof *key, w->d);
    if (rc == 0) rc = sn_sha256_field(h, "rows", &n_rows, sizeof n_rows, w->d);
    if (rc == 0) rc = sn_sha256_digest(h, &p->memory_key, w->d);
    sn_sha256_free(&h);
    return rc;
}

/* The beginning token stands behind media that come before all text: so does transformers' processor. */
int sn_fusing_look(struct sn_fusing *w, const char *token)
{
    struct sn_prompt *p = w->out;
    const struct sn_views *v = &w->medium->views;
    int32_t id = 0;
    int rc = one_token(w, token, &id);
    if (rc == 0 && (w->begun || w->text.len)) rc = flush(w);
    const size_t start = w->ids.n;
    if (rc == 0) rc = put_text_token(w, id);
    if (rc == 0 && !p->n_looks && start) rc = put_look(w, (struct sn_look){0});
    if (rc < 0) return rc;
    struct sn_look look = {start, w->present, sn_views_present_rows(v)};
    const struct sn_look *last = p->n_looks ? &p->looks[p->n_looks - 1] : NULL;
    if (last && last->n && last->start + 1 == start) {
        look.row = last->row;
        look.n += last->n;
    }
    w->present += sn_views_present_rows(v);
    p->n_memory += sn_views_rows(v);
    rc = add_to_memory_key(w);
    return rc < 0 ? rc : put_look(w, look);
}

static int put_medium(struct sn_fusing *w, const struct sn_medium *m)
{
    const struct sn_marks *k = sn_marks_find(m->kind);
    if (!k) return sn_fail(w->d, SN_EUNSUPPORTED, "fusion: media of kind '%s' in a prompt", m->kind);
    w->medium = m;
    w->medium_row = 0;
    int rc = k->before ? sn_fusing_text(w, k->before) : 0;
    if (rc == 0 && k->spans) rc = flush(w);
    const size_t start = w->ids.n;
    if (rc == 0) rc = m->moments && k->lay_video ? k->lay_video(w, m) : k->lay(w, m);
    if (rc == 0 && k->spans) rc = put_span(w, start);
    if (rc == 0) rc = put_place(w);
    if (rc == 0 && k->after) rc = sn_fusing_text(w, k->after);
    w->out->n_rows += w->medium_row;
    return rc;
}

/* --- the prompt --- */

/* The next marker from `at` on, none of whose bytes are plain; NULL: there is none. */
static const char *next_marker(const char *text, const uint8_t *plain, size_t n, size_t at,
                               const char *marker)
{
    const size_t len = strlen(marker);
    for (const char *p = text + at; (p = memmem(p, n - (size_t)(p - text), marker, len)); p++)
        if (!plain || !memchr(plain + (p - text), 1, len)) return p;
    return NULL;
}

size_t sn_fuse_count(const char *text, const uint8_t *plain, size_t n, const char *marker)
{
    size_t count = 0;
    for (const char *p = text; (p = next_marker(text, plain, n, (size_t)(p - text), marker));
         p += strlen(marker))
        count++;
    return count;
}

/* The next medium, and with `all` what goes on with it. */
static int put_media(struct sn_fusing *w, size_t *next, bool all)
{
    const struct sn_fuse *f = w->f;
    int rc = put_medium(w, &f->media[(*next)++]);
    while (rc == 0 && all && *next < f->n_media && f->media[*next].goes_on)
        rc = put_medium(w, &f->media[(*next)++]);
    return rc;
}

static int put_text_and_media(struct sn_fusing *w, const char *marker, size_t n_markers)
{
    const struct sn_fuse *f = w->f;
    const size_t len = strlen(marker);
    size_t done = 0, next = 0;
    int rc = 0;
    while (!n_markers && next < f->n_media && rc == 0) rc = put_media(w, &next, false);
    while (rc == 0) {
        const char *here = next_marker(f->text, f->plain, f->n, done, marker);
        const size_t n = here ? (size_t)(here - f->text) - done : f->n - done;
        rc = add_text(w, f->text + done, f->plain ? f->plain + done : NULL, n);
        if (!here || rc < 0) break;
        rc = put_media(w, &next, n_markers < f->n_media);
        done += n + len;
    }
    return rc < 0 ? rc : flush(w);
}

/* Rows [row0, row0 + n) of a medium to `to`, which then is behind them. */
static float *copy_part(const struct sn_medium *m, size_t row0, size_t n, size_t width, float *to)
{
    if (n) memcpy(to, m->rows + row0 * width, n * width * sizeof *to);
    return to + n * width;
}

/* In the memory what is meant to be seen stands before all else, so that tokens see one run of rows. */
static void copy_media(const struct sn_fuse *f, float *rows, float *memory)
{
    for (size_t i = 0; i < f->n_media; i++) {
        const struct sn_medium *m = &f->media[i];
        if (sn_fuse_remembers(m->kind))
            memory = copy_part(m, 0, sn_views_present_rows(&m->views), f->width, memory);
        else
            rows = copy_part(m, 0, sn_views_rows(&m->views), f->width, rows);
    }
    for (size_t i = 0; i < f->n_media; i++) {
        const struct sn_medium *m = &f->media[i];
        const size_t present = sn_views_present_rows(&m->views);
        if (sn_fuse_remembers(m->kind))
            memory = copy_part(m, present, sn_views_rows(&m->views) - present, f->width, memory);
    }
}

static int copy_rows(struct sn_fusing *w)
{
    const struct sn_fuse *f = w->f;
    struct sn_prompt *p = w->out;
    p->width = f->width;
    for (size_t i = 0; i < f->n_media; i++)
        if (!f->media[i].rows) return 0;
    if (p->n_rows) p->rows = sn_malloc_array(p->n_rows, p->width * sizeof *p->rows);
    if (p->n_memory) p->memory = sn_malloc_array(p->n_memory, p->width * sizeof *p->memory);
    if ((p->n_rows && !p->rows) || (p->n_memory && !p->memory))
        return sn_fail(w->d, SN_ENOMEM, "fusion: %zu rows of %zu", p->n_rows + p->n_memory, p->width);
    copy_media(f, p->rows, p->memory);
    return 0;
}

int sn_fuse(const struct sn_fuse *f, struct sn_prompt *out, struct sn_diag *d)
{
    const char *marker = f->marker ? f->marker : SN_MEDIA_MARKER;
    const size_t n_markers = sn_fuse_count(f->text, f->plain, f->n, marker);
    struct sn_fusing w = {.f = f, .out = out, .d = d};
    *out = (struct sn_prompt){0};
    size_t n_groups = 0;
    for (size_t i = 0; i < f->n_media; i++) n_groups += i == 0 || !f->media[i].goes_on;
    if (n_markers && n_markers != f->n_media && n_markers != n_groups)
        return sn_fail(d, SN_EINVAL, "the prompt has %zu media markers, and there are %zu media",
                       n_markers, n_groups);
    for (size_t i = 0; i < f->n_media; i++) {
        const struct sn_marks *k = sn_marks_find(f->media[i].kind);
        w.positions |= k && k->sections;
    }
    int rc = put_text_and_media(&w, marker, n_markers);
    out->tokens = w.ids.v;
    out->n = w.ids.n;
    if (rc == 0) rc = copy_rows(&w);
    sn_strbuf_fini(&w.text);
    sn_strbuf_fini(&w.plain);
    if (rc < 0) sn_prompt_fini(out);
    return rc;
}
