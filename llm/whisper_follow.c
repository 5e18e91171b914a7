/* Times of words (as OpenAI's timing.py): the text is run once more with the model watching itself. A
 * head's attention is standardised over the tokens, so that rows which everything looks at count for
 * nothing, and smoothed along time; the heads' mean is what the warping goes by. */
#include "config.h"
#include "llm/whisper_impl.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { MEDIAN = 7, BEGIN_MAX = 4 };
static const float per_row = 0.02f; /* seconds */

struct follow {
    size_t n_tokens;     /* all that were run */
    size_t n_begin;      /* rows before the one that leads to the first word */
    size_t n_path;       /* rows that lead to words, and to the end */
    size_t n_heads, n_rows, n_mem;
    float *weights;      /* (n_tokens, n_heads, n_mem) */
    float *mean;         /* (n_path, n_rows) */
};

static float *weights_of(const struct follow *f, size_t token, size_t head)
{
    return f->weights + (token * f->n_heads + head) * f->n_mem;
}

/* Attention to the rows behind the sound does not count. */
static void renormalise(const struct follow *f)
{
    for (size_t i = 0; i < f->n_tokens * f->n_heads; i++) {
        float *w = f->weights + i * f->n_mem;
        double sum = 1e-30;
        for (size_t r = 0; r < f->n_rows; r++) sum += (double)w[r];
        for (size_t r = 0; r < f->n_rows; r++) w[r] = (float)(w[r] / sum);
    }
}

static void standardise(const struct follow *f, size_t head)
{
    for (size_t r = 0; r < f->n_rows; r++) {
        double sum = 0, squares = 0;
        for (size_t t = 0; t < f->n_tokens; t++) {
            const double x = (double)weights_of(f, t, head)[r];
            sum += x;
            squares += x * x;
        }
        const double mean = sum / (double)f->n_tokens;
        const double dev = sqrt(fmax(squares / (double)f->n_tokens - mean * mean, 1e-24));
        for (size_t t = 0; t < f->n_tokens; t++) {
            float *x = &weights_of(f, t, head)[r];
            *x = (float)(((double)*x - mean) / dev);
        }
    }
}

static float median_at(const float *x, size_t n, size_t at)
{
    float v[MEDIAN];
    for (int k = 0; k < MEDIAN; k++) {
        long i = (long)at + k - MEDIAN / 2;
        i = i < 0 ? -i : i >= (long)n ? 2 * (long)n - 2 - i : i; /* mirrored at the ends */
        const float y = x[i < 0 ? 0 : i];
        int j = k;
        for (; j > 0 && v[j - 1] > y; j--) v[j] = v[j - 1];
        v[j] = y;
    }
    return v[MEDIAN / 2];
}

static void add_to_mean(const struct follow *f, size_t head)
{
    for (size_t i = 0; i < f->n_path; i++) {
        const float *x = weights_of(f, f->n_begin + i, head);
        for (size_t r = 0; r < f->n_rows; r++)
            f->mean[i * f->n_rows + r] += median_at(x, f->n_rows, r) / (float)f->n_heads;
    }
}

/* --- warping --- */

enum { BOTH, DOWN, RIGHT };

/* The path through -mean of least cost; first[i] is the first row of time at token i. */
static int warp(const struct follow *f, size_t *first, struct sn_diag *d)
{
    const size_t n = f->n_path, m = f->n_rows;
    float *cost = sn_malloc_array((n + 1) * (m + 1), sizeof *cost);
    uint8_t *from = sn_malloc_array((n + 1) * (m + 1), 1);
    if (!cost || !from) {
        sn_free(cost);
        sn_free(from);
        return sn_fail(d, SN_ENOMEM, "whisper: warping %zu tokens over %zu rows", n, m);
    }
    for (size_t k = 0; k < (n + 1) * (m + 1); k++) cost[k] = INFINITY;
    cost[0] = 0;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            const float both = cost[(i - 1) * (m + 1) + j - 1];
            const float down = cost[(i - 1) * (m + 1) + j], right = cost[i * (m + 1) + j - 1];
            const int way = both < down && both < right ? BOTH : down < both && down < right ? DOWN : RIGHT;
            const float least = way == BOTH ? both : way == DOWN ? down : right;
            cost[i * (m + 1) + j] = least - f->mean[(i - 1) * m + j - 1];
            from[i * (m + 1) + j] = (uint8_t)way;
        }
    for (size_t i = n, j = m; i > 0;) {
        first[i - 1] = j ? j - 1 : 0;
        const int way = j == 0 ? DOWN : from[i * (m + 1) + j];
        i -= way != RIGHT;
        j -= way != DOWN && j > 0;
    }
    sn_free(cost);
    sn_free(from);
    return 0;
}

