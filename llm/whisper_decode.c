/* Decoding. A run is one attempt at one window; a round runs several together, each a sequence of the
 * engine, a token a step. First all windows at the first temperature; those whose text does not look
 * like speech are tried again, one after the other, at the next. */
#include "config.h"
#include "llm/whisper_impl.h"

#include <math.h>
#include <string.h>

#include <zlib.h>

#include "base/mem.h"
#include "llm/select.h"
#include "model/tokenizer.h"

enum { TEMPERATURES_MAX = 16, BEST_OF_MAX = 64, PROMPT_MAX = 4 };

static const float default_temperatures[] = {0, 0.2f, 0.4f, 0.6f, 0.8f, 1};

struct run {
    struct sn_whisper_window window;
    int32_t seq;             /* -1: none */
    int32_t *said;           /* (max) */
    float *logprobs;         /* (max) */
    size_t n;
    double sum;              /* of the log-probabilities, that of the end included */
    bool ended, done;
    float no_speech_prob, compression;
    struct sn_rng rng;
};

struct round {
    const struct sn_whisper *w;
    struct sn_engine *e;
    const struct sn_whisper_cfg *cfg;
    const atomic_bool *stop;
    struct sn_diag *d;
    float temperature;
    size_t max;              /* tokens of a run */
    struct run *runs;
    size_t n_runs;
    struct sn_chunk *chunks; /* (n_runs) */
    size_t *active;          /* (n_runs) the run behind chunk i */
    float *logits;           /* (n_runs * PROMPT_MAX, n_vocab) */
    int32_t *prompt;
    size_t n_prompt, n_begin;/* n_begin: from <|startoftranscript|> on */
};

/* --- numbers of a text --- */

static float limit(float value, float otherwise) { return value != 0 ? value : otherwise; }

static int deflated_ratio(const struct round *r, struct run *run)
{
    struct sn_strbuf text = {0};
    int rc = 0;
    for (size_t i = 0; i < run->n && rc == 0; i++)
        if (run->said[i] < r->w->end)
            rc = sn_tokenizer_piece(r->w->tok, run->said[i], false, &text, r->d);
    uLongf n = compressBound((uLong)text.len);
    Bytef *out = sn_malloc_array(n, 1);
    if (rc == 0 && (text.failed || !out || compress(out, &n, (const Bytef *)(text.data ? text.data : ""),
                                                   (uLong)text.len) != Z_OK))
        rc = sn_fail(r->d, SN_ENOMEM, "whisper: the text of %zu tokens", run->n);
    run->compression = rc == 0 ? (float)text.len / (float)n : 0;
    sn_free(out);
    sn_strbuf_fini(&text);
    return rc;
}

static float avg_logprob(const struct run *run) { return (float)(run->sum / (double)(run->n + 1)); }

static bool is_silent(const struct round *r, const struct run *run)
{
    return run->no_speech_prob > limit(r->cfg->no_speech_min, 0.6f) &&
           avg_logprob(run) < limit(r->cfg->logprob_min, -1);
}

static bool is_repetitive(const struct round *r, const struct run *run)
{
    return run->compression > limit(r->cfg->compression_max, 2.4f);
}

static bool is_good(const struct round *r, const struct run *run)
{
    return is_silent(r, run) ||
           (!is_repetitive(r, run) && avg_logprob(run) >= limit(r->cfg->logprob_min, -1));
}

/* --- a step --- */

static double log_sum(const float *x, size_t n)
{
    const float top = x[sn_argmax(x, n)];
    return (double)top + log(sn_exp_sum(x, n, top, 1));
}

/* Draws by exp(x / temperature). */
static int32_t draw(const float *x, size_t n, float temperature, struct sn_rng *rng)
{
    const float top = x[sn_argmax(x, n)];
    double left = sn_rng_uniform(rng) * sn_exp_sum(x, n, top, temperature);
    int32_t id = -1;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) continue;
        id = (int32_t)i;
        left -= (double)sn_exp_neg((x[i] - top) / temperature);
        if (left < 0) break;
    }
    return id;
}

