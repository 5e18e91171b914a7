/* Files of encoder and projector that contradict themselves: every number and every tensor of the tiny
 * ones is spoilt in turn. What opens must run; what does not must say why; nothing else happens. */
#include "config.h"

#include "tests/test.h"
#include "tests/mm_golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "compute/device.h"
#include "compute/type.h"
#include "model/gguf.h"
#include "pipeline/sight.h"

static const char path[] = "test_sight_hostile.gguf";
static struct sn_device *dev;

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

static int setup(void **state)
{
    struct sn_diag d;
    (void)state;
    ok(sn_device_open(&(struct sn_device_cfg){.n_threads = 1}, &dev, &d), &d);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sn_device_close(&dev);
    unlink(path);
    return 0;
}

static struct sn_gguf *open_tower(const char *family)
{
    char file[512];
    struct sn_diag d;
    struct sn_gguf *g = NULL;
    struct mm_golden *golden = mm_golden_read(family);
    mm_path(file, sizeof file, "models", mm_tower(golden));
    ok(sn_gguf_open(file, &g, &d), &d);
    mm_golden_free(golden);
    return g;
}

enum how { KEEP, LEAVE_OUT, TURN, SHORTEN };

struct spoil {
    const char *key;    /* a number gets this value, or is left out */
    uint32_t value;
    const char *tensor;
    enum how how;       /* what happens to key or tensor */
};

static bool put_tensor(struct sn_gguf_writer *w, const struct sn_gguf_tensor *t,
                       const struct spoil *s, struct sn_diag *d)
{
    uint64_t ne[4];
    memcpy(ne, t->ne, sizeof ne);
    if (s->tensor && !strcmp(s->tensor, t->name)) {
        if (s->how == LEAVE_OUT) return false;
        if (s->how == TURN) {
            ne[0] = t->ne[t->n_dims - 1];
            ne[t->n_dims - 1] = t->ne[0];
        }
        if (s->how == SHORTEN) ne[t->n_dims - 1] = (ne[t->n_dims - 1] + 1) / 2;
    }
    ok(sn_gguf_put_tensor(w, t->name, t->type, t->n_dims, ne, d), d);
    return true;
}

static size_t spoilt_bytes(const struct sn_gguf_tensor *t, const struct spoil *s)
{
    if (!s->tensor || strcmp(s->tensor, t->name) != 0 || s->how != SHORTEN) return t->n_bytes;
    const uint64_t last = t->ne[t->n_dims - 1];
    return (size_t)(t->n_bytes / last * ((last + 1) / 2));
}

static void write_spoilt(const struct sn_gguf *g, const struct spoil *s)
{
    struct sn_gguf_writer *w = NULL;
    struct sn_diag d;
    ok(sn_gguf_writer_new(path, &w, &d), &d);
    for (size_t i = 0; i < sn_gguf_n_values(g); i++) {
        const struct sn_gguf_value *v = sn_gguf_value(g, i);
        const bool it = s->key && !strcmp(s->key, v->key);
        if (it && s->how == LEAVE_OUT) continue;
        ok(it ? sn_gguf_put_u32(w, v->key, s->value, &d) : sn_gguf_put_copy(w, v, &d), &d);
    }
    for (size_t i = 0; i < sn_gguf_n_tensors(g); i++) put_tensor(w, sn_gguf_tensor(g, i), s, &d);
    for (size_t i = 0; i < sn_gguf_n_tensors(g); i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        if (s->tensor && !strcmp(s->tensor, t->name) && s->how == LEAVE_OUT) continue;
        ok(sn_gguf_write_data(w, t->data, spoilt_bytes(t, s), &d), &d);
    }
    ok(sn_gguf_writer_close(&w, &d), &d);
}

/* Opens the file and, if that works and the picture stays small, runs it. */
static int look(struct sn_diag *d)
{
    static uint8_t rgb[40 * 28 * 3];
    const struct sn_image image = {rgb, 40, 28};
    struct sn_sight *sight = NULL;
    struct sn_vision_plan plan;
    struct sn_seen seen;
    sn_diag_init(d);
    int rc = sn_sight_open(dev, path, NULL, &sight, d);
    if (rc < 0) return rc;
    rc = sn_vision_pre_plan(sn_vision_prepares(sn_sight_tower(sight)), 40, 28, 0, &plan, d);
    if (rc == 0 && plan.n_floats < 200000) {
        rc = sn_sight_see(sight, &image, 0, NULL, &seen, NULL, d);
        if (rc == 0) sn_seen_fini(&seen);
    }
    sn_sight_free(&sight);
    return rc;
}

static void look_at(const struct sn_gguf *g, const struct spoil *s)
{
    struct sn_diag d;
    write_spoilt(g, s);
    if (look(&d) < 0 && !d.text[0])
        fail_msg("%s %s: an error without a text", s->key ? s->key : "", s->tensor ? s->tensor : "");
}

static bool is_of_tower(const char *key)
{
    return !strncmp(key, "clip.", 5) || strstr(key, ".vision.");
}

static void spoil_numbers(const struct sn_gguf *g)
{
    static const uint32_t values[] = {0, 1, 3, 255, 65536, UINT32_MAX};
    for (size_t i = 0; i < sn_gguf_n_values(g); i++) {
        const struct sn_gguf_value *v = sn_gguf_value(g, i);
        if (!is_of_tower(v->key)) continue;
        look_at(g, &(struct spoil){.key = v->key, .how = LEAVE_OUT});
        for (size_t k = 0; k < SN_COUNT(values); k++)
            look_at(g, &(struct spoil){.key = v->key, .value = values[k]});
    }
}

