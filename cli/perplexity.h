#ifndef SN_CLI_PERPLEXITY_H
#define SN_CLI_PERPLEXITY_H
/* How well a model predicts a text. */

#include "base/diag.h"

/* exp of the mean negative log-likelihood per token of the text file under the model. */
int cli_perplexity(const char *model_path, const char *text_path, double *ppl,
                   struct sn_diag *d);

#endif