static int choose(const struct round *r, struct run *run, float *logits)
{
    const size_t n_vocab = r->w->n_vocab;
    sn_whisper_rules(r->w, r->cfg, run->said, run->n, logits);
    const size_t best = sn_argmax(logits, n_vocab);
    if (!isfinite(logits[best]))
        return sn_fail(r->d, SN_EFORMAT, "whisper: the model's output is not a number");
    const int32_t id = r->temperature > 0 ? draw(logits, n_vocab, r->temperature, &run->rng)
                                          : (int32_t)best;
    const double logprob = (double)logits[id] - log_sum(logits, n_vocab);
    run->sum += logprob;
    run->ended = id == r->w->end;
    if (!run->ended) {
        run->logprobs[run->n] = (float)logprob;
        run->said[run->n++] = id;
    }
    run->done = run->ended || run->n == r->max;
    return 0;
}

static int step(struct round *r, size_t n_chunks)
{
    return sn_engine_step(r->e, r->chunks, n_chunks, r->logits, r->stop, r->d);
}

static float probability(const float *logits, size_t n, int32_t id)
{
    return id < 0 ? 0 : (float)exp((double)logits[id] - log_sum(logits, n));
}

/* --- a round --- */

static size_t n_previous(const struct round *r)
{
    return sn_min(r->cfg->n_previous, sn_llm_n_ctx_train(r->w->m) / 2 - 1);
}

static void build_prompt(struct round *r, int32_t *prompt, int32_t language)
{
    const struct sn_whisper *w = r->w;
    const size_t n_said = n_previous(r);
    size_t n = 0;
    if (n_said) {
        prompt[n++] = w->previous;
        memcpy(prompt + n, r->cfg->previous + r->cfg->n_previous - n_said, n_said * sizeof *prompt);
        n += n_said;
    }
    const size_t begin = n;
    prompt[n++] = w->start;
    if (w->n_languages) {
        prompt[n++] = language;
        prompt[n++] = r->cfg->translate ? w->translate : w->transcribe;
    }
    if (r->cfg->no_times) prompt[n++] = w->no_times;
    r->n_prompt = n;
    r->n_begin = n - begin;
}

/* All prompts, and the first token of each run. */
static int begin(struct round *r)
{
    const size_t n_vocab = r->w->n_vocab;
    const size_t longest = sn_llm_n_ctx_train(r->w->m) / 2 + PROMPT_MAX;
    for (size_t i = 0; i < r->n_runs; i++) {
        struct run *run = &r->runs[i];
        int32_t *prompt = r->prompt + i * longest;
        int rc = sn_seq_new(r->e, &run->seq, r->d);
        if (rc == 0) rc = sn_seq_look_at(r->e, run->seq, run->window.memory, r->d);
        if (rc < 0) return rc;
        build_prompt(r, prompt, run->window.language);
        r->chunks[i] = (struct sn_chunk){.seq = run->seq, .tokens = prompt, .n = r->n_prompt,
                                         .n_logits = r->n_begin};
    }
    int rc = step(r, r->n_runs);
    for (size_t i = 0; i < r->n_runs && rc == 0; i++) {
        float *first = r->logits + i * r->n_begin * n_vocab;
        r->runs[i].no_speech_prob = probability(first, n_vocab, r->w->no_speech);
        rc = choose(r, &r->runs[i], first + (r->n_begin - 1) * n_vocab);
    }
    return rc;
}

static int go_on(struct round *r)
{
    for (;;) {
        size_t n = 0;
        for (size_t i = 0; i < r->n_runs; i++) {
            struct run *run = &r->runs[i];
            if (run->done) continue;
            r->active[n] = i;
            r->chunks[n++] = (struct sn_chunk){.seq = run->seq, .tokens = &run->said[run->n - 1],
                                               .n = 1, .n_logits = 1};
        }
        if (!n) return 0;
        int rc = step(r, n);
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = choose(r, &r->runs[r->active[i]], r->logits + i * r->w->n_vocab);
        if (rc < 0) return rc;
    }
}

