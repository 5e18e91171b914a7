#include "config.h"
#include "pipeline/transcribe_impl.h"

#include <string.h>

#include "base/media.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "model/tokenizer.h"

static const double per_time = 0.02; /* seconds */

struct splitter {
    const int32_t *tokens;
    size_t n;
    int32_t first_time;
    double seconds;        /* of the window's sound */
    struct sn_spoken *pieces;
    size_t n_pieces;
};

static bool is_time(const struct splitter *s, size_t i) { return s->tokens[i] >= s->first_time; }

/* The model hears 30 s and may place words behind the sound's end. */
static double time_of(const struct splitter *s, size_t i)
{
    const double t = per_time * (s->tokens[i] - s->first_time);
    return t < s->seconds ? t : s->seconds;
}

static void add(struct splitter *s, size_t first, size_t end, double from, double to)
{
    s->pieces[s->n_pieces++] = (struct sn_spoken){from, to, first, end - first};
}

/* Cuts between the two members of every pair of times; the end of the last piece is returned. */
static size_t cut_at_pairs(struct splitter *s)
{
    size_t begin = 0;
    for (size_t i = 1; i < s->n; i++) {
        if (!is_time(s, i) || !is_time(s, i - 1)) continue;
        add(s, begin, i, is_time(s, begin) ? time_of(s, begin) : 0, time_of(s, i - 1));
        begin = i;
    }
    return begin;
}

/* From the time it begins with to that it ends with; where these lack, the window's. */
static void whole(struct splitter *s)
{
    const double start = is_time(s, 0) ? time_of(s, 0) : 0;
    const double end = s->n > 1 && is_time(s, s->n - 1) ? time_of(s, s->n - 1) : s->seconds;
    add(s, 0, s->n, start, end);
}

enum { LEAST_USED = SN_AUDIO_RATE }; /* samples: who goes on after less does not get on */

size_t sn_split_text(const struct sn_whisper *w, const struct sn_whisper_text *text, size_t n_samples,
                     bool no_times, struct sn_spoken *pieces, size_t *used)
{
    struct splitter s = {.tokens = text->tokens, .n = text->n, .first_time = sn_whisper_first_time(w),
                         .seconds = (double)n_samples / SN_AUDIO_RATE, .pieces = pieces};
    *used = n_samples;
    if (text->silent || !text->n) return 0;
    if (no_times) {
        add(&s, 0, s.n, 0, s.seconds);
        return 1;
    }
    const size_t begin = cut_at_pairs(&s);
    const bool lone = s.n >= 2 && is_time(&s, s.n - 1) && !is_time(&s, s.n - 2);
    if (!begin) {
        whole(&s);
    } else if (lone) { /* nothing is said behind the last time */
        add(&s, begin, s.n, time_of(&s, begin), time_of(&s, s.n - 1));
    } else { /* what is behind the last pair was not finished: once more, from there */
        const size_t to = (size_t)(time_of(&s, begin - 1) * SN_AUDIO_RATE);
        if (to >= LEAST_USED && to < n_samples) *used = to;
    }
    return s.n_pieces;
}

int sn_spoken_text(const struct sn_transcriber *t, const int32_t *tokens, size_t n, char **out,
                   struct sn_diag *d)
{
    struct sn_strbuf b = {0};
    struct sn_detok k = {.t = sn_llm_tokenizer(t->llm)};
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        if (tokens[i] < sn_whisper_end(t->whisper)) rc = sn_detok_feed(&k, tokens[i], &b, d);
    if (rc == 0) sn_detok_flush(&k, &b);
    sn_strbuf_append(&b, "", 0);
    char *text = rc == 0 ? sn_strbuf_take(&b) : NULL;
    if (rc == 0 && !text) text = sn_strdup("");
    sn_strbuf_fini(&b);
    if (rc == 0 && !text) rc = sn_fail(d, SN_ENOMEM, "transcribe: the text of %zu tokens", n);
    if (rc == 0) *out = text;
    return rc;
}