static void spoil_tensors(const struct sn_gguf *g)
{
    for (size_t i = 0; i < sn_gguf_n_tensors(g); i++)
        for (enum how how = LEAVE_OUT; how <= SHORTEN; how++)
            look_at(g, &(struct spoil){.tensor = sn_gguf_tensor(g, i)->name, .how = how});
}

static void spoilt_files_are_errors(void **state)
{
    (void)state;
    for (size_t i = 0; mm_families[i]; i++) {
        if (!mm_exists(mm_families[i])) continue;
        struct sn_gguf *g = open_tower(mm_families[i]);
        spoil_numbers(g);
        spoil_tensors(g);
        sn_gguf_free(&g);
    }
}

static void errors_name_the_thing(void **state)
{
    (void)state;
    static const struct {
        const char *family;
        struct spoil spoil;
        int rc;
        const char *text;
    } cases[] = {
        {"llava", {.key = "clip.has_vision_encoder", .how = LEAVE_OUT}, -SN_ENOENT, "no vision tower"},
        {"llava", {.key = "clip.vision.block_count", .value = 100000}, -SN_ELIMIT, "block_count"},
        {"llava", {.key = "clip.vision.block_count", .value = 0}, -SN_ELIMIT, "block_count"},
        {"llava", {.key = "clip.vision.attention.head_count", .value = 0}, -SN_ELIMIT, "head_count"},
        {"llava", {.key = "clip.vision.attention.head_count", .value = 5}, -SN_EFORMAT, "attn_q"},
        {"llava", {.key = "clip.vision.patch_size", .value = 0}, -SN_ELIMIT, "patch_size"},
        {"llava", {.key = "clip.vision.patch_size", .value = 3}, -SN_EFORMAT, "v.patch_embd"},
        {"llava", {.key = "clip.vision.image_size", .value = 1 << 20}, -SN_ELIMIT, "image_size"},
        {"llava", {.tensor = "v.blk.1.ln2.weight", .how = LEAVE_OUT}, -SN_ENOENT, "v.blk.1.ln2.weight"},
        {"llava", {.tensor = "mm.0.weight", .how = TURN}, -SN_EFORMAT, "mm.0.weight"},
        {"llava", {.tensor = "v.position_embd.weight", .how = SHORTEN}, -SN_EUNSUPPORTED, "positions"},
        {"idefics3", {.key = "clip.vision.projector.scale_factor", .value = 5}, -SN_EFORMAT, "mm.model.fc"},
        {"gemma3v", {.key = "clip.vision.projector.scale_factor", .value = 99}, -SN_EFORMAT, "merge"},
        {"qwen2vl", {.tensor = "v.post_ln.weight", .how = LEAVE_OUT}, -SN_ENOENT, "v.post_ln.weight"},
        {"mllama", {.key = "mllama.vision.block_count", .how = LEAVE_OUT}, -SN_ENOENT, "no vision tower"},
        {"mllama", {.key = "mllama.vision.block_count", .value = 4}, -SN_ENOENT, "v.blk.3."},
        {"mllama", {.key = "mllama.vision.block_count", .value = 1}, -SN_EFORMAT, "names layer 1 of 1"},
        {"mllama", {.key = "mllama.vision.global.block_count", .value = 3}, -SN_ENOENT, "v.global.blk.2."},
        {"mllama", {.key = "mllama.vision.max_num_tiles", .value = 0}, -SN_ELIMIT, "max_num_tiles"},
        {"mllama", {.key = "mllama.vision.max_num_tiles", .value = 3}, -SN_EFORMAT, "tile_position_embd"},
        {"mllama", {.key = "mllama.vision.image_size", .value = 35}, -SN_EFORMAT, "positions for tiles"},
        {"mllama", {.key = "mllama.vision.intermediate_layers_indices", .value = 1}, -SN_EFORMAT,
         "intermediate_layers_indices"},
        {"mllama", {.tensor = "v.class_embd", .how = LEAVE_OUT}, -SN_EFORMAT, "class token"},
        {"mllama", {.tensor = "v.pre_tile_position_embd.gate", .how = LEAVE_OUT}, -SN_ENOENT, "gate"},
        {"mllama", {.tensor = "v.post_tile_position_embd.weight", .how = SHORTEN}, -SN_EFORMAT,
         "post_tile_position_embd"},
        {"mllama", {.tensor = "mm.0.weight", .how = TURN}, -SN_EFORMAT, "mm.0.bias"},
    };
    for (size_t i = 0; i < SN_COUNT(cases); i++) {
        struct sn_diag d;
        struct sn_gguf *g = open_tower(cases[i].family);
        write_spoilt(g, &cases[i].spoil);
        sn_gguf_free(&g);
        const int rc = look(&d);
        if (rc != cases[i].rc || !strstr(d.text, cases[i].text))
            fail_msg("case %zu: %d, '%s'; not %d with '%s'", i, rc, d.text, cases[i].rc, cases[i].text);
    }
}

/* Memory that runs out anywhere is an error like any other, and nothing is left behind. */
static void memory_runs_out(void **state)
{
    static const char *const families[] = {"qwen25vl", "mllama"};
    (void)state;
    for (size_t i = 0; i < SN_COUNT(families); i++) {
        struct sn_gguf *g = open_tower(families[i]);
        write_spoilt(g, &(struct spoil){0});
        sn_gguf_free(&g);
        for (long n = 1;; n++) {
            struct sn_diag d;
            sn_test_fail_alloc(n);
            const int rc = look(&d);
            sn_test_fail_alloc(0);
            if (rc == 0) break;
            if (rc != -SN_ENOMEM) fail_msg("%s, allocation %ld: %d, '%s'", families[i], n, rc, d.text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_thing),
        cmocka_unit_test(spoilt_files_are_errors),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
