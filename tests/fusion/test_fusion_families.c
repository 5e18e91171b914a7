/* Every family's projector and prompt against transformers: from the rows that its encoder gave to
 * those that enter the language model, and from text with markers to tokens and spans. Prints a line
 * for each; docs/accuracy is written from them. */
#include "config.h"

#include "tests/test.h"
#include "tests/mm_golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "compute/device.h"
#include "fusion/fuse.h"
#include "fusion/projector.h"
#include "model/gguf.h"
#include "model/tower.h"
#include "model/tokenizer.h"

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

struct family {
    struct mm_golden *g;
    struct sn_gguf *mmproj, *text;
    struct sn_tokenizer *tokenizer;
    struct sn_projector *p;
    struct mm_array encoder, projector;
    struct sn_views views[MM_MEDIA_MAX]; /* after the projector */
};

static void open_family(const char *name, struct family *f)
{
    char path[512];
    struct sn_diag d;
    *f = (struct family){.g = mm_golden_read(name)};
    mm_path(path, sizeof path, "models", mm_tower(f->g));
    ok(sn_gguf_open(path, &f->mmproj, &d), &d);
    mm_path(path, sizeof path, "models", f->g->model);
    ok(sn_gguf_open(path, &f->text, &d), &d);
    ok(sn_tokenizer_new(f->text, &f->tokenizer, &d), &d);
    const bool sees = sn_gguf_find(f->mmproj, "clip.has_vision_encoder") || sn_tower_within(f->mmproj);
    ok(sn_projector_open(mm_device, f->mmproj, sees ? SN_SENSE_SIGHT : SN_SENSE_HEARING, &f->p, &d), &d);
    assert_true(mm_array_read(name, "encoder", &f->encoder));
    assert_true(mm_array_read(name, "projector", &f->projector));
}

static void close_family(struct family *f)
{
    sn_projector_free(&f->p);
    sn_tokenizer_free(&f->tokenizer);
    sn_gguf_free(&f->mmproj);
    sn_gguf_free(&f->text);
    mm_array_free(&f->encoder);
    mm_array_free(&f->projector);
    mm_golden_free(f->g);
}

static double check_medium(const char *name, struct family *f, size_t i)
{
    struct sn_diag d;
    struct sn_features out;
    const struct mm_medium *m = &f->g->media[i];
    const size_t in_cols = sn_projector_width_in(f->p), cols = sn_projector_width(f->p);
    const struct sn_features in = {f->encoder.v + m->encoder[0] * in_cols, m->encoder[1], in_cols};
    const struct sn_views views = mm_views(name, f->g, i);
    ok(sn_projector_run(f->p, &in, &views, &out, &f->views[i], &d), &d);
    assert_int_equal(out.n_cols, cols);
    assert_int_equal(out.n_rows, m->projector[1]);
    assert_int_equal(out.n_rows, sn_views_rows(&f->views[i]));
    const double c = mm_cosine(out.x, f->projector.v + m->projector[0] * cols, out.n_rows, cols);
    sn_features_fini(&out);
    return c;
}

static size_t row_of(const struct family *f, const float *row, size_t cols)
{
    for (size_t r = 0; r < f->projector.n / cols; r++)
        if (!memcmp(row, f->projector.v + r * cols, cols * sizeof *row)) return r;
    fail_msg("a row of the memory is none of the projector's");
    return 0;
}

/* From the token of a picture to the next one's, the rows of its tiles are seen, and no others; before
 * the first there is nothing. In the memory are all rows, each once. */