static int take_round(struct round *r, size_t n_runs)
{
    const size_t longest = sn_llm_n_ctx_train(r->w->m) / 2 + PROMPT_MAX;
    r->runs = sn_calloc(n_runs, sizeof *r->runs);
    r->chunks = sn_calloc(n_runs, sizeof *r->chunks);
    r->active = sn_calloc(n_runs, sizeof *r->active);
    r->prompt = sn_malloc_array(n_runs * longest, sizeof *r->prompt);
    r->logits = sn_malloc_array(n_runs * PROMPT_MAX, r->w->n_vocab * sizeof *r->logits);
    bool ok = r->runs && r->chunks && r->active && r->prompt && r->logits;
    for (size_t i = 0; ok && i < n_runs; i++, r->n_runs++) {
        struct run *run = &r->runs[i];
        run->seq = -1;
        run->said = sn_malloc_array(r->max, sizeof *run->said + sizeof *run->logprobs);
        run->logprobs = run->said ? (float *)(void *)(run->said + r->max) : NULL;
        ok = run->said != NULL;
    }
    return ok ? 0 : sn_fail(r->d, SN_ENOMEM, "whisper: %zu runs of %zu tokens", n_runs, r->max);
}

static void drop_round(struct round *r)
{
    for (size_t i = 0; i < r->n_runs; i++) {
        sn_seq_free(r->e, r->runs[i].seq);
        sn_free(r->runs[i].said);
    }
    sn_free(r->runs);
    sn_free(r->chunks);
    sn_free(r->active);
    sn_free(r->prompt);
    sn_free(r->logits);
    r->runs = NULL;
    r->n_runs = 0;
}

static int run_round(struct round *r)
{
    int rc = begin(r);
    if (rc == 0) rc = go_on(r);
    for (size_t i = 0; i < r->n_runs && rc == 0; i++) rc = deflated_ratio(r, &r->runs[i]);
    for (size_t i = 0; i < r->n_runs; i++) {
        sn_seq_free(r->e, r->runs[i].seq);
        r->runs[i].seq = -1;
    }
    return rc;
}

/* --- windows --- */

/* What a run gave becomes the window's text, which takes its tokens. */
static void take_text(const struct round *r, struct run *run, struct sn_whisper_text *out)
{
    sn_whisper_text_fini(out);
    *out = (struct sn_whisper_text){
        .tokens = run->said, .logprobs = run->logprobs, .n = run->n, .ended = run->ended,
        .silent = is_silent(r, run), .avg_logprob = avg_logprob(run),
        .no_speech_prob = run->no_speech_prob, .compression = run->compression,
        .temperature = r->temperature};
    run->said = NULL;
}

/* When no temperature helps, the likeliest text that is no repetition is taken, else the likeliest. */
static bool is_better(const struct round *r, const struct run *run, const struct sn_whisper_text *t)
{
    const bool repeats = t->compression > limit(r->cfg->compression_max, 2.4f);
    if (repeats != is_repetitive(r, run)) return repeats;
    return avg_logprob(run) > t->avg_logprob;
}

static struct run *likeliest(struct round *r)
{
    struct run *best = &r->runs[0];
    for (size_t i = 1; i < r->n_runs; i++)
        if (avg_logprob(&r->runs[i]) > avg_logprob(best)) best = &r->runs[i];
    return best;
}

static int first_try(struct round *r, const struct sn_whisper_window *windows, size_t n,
                     struct sn_whisper_text *out, bool *good)
{
    int rc = take_round(r, n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        r->runs[i].window = windows[i];
        sn_rng_seed(&r->runs[i].rng, 1);
    }
    if (rc == 0) rc = run_round(r);
    for (size_t i = 0; i < n && rc == 0; i++) {
        good[i] = is_good(r, &r->runs[i]);
        take_text(r, &r->runs[i], &out[i]);
    }
    drop_round(r);
    return rc;
}

static int try_again(struct round *r, const struct sn_whisper_window *window,
                     struct sn_whisper_text *out, bool *good)
{
    const size_t n = r->temperature > 0 ? r->cfg->best_of ? r->cfg->best_of : 5 : 1;
    int rc = take_round(r, n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        r->runs[i].window = *window;
        sn_rng_seed(&r->runs[i].rng, 1 + i + (uint64_t)(r->temperature * 1000) * 64);
    }
    if (rc == 0) rc = run_round(r);
    if (rc == 0) {
        struct run *best = likeliest(r);
        *good = is_good(r, best);
        if (*good || is_better(r, best, out)) take_text(r, best, out);
    }
    drop_round(r);
    return rc;
}

