/* Whole models that see, against transformers: from the processor's pixels to logits and the greedy
 * continuation. Prints a line for each family; docs/accuracy is written from them. */
#include "config.h"

#include "tests/test.h"
#include "tests/mm_golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "llm/llm.h"
#include "pipeline/sight.h"

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

struct family {
    const char *name;
    struct mm_golden *g;
    struct sn_sight *sight;
    struct sn_llm *llm;
    struct sn_seen seen[MM_MEDIA_MAX];
    struct mm_array logits;
};

/* The golden levels (n, 3, h, w) of picture i as prepared pixels. */
static struct sn_vision_pixels pixels_of(const struct family *f, size_t i)
{
    char name[32];
    struct mm_array levels;
    const struct sn_vision_pre *p = sn_vision_prepares(sn_sight_tower(f->sight));
    const struct mm_medium *m = &f->g->media[i];
    snprintf(name, sizeof name, "pixels_%zu", i);
    assert_true(mm_array_read(f->name, name, &levels));
    struct sn_vision_pixels out = {.x = sn_malloc_aligned(levels.n * sizeof *out.x)};
    assert_non_null(out.x);
    const size_t plane = levels.shape[2] * levels.shape[3];
    for (size_t k = 0; k < levels.n; k++) {
        const size_t c = k / plane % 3;
        out.x[k] = (levels.v[k] / 255 - p->mean[c]) / p->std[c];
    }
    const uint32_t w = (uint32_t)levels.shape[3], h = (uint32_t)levels.shape[2];
    const struct sn_vision_shape shape = {.px = {w, h}, .grid_w = w / p->patch, .grid_h = h / p->patch};
    out.plan = (struct sn_vision_plan){.rows = m->rows, .cols = m->cols, .n_views = levels.shape[0],
                                       .n_floats = levels.n, .tile = shape, .whole = shape,
                                       .aspect_id = m->aspect_id,
                                       .overview = m->aspect_id ? SN_OVERVIEW_NONE : SN_OVERVIEW_LAST};
    mm_array_free(&levels);
    return out;
}

static void open_family(const char *name, struct family *f)
{
    char path[512];
    struct sn_diag d;
    *f = (struct family){.name = name, .g = mm_golden_read(name)};
    mm_path(path, sizeof path, "models", mm_tower(f->g));
    ok(sn_sight_open(mm_device, path, NULL, &f->sight, &d), &d);
    mm_path(path, sizeof path, "models", f->g->model);
    ok(sn_llm_open(mm_device, path, &f->llm, &d), &d);
    assert_true(mm_array_read(name, "logits", &f->logits));
}

static void close_family(struct family *f)
{
    for (size_t i = 0; i < f->g->n_media; i++) sn_seen_fini(&f->seen[i]);
    sn_sight_free(&f->sight);
    sn_llm_free(&f->llm);
    mm_array_free(&f->logits);
    mm_golden_free(f->g);
}

static void fuse(struct family *f, struct sn_prompt *out)
{
    struct sn_diag d;
    struct sn_medium media[MM_MEDIA_MAX];
    const char *kind = sn_projector_kind(sn_sight_projector(f->sight));
    for (size_t i = 0; i < f->g->n_media; i++) {
        struct sn_vision_pixels pixels = pixels_of(f, i);
        ok(sn_sight_encode(f->sight, &pixels, &f->seen[i], NULL, &d), &d);
        sn_vision_pixels_fini(&pixels);
        media[i] = (struct sn_medium){.kind = kind, .views = f->seen[i].views,
                                      .rows = f->seen[i].rows.x};
    }
    const struct sn_fuse in = {.tokenizer = sn_llm_tokenizer(f->llm), .text = f->g->text,
                               .n = strlen(f->g->text), .marker = "<media>", .media = media,
                               .n_media = f->g->n_media, .width = sn_llm_n_embd(f->llm)};
    ok(sn_fuse(&in, out, &d), &d);
    assert_int_equal(out->n, f->g->n_tokens);
}

