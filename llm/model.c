#include "config.h"
#include "llm/llm_impl.h"

#include "base/mem.h"
#include "model/gguf.h"
#include "model/tokenizer.h"

static int open_tokenizer(struct sn_llm *m, struct sn_diag *d)
{
    struct sn_diag why;
    const int rc = sn_tokenizer_new(m->file, &m->tok, &why);
    if (rc == -SN_ENOENT) return 0; /* a file without vocabulary runs on ids alone */
    if (rc < 0) return sn_fail(d, (enum sn_err)-rc, "%s", why.text);
    const size_t n = sn_tokenizer_size(m->tok);
    if (n > m->w.n_embd_rows)
        return sn_fail(d, SN_EFORMAT, "%s: %zu tokens in the vocabulary, %u in token_embd.weight",
                       sn_gguf_name(m->file), n, m->w.n_embd_rows);
    return 0;
}

int sn_llm_open(struct sn_device *dev, const char *path, struct sn_llm **out, struct sn_diag *d)
{
    struct sn_gguf *file = NULL;
    const int rc = sn_gguf_open(path, &file, d);
    return rc < 0 ? rc : sn_llm_take(dev, &file, out, d);
}

int sn_llm_take(struct sn_device *dev, struct sn_gguf **file, struct sn_llm **out, struct sn_diag *d)
{
    struct sn_llm *m = sn_calloc(1, sizeof *m);
    if (!m) {
        const int rc = sn_fail(d, SN_ENOMEM, "%s: no memory for the model", sn_gguf_name(*file));
        sn_gguf_free(file);
        return rc;
    }
    m->dev = dev;
    m->file = *file;
    *file = NULL;
    int rc = sn_hparams_read(m->file, &m->h, d);
    if (rc == 0) rc = sn_weights_load(dev, m->file, &m->h, &m->w, d);
    if (rc == 0) rc = open_tokenizer(m, d);
    if (rc < 0) {
        sn_llm_free(&m);
        return rc;
    }
    *out = m;
    return 0;
}

void sn_llm_free(struct sn_llm **mp)
{
    struct sn_llm *m = *mp;
    if (!m) return;
    sn_weights_fini(m->dev, &m->h, &m->w);
    sn_hparams_fini(&m->h);
    sn_tokenizer_free(&m->tok);
    sn_gguf_free(&m->file);
    sn_free(m);
    *mp = NULL;
}

const char *sn_llm_arch(const struct sn_llm *m) { return m->h.family->arch; }
uint32_t sn_llm_n_vocab(const struct sn_llm *m) { return m->w.n_vocab; }
uint32_t sn_llm_n_ctx_train(const struct sn_llm *m) { return m->h.n_ctx_train; }
uint32_t sn_llm_n_embd(const struct sn_llm *m) { return m->h.n_embd; }
uint32_t sn_llm_n_layers(const struct sn_llm *m) { return m->h.n_layers; }
const struct sn_tokenizer *sn_llm_tokenizer(const struct sn_llm *m) { return m->tok; }
const struct sn_gguf *sn_llm_file(const struct sn_llm *m) { return m->file; }
struct sn_device *sn_llm_device(const struct sn_llm *m) { return m->dev; }
