/* The sampler. One token is: a check of the logits; bias, penalties and bans on a copy of them when
 * there are any; the choice; then what the token means for text, budgets and the end. Filters come
 * in the order of Hugging Face's generate(): bias, repetition penalty, (OpenAI's penalties),
 * temperature, top-k, top-p, min-p. */
#include "config.h"
#include "llm/sampler.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "llm/history.h"
#include "llm/loop.h"
#include "llm/select.h"
#include "llm/stop.h"
#include "model/tokenizer.h"

enum { LOGPROBS_MAX = 20, LAST_N_DEFAULT = 64 };

struct sn_sampler {
    struct sn_sampler_cfg cfg;      /* bias and stop are not kept there */
    const struct sn_tokenizer *tok; /* or NULL */
    struct sn_logit_bias *bias;     /* (n_bias): the caller's, then bans of EOS */
    size_t n_bias;
    bool penalises;
    struct sn_history history;
    struct sn_rng rng;
    struct sn_loop loop;
    struct sn_stop stop;
    struct sn_detok detok;
    struct sn_strbuf piece;
    int32_t think, end_think;       /* -1: no such token */
    bool thinking;
    size_t n_thought, n_tokens;

    float *work;                    /* (n_work) logits after bias and penalties */
    struct sn_pick *picks;          /* (n_work) */
    size_t n_work;
    float logprob;
    struct sn_logprob top[LOGPROBS_MAX];
    size_t n_top;
};

const char *sn_finish_name(enum sn_finish f)
{
    static const char *const names[] = {
        [SN_FINISH_NONE] = "none", [SN_FINISH_EOS] = "eos", [SN_FINISH_STOP] = "stop",
        [SN_FINISH_LENGTH] = "length", [SN_FINISH_LOOP] = "loop",
        [SN_FINISH_CANCELLED] = "cancelled",
    };
    return (size_t)f < SN_COUNT(names) ? names[f] : "unknown";
}

/* --- making --- */

static int check_range(const char *field, float v, float min, float max, struct sn_diag *d)
{
    if (v >= min && v <= max) return 0; /* NaN is outside */
    return sn_fail(d, SN_EINVAL, "sampler: %s is %g, not in %g..%g", field, (double)v, (double)min,
                   (double)max);
}

static int check_cfg(const struct sn_sampler_cfg *c, const struct sn_tokenizer *tok,
                     struct sn_diag *d)
{
    int rc = check_range("temperature", c->temperature, 0, 100, d);
    if (rc == 0) rc = check_range("top_p", c->top_p, 0, 1e9f, d);
    if (rc == 0) rc = check_range("min_p", c->min_p, 0, 1, d);
    if (rc == 0) rc = check_range("repetition_penalty", c->repetition_penalty, 0, 100, d);
    if (rc == 0) rc = check_range("frequency_penalty", c->frequency_penalty, -2, 2, d);
    if (rc == 0) rc = check_range("presence_penalty", c->presence_penalty, -2, 2, d);
    if (rc < 0) return rc;
    if (c->n_logprobs > LOGPROBS_MAX)
        return sn_fail(d, SN_EINVAL, "sampler: n_logprobs is %u, over %d", c->n_logprobs,
                       LOGPROBS_MAX);
    if (c->n_stop && !tok) return sn_fail(d, SN_EINVAL, "sampler: stop texts without a vocabulary");
    const size_t n_ids = tok ? sn_tokenizer_size(tok) : INT32_MAX;
    for (size_t i = 0; i < c->n_bias; i++) {
        const struct sn_logit_bias *b = &c->bias[i];
        if (b->id < 0 || (size_t)b->id >= n_ids)
            return sn_fail(d, SN_EINVAL, "sampler: bias of token %d of %zu", (int)b->id, n_ids);
        if (!(b->bias < INFINITY))
            return sn_fail(d, SN_EINVAL, "sampler: bias of token %d is %g", (int)b->id,
                           (double)b->bias);
    }
    return 0;
}

/* The caller's biases, and, to ignore EOS, a ban of every token that ends a generation. */
static int copy_bias(struct sn_sampler *s, const struct sn_sampler_cfg *c, struct sn_diag *d)
{
    size_t n_bans = 0;
    const size_t n_ids = c->ignore_eos && s->tok ? sn_tokenizer_size(s->tok) : 0;
    for (size_t i = 0; i < n_ids; i++) n_bans += sn_tokenizer_is_eog(s->tok, (int32_t)i);
    s->bias = sn_malloc_array(c->n_bias + n_bans, sizeof *s->bias);
    if (!s->bias) return sn_fail(d, SN_ENOMEM, "sampler: %zu biases", c->n_bias + n_bans);
    if (c->n_bias) memcpy(s->bias, c->bias, c->n_bias * sizeof *s->bias);
    s->n_bias = c->n_bias;
    for (size_t i = 0; i < n_ids; i++)
        if (sn_tokenizer_is_eog(s->tok, (int32_t)i))
            s->bias[s->n_bias++] = (struct sn_logit_bias){(int32_t)i, -INFINITY};
    return 0;
}