static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static void check_greedy(const struct family *f, struct sn_engine *e, int32_t seq, float *logits)
{
    struct sn_diag d;
    const struct mm_golden *g = f->g;
    const size_t n_vocab = sn_llm_n_vocab(f->llm);
    for (size_t i = 0; i < g->n_greedy; i++) {
        int32_t id = (int32_t)argmax(logits, n_vocab);
        if (id != g->greedy[i] && g->gaps[i] > 4 * g->tolerance * g->std)
            fail_msg("%s: token %zu is %d, not %d", f->name, i, (int)id, (int)g->greedy[i]);
        if (id != g->greedy[i]) return; /* a tie: what follows is free */
        const struct sn_chunk c = {.seq = seq, .tokens = &id, .n = 1, .n_logits = 1};
        ok(sn_engine_step(e, &c, 1, logits, NULL, &d), &d);
    }
}

/* Largest error of the last logits, in their standard deviations; `batch` rows at most in a piece. */
static double check_logits(struct family *f, const struct sn_prompt *p, uint32_t batch, float *first)
{
    struct sn_diag d;
    struct sn_engine *e = NULL;
    int32_t seq;
    const size_t n_vocab = sn_llm_n_vocab(f->llm), n = f->g->last * n_vocab;
    float *logits = sn_malloc_array(n, sizeof *logits);
    double worst = 0;
    assert_non_null(logits);
    ok(sn_engine_new(f->llm, &(struct sn_engine_cfg){.batch_max = batch}, &e, &d), &d);
    if (p->n_memory) ok(sn_memories_reserve(e, 1, p->n_memory, &d), &d);
    ok(sn_seq_new(e, &seq, &d), &d);
    ok(sn_seq_remember(e, seq, 0, p, &d), &d);
    struct sn_chunk c = sn_chunk_of(p, 0, seq);
    c.n_logits = f->g->last;
    ok(sn_engine_step(e, &c, 1, logits, NULL, &d), &d);
    if (first[0] != 0) assert_memory_equal(logits, first, n * sizeof *logits);
    memcpy(first, logits, n * sizeof *logits);
    assert_int_equal(f->logits.n, n);
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)(logits[i] - f->logits.v[i])));
    check_greedy(f, e, seq, logits + n - n_vocab);
    sn_engine_free(&e);
    sn_free(logits);
    return worst / (double)f->g->std;
}

static void check_family(const char *name)
{
    struct family f;
    struct sn_prompt p;
    open_family(name, &f);
    fuse(&f, &p);
    float *first = sn_calloc(f.logits.n, sizeof *first);
    assert_non_null(first);
    const double worst = check_logits(&f, &p, 0, first);
    print_message("%-12s logits     %.1e std\n", name, worst);
    if (!(worst <= (double)f.g->tolerance)) fail_msg("%s: %g std off", name, worst);
    check_logits(&f, &p, 70, first); /* pieces end elsewhere, and nothing changes */
    sn_prompt_fini(&p);
    sn_free(first);
    close_family(&f);
}

static void whole_models_match_transformers(void **state)
{
    size_t n = 0;
    (void)state;
    for (size_t i = 0; mm_families[i]; i++)
        if (mm_exists(mm_families[i])) {
            check_family(mm_families[i]);
            n++;
        }
    assert_true(n > 0);
}

/* --- turns of a conversation with a memory --- */

