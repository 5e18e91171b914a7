/* The safetensors reader on arbitrary bytes, as a whole file and as a header in a sound file: a
 * mutation hardly ever keeps the length in front of the header right. */

#include "tests/fuzz/fuzz.h"

#include "model/safetensors.h"

#include <string.h>

static void parse(const uint8_t *data, size_t size)
{
    struct sn_safetensors *s = NULL;
    struct sn_diag d;
    sn_diag_init(&d);
    uint64_t sum = 0;
    if (sn_safetensors_parse("fuzz", data, size, &s, &d) < 0) {
        fuzz_check(d.code != SN_OK && d.text[0] != '\0' && !s);
        return;
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
}

/* The last byte says how much data stands behind the header. */
static void parse_header(const uint8_t *data, size_t size)
{
    const uint64_t n = size - 1;
    const size_t n_data = data[n] % 64;
    uint8_t *file = malloc(8 + n + n_data);
    if (!file)
        return;
    memcpy(file, &n, 8);
    memcpy(file + 8, data, n);
    memset(file + 8 + n, 1, n_data);
    parse(file, 8 + n + n_data);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size);
    if (size > 0)
        parse_header(data, size);
    return 0;
}