static int32_t find_token(const struct sn_tokenizer *tok, const char *text)
{
    return tok ? sn_tokenizer_find(tok, text, strlen(text)) : -1;
}

static void settle_defaults(struct sn_sampler *s)
{
    struct sn_sampler_cfg *c = &s->cfg;
    if (c->repetition_penalty == 0) c->repetition_penalty = 1;
    if (c->top_p == 0 || c->top_p > 1) c->top_p = 1;
    if (c->penalty_last_n == 0) c->penalty_last_n = LAST_N_DEFAULT;
    s->penalises = c->repetition_penalty != 1 || c->frequency_penalty != 0 ||
                   c->presence_penalty != 0;
    s->history.window = c->penalty_last_n == UINT32_MAX ? SIZE_MAX : c->penalty_last_n;
}

int sn_sampler_new(const struct sn_sampler_cfg *cfg, const struct sn_tokenizer *tok,
                   struct sn_sampler **out, struct sn_diag *d)
{
    int rc = check_cfg(cfg, tok, d);
    if (rc < 0) return rc;
    struct sn_sampler *s = sn_calloc(1, sizeof *s);
    if (!s) return sn_fail(d, SN_ENOMEM, "sampler: no memory");
    s->cfg = *cfg;
    s->cfg.bias = NULL;
    s->cfg.stop = NULL;
    s->tok = tok;
    s->detok.t = tok;
    s->think = find_token(tok, "<think>");
    s->end_think = find_token(tok, "</think>");
    settle_defaults(s);
    sn_rng_seed(&s->rng, cfg->seed);
    rc = copy_bias(s, cfg, d);
    if (rc == 0) rc = sn_stop_init(&s->stop, cfg->stop, cfg->n_stop, d);
    if (rc < 0) {
        sn_sampler_free(&s);
        return rc;
    }
    *out = s;
    return 0;
}

void sn_sampler_free(struct sn_sampler **sp)
{
    struct sn_sampler *s = *sp;
    if (!s) return;
    sn_history_fini(&s->history);
    sn_stop_fini(&s->stop);
    sn_strbuf_fini(&s->piece);
    sn_free(s->bias);
    sn_free(s->work);
    sn_free(s->picks);
    sn_free(s);
    *sp = NULL;
}

/* --- what a token changes --- */

static void track_thinking(struct sn_sampler *s, int32_t id)
{
    if (id < 0) return;
    if (id == s->think) s->thinking = true;
    if (id == s->end_think) s->thinking = false;
}

int sn_sampler_accept_prompt(struct sn_sampler *s, int32_t id, struct sn_diag *d)
{
    if (id < 0 || (s->tok && (size_t)id >= sn_tokenizer_size(s->tok)))
        return sn_fail(d, SN_EINVAL, "sampler: token %d", (int)id);
    track_thinking(s, id);
    return s->penalises ? sn_history_add(&s->history, id, d) : 0;
}

/* --- the choice --- */

/* NaN and +infinity come from broken weights or overflow; drawing from them would hide it. */
static int check_logits(const float *x, size_t n, struct sn_diag *d)
{
    bool bad = n == 0;
    for (size_t i = 0; i < n; i++) bad |= !(x[i] < INFINITY);
    if (!bad) return 0;
    size_t i = 0;
    while (i < n && x[i] < INFINITY) i++;
    if (i == n) return sn_fail(d, SN_EINVAL, "sampler: no logits");
    return sn_fail(d, SN_EINVAL, "sampler: the logit of token %zu is %s", i,
                   x[i] == INFINITY ? "infinite" : "not a number");
}

static int make_room(struct sn_sampler *s, size_t n, struct sn_diag *d)
{
    if (n <= s->n_work) return 0;
    sn_free(s->work);
    sn_free(s->picks);
    s->n_work = 0;
    s->work = sn_malloc_array(n, sizeof *s->work);
    s->picks = sn_malloc_array(n, sizeof *s->picks);
    if (!s->work || !s->picks) return sn_fail(d, SN_ENOMEM, "sampler: %zu logits", n);
    s->n_work = n;
    return 0;
}