static void check_memory(const struct family *f, const struct sn_prompt *p, size_t cols)
{
    const struct mm_golden *g = f->g;
    size_t sum = 0;
    assert_int_equal(p->n_looks, g->n_spans + 1);
    assert_int_equal(p->looks[0].start, 0);
    assert_int_equal(p->looks[0].n, 0);
    for (size_t i = 0; i < g->n_spans; i++) {
        const struct sn_look *l = &p->looks[i + 1];
        const struct mm_medium *m = &g->media[g->spans[i].media];
        assert_int_equal(l->start, g->spans[i].start);
        assert_int_equal(l->n, m->projector[1] / 4 * m->rows * m->cols);
        for (size_t r = 0; r < l->n; r++)
            assert_int_equal(row_of(f, p->memory + (l->row + r) * cols, cols), m->projector[0] + r);
    }
    for (size_t r = 0; r < p->n_memory; r++) sum += row_of(f, p->memory + r * cols, cols);
    assert_int_equal(sum, p->n_memory * (p->n_memory - 1) / 2);
}

/* Tokens are transformers', rows stand where its placeholders do, and bring the right numbers. */
static void check_prompt(const char *name, struct family *f)
{
    struct sn_diag d;
    struct sn_prompt p;
    struct sn_medium media[MM_MEDIA_MAX];
    struct sn_moments moments[MM_MEDIA_MAX];
    const struct mm_golden *g = f->g;
    const size_t cols = sn_projector_width(f->p);
    for (size_t i = 0; i < g->n_media; i++) {
        const struct mm_medium *m = &g->media[i];
        moments[i] = (struct sn_moments){m->at, m->seconds, m->step};
        media[i] = (struct sn_medium){.kind = sn_projector_kind(f->p), .views = f->views[i],
                                      .rows = f->projector.v + m->projector[0] * cols,
                                      .moments = m->n_views ? &moments[i] : NULL};
    }
    const struct sn_fuse fuse = {.tokenizer = f->tokenizer, .text = g->text, .n = strlen(g->text),
                                 .marker = "<media>", .media = media, .n_media = g->n_media,
                                 .width = (uint32_t)cols};
    ok(sn_fuse(&fuse, &p, &d), &d);
    for (size_t i = 0; i < g->n_tokens && i < p.n; i++)
        if (mm_is_row(g, i) ? p.tokens[i] >= 0 : p.tokens[i] != g->tokens[i])
            fail_msg("%s: token %zu is %d, not %d", name, i, (int)p.tokens[i], (int)g->tokens[i]);
    assert_int_equal(p.n, g->n_tokens);
    if (p.n_memory)
        check_memory(f, &p, cols);
    else
        assert_memory_equal(p.rows, f->projector.v, f->projector.n * sizeof *p.rows);
    assert_int_equal(p.n_rows + p.n_memory, f->projector.n / cols);
    assert_true((p.at != NULL) == g->has_positions);
    for (size_t i = 0; p.at && i < p.n; i++)
        if (memcmp(&p.at[i], &g->at[i], sizeof p.at[i]) != 0)
            fail_msg("%s: token %zu stands at %d, %d, %d, not %d, %d, %d", name, i, (int)p.at[i].t,
                     (int)p.at[i].y, (int)p.at[i].x, (int)g->at[i].t, (int)g->at[i].y,
                     (int)g->at[i].x);
    sn_prompt_fini(&p);
}

static void check_family(const char *name)
{
    struct family f;
    double worst = 1;
    open_family(name, &f);
    for (size_t i = 0; i < f.g->n_media; i++) {
        const double c = check_medium(name, &f, i);
        worst = c < worst ? c : worst;
    }
    print_message("%-12s projector  1 - cosine %.1e\n", name, 1 - worst);
    if (!(worst >= 0.99999)) fail_msg("%s: cosine %.7f", name, worst);
    check_prompt(name, &f);
    close_family(&f);
}

static size_t check_families(const char *const *names)
{
    size_t n = 0;
    for (; *names; names++)
        if (mm_exists(*names)) {
            check_family(*names);
            n++;
        }
    return n;
}