/* A prompt of this text with the family's pictures, the first n of them once more at the end. */
static void fuse_text(struct family *f, const char *text, size_t n_more, struct sn_prompt *out)
{
    struct sn_diag d;
    struct sn_medium media[2 * MM_MEDIA_MAX];
    struct sn_digest keys[MM_MEDIA_MAX];
    const size_t n = f->g->n_media;
    for (size_t i = 0; i < n; i++) keys[i] = (struct sn_digest){{(uint8_t)(i + 1)}};
    for (size_t i = 0; i < n + n_more; i++)
        media[i] = (struct sn_medium){.kind = "mllama", .views = f->seen[i % n].views,
                                      .rows = f->seen[i % n].rows.x, .key = &keys[i % n]};
    const struct sn_fuse in = {.tokenizer = sn_llm_tokenizer(f->llm), .text = text, .n = strlen(text),
                               .marker = "<media>", .media = media, .n_media = n + n_more,
                               .width = sn_llm_n_embd(f->llm)};
    ok(sn_fuse(&in, out, &d), &d);
}

/* What the sequence holds of the prompt is kept as far as it may be; the logits are those of a run from the
 * beginning. Returns how much was kept. */
static size_t turn(const struct family *f, struct sn_engine *e, int32_t seq, const struct sn_prompt *p)
{
    struct sn_diag d;
    int32_t fresh;
    float *logits[2];
    struct sn_engine *other = NULL;
    const struct sn_engine_cfg cfg = {.n_memories = 1, .memory_rows = p->n_memory};
    ok(sn_engine_new(f->llm, &cfg, &other, &d), &d);
    ok(sn_seq_new(other, &fresh, &d), &d);
    ok(sn_seq_remember(other, fresh, 0, p, &d), &d);
    ok(sn_seq_remember(e, seq, 0, p, &d), &d);
    const size_t n_kept = sn_seq_length(e, seq);
    for (size_t i = 0; i < 2; i++) {
        logits[i] = sn_malloc_array(sn_llm_n_vocab(f->llm), sizeof *logits[i]);
        assert_non_null(logits[i]);
        struct sn_chunk c = sn_chunk_of(p, i ? 0 : n_kept, i ? fresh : seq);
        c.n_logits = 1;
        ok(sn_engine_step(i ? other : e, &c, 1, logits[i], NULL, &d), &d);
    }
    assert_memory_equal(logits[0], logits[1], sn_llm_n_vocab(f->llm) * sizeof *logits[0]);
    sn_free(logits[0]);
    sn_free(logits[1]);
    sn_engine_free(&other);
    return n_kept;
}

static void turns_keep_what_saw_the_same(void **state)
{
    static const char more[] = "the lazy<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nreading";
    struct family f;
    struct sn_diag d;
    struct sn_prompt first, second, third;
    struct sn_engine *e = NULL;
    int32_t seq;
    char text[2048];
    (void)state;
    open_family("mllama", &f);
    fuse(&f, &first);
    sn_prompt_fini(&first);
    fuse_text(&f, f.g->text, 0, &first);
    snprintf(text, sizeof text, "%s%s", f.g->text, more);
    fuse_text(&f, text, 0, &second);
    snprintf(text, sizeof text, "%s%s <media> quick", f.g->text, more);
    fuse_text(&f, text, 1, &third);
    assert_memory_equal(first.tokens, second.tokens, first.n * sizeof *first.tokens);
    assert_memory_equal(second.tokens, third.tokens, second.n * sizeof *second.tokens);
    const struct sn_engine_cfg cfg = {.n_memories = 1, .memory_rows = third.n_memory};
    ok(sn_engine_new(f.llm, &cfg, &e, &d), &d);
    ok(sn_seq_new(e, &seq, &d), &d);
    assert_int_equal(turn(&f, e, seq, &first), 0);
    assert_int_equal(turn(&f, e, seq, &second), first.n);
    assert_int_equal(turn(&f, e, seq, &third), 0); /* what comes before the first picture sees them all */
    sn_engine_free(&e);
    sn_prompt_fini(&first);
    sn_prompt_fini(&second);
    sn_prompt_fini(&third);
    close_family(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_models_match_transformers),
        cmocka_unit_test(turns_keep_what_saw_the_same),
    };
    return cmocka_run_group_tests(tests, mm_setup, mm_teardown);
}
