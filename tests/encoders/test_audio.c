/* The audio tower against transformers: from the extractor's mel to the rows that the decoder (or a
 * projector) gets. */
#include "config.h"

#include "tests/test.h"
#include "tests/mm_golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "compute/device.h"
#include "encoders/audio.h"
#include "model/gguf.h"

static void ok(int rc, const struct sn_diag *d)
{
    if (rc < 0) fail_msg("%s", d->text);
}

static struct sn_audio_tower *open_tower(const char *folder, const char *name)
{
    char path[512];
    struct sn_diag d;
    struct sn_gguf *file = NULL;
    struct sn_audio_tower *t = NULL;
    mm_path(path, sizeof path, folder, name);
    ok(sn_gguf_open(path, &file, &d), &d);
    ok(sn_audio_tower_open(mm_device, file, &t, &d), &d);
    sn_gguf_free(&file);
    return t;
}

/* What the golden keeps of a mel's columns; the rest is silence, all of one value. */
static float *whole_mel(const struct mm_array *part, size_t n_frames, float rest)
{
    const size_t n_mels = part->shape[0], n = part->shape[1];
    float *mel = sn_malloc_array(n_mels * n_frames, sizeof *mel);
    assert_non_null(mel);
    for (size_t i = 0; i < n_mels * n_frames; i++)
        mel[i] = i % n_frames < n ? part->v[i / n_frames * n + i % n_frames] : rest;
    return mel;
}

static void whisper_matches_transformers(void **state)
{
    struct sn_diag d;
    struct mm_array part, truth;
    (void)state;
    assert_true(mm_array_read("whisper", "mel_0", &part));
    assert_true(mm_array_read("whisper", "encoder", &truth));
    struct sn_audio_tower *t = open_tower("models", "whisper.gguf");
    assert_int_equal(sn_audio_tower_n_frames(t), 3000);
    float *mel = whole_mel(&part, 3000, part.v[part.shape[1] - 1]);
    struct sn_features out;
    ok(sn_audio_encode(t, &(struct sn_audio_windows){.mel = mel, .n_windows = 1}, &out, NULL, &d), &d);
    assert_int_equal(out.n_rows, truth.shape[0]);
    assert_int_equal(out.n_cols, truth.shape[1]);
    const double c = mm_cosine(out.x, truth.v, out.n_rows, out.n_cols);
    float worst = 0;
    for (size_t i = 0; i < truth.n; i++) worst = fmaxf(worst, fabsf(out.x[i] - truth.v[i]));
    print_message("whisper      encoder    1 - cosine %.1e, largest error %.1e\n", 1 - c, (double)worst);
    assert_true(c >= 0.99999);
    assert_true(worst < 1e-3f);
    sn_features_fini(&out);
    sn_free(mel);
    sn_audio_tower_free(&t);
    mm_array_free(&part);
    mm_array_free(&truth);
}

/* Two windows at once are each the bits that it is alone. */
static void company_changes_nothing(void **state)
{
    struct sn_diag d;
    (void)state;
    struct sn_audio_tower *t = open_tower("models", "whisper.gguf");
    const size_t n = (size_t)sn_audio_tower_n_mels(t) * 3000;
    float *mel = sn_malloc_array(2 * n, sizeof *mel);
    assert_non_null(mel);
    for (size_t i = 0; i < 2 * n; i++) mel[i] = sinf((float)i * 0.37f);
    struct sn_features both, alone;
    ok(sn_audio_encode(t, &(struct sn_audio_windows){mel, 2, NULL}, &both, NULL, &d), &d);
    ok(sn_audio_encode(t, &(struct sn_audio_windows){mel + n, 1, NULL}, &alone, NULL, &d), &d);
    assert_memory_equal(both.x + alone.n_rows * alone.n_cols, alone.x,
                        alone.n_rows * alone.n_cols * sizeof *alone.x);
    /* frames that are not heard change nothing in those that are */
    const size_t heard[] = {200};
    struct sn_features a, b;
    ok(sn_audio_encode(t, &(struct sn_audio_windows){mel, 1, heard}, &a, NULL, &d), &d);
    for (size_t i = 0; i < n; i++)
        if (i % 3000 > 210) mel[i] = 1;
    ok(sn_audio_encode(t, &(struct sn_audio_windows){mel, 1, heard}, &b, NULL, &d), &d);
    assert_memory_equal(a.x, b.x, 100 * a.n_cols * sizeof *a.x);
    sn_features_fini(&a);
    sn_features_fini(&b);
    sn_features_fini(&both);
    sn_features_fini(&alone);
    sn_free(mel);
    sn_audio_tower_free(&t);
}

static void stops_on_request(void **state)
{
    struct sn_diag d;
    const atomic_bool stop = true;
    (void)state;
    struct sn_audio_tower *t = open_tower("models", "whisper.gguf");
    float *mel = sn_calloc((size_t)sn_audio_tower_n_mels(t) * 3000, sizeof *mel);
    struct sn_features out = {0};
    assert_int_equal(sn_audio_encode(t, &(struct sn_audio_windows){mel, 1, NULL}, &out, &stop, &d),
                     -SN_ECANCELLED);
    assert_null(out.x);
    sn_free(mel);
    sn_audio_tower_free(&t);
}

static void a_file_without_one(void **state)
{
    char path[512];
    struct sn_diag d;
    struct sn_gguf *file = NULL;
    struct sn_audio_tower *t = NULL;
    (void)state;
    mm_path(path, sizeof path, "models", "llama-smol.gguf");
    ok(sn_gguf_open(path, &file, &d), &d);
    assert_int_equal(sn_audio_tower_open(mm_device, file, &t, &d), -SN_ENOENT);
    sn_gguf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whisper_matches_transformers),
        cmocka_unit_test(company_changes_nothing),
        cmocka_unit_test(stops_on_request),
        cmocka_unit_test(a_file_without_one),
    };
    return cmocka_run_group_tests(tests, mm_setup, mm_teardown);
}
