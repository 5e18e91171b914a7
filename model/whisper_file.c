#include "config.h"
#include "model/whisper_file.h"

#include <string.h>
#include <sys/stat.h>

#include "model/whisper_impl.h"

static const uint8_t gguf_magic[4] = {'G', 'G', 'U', 'F'};
static const uint8_t ggml_magic[4] = {'l', 'm', 'g', 'g'};

static bool begins(const struct sn_map *m, const uint8_t magic[4])
{
    return m->size >= 4 && memcmp(m->data, magic, 4) == 0;
}

int sn_whisper_file_open(const char *path, struct sn_gguf **out, struct sn_diag *d)
{
    struct stat st;
    struct sn_map map = {0};
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return sn_whisper_ct2_read(path, out, d);
    int rc = sn_map_open(path, &map, d);
    if (rc < 0)
        return rc;
    if (begins(&map, ggml_magic))
        return sn_whisper_ggml_read(path, &map, out, d);
    const bool gguf = begins(&map, gguf_magic);
    sn_map_close(&map);
    return gguf ? sn_gguf_open(path, out, d)
                : sn_fail(d, SN_EUNSUPPORTED, "%s: neither GGUF, nor whisper.cpp's ggml format, nor "
                          "a CTranslate2 folder", path);
}

/* --- hyper-parameters --- */

static bool stack_is_sane(const struct sn_whisper_stack *s)
{
    return s->n_layers >= 1 && s->n_layers <= 256 && s->n_embd >= 1 && s->n_embd <= 1 << 16 &&
           s->n_ff >= 1 && s->n_ff <= 1 << 18 && s->n_heads >= 1 && s->n_heads <= s->n_embd &&
           s->n_embd % s->n_heads == 0 && s->n_ctx >= 1 && s->n_ctx <= 1 << 16;
}

static int check_stack(const char *name, const char *which, const struct sn_whisper_stack *s,
                       struct sn_diag *d)
{
    if (stack_is_sane(s))
        return 0;
    return sn_fail(d, SN_ELIMIT, "%s: %s of %u layers, %u wide, MLP of %u, %u heads, %u positions",
                   name, which, s->n_layers, s->n_embd, s->n_ff, s->n_heads, s->n_ctx);
}

int sn_whisper_check_shape(const char *name, const struct sn_whisper_shape *s, struct sn_diag *d)
{
    int rc = check_stack(name, "an encoder", &s->audio, d);
    if (rc == 0)
        rc = check_stack(name, "a decoder", &s->text, d);
    if (rc == 0 && (s->n_mels < 1 || s->n_mels > 256 || s->n_vocab < 1 || s->n_vocab > 1 << 20))
        rc = sn_fail(d, SN_ELIMIT, "%s: %u mel bins and %u tokens", name, s->n_mels, s->n_vocab);
    return rc;
}

#define AUDIO(k) "whisper.audio." k
#define TEXT(k) "whisper." k

void sn_whisper_build_keys(struct sn_gguf_builder *b, const struct sn_whisper_shape *s)
{
    sn_gguf_build_string(b, "general.architecture", "whisper");
    sn_gguf_build_u32(b, AUDIO("block_count"), s->audio.n_layers);
    sn_gguf_build_u32(b, AUDIO("embedding_length"), s->audio.n_embd);
    sn_gguf_build_u32(b, AUDIO("feed_forward_length"), s->audio.n_ff);
    sn_gguf_build_u32(b, AUDIO("attention.head_count"), s->audio.n_heads);
    sn_gguf_build_f32(b, AUDIO("attention.layer_norm_epsilon"), 1e-5f);
    sn_gguf_build_u32(b, AUDIO("num_mel_bins"), s->n_mels);
    sn_gguf_build_u32(b, AUDIO("context_length"), s->audio.n_ctx);
    sn_gguf_build_u32(b, TEXT("block_count"), s->text.n_layers);
    sn_gguf_build_u32(b, TEXT("embedding_length"), s->text.n_embd);
    sn_gguf_build_u32(b, TEXT("feed_forward_length"), s->text.n_ff);
    sn_gguf_build_u32(b, TEXT("attention.head_count"), s->text.n_heads);
    sn_gguf_build_f32(b, TEXT("attention.layer_norm_epsilon"), 1e-5f);
    sn_gguf_build_u32(b, TEXT("context_length"), s->text.n_ctx);
    sn_gguf_build_u32(b, TEXT("vocab_size"), s->n_vocab);
}
