/* Pictures seen again: rows from memory and from disk are the bits that were computed, another picture, model
 * file or client finds nothing; and a prompt that begins with the same picture is not run again, with the
 * same logits, in families of every kind of position and attention. */
#include "config.h"

#include "tests/test.h"
#include "tests/mm_golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "llm/prefix.h"
#include "pipeline/sight.h"

static struct sn_device *dev;
static char root[] = "/tmp/sensorium-recall-XXXXXX";

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

static int setup(void **state)
{
    struct sn_diag d;
    (void)state;
    if (!mkdtemp(root)) return -1;
    ok(sn_device_open(&(struct sn_device_cfg){.n_threads = 2}, &dev, &d), &d);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sn_device_close(&dev);
    const pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", root, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

static struct sn_image picture(uint64_t seed)
{
    struct sn_image m;
    assert_true(sn_image_init(&m, 90, 64));
    for (size_t i = 0; i < (size_t)m.width * m.height * 3; i++) m.rgb[i] = (uint8_t)(test_rand(&seed) >> 40);
    return m;
}

static struct sn_feature_cache *open_cache(const char *name)
{
    char folder[128];
    struct sn_diag d;
    struct sn_feature_cache *c = NULL;
    snprintf(folder, sizeof folder, "%s/%s", root, name);
    ok(sn_feature_cache_new(&(struct sn_feature_cache_cfg){.folder = folder}, &c, &d), &d);
    return c;
}

static struct sn_sight *open_sight(const char *family)
{
    char path[512];
    struct sn_diag d;
    struct sn_sight *s = NULL;
    struct mm_golden *g = mm_golden_read(family);
    mm_path(path, sizeof path, "models", g->mmproj);
    mm_golden_free(g);
    ok(sn_sight_open(dev, path, NULL, &s, &d), &d);
    return s;
}

static struct sn_seen see(struct sn_sight *s, const struct sn_image *m, struct sn_feature_cache *c,
                          const struct sn_digest *salt, enum sn_recalled want)
{
    struct sn_diag d;
    struct sn_seen seen;
    const struct sn_recall from = {c, salt};
    ok(sn_sight_see(s, m, 0, c ? &from : NULL, &seen, NULL, &d), &d);
    assert_int_equal(seen.recalled, want);
    assert_int_equal(seen.rows.n_rows, sn_views_rows(&seen.views));
    assert_true(sn_digest_known(&seen.key));
    return seen;
}

static void check_same(const struct sn_seen *a, const struct sn_seen *b)
{
    assert_true(sn_digest_equal(&a->key, &b->key));
    assert_true(a->views.rows == b->views.rows && a->views.cols == b->views.cols);
    assert_true(a->views.overview_first == b->views.overview_first &&
                a->views.overview_last == b->views.overview_last && a->views.absent == b->views.absent);
    assert_memory_equal(&a->views.tile, &b->views.tile, sizeof a->views.tile);
    assert_memory_equal(&a->views.whole, &b->views.whole, sizeof a->views.whole);
    assert_int_equal(a->rows.n_rows, b->rows.n_rows);
    assert_memory_equal(a->rows.x, b->rows.x, a->rows.n_rows * a->rows.n_cols * sizeof *a->rows.x);
}

static void rows_are_the_same_bits(void **state)
{
    (void)state;
    struct sn_sight *s = open_sight("idefics3");
    struct sn_feature_cache *c = open_cache("bits"), *other = open_cache("bits");
    struct sn_image a = picture(1), b = picture(2);
    const struct sn_digest salt = {{1}};
    struct sn_seen seen[7] = {
        see(s, &a, NULL, NULL, SN_RECALLED_NOT), see(s, &a, c, NULL, SN_RECALLED_NOT),
        see(s, &a, c, NULL, SN_RECALLED_MEMORY), see(s, &a, other, NULL, SN_RECALLED_DISK),
        see(s, &a, other, NULL, SN_RECALLED_MEMORY), see(s, &b, c, NULL, SN_RECALLED_NOT),
        see(s, &a, c, &salt, SN_RECALLED_NOT),
    };
    assert_false(sn_digest_equal(&seen[0].key, &seen[1].key)); /* without a cache a key is like no other */
    seen[0].key = seen[1].key;
    for (int i = 0; i < 5; i++) check_same(&seen[i], &seen[1]);
    assert_null(seen[2].encoded.x);
    assert_false(sn_digest_equal(&seen[5].key, &seen[1].key));
    assert_false(sn_digest_equal(&seen[6].key, &seen[1].key));
    for (int i = 0; i < 7; i++) sn_seen_fini(&seen[i]);
    sn_image_fini(&a);
    sn_image_fini(&b);
    sn_feature_cache_free(&c);
    sn_feature_cache_free(&other);
    sn_sight_free(&s);
}

static void copy_file(const char *from, const char *to, size_t flip)
{
    struct sn_diag d;
    char *bytes;
    size_t n;
    ok(sn_file_read(from, 1 << 26, &bytes, &n, &d), &d);
    if (flip) bytes[n - flip] = (char)(bytes[n - flip] ^ 1);
    ok(sn_file_write(to, bytes, n, &d), &d);
    sn_free(bytes);
}

/* The same model in another file is the same; with one other bit it is not. A file that was written over
 * while it was in use is not keyed by what it is now. */
static void the_model_is_known_by_its_bytes(void **state)
{
    (void)state;
    char path[512], copy[256];
    struct sn_diag d;
    struct sn_sight *s = NULL;
    struct sn_feature_cache *c = open_cache("model");
    struct sn_image a = picture(1);
    snprintf(copy, sizeof copy, "%s/copy.gguf", root);
    mm_path(path, sizeof path, "models", "idefics3.mmproj.gguf");
    for (int i = 0; i < 4; i++) {
        static const enum sn_recalled want[] = {SN_RECALLED_NOT, SN_RECALLED_MEMORY, SN_RECALLED_NOT,
                                                SN_RECALLED_NOT};
        if (i) copy_file(path, copy, i == 2);
        ok(sn_sight_open(dev, i ? copy : path, NULL, &s, &d), &d);
        if (i == 3) copy_file(path, copy, 1);
        struct sn_seen seen = see(s, &a, c, NULL, want[i]);
        sn_seen_fini(&seen);
        sn_sight_free(&s);
    }
    sn_image_fini(&a);
    sn_feature_cache_free(&c);
}

/* Each allocation failing in turn: an error or the right rows, and never less than that kept. */
static void survives_failing_allocations(void **state)
{
    (void)state;
    struct sn_sight *s = open_sight("idefics3");
    struct sn_image a = picture(1);
    struct sn_feature_cache *before = open_cache("failing"); /* from here on the model's digest is known */
    struct sn_seen want = see(s, &a, before, NULL, SN_RECALLED_NOT);
    size_t n_errors = 0;
    sn_feature_cache_free(&before);
    for (long n = 1; n <= 200; n++) {
        char name[32];
        snprintf(name, sizeof name, "failing-%ld", n);
        struct sn_feature_cache *c = open_cache(name);
        const struct sn_recall from = {.cache = c};
        struct sn_diag d;
        for (int again = 0; again < 2; again++) { /* computed, then recalled if it was kept */
            struct sn_seen seen;
            sn_test_fail_alloc(n);
            const int rc = sn_sight_see(s, &a, 0, &from, &seen, NULL, &d);
            sn_test_fail_alloc(0);
            n_errors += rc < 0;
            if (rc < 0) assert_int_equal(rc, -SN_ENOMEM);
            if (rc == 0) check_same(&want, &seen);
            sn_seen_fini(&seen);
        }
        sn_feature_cache_free(&c);
    }
    assert_true(n_errors > 3);
    sn_seen_fini(&want);
    sn_image_fini(&a);
    sn_sight_free(&s);
}

/* --- prompts --- */

struct world {
    struct sn_sight *sight;
    struct sn_llm *llm;
    struct sn_engine *engine;
    struct sn_prefix *prefix;
};

static void fuse(const struct world *w, const struct sn_seen *seen, const char *text, struct sn_prompt *out)
{
    struct sn_diag d;
    const struct sn_medium m = {.kind = sn_projector_kind(sn_sight_projector(w->sight)),
                                .views = seen->views, .rows = seen->rows.x, .key = &seen->key};
    const struct sn_fuse f = {.tokenizer = sn_llm_tokenizer(w->llm), .text = text, .n = strlen(text),
                              .media = &m, .n_media = 1, .width = sn_llm_n_embd(w->llm)};
    ok(sn_fuse(&f, out, &d), &d);
    assert_int_equal(out->n_places, 1);
    assert_true(out->tokens[out->places[0].start] < 0);
    assert_true(out->tokens[out->places[0].start + out->places[0].n - 1] < 0);
}

static void run(const struct world *w, const struct sn_prompt *p, int32_t seq, size_t n_held, float *logits)
{
    struct sn_diag d;
    struct sn_chunk c = sn_chunk_of(p, n_held, seq);
    c.n_logits = 1;
    ok(sn_engine_step(w->engine, &c, 1, logits, NULL, &d), &d);
    for (int i = 0; i < 3; i++) { /* tokens that come out stand in the same places, too */
        const int32_t id = 5 + i;
        const struct sn_chunk one = {.seq = seq, .tokens = &id, .n = 1, .n_logits = 1};
        ok(sn_engine_step(w->engine, &one, 1, logits + (i + 1) * sn_llm_n_vocab(w->llm), NULL, &d), &d);
    }
}

static size_t held(const struct world *w, const struct sn_seen *seen, const char *text)
{
    const int32_t more[] = {5, 6, 7};
    const size_t n = 4 * sn_llm_n_vocab(w->llm);
    float *with = sn_calloc(n, sizeof *with), *without = sn_calloc(n, sizeof *without);
    struct sn_diag d;
    struct sn_prompt p;
    int32_t seq;
    size_t n_held;
    assert_true(with && without);
    fuse(w, seen, text, &p);
    ok(sn_prefix_begin(w->prefix, &p, NULL, &seq, &n_held, &d), &d);
    run(w, &p, seq, n_held, with);
    sn_prefix_keep(w->prefix, seq, &p, more, NULL);
    ok(sn_seq_new(w->engine, &seq, &d), &d);
    run(w, &p, seq, 0, without);
    sn_seq_free(w->engine, seq);
    assert_memory_equal(with, without, n * sizeof *with);
    const size_t end = p.places[0].start + p.places[0].n;
    const size_t whole = n_held >= end ? end : n_held <= p.places[0].start ? 0 : 1;
    sn_prompt_fini(&p);
    sn_free(with);
    sn_free(without);
    return whole;
}

static void check_family(const char *family)
{
    char path[512];
    struct sn_diag d;
    struct world w = {.sight = open_sight(family)};
    struct mm_golden *g = mm_golden_read(family);
    struct sn_image a = picture(1), b = picture(2);
    struct sn_seen seen_a = see(w.sight, &a, NULL, NULL, SN_RECALLED_NOT);
    struct sn_seen seen_b = see(w.sight, &b, NULL, NULL, SN_RECALLED_NOT);
    mm_path(path, sizeof path, "models", g->model);
    mm_golden_free(g);
    ok(sn_llm_open(dev, path, &w.llm, &d), &d);
    ok(sn_engine_new(w.llm, &(struct sn_engine_cfg){.n_tokens = 8192}, &w.engine, &d), &d);
    ok(sn_prefix_new(w.engine, &w.prefix, &d), &d);
    assert_int_equal(held(&w, &seen_a, "one <__media__> two three"), 0);
    assert_true(held(&w, &seen_a, "one <__media__> two four") > 1); /* past the whole picture */
    assert_int_equal(held(&w, &seen_b, "one <__media__> two three"), 0);
    assert_int_equal(held(&w, &seen_b, "<__media__> two three"), 0);
    assert_true(held(&w, &seen_b, "one <__media__> six") > 1);
    held(&w, &seen_b, "one <__media__>");                           /* may end with the picture */
    print_message("%s\n", family);
    sn_seen_fini(&seen_a);
    sn_seen_fini(&seen_b);
    sn_image_fini(&a);
    sn_image_fini(&b);
    sn_prefix_free(&w.prefix);
    sn_engine_free(&w.engine);
    sn_llm_free(&w.llm);
    sn_sight_free(&w.sight);
}

static void prompts_go_on_behind_pictures(void **state)
{
    static const char *const families[] = {"qwen2vl", "qwen25vl", "gemma3v", "idefics3", "llava", "pixtral"};
    (void)state;
    for (size_t i = 0; i < SN_COUNT(families); i++)
        if (mm_exists(families[i])) check_family(families[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_the_same_bits),
        cmocka_unit_test(the_model_is_known_by_its_bytes),
        cmocka_unit_test(survives_failing_allocations),
        cmocka_unit_test(prompts_go_on_behind_pictures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
