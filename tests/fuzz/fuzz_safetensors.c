/* The safetensors reader on arbitrary bytes. */

#include "tests/fuzz/fuzz.h"

#include "model/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sn_safetensors *s = NULL;
    struct sn_diag d;
    sn_diag_init(&d);
    uint64_t sum = 0;
    if (sn_safetensors_parse("fuzz", data, size, &s, &d) < 0) {
        fuzz_check(d.code != SN_OK && d.text[0] != '\0' && !s);
        return 0;
    }
    for (size_t i = 0; i < sn_safetensors_n_tensors(s); i++) {
        const struct sn_safetensor *t = sn_safetensors_tensor(s, i);
        fuzz_check(sn_safetensors_find(s, t->name) == t);
        sum += fuzz_touch(t->data, t->n_bytes);
    }
    for (size_t i = 0; i < sn_safetensors_n_metadata(s); i++) {
        const char *key, *value;
        sn_safetensors_metadata(s, i, &key, &value);
        sum += (uint64_t)key[0] + (uint64_t)value[0];
    }
    fuzz_use(sum);
    sn_safetensors_free(&s);
    return 0;
}
