/* Files that contradict themselves or ask for the impossible: an error that names the thing, and
 * nothing else happens. */
#include "tests/test.h"
#include "tests/llm/naive_device.h"
#include "tests/llm/tiny_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "llm/llm.h"

static const char path[] = "test_hostile.gguf";

static int run_file(struct sn_diag *d)
{
    struct sn_device *dev = naive_device_new();
    struct sn_llm *m = NULL;
    struct sn_engine *e = NULL;
    int32_t id = 0;
    const int32_t tokens[] = {1, 2, 3};
    float logits[64];
    int rc = sn_llm_open(dev, path, &m, d);
    if (rc == 0) rc = sn_engine_new(m, &(struct sn_engine_cfg){.n_ctx = 64}, &e, d);
    if (rc == 0) rc = sn_seq_new(e, &id, d);
    const struct sn_chunk c = {.seq = id, .tokens = tokens, .n = 3, .n_logits = 1};
    if (rc == 0) rc = sn_engine_step(e, &c, 1, logits, NULL, d);
    for (size_t i = 0; rc == 0 && i < sn_llm_n_vocab(m); i++) assert_true(isfinite(logits[i]));
    sn_engine_free(&e);
    sn_llm_free(&m);
    sn_device_close(&dev);
    return rc;
}

static void the_unspoilt_files_run(void **state)
{
    (void)state;
    static const char *const archs[] = {"llama", "mixtral", "deepseek2", "mistral3", "smollm3",
                                        "granite", "mllama"};
    for (size_t i = 0; i < SN_COUNT(archs); i++) {
        struct sn_diag d;
        tiny_write(path, archs[i], &(struct tiny_spoil){0});
        if (run_file(&d) < 0) fail_msg("%s: %s", archs[i], d.text);
        unlink(path);
    }
}