/* CTRL (arXiv:1909.05858) divides a positive logit and multiplies a negative one; OpenAI subtracts
 * by count and by presence. */
static void penalise(const struct sn_sampler *s, float *x, size_t n)
{
    const struct sn_sampler_cfg *c = &s->cfg;
    for (size_t i = 0; i < s->history.n_distinct; i++) {
        const size_t id = (size_t)s->history.distinct[i];
        if (id >= n) continue;
        x[id] = x[id] < 0 ? x[id] * c->repetition_penalty : x[id] / c->repetition_penalty;
        x[id] -= c->frequency_penalty * (float)s->history.count[id] + c->presence_penalty;
    }
}

/* The logits to choose from: the model's own when nothing changes them. */
static const float *adjust(struct sn_sampler *s, const float *logits, size_t n)
{
    if (!s->n_bias && !s->penalises) return logits;
    memcpy(s->work, logits, n * sizeof *s->work);
    for (size_t i = 0; i < s->n_bias; i++)
        if ((size_t)s->bias[i].id < n) s->work[s->bias[i].id] += s->bias[i].bias;
    if (s->penalises) penalise(s, s->work, n);
    return s->work;
}

/* Fills picks, sorted, with all that top-k leaves and that can possibly pass top-p and min-p, and
 * *sum with the weight of all that top-k leaves. v becomes exp((logit - top) / temperature). */
static size_t candidates(struct sn_sampler *s, const float *x, size_t n, double *sum)
{
    const struct sn_sampler_cfg *c = &s->cfg;
    struct sn_pick *p = s->picks;
    const float t = c->temperature, top = x[sn_argmax(x, n)];
    size_t n_picks = 0;
    if (c->top_k && c->top_k < n) {
        n_picks = c->top_k;
        sn_select_top(x, n, n_picks, p);
        *sum = 0;
        for (size_t i = 0; i < n_picks; i++) {
            p[i].v = sn_exp_neg((p[i].v - top) / t);
            *sum += (double)p[i].v;
        }
        return n_picks;
    }
    *sum = sn_exp_sum(x, n, top, t);
    /* all tokens below (1 - top_p) / n of the sum weigh less than 1 - top_p together: top-p would
     * drop every one of them, so they need not be sorted */
    const double least = fmax((1 - (double)c->top_p) * *sum / (double)n, (double)c->min_p);
    for (size_t i = 0; i < n; i++) {
        const float w = sn_exp_neg((x[i] - top) / t);
        if ((double)w >= least && w > 0) p[n_picks++] = (struct sn_pick){(int32_t)i, w};
    }
    if (c->top_p < 1 || c->min_p > 0) sn_select_sort(p, n_picks);
    return n_picks;
}

/* What top-p and min-p leave of sorted candidates. Top-p keeps a token when those before it weigh
 * less than top_p of the sum. */
static size_t filter(const struct sn_sampler *s, size_t n, double sum)
{
    const struct sn_pick *p = s->picks;
    double before = 0;
    size_t i = 0;
    for (; i < n; before += (double)p[i++].v) {
        const bool in = before < (double)s->cfg.top_p * sum && p[i].v >= s->cfg.min_p * p[0].v;
        if (i > 0 && !in) break;
    }
    return i;
}

static int32_t draw(struct sn_sampler *s, const float *x, size_t n)
{
    double sum, kept = 0;
    size_t n_picks = candidates(s, x, n, &sum), i = 0;
    if (s->cfg.top_p < 1 || s->cfg.min_p > 0) n_picks = filter(s, n_picks, sum);
    for (size_t j = 0; j < n_picks; j++) kept += (double)s->picks[j].v;
    double left = sn_rng_uniform(&s->rng) * kept;
    while (i + 1 < n_picks && left >= (double)s->picks[i].v) left -= (double)s->picks[i++].v;
    return s->picks[i].id;
}

/* Of the model's own distribution. */
static void note_logprobs(struct sn_sampler *s, const float *logits, size_t n, int32_t id)
{
    const float top = logits[sn_argmax(logits, n)];
    const double log_sum = log(sn_exp_sum(logits, n, top, 1)) + (double)top;
    struct sn_pick best[LOGPROBS_MAX];
    s->n_top = sn_min(s->cfg.n_logprobs, n);
    sn_select_top(logits, n, s->n_top, best);
    for (size_t i = 0; i < s->n_top; i++)
        s->top[i] = (struct sn_logprob){best[i].id, (float)((double)best[i].v - log_sum)};
    s->logprob = (float)((double)logits[id] - log_sum);
}

