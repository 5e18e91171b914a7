#include "config.h"
#include "cli/session.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "model/pull.h"
#include "model/gguf.h"
#include "model/tokenizer.h"

/* Names are checked where the option is (cli_check_model()). */
static enum sn_kv_type kv_type(const char *name)
{
    if (!name)
        return SN_KV_AUTO;
    return strcmp(name, "q8") == 0 ? SN_KV_Q8 : strcmp(name, "f32") == 0 ? SN_KV_F32 : SN_KV_I16;
}

int cli_device_open(const struct cli_model_opts *o, struct sn_device **out, struct sn_diag *d)
{
    const struct sn_device_cfg cfg = {.name = o->device, .n_threads = o->threads, .pin = o->pin,
                                      .fast = o->fast};
    return sn_device_open(&cfg, out, d);
}

static int open_all(const struct cli_model_opts *o, const struct sn_engine_cfg *wanted,
                    struct cli_session *s, struct sn_diag *d)
{
    int rc = sn_model_resolve(o->model, &s->path, d);
    if (rc < 0)
        return rc;
    const double t0 = sn_clock_s();
    rc = cli_device_open(o, &s->device, d);
    if (rc < 0)
        return rc;
    rc = sn_llm_open(s->device, s->path, &s->llm, d);
    if (rc < 0)
        return rc;
    s->load_s = sn_clock_s() - t0;
    struct sn_engine_cfg engine = wanted ? *wanted : (struct sn_engine_cfg){0};
    if (!engine.n_ctx)
        engine.n_ctx = o->n_ctx;
    engine.kv_type = kv_type(o->kv);
    rc = sn_engine_new(s->llm, &engine, &s->engine, d);
    return rc < 0 ? rc : sn_prefix_new(s->engine, &s->prefix, d);
}

int cli_session_open(const struct cli_model_opts *o, const struct sn_engine_cfg *engine,
                     struct cli_session *s, struct sn_diag *d)
{
    *s = (struct cli_session){0};
    const int rc = open_all(o, engine, s, d);
    if (rc < 0)
        cli_session_close(s);
    return rc;
}

void cli_session_close(struct cli_session *s)
{
    sn_prefix_free(&s->prefix);
    sn_engine_free(&s->engine);
    sn_llm_free(&s->llm);
    sn_device_close(&s->device);
    sn_free(s->path);
    *s = (struct cli_session){0};
}

int cli_session_tokenizer(const struct cli_session *s, const struct sn_tokenizer **out,
                          struct sn_diag *d)
{
    *out = sn_llm_tokenizer(s->llm);
    if (!*out)
        return sn_fail(d, SN_ENOENT, "%s: the file has no vocabulary", s->path);
    return 0;
}

int cli_open_tokenizer(const char *model, struct sn_tokenizer **out, struct sn_diag *d)
{
    char *path = NULL;
    struct sn_gguf *file = NULL;
    int rc = sn_model_resolve(model, &path, d);
    if (rc == 0)
        rc = sn_gguf_open(path, &file, d);
    if (rc == 0) {
        rc = sn_tokenizer_new(file, out, d);
        if (rc < 0)
            rc = sn_diag_prefix(d, rc, "%s", path);
    }
    sn_gguf_free(&file);
    sn_free(path);
    return rc;
}
