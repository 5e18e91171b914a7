/* Which token may follow (OpenAI's decoding.py; the same rules in transformers' logits processors). */
#include "config.h"
#include "llm/whisper_impl.h"

#include <math.h>

#include "llm/select.h"

static void forbid(float *logits, int32_t from, int32_t to)
{
    for (int32_t i = from; i < to; i++) logits[i] = -INFINITY;
}

static void forbid_kinds(const struct sn_whisper *w, uint8_t kinds, float *logits)
{
    for (uint32_t i = 0; i < w->n_vocab; i++)
        if (w->kind[i] & kinds) logits[i] = -INFINITY;
}

/* Times come in pairs: the end of a segment and the start of the next. After the first of a pair there
 * is the second, or the end of the text; after the second there is text. They never go back. */
static void pair_times(const struct sn_whisper *w, const int32_t *said, size_t n, float *logits)
{
    const int32_t t0 = w->first_time, n_vocab = (int32_t)w->n_vocab;
    const bool last = n >= 1 && said[n - 1] >= t0;
    const bool before = n < 2 || said[n - 2] >= t0;
    if (last && before) forbid(logits, t0, n_vocab);
    if (last && !before) forbid(logits, 0, w->end);
    for (size_t i = n; i-- > 0;)
        if (said[i] >= t0) {
            /* only the second of a pair may equal the first */
            forbid(logits, t0, last && !before ? said[i] : said[i] + 1);
            break;
        }
}

enum { FIRST_TIME_MAX = 50 }; /* a window's first segment starts within its first second */

static void begin_with_time(const struct sn_whisper *w, float *logits)
{
    forbid(logits, 0, w->first_time);
    if (w->first_time + FIRST_TIME_MAX + 1 < (int32_t)w->n_vocab)
        forbid(logits, w->first_time + FIRST_TIME_MAX + 1, (int32_t)w->n_vocab);
}

/* When all times together are likelier than the likeliest text, it is time. */
static void prefer_times(const struct sn_whisper *w, float *logits)
{
    const int32_t t0 = w->first_time;
    const size_t n_times = w->n_vocab - (uint32_t)t0;
    const float time = logits[t0 + (int32_t)sn_argmax(logits + t0, n_times)];
    const float text = logits[sn_argmax(logits, (size_t)t0)];
    if (!isfinite(time)) return;
    const double all = (double)time + log(sn_exp_sum(logits + t0, n_times, time, 1));
    if (all > (double)text) forbid(logits, 0, t0);
}

void sn_whisper_rules(const struct sn_whisper *w, const struct sn_whisper_cfg *cfg,
                      const int32_t *said, size_t n, float *logits)
{
    forbid_kinds(w, cfg->keep_symbols ? SN_WHISPER_NEVER : SN_WHISPER_NEVER | SN_WHISPER_SYMBOL,
                 logits);
    if (n == 0) {
        logits[w->end] = -INFINITY;
        if (w->blank >= 0) logits[w->blank] = -INFINITY;
    }
    if (cfg->no_times) {
        forbid(logits, w->first_time, (int32_t)w->n_vocab);
        return;
    }
    pair_times(w, said, n, logits);
    if (n == 0) begin_with_time(w, logits);
    prefer_times(w, logits);
}
