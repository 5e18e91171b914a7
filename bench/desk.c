/* usage: desk MODEL.gguf [TOKENS [ROUNDS]]
 *
 * Tokens a second of the desk with 1, 4, 8, 16 text jobs at a time, and of sn_generate() alone, in turns, so
 * that what else the machine does meets both. Medians. */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "llm/generate.h"
#include "model/chat_open.h"
#include "pipeline/desk.h"

enum { JOBS = 16, ROUNDS_MAX = 64 };

static const size_t crowds[] = {1, 4, 8, 16};
static const char *const subjects[] = {"the sea",  "a clock",  "bread", "an old map",
                                       "the moon", "a violin", "rain",  "a train"};

struct bench {
    struct sn_device *device;
    struct sn_llm *llm;
    struct sn_engine *engine;
    struct sn_prefix *prefix;
    struct sn_chat *chat;
    struct sn_desk *desk;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t n_done, n_tokens;
};

static void die(const struct sn_diag *d)
{
    fprintf(stderr, "desk: %s\n", d->text);
    exit(1);
}

static void on_stage(void *ctx, uint64_t token, const char *stage, uint64_t done, uint64_t total)
{
    (void)ctx, (void)token, (void)stage, (void)done, (void)total;
}

static void on_text(void *ctx, uint64_t token, const char *text, size_t n)
{
    (void)ctx, (void)token, (void)text, (void)n;
}

static void on_loaded(void *ctx, size_t model, bool loaded) { (void)ctx, (void)model, (void)loaded; }

static void on_done(void *ctx, uint64_t token, const struct sn_outcome *o)
{
    struct bench *b = ctx;
    (void)token;
    if (o->kind != SN_OUTCOME_DONE) fprintf(stderr, "desk: %s\n", o->message);
    const json_t *usage = json_object_get(o->result, "usage");
    pthread_mutex_lock(&b->lock);
    b->n_done++;
    b->n_tokens += (size_t)json_integer_value(json_object_get(usage, "completion_tokens"));
    pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

/* No two prompts of a run begin alike, beyond what the template says. */
static void prompt_of(size_t i, char *out, size_t size)
{
    snprintf(out, size, "%zu: tell me a long story about %s.", i, subjects[i % SN_COUNT(subjects)]);
}

/* Seconds for n jobs at once; *tokens of them. */
static double run_desk(struct bench *b, size_t n, size_t first, uint32_t max_tokens, size_t *tokens)
{
    struct sn_diag d;
    char prompt[128];
    b->n_done = b->n_tokens = 0;
    const double begun = sn_clock_s();
    for (size_t i = 0; i < n; i++) {
        prompt_of(first + i, prompt, sizeof prompt);
        json_t *header =
            json_pack("{s:s, s:{s:i}}", "prompt", prompt, "options", "max_tokens", (int)max_tokens);
        const struct sn_errand e = {.token = i, .tenant = "bench", .header = header};
        if (sn_desk_submit(b->desk, &e, &d) < 0) die(&d);
        json_decref(header);
    }
    pthread_mutex_lock(&b->lock);
    while (b->n_done < n) pthread_cond_wait(&b->changed, &b->lock);
    *tokens = b->n_tokens;
    pthread_mutex_unlock(&b->lock);
    return sn_clock_s() - begun;
}

static double run_alone(struct bench *b, size_t i, uint32_t max_tokens, size_t *tokens)
{
    struct sn_diag d;
    struct sn_ids ids = {0};
    struct sn_answer a;
    char prompt[128];
    const double begun = sn_clock_s();
    prompt_of(i, prompt, sizeof prompt);
    const struct sn_chat_msg msg = {"user", prompt};
    if (sn_chat_encode(b->chat, &(struct sn_chat_input){.msgs = &msg, .n_msgs = 1}, &ids, &d) < 0) die(&d);
    const struct sn_sampler_cfg sampling = {.max_tokens = max_tokens};
    const struct sn_generate g = {.on.llm = b->llm, .on.engine = b->engine, .on.prefix = b->prefix,
                                  .on.sampling = &sampling};
    if (sn_generate(&g, &(struct sn_prompt){.tokens = ids.v, .n = ids.n}, &a, &d) < 0) die(&d);
    sn_ids_fini(&ids);
    *tokens = a.n_tokens;
    return sn_clock_s() - begun;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, compare);
    return v[n / 2];
}

static void open_all(struct bench *b, const char *path)
{
    struct sn_diag d;
    const struct sn_desk_model model = {.name = "model", .path = path};
    const struct sn_desk_cfg cfg = {.models = &model, .n_models = 1, .n_together = JOBS, .waiting_max = JOBS};
    const struct sn_desk_host host = {.ctx = b, .stage = on_stage, .text = on_text, .done = on_done,
                                      .loaded = on_loaded};
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    if (sn_desk_new(&cfg, &host, &b->desk, &d) < 0 ||
        sn_device_open(&(struct sn_device_cfg){0}, &b->device, &d) < 0 ||
        sn_llm_open(b->device, path, &b->llm, &d) < 0 ||
        sn_engine_new(b->llm, &(struct sn_engine_cfg){.n_ctx = 2048}, &b->engine, &d) < 0 ||
        sn_prefix_new(b->engine, &b->prefix, &d) < 0 ||
        sn_chat_open(sn_llm_file(b->llm), sn_llm_tokenizer(b->llm), NULL, &b->chat, &d) < 0)
        die(&d);
}

static void close_all(struct bench *b)
{
    sn_desk_free(&b->desk);
    sn_chat_free(&b->chat);
    sn_prefix_free(&b->prefix);
    sn_engine_free(&b->engine);
    sn_llm_free(&b->llm);
    sn_device_close(&b->device);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    double alone[ROUNDS_MAX], crowd[SN_COUNT(crowds)][ROUNDS_MAX];
    size_t tokens, seen = 0;
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: desk MODEL.gguf [TOKENS [ROUNDS]]\n");
        return 2;
    }
    const uint32_t max_tokens = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 128;
    const size_t n = argc > 3 ? sn_min(sn_max(strtoul(argv[3], NULL, 10), 1), ROUNDS_MAX) : 5;
    open_all(&b, argv[1]);
    run_desk(&b, 1, 9999, 8, &tokens); /* loads it */
    run_alone(&b, 9999, 8, &tokens);
    for (size_t r = 0; r < n; r++) {
        const double s = run_alone(&b, seen, max_tokens, &tokens);
        alone[r] = (double)tokens / s;
        for (size_t c = 0; c < SN_COUNT(crowds); c++) {
            const double took = run_desk(&b, crowds[c], seen, max_tokens, &tokens);
            crowd[c][r] = (double)tokens / took;
            seen += c ? crowds[c] : 0; /* one at a time: the prompt that was answered alone */
        }
    }
    const double base = median(alone, n);
    printf("sn_generate()      %8.1f tokens/s\n", base);
    for (size_t c = 0; c < SN_COUNT(crowds); c++) {
        const double rate = median(crowd[c], n);
        printf("desk, %2zu at a time %8.1f tokens/s   %.3f of sn_generate()\n", crowds[c], rate, rate / base);
    }
    close_all(&b);
    return 0;
}
