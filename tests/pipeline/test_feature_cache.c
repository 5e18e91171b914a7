/* The key changes with each thing that features depend on, and with nothing else; memory keeps within its
 * bound, and what is dropped stays good for who holds it; disk and memory serve several threads. */
#include "tests/test.h"

#include "pipeline/feature_cache.h"
#include "pipeline/feature_key.h"
#include "pipeline/hearing.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "encoders/mel.h"

static char root[] = "/tmp/sensorium-features-XXXXXX";

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

/* --- keys --- */

struct case_picture {
    struct sn_feature_maker by;
    struct sn_vision_pre pre;
    struct sn_vision_plan plan;
    struct sn_image image;
};

static struct sn_digest key_of(const struct case_picture *c)
{
    struct sn_digest key;
    struct sn_diag d;
    ok(sn_feature_key_picture(&c->by, &c->pre, &c->plan, &c->image, &key, &d), &d);
    return key;
}

static void check_changes(const struct case_picture *c, const struct sn_digest *was, const char *what)
{
    const struct sn_digest now = key_of(c);
    if (sn_digest_equal(&now, was)) fail_msg("%s does not change the key", what);
}

/* Changes a bit of each, sees that the key changes, and puts it back. */
struct part {
    const char *name;
    uint8_t *byte;
};
#define PART(c, field) {#field, (uint8_t *)&(c)->field}

static void check_parts(struct case_picture *c)
{
    const struct part parts[] = {
        PART(c, by.model.b[0]), PART(c, by.model.b[31]), PART(c, pre.rule), PART(c, pre.resize.kernel),
        PART(c, pre.resize.rounding), PART(c, pre.whole), PART(c, pre.mean[0]), PART(c, pre.mean[2]),
        PART(c, pre.std[1]), PART(c, pre.patch), PART(c, pre.merge), PART(c, pre.tile),
        PART(c, pre.shortest_edge), PART(c, pre.longest_edge), PART(c, pre.min_pixels),
        PART(c, pre.max_pixels), PART(c, pre.min_tiles), PART(c, pre.max_tiles), PART(c, pre.view_tokens),
        PART(c, pre.canvases[0].w), PART(c, pre.canvases[0].h), PART(c, plan.in.w), PART(c, plan.ground.h),
        PART(c, plan.via.w), PART(c, plan.scaled.h), PART(c, plan.x), PART(c, plan.y), PART(c, plan.rows),
        PART(c, plan.cols), PART(c, plan.overview), PART(c, plan.tile.px.w), PART(c, plan.whole.grid_h),
        PART(c, plan.n_views), PART(c, plan.n_tokens), PART(c, plan.aspect_id), PART(c, image.rgb[0]),
        PART(c, image.rgb[35]), PART(c, image.rgb[71]),
    };
    const struct sn_digest was = key_of(c);
    for (size_t i = 0; i < SN_COUNT(parts); i++) {
        *parts[i].byte ^= 1;
        check_changes(c, &was, parts[i].name);
        *parts[i].byte ^= 1;
    }
}

static void every_part_of_a_picture_counts(void **state)
{
    (void)state;
    struct sn_diag d;
    uint8_t pixels[6 * 4 * 3];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)i;
    const struct sn_digest salt[2] = {{{1}}, {{2}}};
    struct case_picture here = {.by = {{{9}}, "cpu", NULL}, .pre = *sn_vision_pre_find("idefics3"),
                                .image = {pixels, 6, 4}}, *c = &here;
    ok(sn_vision_pre_plan(&c->pre, 6, 4, 0, &c->plan, &d), &d);
    c->pre.n_canvases = 1;
    const struct sn_digest was = key_of(c), again = key_of(c);
    assert_true(sn_digest_equal(&was, &again));

    check_parts(c);
    c->by.numerics = "cpu, 8-bit products";
    check_changes(c, &was, "numerics");
    c->by.numerics = "cpu";
    c->by.salt = &salt[0];
    check_changes(c, &was, "a salt");
    const struct sn_digest salted = key_of(c);
    c->by.salt = &salt[1];
    check_changes(c, &salted, "another salt");
    c->by.salt = NULL;
    c->pre.n_canvases = 2;
    check_changes(c, &was, "a canvas more");
    c->pre.n_canvases = 1;

    /* The same bytes as another picture. */
    c->image = (struct sn_image){pixels, 4, 6};
    check_changes(c, &was, "the size");
    c->image = (struct sn_image){pixels, 24, 1};
    check_changes(c, &was, "the shape");
}

