#include "config.h"
#include "cli/perplexity.h"

#include <math.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/session.h"
#include "cli/terminal.h"

enum {
    TEXT_MAX = 1 << 30,   /* bytes of a text */
    ROWS = 64,            /* tokens whose logits are held at a time: 64 x 150 k floats is 40 MB */
};

/* -log softmax(row)[id]; in double: the sum runs over the whole vocabulary. */
static double nll(const float *row, size_t n_vocab, int32_t id)
{
    float max = row[0];
    for (size_t i = 1; i < n_vocab; i++)
        max = row[i] > max ? row[i] : max;
    double sum = 0;
    for (size_t i = 0; i < n_vocab; i++)
        sum += exp((double)row[i] - (double)max);
    return log(sum) + (double)max - (double)row[id];
}

/* Adds to *sum what ids[1..n-1] cost; the sequence is empty before and after. */
static int score_window(const struct cli_session *s, int32_t seq, const int32_t *ids, size_t n,
                        float *logits, double *sum, struct sn_diag *d)
{
    const size_t n_vocab = sn_llm_n_vocab(s->llm);
    for (size_t at = 0; at + 1 < n; at += ROWS) {
        const size_t rows = sn_min(ROWS, n - 1 - at);
        const struct sn_chunk chunk = {.seq = seq, .tokens = ids + at, .n = rows, .n_logits = rows};
        const int rc = sn_engine_step(s->engine, &chunk, 1, logits, cli_interrupted, d);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < rows; i++)
            *sum += nll(logits + i * n_vocab, n_vocab, ids[at + i + 1]);
    }
    return sn_seq_truncate(s->engine, seq, 0, d);
}

static int score(const struct cli_session *s, const struct sn_ids *ids, size_t n_window,
                 struct cli_perplexity *out, struct sn_diag *d)
{
    if (ids->n < 2)
        return sn_fail(d, SN_EINVAL, "a text of %zu tokens: at least 2 are needed", ids->n);
    float *logits = sn_malloc_array(ROWS * (size_t)sn_llm_n_vocab(s->llm), sizeof *logits);
    if (!logits)
        return sn_fail(d, SN_ENOMEM, "logits of %d tokens", ROWS);
    int32_t seq;
    double sum = 0;
    int rc = sn_seq_new(s->engine, &seq, d);
    for (size_t at = 0; rc == 0 && at + 1 < ids->n; at += n_window) {
        const size_t n = sn_min(n_window, ids->n - at);
        rc = score_window(s, seq, ids->v + at, n, logits, &sum, d);
        out->n_windows++;
        out->n_scored += n - 1;
    }
    sn_free(logits);
    out->n_tokens = ids->n;
    out->nll = sum / (double)out->n_scored;
    out->ppl = exp(out->nll);
    return rc;
}

static int read_ids(const struct cli_session *s, const char *path, struct sn_ids *ids,
                    struct sn_diag *d)
{
    const struct sn_tokenizer *t;
    char *text = NULL;
    size_t n;
    int rc = cli_session_tokenizer(s, &t, d);
    if (rc == 0)
        rc = sn_file_read(path, TEXT_MAX, &text, &n, d);
    if (rc == 0)
        rc = sn_tokenizer_encode(t, text, n, SN_TOK_BOS_EOS, ids, d);
    sn_free(text);
    return rc;
}

int cli_perplexity_run(const struct cli_model_opts *model, const char *text_path, size_t n_window,
                       struct cli_perplexity *out, struct sn_diag *d)
{
    *out = (struct cli_perplexity){0};
    struct cli_session s;
    struct sn_ids ids = {0};
    int rc = cli_session_open(model, &(struct sn_engine_cfg){.n_ctx = (uint32_t)n_window}, &s, d);
    if (rc == 0)
        rc = read_ids(&s, text_path, &ids, d);
    const double t0 = sn_clock_s();
    if (rc == 0)
        rc = score(&s, &ids, n_window, out, d);
    out->seconds = sn_clock_s() - t0;
    sn_ids_fini(&ids);
    cli_session_close(&s);
    return rc;
}

int cli_perplexity(const char *model_path, const char *text_path, double *ppl, struct sn_diag *d)
{
    struct cli_perplexity result;
    const struct cli_model_opts model = {.model = model_path};
    const int rc = cli_perplexity_run(&model, text_path, 512, &result, d);
    if (rc == 0)
        *ppl = result.ppl;
    return rc;
}
