/* Every family against transformers: logits of four prompts and greedy continuations, on a device
 * that takes no liberties and on the CPU's. */
#include "tests/test.h"
#include "tests/llm/golden.h"
#include "tests/llm/naive_device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "llm/llm.h"

static const char *const models[] = {
    "llama-smol", "llama-rope3", "llama-linear", "mistral", "mixtral", "qwen2", "qwen2-yarn",
    "qwen3", "qwen3moe", "gemma3", "gemma3-linear", "deepseek2-lite", "deepseek2-legacy",
    "deepseek2", "deepseek3", "gemma", "gemma2", "granite", "smollm3", "phi3", "qwen2moe", "mistral3",
};

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

static float worst_error(const float *a, const float *b, size_t n)
{
    float worst = 0;
    for (size_t i = 0; i < n; i++) {
        const float diff = fabsf(a[i] - b[i]);
        if (!(diff <= worst)) worst = diff; /* NaN too */
    }
    return worst;
}

static int32_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (int32_t)best;
}

/* How far the logits are from the truth, in standard deviations. */
static float check_prompt(struct sn_engine *e, const struct golden *g, const struct golden_prompt *p,
                          float *logits, float tie)
{
    struct sn_diag d;
    int32_t seq;
    ok(sn_seq_new(e, &seq, &d), &d);
    struct sn_chunk c = {.seq = seq, .tokens = p->tokens, .n = p->n_tokens, .n_logits = p->last};
    ok(sn_engine_step(e, &c, 1, logits, NULL, &d), &d);
    const float worst = worst_error(logits, g->logits + p->row * g->n_vocab, p->last * g->n_vocab);
    int32_t id = argmax(logits + (p->last - 1) * g->n_vocab, g->n_vocab);
    for (size_t i = 0; i < p->n_greedy; i++) {
        if (id != p->greedy[i] && p->gaps[i] > tie)
            fail_msg("token %zu is %d, not %d, which leads by %g", i, (int)id, (int)p->greedy[i],
                     (double)p->gaps[i]);
        if (id != p->greedy[i]) break; /* a tie: what follows is free */
        c = (struct sn_chunk){.seq = seq, .tokens = &id, .n = 1, .n_logits = 1};
        ok(sn_engine_step(e, &c, 1, logits, NULL, &d), &d);
        id = argmax(logits, g->n_vocab);
    }
    sn_seq_free(e, seq);
    return worst / g->std;
}

static float check_model(struct sn_device *dev, const char *name, float factor)
{
    char path[512];
    struct sn_diag d;
    struct sn_llm *m = NULL;
    struct sn_engine *e = NULL;
    struct golden *g = golden_read(name);
    golden_path(path, sizeof path, "models", name, ".gguf");
    ok(sn_llm_open(dev, path, &m, &d), &d);
    assert_int_equal(sn_llm_n_vocab(m), g->n_vocab);
    ok(sn_engine_new(m, &(struct sn_engine_cfg){0}, &e, &d), &d);
    float *logits = malloc(256 * g->n_vocab * sizeof *logits), worst = 0;
    assert_non_null(logits);
    for (size_t i = 0; i < g->n_prompts; i++)
        worst = fmaxf(worst, check_prompt(e, g, &g->prompts[i], logits,
                                          4 * factor * g->tolerance * g->std));
    print_message("%-18s %.2e std (tolerance %.0e x %g)\n", name, (double)worst,
                  (double)g->tolerance, (double)factor);
    if (!(worst <= factor * g->tolerance)) fail_msg("%s: %g std off", name, (double)worst);
    free(logits);
    golden_free(g);
    sn_engine_free(&e);
    sn_llm_free(&m);
    return worst;
}

static void every_family_is_exact_without_rounding(void **state)
{
    (void)state;
    struct sn_device *dev = naive_device_new();
    assert_non_null(dev);
    for (size_t i = 0; i < SN_COUNT(models); i++) check_model(dev, models[i], 0.05f);
    sn_device_close(&dev);
}

/* Beside float weights its cache holds floats as well, so nothing is rounded there either. */
static void every_family_runs_on_the_cpu(void **state)
{
    (void)state;
    struct sn_device *dev = NULL;
    struct sn_diag d;
    ok(sn_device_open(&(struct sn_device_cfg){.n_threads = 2}, &dev, &d), &d);
    for (size_t i = 0; i < SN_COUNT(models); i++) check_model(dev, models[i], 0.05f);
    sn_device_close(&dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_is_exact_without_rounding),
        cmocka_unit_test(every_family_runs_on_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