/* A budget of tokens counts where it makes another plan of the picture, and only there. */
static void budgets_count_by_their_plan(void **state)
{
    (void)state;
    struct sn_diag d;
    struct case_picture c = {.by = {{{9}}, "cpu", NULL}, .pre = *sn_vision_pre_find("idefics3")};
    assert_true(sn_image_init(&c.image, 1600, 1200));
    ok(sn_vision_pre_plan(&c.pre, 1600, 1200, 0, &c.plan, &d), &d);
    const struct sn_digest whole = key_of(&c);
    ok(sn_vision_pre_plan(&c.pre, 1600, 1200, c.plan.n_tokens, &c.plan, &d), &d);
    const struct sn_digest fits = key_of(&c);
    ok(sn_vision_pre_plan(&c.pre, 1600, 1200, c.plan.n_tokens / 2, &c.plan, &d), &d);
    const struct sn_digest less = key_of(&c);
    assert_true(sn_digest_equal(&whole, &fits));
    assert_false(sn_digest_equal(&whole, &less));
    sn_image_fini(&c.image);
}

static struct sn_digest sound_key(const struct sn_feature_maker *by, const struct sn_listened *l)
{
    struct sn_digest key;
    struct sn_diag d;
    ok(sn_feature_key_sound(by, l, &key, &d), &d);
    return key;
}

static void every_part_of_a_sound_counts(void **state)
{
    (void)state;
    enum { MELS = 2, N = 2 * MELS * SN_MEL_FRAMES };
    static float mel[N];
    const struct sn_feature_maker by = {{{9}}, "cpu", NULL}, other = {{{8}}, "cpu", NULL};
    struct sn_listened l = {.mel = mel, .n_windows = 2, .n_mels = MELS, .n_heard = {3000, 1200}};
    const struct sn_digest was = sound_key(&by, &l);
    struct sn_digest now = sound_key(&other, &l);
    assert_false(sn_digest_equal(&was, &now));
    for (size_t i = 0; i < N; i += 977) {
        mel[i] = 1;
        now = sound_key(&by, &l);
        assert_false(sn_digest_equal(&was, &now));
        mel[i] = 0;
    }
    l.n_heard[1]++;
    now = sound_key(&by, &l);
    assert_false(sn_digest_equal(&was, &now));
    l.n_heard[1]--;
    l = (struct sn_listened){.mel = mel, .n_windows = 1, .n_mels = 2 * MELS, .n_heard = {3000}};
    now = sound_key(&by, &l);
    assert_false(sn_digest_equal(&was, &now)); /* the same bytes as one window of more filters */
}

/* --- the cache --- */

enum { COLS = 16, ROWS = 64, BYTES = ROWS * COLS * 4 };

static struct sn_features rows_of(float value)
{
    struct sn_features f;
    assert_true(sn_features_init(&f, ROWS, COLS));
    for (size_t i = 0; i < ROWS * COLS; i++) f.x[i] = value + (float)i;
    return f;
}

static struct sn_digest key(uint8_t i) { return (struct sn_digest){{i}}; }

static void add(struct sn_feature_cache *c, uint8_t i)
{
    struct sn_diag d;
    struct sn_features f = rows_of(i);
    struct sn_shared_rows *s;
    const struct sn_digest k = key(i);
    ok(sn_feature_cache_add(c, &k, &f, &s, &d), &d);
    assert_null(f.x);
    sn_shared_rows_release(&s);
}

static enum sn_recalled find(struct sn_feature_cache *c, uint8_t i)
{
    struct sn_shared_rows *s;
    const struct sn_digest k = key(i);
    const enum sn_recalled from = sn_feature_cache_find(c, &k, ROWS, COLS, &s);
    if (from == SN_RECALLED_NOT) return from;
    struct sn_features want = rows_of(i);
    assert_memory_equal(sn_shared_rows_get(s)->x, want.x, BYTES);
    sn_features_fini(&want);
    sn_shared_rows_release(&s);
    return from;
}

static struct sn_feature_cache *open_cache(size_t bytes, const char *folder)
{
    struct sn_diag d;
    struct sn_feature_cache *c = NULL;
    ok(sn_feature_cache_new(&(struct sn_feature_cache_cfg){.bytes_max = bytes, .folder = folder}, &c, &d), &d);
    return c;
}