static int choose(struct sn_sampler *s, const float *logits, size_t n_vocab, int32_t *id,
                  struct sn_diag *d)
{
    /* rows of the output matrix beyond the vocabulary are padding */
    const size_t n = s->tok ? sn_min(n_vocab, sn_tokenizer_size(s->tok)) : n_vocab;
    int rc = check_logits(logits, n, d);
    if (rc == 0) rc = make_room(s, n, d);
    if (rc < 0) return rc;
    const bool spent = s->cfg.reasoning_tokens && s->thinking && s->end_think >= 0 &&
                       s->n_thought >= s->cfg.reasoning_tokens;
    const float *x = adjust(s, logits, n);
    const size_t best = spent ? (size_t)s->end_think : sn_argmax(x, n);
    if (!spent && x[best] == -INFINITY)
        return sn_fail(d, SN_EINVAL, "sampler: all %zu tokens are banned", n);
    *id = spent || s->cfg.temperature == 0 ? (int32_t)best : draw(s, x, n);
    note_logprobs(s, logits, n_vocab, *id);
    return 0;
}

/* --- text and the end --- */

static int add_text(struct sn_sampler *s, int32_t id, enum sn_finish *finish,
                    struct sn_strbuf *text, struct sn_diag *d)
{
    bool hit = false;
    if (!s->tok) return 0;
    sn_strbuf_clear(&s->piece);
    int rc = sn_detok_feed(&s->detok, id, &s->piece, d);
    if (rc == 0 && s->piece.failed) rc = sn_fail(d, SN_ENOMEM, "sampler: text of token %d", (int)id);
    if (rc == 0 && s->piece.len)
        rc = sn_stop_feed(&s->stop, s->piece.data, s->piece.len, text, &hit, d);
    if (hit) *finish = SN_FINISH_STOP;
    return rc;
}

/* No token follows: what was held back comes out. */
static int end_text(struct sn_sampler *s, struct sn_strbuf *text, struct sn_diag *d)
{
    bool hit = false;
    int rc = 0;
    if (!s->tok) return 0;
    sn_strbuf_clear(&s->piece);
    sn_detok_flush(&s->detok, &s->piece);
    if (s->piece.failed) return sn_fail(d, SN_ENOMEM, "sampler: end of the text");
    if (s->piece.len) rc = sn_stop_feed(&s->stop, s->piece.data, s->piece.len, text, &hit, d);
    if (rc == 0 && !hit) sn_stop_flush(&s->stop, text);
    return rc;
}

static int accept(struct sn_sampler *s, int32_t id, enum sn_finish *finish, struct sn_strbuf *text,
                  struct sn_diag *d)
{
    const struct sn_sampler_cfg *c = &s->cfg;
    int rc = s->penalises ? sn_history_add(&s->history, id, d) : 0;
    if (rc < 0) return rc;
    s->n_thought += s->thinking;
    s->n_tokens++;
    track_thinking(s, id);
    *finish = SN_FINISH_NONE;
    if (s->tok && sn_tokenizer_is_eog(s->tok, id))
        *finish = SN_FINISH_EOS;
    else
        rc = add_text(s, id, finish, text, d);
    if (rc < 0) return rc;
    const bool looped = !c->no_loop_check && sn_loop_feed(&s->loop, id);
    if (*finish == SN_FINISH_NONE && c->max_tokens && s->n_tokens >= c->max_tokens)
        *finish = SN_FINISH_LENGTH;
    if (*finish == SN_FINISH_NONE && looped) *finish = SN_FINISH_LOOP;
    return *finish == SN_FINISH_NONE || *finish == SN_FINISH_STOP ? 0 : end_text(s, text, d);
}

int sn_sampler_next(struct sn_sampler *s, const float *logits, size_t n_vocab, int32_t *id,
                    enum sn_finish *finish, struct sn_strbuf *text, struct sn_diag *d)
{
    int rc = choose(s, logits, n_vocab, id, d);
    if (rc == 0) rc = accept(s, *id, finish, text, d);
    if (rc == 0 && text->failed) rc = sn_fail(d, SN_ENOMEM, "sampler: text of %zu bytes", text->len);
    return rc;
}

float sn_sampler_logprob(const struct sn_sampler *s)
{
    return s->logprob;
}

size_t sn_sampler_top(const struct sn_sampler *s, const struct sn_logprob **list)
{
    *list = s->top;
    return s->n_top;
}