static void contradictions_are_errors(void **state)
{
    (void)state;
    static const struct {
        const char *arch;
        struct tiny_spoil spoil;
        int rc;
        const char *text;
    } cases[] = {
        {"unheard-of", {0}, -SN_EUNSUPPORTED, "'unheard-of' is not one of llama, "},
        {"llama", {.key = "block_count", .value = 0}, -SN_ELIMIT, "block_count"},
        {"llama", {.key = "block_count", .value = 4294967295.0}, -SN_ELIMIT, "block_count"},
        {"llama", {.key = "block_count", .value = 3}, -SN_ENOENT, "blk.2."},
        {"llama", {.key = "block_count", .value = 0.5}, -SN_EFORMAT, "block_count"},
        {"llama", {.key = "block_count", .value = NAN}, -SN_ENOENT, "block_count"},
        {"llama", {.key = "embedding_length", .value = 0}, -SN_ELIMIT, "embedding_length"},
        {"llama", {.key = "embedding_length", .value = 64}, -SN_EFORMAT, "token_embd.weight"},
        {"llama", {.key = "embedding_length", .value = 4e9}, -SN_ELIMIT, "embedding_length"},
        {"llama", {.key = "context_length", .value = 0}, -SN_ELIMIT, "context_length"},
        {"llama", {.key = "feed_forward_length", .value = 0}, -SN_ENOENT, "feed_forward_length"},
        {"llama", {.key = "feed_forward_length", .value = 64}, -SN_EFORMAT, "ffn_gate.weight"},
        {"llama", {.key = "attention.head_count", .value = 0}, -SN_ELIMIT, "head_count"},
        {"llama", {.key = "attention.head_count", .value = NAN}, -SN_EFORMAT, "0 heads"},
        {"llama", {.key = "attention.head_count", .value = 1000000}, -SN_ELIMIT, "head_count"},
        {"llama", {.key = "attention.head_count", .value = 8}, -SN_EFORMAT, "attn_k.weight"},
        {"llama", {.key = "attention.head_count_kv", .value = 3}, -SN_EFORMAT, "4 heads over 3"},
        {"llama", {.key = "attention.head_count_kv", .value = 0}, -SN_ELIMIT, "head_count_kv"},
        {"llama", {.key = "attention.head_count_kv", .value = 8}, -SN_EFORMAT, "4 heads over 8"},
        {"llama", {.key = "attention.key_length", .value = 16}, -SN_EFORMAT, "attn_q.weight"},
        {"llama", {.key = "attention.key_length", .value = 100000}, -SN_ELIMIT, "key_length"},
        {"llama", {.key = "rope.dimension_count", .value = 7}, -SN_EFORMAT, "7 rotated"},
        {"llama", {.key = "rope.dimension_count", .value = 16}, -SN_EFORMAT, "16 rotated"},
        {"llama", {.key = "rope.freq_base", .value = -1}, -SN_ELIMIT, "freq_base"},
        {"llama", {.key = "rope.scaling.type", .text = "odd"}, -SN_EUNSUPPORTED, "'odd'"},
        {"llama", {.key = "rope.scaling.factor", .value = 0}, -SN_ELIMIT, "factor"},
        {"llama", {.key = "attention.layer_norm_rms_epsilon", .value = -0.5}, -SN_ELIMIT, "epsilon"},
        {"llama", {.key = "vocab_size", .value = 41}, -SN_EFORMAT, "token_embd.weight"},
        {"llama", {.tensor = "blk.1.attn_q.weight"}, -SN_ENOENT, "blk.1.attn_q.weight"},
        {"llama", {.tensor = "output_norm.weight", .ne = {31}}, -SN_EFORMAT, "output_norm.weight"},
        {"llama", {.tensor = "blk.0.attn_norm.weight", .ne = {32, 2}}, -SN_EFORMAT, "attn_norm"},
        {"llama", {.tensor = "blk.1.ffn_down.weight", .ne = {32, 48}}, -SN_EFORMAT, "ffn_down"},
        {"llama", {.extra = "blk.0.attn_sinks.weight"}, -SN_EUNSUPPORTED, "attn_sinks"},
        {"llama", {.extra = "blk.0.attn_v.bias"}, -SN_EFORMAT, "attn_v.bias"},
        {"qwen2", {0}, -SN_ENOENT, "bias"},
        {"qwen3", {0}, -SN_ENOENT, "attn_q_norm.weight"},
        {"phi3", {0}, -SN_EFORMAT, "ffn_up.weight"},
        {"mixtral", {.key = "expert_count", .value = 100000}, -SN_ELIMIT, "expert_count"},
        {"mixtral", {.key = "expert_count", .value = 3}, -SN_EFORMAT, "ffn_gate_inp.weight"},
        {"mixtral", {.key = "expert_used_count", .value = 5}, -SN_ELIMIT, "expert_used_count"},
        {"mixtral", {.key = "expert_used_count", .value = 0}, -SN_ELIMIT, "expert_used_count"},
        {"mixtral", {.key = "expert_gating_func", .value = 9}, -SN_EUNSUPPORTED, "gating"},
        {"mixtral", {.key = "expert_feed_forward_length", .value = 17}, -SN_EFORMAT, "gate_exps"},
        {"mixtral", {.tensor = "blk.0.ffn_down_exps.weight", .ne = {16, 32, 3}}, -SN_EFORMAT,
         "ffn_down_exps.weight is 16 x 32 x 3"},
        {"mllama", {.key = "attention.cross_attention_layers", .value = NAN}, -SN_ENOENT,
         "cross_attention_layers"},
        {"mllama", {.key = "attention.cross_attention_layers", .value = 2}, -SN_EFORMAT, "layer 2 of 2"},
        {"mllama", {.key = "attention.cross_attention_layers", .value = -1}, -SN_EFORMAT, "layer -1 of 2"},
        {"mllama", {.key = "attention.cross_attention_layers", .value = 0}, -SN_ENOENT,
         "blk.0.cross_attn_q_proj"},
        {"mllama", {.tensor = "blk.1.cross_attn_k_proj.weight", .ne = {32, 32}}, -SN_EFORMAT,
         "cross_attn_k_proj"},
        {"mllama", {.tensor = "blk.1.cross_attn_q_norm.weight"}, -SN_ENOENT, "cross_attn_q_norm"},
        {"mllama", {.tensor = "blk.1.cross_attn_mlp_gate"}, -SN_ENOENT, "cross_attn_mlp_gate"},
        {"mllama", {.tensor = "blk.1.cross_attn_attn_gate", .ne = {32}}, -SN_EFORMAT,
         "cross_attn_attn_gate"},
        {"mllama", {.extra = "v.class_embd"}, -SN_EUNSUPPORTED, "v.class_embd"}, /* no tower by its keys */
        {"deepseek2", {.key = "expert_group_count", .value = 3}, -SN_EFORMAT, "groups"},
        {"deepseek2", {.key = "expert_group_count", .value = 2}, -SN_EFORMAT, "0 of 2 groups"},
        {"deepseek2", {.key = "attention.kv_lora_rank", .value = 0}, -SN_ELIMIT, "kv_lora_rank"},
        {"deepseek2", {.key = "attention.kv_lora_rank", .value = 16}, -SN_EFORMAT, "attn_kv_a_mqa"},
        {"deepseek2", {.key = "attention.key_length_mla", .value = 8}, -SN_EFORMAT, "rotated"},
        {"deepseek2", {.key = "rope.dimension_count", .value = 9}, -SN_EFORMAT, "9 rotated"},
        {"deepseek2", {.key = "attention.q_lora_rank", .value = 7}, -SN_ENOENT, "attn_q_a"},
        {"deepseek2", {.tensor = "blk.1.attn_v_b.weight", .ne = {24, 12, 5}}, -SN_EFORMAT, "v_b"},
        {"deepseek2", {.tensor = "blk.1.attn_k_b.weight"}, -SN_ENOENT, "attn_kv_b.weight"},
        {"deepseek2", {.tensor = "blk.1.ffn_up_shexp.weight"}, -SN_ENOENT, "ffn_up_shexp"},
        {"deepseek2", {.key = "attention.temperature_scale", .value = 0.1}, -SN_EUNSUPPORTED,
         "temperature"},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_diag d = {0};
        tiny_write(path, cases[i].arch, &cases[i].spoil);
        const int rc = run_file(&d);
        if (rc != cases[i].rc || !strstr(d.text, cases[i].text))
            fail_msg("case %zu: %d \"%s\", not %d \"%s\"", i, rc, d.text, cases[i].rc,
                     cases[i].text);
        if (!strstr(d.text, path)) fail_msg("case %zu: \"%s\" does not name the file", i, d.text);
        unlink(path);
    }
}