/* Pictures whose tokens touch are seen together; the beginning token stands behind those that come first. */
static void neighbours_are_seen_together(void **state)
{
    struct family f;
    struct sn_diag d;
    struct sn_prompt p;
    (void)state;
    open_family("mllama", &f);
    const struct sn_views one = {.rows = 1, .cols = 1, .tile = {5, 1}, .absent = 3};
    const struct sn_views two = {.rows = 1, .cols = 2, .tile = {5, 1}, .absent = 2};
    const struct sn_digest keys[] = {{{1}}, {{2}}, {{3}}};
    const struct sn_medium media[] = {{.kind = "mllama", .views = one, .key = &keys[0]},
                                      {.kind = "mllama", .views = two, .key = &keys[1]},
                                      {.kind = "mllama", .views = one, .key = &keys[2]}};
    const char *text = "<media><media>the lazy<media>";
    const struct sn_fuse fuse = {.tokenizer = f.tokenizer, .text = text, .n = strlen(text),
                                 .marker = "<media>", .media = media, .n_media = 3, .width = 8};
    ok(sn_fuse(&fuse, &p, &d), &d);
    assert_int_equal(p.tokens[2], sn_tokenizer_bos(f.tokenizer));
    assert_true(p.tokens[0] == p.tokens[1] && p.tokens[0] == p.tokens[p.n - 1]);
    assert_int_equal(p.n_memory, 60);
    assert_null(p.memory);
    const struct sn_look looks[] = {{0, 0, 5}, {1, 0, 15}, {p.n - 1, 15, 5}};
    assert_int_equal(p.n_looks, 3);
    assert_memory_equal(p.looks, looks, sizeof looks);
    const struct sn_digest key = p.memory_key;
    sn_prompt_fini(&p);
    const struct sn_medium turned[] = {media[1], media[0], media[2]};
    struct sn_fuse other = fuse;
    other.media = turned;
    ok(sn_fuse(&other, &p, &d), &d);
    assert_true(sn_digest_known(&key) && sn_digest_known(&p.memory_key) && !sn_digest_equal(&key, &p.memory_key));
    sn_prompt_fini(&p);
    const struct sn_medium unnamed[] = {media[0], {.kind = "mllama", .views = two}, media[2]};
    other.media = unnamed;
    ok(sn_fuse(&other, &p, &d), &d);
    assert_false(sn_digest_known(&p.memory_key));
    sn_prompt_fini(&p);
    close_family(&f);
}

static void projectors_and_prompts_match_transformers(void **state)
{
    (void)state;
    assert_true(check_families(mm_families) > 0);
    check_families(mm_hearing_families);
    assert_int_equal(check_families(mm_video_families), 3);
}

/* A marker stands for all frames of a video, or each frame has its own. */
static void frames_stand_together_or_apart(void **state)
{
    struct sn_diag d;
    struct family f;
    struct sn_prompt together, apart;
    (void)state;
    open_family("llava", &f);
    for (size_t i = 0; i < f.g->n_media; i++) check_medium("llava", &f, i);
    const struct sn_medium frame = {.kind = "mlp", .views = f.views[0], .rows = f.projector.v};
    struct sn_medium media[3] = {frame, frame, frame};
    media[1].goes_on = true;
    struct sn_fuse fuse = {.tokenizer = f.tokenizer, .text = "a<m>b<m>c", .n = 9, .marker = "<m>", .media = media,
                           .n_media = 3, .width = sn_projector_width(f.p)};
    ok(sn_fuse(&fuse, &together, &d), &d);
    fuse.text = "a<m><m>b<m>c";
    fuse.n = 12;
    ok(sn_fuse(&fuse, &apart, &d), &d);
    assert_int_equal(together.n, apart.n);
    assert_memory_equal(together.tokens, apart.tokens, together.n * sizeof *together.tokens);
    sn_prompt_fini(&together);
    sn_prompt_fini(&apart);
    fuse.text = "a<m>b";
    fuse.n = 5;
    assert_int_equal(sn_fuse(&fuse, &apart, &d), -SN_EINVAL);
    assert_non_null(strstr(d.text, "1 media markers"));
    close_family(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(projectors_and_prompts_match_transformers),
        cmocka_unit_test(frames_stand_together_or_apart),
        cmocka_unit_test(neighbours_are_seen_together),
    };
    return cmocka_run_group_tests(tests, mm_setup, mm_teardown);
}
