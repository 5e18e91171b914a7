#ifndef SN_CLI_PERPLEXITY_H
#define SN_CLI_PERPLEXITY_H
/* Perplexity: how well a model predicts a text. The text's tokens are cut into windows of n_ctx
 * that do not overlap; a last one of fewer than two tokens is dropped. The beginning token is added
 * once, before the text, if the file says so. In each window every token but the first is scored
 * given those before it in the window; perplexity is exp(mean negative log-likelihood). */

#include "base/diag.h"
#include "cli/options.h"

struct cli_perplexity {
    double ppl, nll;             /* exp(nll); nll: mean per scored token, in nats */
    size_t n_tokens, n_scored, n_windows;
    double seconds;              /* without loading */
};
int cli_perplexity_run(const struct cli_model_opts *model, const char *text_path, size_t n_window,
                       struct cli_perplexity *out, struct sn_diag *d);

/* Windows of 512 tokens, everything else as by default. */
int cli_perplexity(const char *model_path, const char *text_path, double *ppl, struct sn_diag *d);

#endif
