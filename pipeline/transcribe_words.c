#include "config.h"
#include "pipeline/transcribe_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/media.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "model/tokenizer.h"

/* Tokens become words at spaces, or, in writing that has none, characters; punctuation belongs to the
 * word that it stands at. The rules are those of OpenAI's timing.py. */

static const char *const spaceless[] = {"zh", "ja", "th", "lo", "my", "yue"};
static const char opening[] = "\"'“¿([{-";
static const char closing[] = "\"'.。,，!！?？:：”)]}、";
static const char ending[] = ".。!！?？";
static const char punctuation[] = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

struct draft {
    size_t first, end;    /* tokens, of those that are text */
    size_t from, to;      /* bytes of `text` */
};

struct words {
    const struct sn_whisper_text *said;
    size_t *at;           /* (n) where the text tokens stand in `said` */
    int32_t *tokens;      /* (n) */
    size_t n;
    struct sn_strbuf text;
    struct draft *drafts;
    size_t n_drafts, cap;
};

/* --- tokens to words --- */

static int keep_text(struct words *w, const struct sn_whisper_text *said, int32_t end, struct sn_diag *d)
{
    w->said = said;
    w->at = sn_malloc_array(said->n, sizeof *w->at);
    w->tokens = sn_malloc_array(said->n, sizeof *w->tokens);
    if (!w->at || !w->tokens) return sn_fail(d, SN_ENOMEM, "transcribe: %zu tokens", said->n);
    for (size_t i = 0; i < said->n; i++)
        if (said->tokens[i] < end) {
            w->at[w->n] = i;
            w->tokens[w->n++] = said->tokens[i];
        }
    return 0;
}

/* The bytes are one of the characters of `set`. */
static bool is_one_of(const char *s, size_t n, const char *set)
{
    for (const char *p = set; *p;) {
        size_t m = 1;
        while (((unsigned char)p[m] & 0xC0) == 0x80) m++;
        if (m == n && memcmp(p, s, m) == 0) return true;
        p += m;
    }
    return false;
}

static bool draft_is(const struct words *w, const struct draft *x, const char *set)
{
    const char *s = w->text.data + x->from;
    size_t n = x->to - x->from;
    if (n && *s == ' ') s++, n--;
    return is_one_of(s, n, set);
}

/* Whether the unit begins a word: a time before it, a space, a punctuation mark, no word before. */
static bool begins_word(const struct words *w, const struct draft *unit, bool spaces)
{
    if (!w->n_drafts || !spaces) return true;
    if (w->at[unit->first] != w->at[unit->first - 1] + 1) return true;
    return w->text.data[unit->from] == ' ' || draft_is(w, unit, punctuation);
}

static int add_unit(struct words *w, const struct draft *unit, bool spaces, struct sn_diag *d)
{
    if (!begins_word(w, unit, spaces)) {
        w->drafts[w->n_drafts - 1].end = unit->end;
        w->drafts[w->n_drafts - 1].to = unit->to;
        return 0;
    }
    if (!sn_grow((void **)&w->drafts, &w->cap, w->n_drafts + 1, sizeof *w->drafts))
        return sn_fail(d, SN_ENOMEM, "transcribe: %zu words", w->n_drafts);
    w->drafts[w->n_drafts++] = *unit;
    return 0;
}

/* Units are the least tokens that are whole characters together. */
static int draft_words(struct words *w, const struct sn_tokenizer *tok, bool spaces, struct sn_diag *d)
{
    struct sn_detok k = {.t = tok};
    struct draft unit = {0};
    int rc = 0;
    for (size_t i = 0; i < w->n && rc == 0; i++) {
        rc = sn_detok_feed(&k, w->tokens[i], &w->text, d);
        if (i + 1 == w->n) sn_detok_flush(&k, &w->text);
        if (rc < 0 || k.n_pending || w->text.len == unit.from) continue;
        unit.end = i + 1;
        unit.to = w->text.len;
        rc = w->text.failed ? sn_fail(d, SN_ENOMEM, "transcribe: the text of %zu tokens", w->n)
                            : add_unit(w, &unit, spaces, d);
        unit.first = unit.end;
        unit.from = unit.to;
    }
    return rc;
}

/* b follows a within one segment */
static bool are_neighbours(const struct words *w, const struct draft *a, const struct draft *b)
{
    return w->at[b->first] == w->at[a->end - 1] + 1;
}

static void join_punctuation(struct words *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_drafts; i++) {
        const struct draft next = w->drafts[i];
        struct draft *last = n ? &w->drafts[n - 1] : NULL;
        const bool with_next = last && are_neighbours(w, last, &next) &&
                               w->text.data[last->from] == ' ' && draft_is(w, last, opening);
        const bool with_last = last && are_neighbours(w, last, &next) &&
                               w->text.data[next.from] != ' ' && draft_is(w, &next, closing);
        if (with_next || with_last) {
            last->end = next.end;
            last->to = next.to;
        } else {
            w->drafts[n++] = next;
        }
    }
    w->n_drafts = n;
}

