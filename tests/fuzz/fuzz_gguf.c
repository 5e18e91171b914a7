/* The GGUF reader on arbitrary bytes: whatever it accepts can be touched in every part. */

#include "tests/fuzz/fuzz.h"

#include "model/gguf.h"

static uint64_t touch_value(const struct sn_gguf *g, const struct sn_gguf_value *v)
{
    uint64_t sum = v->count, u;
    double f;
    size_t n;
    sn_gguf_get_u64(g, v->key, 1, 100, &u, NULL);
    sn_gguf_get_f64(g, v->key, -1, 1, &f, NULL);
    if (v->elem != SN_GGUF_STRING) {
        for (uint64_t i = 0; i < v->count; i++)
            sum += (uint64_t)sn_gguf_at_i64(v, i) + (sn_gguf_at_f64(v, i) > 0);
        return sum;
    }
    for (uint64_t i = 0; i < (v->kind == SN_GGUF_ARRAY ? v->count : 1); i++) {
        const char *s = sn_gguf_at_string(v, i, &n);
        sum += fuzz_touch(s, n);
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sn_gguf *g = NULL;
    struct sn_diag d;
    sn_diag_init(&d);
    uint64_t sum = 0;
    if (sn_gguf_parse("fuzz", data, size, &g, &d) < 0) {
        fuzz_check(d.code != SN_OK && d.text[0] != '\0' && !g);
        return 0;
    }
    for (size_t i = 0; i < sn_gguf_n_values(g); i++) {
        const struct sn_gguf_value *v = sn_gguf_value(g, i);
        fuzz_check(sn_gguf_find(g, v->key) == v);
        sum += touch_value(g, v);
    }
    for (size_t i = 0; i < sn_gguf_n_tensors(g); i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        fuzz_check(sn_gguf_find_tensor(g, t->name) == t && t->n_bytes > 0);
        sum += fuzz_touch(t->data, t->n_bytes);
    }
    fuzz_use(sum);
    sn_gguf_free(&g);
    return 0;
}