static int check_cfg(const struct sn_whisper_cfg *cfg, struct sn_diag *d)
{
    if (cfg->n_temperatures > TEMPERATURES_MAX)
        return sn_fail(d, SN_ELIMIT, "whisper: %zu temperatures, at most %d", cfg->n_temperatures,
                       TEMPERATURES_MAX);
    if (cfg->best_of > BEST_OF_MAX)
        return sn_fail(d, SN_ELIMIT, "whisper: the best of %u, at most %d", cfg->best_of, BEST_OF_MAX);
    for (size_t i = 0; i < cfg->n_temperatures; i++)
        if (!(cfg->temperatures[i] >= 0 && cfg->temperatures[i] <= 10))
            return sn_fail(d, SN_EINVAL, "whisper: temperature %g is not in 0..10",
                           (double)cfg->temperatures[i]);
    return 0;
}

int sn_whisper_decode(const struct sn_whisper *w, struct sn_engine *e,
                      const struct sn_whisper_window *windows, size_t n,
                      const struct sn_whisper_cfg *cfg, struct sn_whisper_text *out,
                      const atomic_bool *stop, struct sn_diag *d)
{
    const size_t most = sn_llm_n_ctx_train(w->m) / 2;
    const float *t = cfg->n_temperatures ? cfg->temperatures : default_temperatures;
    const size_t n_t = cfg->n_temperatures ? cfg->n_temperatures : SN_COUNT(default_temperatures);
    struct round r = {.w = w, .e = e, .cfg = cfg, .stop = stop, .d = d, .temperature = t[0],
                      .max = sn_min(cfg->max_tokens ? cfg->max_tokens : most, most)};
    r.max = sn_min(r.max, sn_llm_n_ctx_train(w->m) - n_previous(&r) - 1 - PROMPT_MAX);
    bool *good = sn_calloc(n, sizeof *good);
    for (size_t i = 0; i < n; i++) out[i] = (struct sn_whisper_text){0};
    int rc = good ? check_cfg(cfg, d) : sn_fail(d, SN_ENOMEM, "whisper: %zu windows", n);
    if (rc == 0) rc = first_try(&r, windows, n, out, good);
    for (size_t k = 1; k < n_t && rc == 0; k++) {
        r.temperature = t[k];
        for (size_t i = 0; i < n && rc == 0; i++)
            if (!good[i]) rc = try_again(&r, &windows[i], &out[i], &good[i]);
    }
    for (size_t i = 0; i < n && rc < 0; i++) sn_whisper_text_fini(&out[i]);
    sn_free(good);
    return rc;
}

void sn_whisper_text_fini(struct sn_whisper_text *t)
{
    sn_free(t->tokens);
    *t = (struct sn_whisper_text){0};
}

/* --- language --- */

int sn_whisper_detect(const struct sn_whisper *w, struct sn_engine *e, int32_t memory,
                      int32_t *language, float *probability_out, const atomic_bool *stop,
                      struct sn_diag *d)
{
    if (!w->n_languages) {
        *language = -1;
        *probability_out = 1;
        return 0;
    }
    float *logits = sn_malloc_array(w->n_vocab, sizeof *logits);
    int32_t seq = -1;
    int rc = logits ? sn_seq_new(e, &seq, d) : sn_fail(d, SN_ENOMEM, "whisper: %u logits", w->n_vocab);
    if (rc == 0) rc = sn_seq_look_at(e, seq, memory, d);
    const struct sn_chunk chunk = {.seq = seq, .tokens = &w->start, .n = 1, .n_logits = 1};
    if (rc == 0) rc = sn_engine_step(e, &chunk, 1, logits, stop, d);
    if (rc == 0) {
        const float *x = logits + w->first_language;
        const int32_t best = (int32_t)sn_argmax(x, (size_t)w->n_languages);
        *language = w->first_language + best;
        *probability_out = probability(x, (size_t)w->n_languages, best);
    }
    sn_seq_free(e, seq);
    sn_free(logits);
    return rc;
}
