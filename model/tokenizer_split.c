#include "config.h"

#include "model/tokenizer_impl.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* Cutting text into pieces: step k's pattern is run over each piece that step k-1 left, and both
 * what matches and what lies between become pieces of step k. A piece is matched as a text of its
 * own (look-around does not see its neighbours), as tokenizers does it.
 *
 * Compiled patterns are shared by threads; what a match needs is made for each call. Validity of
 * the UTF-8 is the caller's promise: PCRE2 would check the whole rest of the text at each match. */

struct sn_tok_splitter {
    const struct sn_tok_family *family;
    size_t n;
    pcre2_code *code[SN_TOK_STEPS];
};

struct run {
    const struct sn_tok_splitter *s;
    pcre2_match_data *md[SN_TOK_STEPS];
    pcre2_match_context *mc;
    sn_tok_piece_fn *fn;
    void *ctx;
    struct sn_diag *d;
};

static void *pcre_malloc(size_t n, void *ctx)
{
    (void)ctx;
    return sn_malloc_array(n, 1);
}
static void pcre_free(void *p, void *ctx)
{
    (void)ctx;
    sn_free(p);
}

void sn_tok_splitter_free(struct sn_tok_splitter **sp)
{
    struct sn_tok_splitter *s = *sp;
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        pcre2_code_free(s->code[i]);
    sn_free(s);
    *sp = NULL;
}

static int compile(const struct sn_tok_step *step, pcre2_compile_context *cc, pcre2_code **out,
                   struct sn_diag *d)
{
    const uint32_t options = step->kind == SN_STEP_BYTES ? 0 : PCRE2_UTF | PCRE2_UCP;
    int error;
    size_t at;
    *out = pcre2_compile((PCRE2_SPTR)step->pattern, PCRE2_ZERO_TERMINATED, options, &error, &at,
                         cc);
    if (!*out && error == PCRE2_ERROR_HEAP_FAILED)
        return sn_fail(d, SN_ENOMEM, "tokenizer: memory for a pattern");
    if (!*out)
        return sn_fail(d, SN_EUNSUPPORTED, "tokenizer: this PCRE2 refuses the pattern at byte %zu "
                       "(error %d)", at, error);
    pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* where it is refused, matching is interpreted */
    return 0;
}

int sn_tok_splitter_new(const struct sn_tok_family *f, struct sn_tok_splitter **out,
                        struct sn_diag *d)
{
    struct sn_tok_splitter *s = sn_calloc(1, sizeof *s);
    pcre2_general_context *gc = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
    pcre2_compile_context *cc = gc ? pcre2_compile_context_create(gc) : NULL;
    int rc = 0;
    if (!s || !cc)
        rc = sn_fail(d, SN_ENOMEM, "tokenizer: memory for the patterns");
    for (size_t i = 0; rc == 0 && i < SN_TOK_STEPS && f->steps[i].pattern; i++) {
        rc = compile(&f->steps[i], cc, &s->code[i], d);
        s->n += rc == 0;
    }
    pcre2_compile_context_free(cc);
    pcre2_general_context_free(gc);
    if (rc < 0) {
        sn_tok_splitter_free(&s);
        return rc;
    }
    s->family = f;
    *out = s;
    return 0;
}

/* The next match at or after `from`: 1 and its place, 0 when there is none. */
static int next_match(struct run *r, size_t step, const char *text, size_t n, size_t from,
                      size_t *begin, size_t *end)
{
    const PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int rc = pcre2_match(r->s->code[step], subject, n, from, PCRE2_NO_UTF_CHECK, r->md[step],
                         r->mc);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(r->s->code[step], subject, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         r->md[step], r->mc);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    if (rc == PCRE2_ERROR_NOMEMORY)
        return sn_fail(r->d, SN_ENOMEM, "tokenizer: memory for matching");
    if (rc < 0)
        return sn_fail(r->d, SN_ELIMIT, "tokenizer: splitting %zu bytes of text exceeds the limits "
                       "of matching (PCRE2 error %d)", n, rc);
    const size_t *ov = pcre2_get_ovector_pointer(r->md[step]);
    *begin = ov[0];
    *end = ov[1];
    return 1;
}

static int split(struct run *r, size_t step, const char *text, size_t n);

/* The first piece is what threes leave over. */
static int split_threes(struct run *r, size_t step, const char *text, size_t n)
{
    size_t n_chars = 0;
    for (size_t i = 0; i < n; i++)
        n_chars += ((unsigned char)text[i] & 0xC0) != 0x80;
    size_t left = n_chars % 3 ? n_chars % 3 : 3, begin = 0;
    for (size_t i = 1; i <= n; i++) {
        if (i < n && ((unsigned char)text[i] & 0xC0) == 0x80)
            continue;
        if (--left)
            continue;
        const int rc = split(r, step, text + begin, i - begin);
        if (rc < 0)
            return rc;
        begin = i;
        left = 3;
    }
    return 0;
}

/* One match of `step`; the pieces go on to the step after it. */
static int emit_match(struct run *r, size_t step, const char *text, size_t n)
{
    if (r->s->family->steps[step].kind == SN_STEP_THREES)
        return split_threes(r, step + 1, text, n);
    return split(r, step + 1, text, n);
}

static int split(struct run *r, size_t step, const char *text, size_t n)
{
    if (step == r->s->n)
        return r->fn(r->ctx, text, n);
    size_t done = 0, from = 0;
    while (from < n) {
        size_t begin = 0, end = 0;
        int rc = next_match(r, step, text, n, from, &begin, &end);
        if (rc < 0)
            return rc;
        if (rc == 0)
            break;
        if (end <= from)
            break; /* nothing matched at `from`; no pattern of ours does that */
        from = end;
        if (begin > done)
            rc = split(r, step + 1, text + done, begin - done);
        if (rc >= 0)
            rc = emit_match(r, step, text + begin, end - begin);
        if (rc < 0)
            return rc;
        done = end;
    }
    return done < n ? split(r, step + 1, text + done, n - done) : 0;
}

/* Limits that grow with the text: every pattern is linear, so what exceeds them is a fault. */
static int set_limits(struct run *r, size_t n)
{
    const size_t steps = sn_min(((size_t)1 << 20) + n * 32, UINT32_MAX);
    return pcre2_set_match_limit(r->mc, (uint32_t)steps) ||
           pcre2_set_depth_limit(r->mc, 1 << 20) || pcre2_set_heap_limit(r->mc, 64 << 10);
}

int sn_tok_split(const struct sn_tok_splitter *s, const char *text, size_t n, sn_tok_piece_fn *fn,
                 void *ctx, struct sn_diag *d)
{
    struct run r = {.s = s, .fn = fn, .ctx = ctx, .d = d};
    pcre2_general_context *gc = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
    bool ready = gc != NULL;
    if (ready) {
        r.mc = pcre2_match_context_create(gc);
        ready = r.mc && set_limits(&r, n) == 0;
    }
    for (size_t i = 0; ready && i < s->n; i++) {
        r.md[i] = pcre2_match_data_create(1, gc);
        ready = r.md[i] != NULL;
    }
    const int rc = ready ? split(&r, 0, text, n)
                         : sn_fail(d, SN_ENOMEM, "tokenizer: memory for matching");
    for (size_t i = 0; i < s->n; i++)
        pcre2_match_data_free(r.md[i]);
    pcre2_match_context_free(r.mc);
    pcre2_general_context_free(gc);
    return rc < 0 ? rc : 0;
}