static void engines_have_bounds(void **state)
{
    (void)state;
    struct sn_diag d;
    struct sn_device *dev = NULL;
    struct sn_llm *m = NULL;
    struct sn_engine *e = NULL;
    tiny_write(path, "llama", &(struct tiny_spoil){0});
    assert_int_equal(sn_device_open(&(struct sn_device_cfg){.n_threads = 1}, &dev, &d), 0);
    assert_int_equal(sn_llm_open(dev, path, &m, &d), 0);
    unlink(path); /* the map lives on */
    assert_null(sn_llm_tokenizer(m));
    const struct {
        struct sn_engine_cfg cfg;
        int rc;
    } bad[] = {
        {{.n_ctx = UINT32_MAX}, -SN_ELIMIT},
        {{.batch_max = 1u << 20}, -SN_ELIMIT},
        {{.n_tokens = SIZE_MAX}, -SN_ELIMIT},
    };
    for (size_t i = 0; i < SN_COUNT(bad); i++) {
        assert_int_equal(sn_engine_new(m, &bad[i].cfg, &e, &d), bad[i].rc);
        assert_null(e);
    }
    assert_int_equal(sn_engine_new(m, &(struct sn_engine_cfg){.n_ctx = 40}, &e, &d), 0);
    assert_int_equal(sn_engine_n_ctx(e), 40);
    assert_int_equal(sn_engine_pages_free(e), 2);
    assert_true(sn_engine_kv_bytes(e) > 0);
    sn_engine_free(&e);
    sn_llm_free(&m);
    sn_device_close(&dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_unspoilt_files_run),
        cmocka_unit_test(contradictions_are_errors),
        cmocka_unit_test(engines_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