static void memory_keeps_within_its_bound(void **state)
{
    (void)state;
    struct sn_feature_cache_stats s;
    struct sn_feature_cache *c = open_cache(4 * (BYTES + 256), NULL);
    for (uint8_t i = 1; i <= 4; i++) add(c, i);
    for (uint8_t i = 1; i <= 4; i++) assert_int_equal(find(c, i), SN_RECALLED_MEMORY);
    assert_int_equal(find(c, 1), SN_RECALLED_MEMORY);
    add(c, 5);
    assert_int_equal(find(c, 1), SN_RECALLED_MEMORY);
    assert_int_equal(find(c, 2), SN_RECALLED_NOT); /* the longest unused */
    for (uint8_t i = 6; i < 60; i++) {
        add(c, i);
        sn_feature_cache_stats(c, &s);
        assert_true(s.bytes <= 4 * (BYTES + 256) && s.n <= 4);
    }
    assert_int_equal(s.n_memory, 6);
    assert_int_equal(s.n_missed, 1);
    sn_feature_cache_free(&c);

    /* What is larger than the cache is not kept, and is the caller's all the same. */
    struct sn_diag d;
    struct sn_features f = rows_of(1);
    struct sn_shared_rows *held;
    const struct sn_digest k = key(1);
    c = open_cache(BYTES - 1, NULL);
    ok(sn_feature_cache_add(c, &k, &f, &held, &d), &d);
    assert_int_equal(sn_shared_rows_get(held)->n_rows, ROWS);
    assert_int_equal(find(c, 1), SN_RECALLED_NOT);
    sn_shared_rows_release(&held);
    sn_feature_cache_free(&c);
}

static void what_is_held_stays_good(void **state)
{
    (void)state;
    struct sn_shared_rows *held, *wrong;
    const struct sn_digest k = key(1);
    struct sn_feature_cache *c = open_cache(BYTES + 256, NULL);
    add(c, 1);
    assert_int_equal(sn_feature_cache_find(c, &k, ROWS, COLS, &held), SN_RECALLED_MEMORY);
    assert_int_equal(sn_feature_cache_find(c, &k, COLS, ROWS, &wrong), SN_RECALLED_NOT);
    add(c, 2);
    assert_int_equal(find(c, 1), SN_RECALLED_NOT);
    sn_feature_cache_free(&c);
    struct sn_features want = rows_of(1);
    assert_memory_equal(sn_shared_rows_get(held)->x, want.x, BYTES);
    sn_features_fini(&want);
    sn_shared_rows_release(&held);
}

static void disk_outlives_the_process(void **state)
{
    (void)state;
    char folder[128];
    snprintf(folder, sizeof folder, "%s/outlives", root);
    const pid_t child = fork();
    if (child == 0) {
        struct sn_feature_cache *own = open_cache(0, folder);
        add(own, 1);
        sn_feature_cache_free(&own);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    struct sn_feature_cache *c = open_cache(0, folder);
    assert_int_equal(find(c, 1), SN_RECALLED_DISK);
    assert_int_equal(find(c, 1), SN_RECALLED_MEMORY);
    assert_int_equal(find(c, 2), SN_RECALLED_NOT);
    sn_feature_cache_free(&c);
}

static void *work(void *ctx)
{
    struct sn_feature_cache *c = ctx;
    for (int i = 0; i < 400; i++) {
        const uint8_t k = (uint8_t)(i * 7 % 9);
        if (find(c, k) == SN_RECALLED_NOT) add(c, k);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    (void)state;
    char folder[128];
    pthread_t thread[3];
    snprintf(folder, sizeof folder, "%s/threads", root);
    struct sn_feature_cache *c = open_cache(5 * (BYTES + 256), folder);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&thread[i], NULL, work, c), 0);
    for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
    struct sn_feature_cache_stats s;
    sn_feature_cache_stats(c, &s);
    assert_int_equal(s.n_damaged, 0);
    assert_int_equal(s.unwritten.code, SN_OK);
    assert_true(s.n <= 5);
    sn_feature_cache_free(&c);
}

static int remove_root(void **state)
{
    (void)state;
    const pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", root, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_of_a_picture_counts),
        cmocka_unit_test(budgets_count_by_their_plan),
        cmocka_unit_test(every_part_of_a_sound_counts),
        cmocka_unit_test(memory_keeps_within_its_bound),
        cmocka_unit_test(what_is_held_stays_good),
        cmocka_unit_test(disk_outlives_the_process),
        cmocka_unit_test(threads_share_it),
    };
    if (!mkdtemp(root)) return 1;
    return cmocka_run_group_tests(tests, NULL, remove_root);
}
