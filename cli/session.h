#ifndef SN_CLI_SESSION_H
#define SN_CLI_SESSION_H
/* What a command needs to run a model: device, model, engine, opened from its options. */

#include "cli/options.h"
#include "compute/device.h"
#include "llm/llm.h"
#include "llm/prefix.h"

struct cli_session {
    char *path;             /* the model's file */
    struct sn_device *device;
    struct sn_llm *llm;
    struct sn_engine *engine;
    struct sn_prefix *prefix; /* what earlier prompts of the session left */
    double load_s;          /* device and model */
};
/* `engine` names what is to be different from the options (batch, tokens over all sequences); may
 * be NULL. All-zero on error. */
int cli_session_open(const struct cli_model_opts *o, const struct sn_engine_cfg *engine,
                     struct cli_session *s, struct sn_diag *d);
void cli_session_close(struct cli_session *s);

/* What the options say to compute with. */
int cli_device_open(const struct cli_model_opts *o, struct sn_device **out, struct sn_diag *d);

/* The session's tokenizer; -SN_ENOENT for a file that has none. */
int cli_session_tokenizer(const struct cli_session *s, const struct sn_tokenizer **out,
                          struct sn_diag *d);

/* The vocabulary alone, without weights: any GGUF file that has one will do. */
int cli_open_tokenizer(const char *model, struct sn_tokenizer **out, struct sn_diag *d);

#endif