/* --- times --- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool ends_sentence(const struct sn_word *w)
{
    const size_t n = strlen(w->text);
    size_t from = n;
    while (from > 0 && ((unsigned char)w->text[--from] & 0xC0) == 0x80) {}
    return n && is_one_of(w->text + from, n - from, ending);
}

/* The warping gives the pause between sentences to one of the words beside it, which then last much
 * longer than words do. */
static int shorten(struct sn_timed_words *out, struct sn_diag *d)
{
    double *lasts = sn_malloc_array(out->n, sizeof *lasts);
    size_t n = 0;
    if (!lasts) return sn_fail(d, SN_ENOMEM, "transcribe: %zu words", out->n);
    for (size_t i = 0; i < out->n; i++)
        if (out->words[i].end > out->words[i].start) lasts[n++] = out->words[i].end - out->words[i].start;
    qsort(lasts, n, sizeof *lasts, ascending);
    const double most = 2 * (n ? fmin(lasts[n / 2], 0.7) : 0);
    for (size_t i = 0; i < out->n; i++) {
        struct sn_word *w = &out->words[i];
        if (w->end - w->start <= most) continue;
        if (ends_sentence(w))
            w->end = w->start + most;
        else if (i == 0 || ends_sentence(w - 1))
            w->start = w->end - most;
    }
    sn_free(lasts);
    return 0;
}

static int hand_out(const struct words *w, const float *times, struct sn_timed_words *out,
                    struct sn_diag *d)
{
    out->words = sn_calloc(w->n_drafts, sizeof *out->words);
    out->token = sn_calloc(w->n_drafts, sizeof *out->token);
    if (!out->words || !out->token) return sn_fail(d, SN_ENOMEM, "transcribe: %zu words", w->n_drafts);
    for (size_t i = 0; i < w->n_drafts; i++) {
        const struct draft *x = &w->drafts[i];
        struct sn_word *y = &out->words[i];
        y->text = sn_strndup(w->text.data + x->from, x->to - x->from);
        if (!y->text) return sn_fail(d, SN_ENOMEM, "transcribe: a word");
        y->start = (double)times[x->first];
        y->end = (double)times[x->end];
        for (size_t k = x->first; k < x->end; k++)
            y->probability += expf(w->said->logprobs[w->at[k]]) / (float)(x->end - x->first);
        out->token[i] = w->at[x->first];
        out->n++;
    }
    return shorten(out, d);
}

static bool writes_spaces(const struct sn_transcriber *t, int32_t language)
{
    char code[16];
    sn_whisper_language_code(t->whisper, language, code);
    for (size_t i = 0; i < SN_COUNT(spaceless); i++)
        if (strcmp(code, spaceless[i]) == 0) return false;
    return true;
}

int sn_time_words(struct sn_transcriber *t, const struct sn_whisper_window *window,
                  const struct sn_whisper_text *text, const struct sn_whisper_cfg *cfg,
                  size_t n_samples, struct sn_timed_words *out, const atomic_bool *stop,
                  struct sn_diag *d)
{
    enum { PER_ROW = 320 /* samples */ };
    struct words w = {0};
    int rc = keep_text(&w, text, sn_whisper_end(t->whisper), d);
    float *times = rc == 0 ? sn_malloc_array(w.n + 1, sizeof *times) : NULL;
    if (rc == 0 && !times) rc = sn_fail(d, SN_ENOMEM, "transcribe: %zu tokens", w.n);
    const struct sn_whisper_said said = {w.tokens, w.n, t->alignment, t->n_alignment,
                                         n_samples / PER_ROW};
    if (rc == 0 && w.n)
        rc = sn_whisper_follow(t->whisper, t->engine, window, cfg, &said, times, stop, d);
    if (rc == 0) rc = draft_words(&w, sn_llm_tokenizer(t->llm), cfg->translate ||
                                  writes_spaces(t, window->language), d);
    if (rc == 0 && w.n_drafts) {
        join_punctuation(&w);
        rc = hand_out(&w, times, out, d);
    }
    sn_free(times);
    sn_free(w.at);
    sn_free(w.tokens);
    sn_free(w.drafts);
    sn_strbuf_fini(&w.text);
    return rc;
}

void sn_timed_words_fini(struct sn_timed_words *w)
{
    for (size_t i = 0; i < w->n; i++) sn_free(w->words[i].text);
    sn_free(w->words);
    sn_free(w->token);
    *w = (struct sn_timed_words){0};
}