static int find_times(const struct follow *f, float *times, struct sn_diag *d)
{
    size_t *first = sn_calloc(f->n_path, sizeof *first);
    if (!first) return sn_fail(d, SN_ENOMEM, "whisper: %zu tokens", f->n_path);
    renormalise(f);
    for (size_t h = 0; h < f->n_heads; h++) {
        standardise(f, h);
        add_to_mean(f, h);
    }
    const int rc = warp(f, first, d);
    for (size_t i = 0; i < f->n_path && rc == 0; i++) times[i] = per_row * (float)first[i];
    sn_free(first);
    return rc;
}

/* --- running the text again --- */

static size_t begin_of(const struct sn_whisper *w, const struct sn_whisper_cfg *cfg, int32_t language,
                       int32_t *tokens)
{
    size_t n = 0;
    tokens[n++] = w->start;
    if (w->n_languages) {
        tokens[n++] = language;
        tokens[n++] = cfg->translate ? w->translate : w->transcribe;
    }
    tokens[n++] = w->no_times;
    return n;
}

static int watch(const struct sn_whisper *w, struct sn_engine *e, int32_t memory,
                 const struct sn_whisper_said *said, const int32_t *tokens, struct follow *f,
                 const atomic_bool *stop, struct sn_diag *d)
{
    float *logits = sn_malloc_array(f->n_tokens, w->n_vocab * sizeof *logits);
    struct sn_cross_watch at = {.heads = said->heads, .n_heads = said->n_heads, .weights = f->weights};
    int32_t seq = -1;
    int rc = logits ? sn_seq_new(e, &seq, d)
                    : sn_fail(d, SN_ENOMEM, "whisper: logits of %zu tokens", f->n_tokens);
    if (rc == 0) rc = sn_seq_look_at(e, seq, memory, d);
    const struct sn_chunk chunk = {.seq = seq, .tokens = tokens, .n = f->n_tokens,
                                   .n_logits = f->n_tokens};
    if (rc == 0) rc = sn_engine_step_watched(e, &chunk, logits, &at, stop, d);
    sn_seq_free(e, seq);
    sn_free(logits);
    return rc;
}

int sn_whisper_follow(const struct sn_whisper *w, struct sn_engine *e,
                      const struct sn_whisper_window *window, const struct sn_whisper_cfg *cfg,
                      const struct sn_whisper_said *said, float *times, const atomic_bool *stop,
                      struct sn_diag *d)
{
    int32_t *tokens = sn_malloc_array(said->n + BEGIN_MAX + 1, sizeof *tokens);
    if (!tokens) return sn_fail(d, SN_ENOMEM, "whisper: %zu tokens", said->n);
    const size_t n_begin = begin_of(w, cfg, window->language, tokens);
    memcpy(tokens + n_begin, said->tokens, said->n * sizeof *tokens);
    tokens[n_begin + said->n] = w->end;
    struct follow f = {.n_tokens = n_begin + said->n + 1, .n_begin = n_begin - 1, .n_path = said->n + 1,
                       .n_heads = said->n_heads, .n_mem = sn_memory_rows(e, window->memory)};
    f.n_rows = sn_max(sn_min(said->n_rows, f.n_mem), 1);
    f.weights = sn_malloc_array(f.n_tokens * f.n_heads, f.n_mem * sizeof *f.weights);
    f.mean = sn_calloc(f.n_path, f.n_rows * sizeof *f.mean);
    int rc = f.weights && f.mean && f.n_mem
                 ? watch(w, e, window->memory, said, tokens, &f, stop, d)
                 : sn_fail(d, SN_ENOMEM, "whisper: attention of %zu tokens", f.n_tokens);
    if (rc == 0) rc = find_times(&f, times, d);
    sn_free(f.weights);
    sn_free(f.mean);
    sn_free(tokens);
    return rc;
}
