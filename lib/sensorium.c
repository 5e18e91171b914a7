/* Models and tokens of the public interface, over the inner ones. */
#include "config.h"
#include "sensorium.h"

#include <string.h>

#include "base/mem.h"
#include "compute/device.h"
#include "lib/api.h"
#include "llm/generate.h"
#include "model/chat_open.h"
#include "model/pull.h"
#include "model/tokenizer.h"

struct sensorium_model {
    char *path;
    struct sn_device *device;
    struct sn_llm *llm;
    struct sn_engine *engine;
    struct sn_prefix *prefix;
    const struct sn_tokenizer *tokenizer;
};

const char *sensorium_version(void)
{
    return PACKAGE_VERSION;
}

void sensorium_close(sensorium_model *m)
{
    if (!m)
        return;
    sn_prefix_free(&m->prefix);
    sn_engine_free(&m->engine);
    sn_llm_free(&m->llm);
    sn_device_close(&m->device);
    sn_free(m->path);
    sn_free(m);
}

static int open_model(sensorium_model *m, const char *model,
                      const struct sensorium_open_options *o, struct sn_diag *d)
{
    int rc = sn_model_resolve(model, &m->path, d);
    if (rc == 0)
        rc = sn_device_open(&(struct sn_device_cfg){.n_threads = o->threads}, &m->device, d);
    if (rc == 0)
        rc = sn_llm_open(m->device, m->path, &m->llm, d);
    if (rc == 0)
        rc = sn_engine_new(m->llm, &(struct sn_engine_cfg){.n_ctx = o->context}, &m->engine, d);
    if (rc == 0)
        rc = sn_prefix_new(m->engine, &m->prefix, d);
    if (rc < 0)
        return rc;
    m->tokenizer = sn_llm_tokenizer(m->llm);
    return m->tokenizer ? 0 : sn_fail(d, SN_ENOENT, "%s: the file has no vocabulary", m->path);
}

sensorium_model *sensorium_open(const char *model, const struct sensorium_open_options *options,
                                char *error)
{
    struct sn_diag d;
    sn_diag_init(&d);
    struct sensorium_open_options o = {0};
    sensorium_model *m = sn_calloc(1, sizeof *m);
    int rc = m ? sn_api_take_options(&o, sizeof o, options, &d) : sn_fail(&d, SN_ENOMEM, "out of memory");
    if (rc == 0)
        rc = open_model(m, model, &o, &d);
    if (rc == 0)
        return m;
    sn_api_report(&d, error);
    sensorium_close(m);
    return NULL;
}

uint32_t sensorium_context(const sensorium_model *m)
{
    return sn_engine_n_ctx(m->engine);
}

/* --- generation --- */

struct listener {
    sensorium_text_fn *fn;
    void *context;
};

static int on_token(void *ctx, const struct sn_generated *token)
{
    const struct listener *l = ctx;
    return token->n_text && l->fn ? l->fn(l->context, token->text, token->n_text) : 0;
}

static int make_prompt(const sensorium_model *m, const char *prompt,
                       const struct sensorium_generate_options *o, struct sn_ids *ids,
                       struct sn_diag *d)
{
    if (o->raw)
        return sn_tokenizer_encode(m->tokenizer, prompt, strlen(prompt),
                                   SN_TOK_SPECIAL | SN_TOK_BOS_EOS, ids, d);
    struct sn_chat_msg msgs[2] = {{"system", o->system}, {"user", prompt}};
    const struct sn_chat_input in = {.msgs = o->system ? msgs : msgs + 1,
                                     .n_msgs = o->system ? 2 : 1};
    struct sn_chat *chat = NULL;
    int rc = sn_chat_open(sn_llm_file(m->llm), m->tokenizer, NULL, &chat, d);
    if (rc == 0)
        rc = sn_chat_encode(chat, &in, ids, d);
    sn_chat_free(&chat);
    return rc;
}

static int generate(sensorium_model *m, const char *prompt,
                    const struct sensorium_generate_options *o, struct listener *l,
                    struct sn_answer *a, struct sn_diag *d)
{
    const struct sn_sampler_cfg sampling = {
        .temperature = o->temperature, .top_k = o->top_k, .top_p = o->top_p, .min_p = o->min_p,
        .repetition_penalty = o->repetition_penalty, .seed = o->seed,
        .max_tokens = o->max_tokens};
    const struct sn_generate g = {.on.llm = m->llm, .on.engine = m->engine, .on.prefix = m->prefix,
                                  .on.sampling = &sampling, .fn = on_token, .ctx = l};
    struct sn_ids ids = {0};
    int rc = make_prompt(m, prompt, o, &ids, d);
    if (rc == 0)
        rc = sn_generate(&g, &(struct sn_prompt){.tokens = ids.v, .n = ids.n}, a, d);
    sn_ids_fini(&ids);
    return rc;
}

long sensorium_generate(sensorium_model *m, const char *prompt,
                        const struct sensorium_generate_options *options, sensorium_text_fn *fn,
                        void *context, char *error)
{
    struct sn_diag d;
    sn_diag_init(&d);
    struct sensorium_generate_options o = {0};
    struct listener l = {fn, context};
    struct sn_answer a = {0};
    int rc = sn_api_take_options(&o, sizeof o, options, &d);
    if (rc == 0)
        rc = generate(m, prompt, &o, &l, &a, &d);
    return rc < 0 ? sn_api_report(&d, error) : (long)a.n_tokens;
}

/* --- tokens --- */

long sensorium_tokenize(const sensorium_model *m, const char *text, size_t n_bytes, int32_t *ids,
                        size_t max, char *error)
{
    struct sn_diag d;
    sn_diag_init(&d);
    struct sn_ids all = {0};
    const int rc = sn_tokenizer_encode(m->tokenizer, text, n_bytes, SN_TOK_SPECIAL | SN_TOK_BOS_EOS,
                                       &all, &d);
    const long n = rc < 0 ? sn_api_report(&d, error) : (long)all.n;
    if (n > 0 && max > 0)
        memcpy(ids, all.v, sn_min(all.n, max) * sizeof *ids);
    sn_ids_fini(&all);
    return n;
}

long sensorium_detokenize(const sensorium_model *m, const int32_t *ids, size_t n, char *text,
                          size_t max, char *error)
{
    struct sn_diag d;
    sn_diag_init(&d);
    struct sn_strbuf all = {0};
    int rc = sn_tokenizer_decode(m->tokenizer, ids, n, false, &all, &d);
    if (rc == 0 && all.failed)
        rc = sn_fail(&d, SN_ENOMEM, "the text of %zu tokens", n);
    const long n_bytes = rc < 0 ? sn_api_report(&d, error) : (long)all.len;
    if (n_bytes > 0 && max > 0)
        memcpy(text, all.data, sn_min(all.len, max));
    sn_strbuf_fini(&all);
    return n_bytes;
}
