/* CTranslate2 files of Whisper on arbitrary bytes, with a vocabulary that fits the seed's. */

#include "tests/fuzz/fuzz.h"

#include "model/whisper_file.h"

static const char vocabulary[] = "a\nb\nab\n<|endoftext|>\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sn_gguf *g = NULL;
    struct sn_diag d;
    uint64_t sum = 0;
    sn_diag_init(&d);
    if (sn_whisper_ct2_parse("fuzz", data, size, vocabulary, sizeof vocabulary - 1,
                             "{\"alignment_heads\": [[0, 0]]}", &g, &d) < 0) {
        fuzz_check(d.code != SN_OK && d.text[0] != '\0' && !g);
        return 0;
    }
    for (size_t i = 0; i < sn_gguf_n_tensors(g); i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        fuzz_check(sn_gguf_find_tensor(g, t->name) == t);
        sum += fuzz_touch(t->data, t->n_bytes);
    }
    fuzz_use(sum);
    sn_gguf_free(&g);
    return 0;
}
