/* whisper.cpp's files on arbitrary bytes. */

#include "tests/fuzz/fuzz.h"

#include "model/tokenizer.h"
#include "model/whisper_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sn_gguf *g = NULL;
    struct sn_tokenizer *t = NULL;
    struct sn_diag d;
    uint64_t sum = 0;
    sn_diag_init(&d);
    if (sn_whisper_ggml_parse("fuzz", data, size, &g, &d) < 0) {
        fuzz_check(d.code != SN_OK && d.text[0] != '\0' && !g);
        return 0;
    }
    for (size_t i = 0; i < sn_gguf_n_tensors(g); i++)
        sum += fuzz_touch(sn_gguf_tensor(g, i)->data, sn_gguf_tensor(g, i)->n_bytes);
    fuzz_use(sum);
    if (sn_tokenizer_new(g, &t, &d) == 0)
        sn_tokenizer_free(&t);
    sn_gguf_free(&g);
    return 0;
}
