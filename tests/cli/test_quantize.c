/* The work behind 'sensorium quantize', on small files made here. tests/cli/quantize.py runs the
 * command itself and reads its output with gguf-py. */
#include "tests/test.h"

#include "base/diag.h"
#include "base/file.h"
#include "base/mem.h"
#include "cli/quantize.h"
#include "compute/type.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], in_path[80], out_path[80];

struct spec {
    const char *name;
    uint32_t type, n_dims;
    uint64_t ne[4];
};

static const struct spec model[] = {
    {"token_embd.weight", SN_F32, 2, {256, 24}},
    {"output_norm.weight", SN_F32, 1, {256}},
    {"rope_freqs.weight", SN_F32, 1, {32}},
    {"blk.0.attn_norm.weight", SN_F32, 1, {256}},
    {"blk.0.attn_q.weight", SN_F16, 2, {256, 16}},
    {"blk.0.attn_q.bias", SN_F32, 1, {256}},
    {"blk.0.ffn_down.weight", SN_BF16, 2, {288, 8}},
    {"blk.0.ffn_up.weight", SN_F32, 2, {48, 32}},
    {"blk.0.ffn_gate_inp.weight", SN_F32, 2, {256, 8}},
    {"blk.1.attn_q.weight", SN_F16, 3, {256, 4, 3}},
    {"blk.1.ids.weight", SN_I32, 2, {256, 8}},
    {"blk.1.tiny.weight", SN_F32, 2, {32, 4}},
};
enum { N_MODEL = sizeof model / sizeof *model };

static size_t elems(const struct spec *s)
{
    size_t n = 1;
    for (uint32_t k = 0; k < s->n_dims; k++)
        n *= s->ne[k];
    return n;
}

/* Tensor `poisoned` (or none, if SIZE_MAX) gets a NaN in row 2. */
static void write_model(const char *path, const struct spec *specs, size_t n, size_t poisoned,
                        bool split)
{
    struct sn_diag d;
    struct sn_gguf_writer *w = NULL;
    uint64_t seed = 11;
    assert_int_equal(sn_gguf_writer_new(path, &w, &d), 0);
    assert_int_equal(sn_gguf_put_string(w, "general.architecture", "llama", &d), 0);
    assert_int_equal(sn_gguf_put_u32(w, "general.file_type", 1, &d), 0);
    assert_int_equal(sn_gguf_put_f32(w, "llama.rope.freq_base", 10000, &d), 0);
    if (split)
        assert_int_equal(sn_gguf_put_u32(w, "split.count", 2, &d), 0);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(sn_gguf_put_tensor(w, specs[i].name, specs[i].type, specs[i].n_dims,
                                            specs[i].ne, &d), 0);
    for (size_t i = 0; i < n; i++) {
        const size_t count = elems(&specs[i]);
        const struct sn_type_info *info = sn_type_info(specs[i].type);
        const size_t n_bytes = count / info->block_elems * info->block_bytes;
        float *x = sn_malloc_array(count, sizeof *x);
        uint8_t *bytes = sn_calloc(n_bytes, 1);
        assert_true(x && bytes);
        for (size_t k = 0; k < count; k++)
            x[k] = test_randf(&seed);
        if (sn_type_can_quantize(specs[i].type))
            assert_int_equal(sn_quantize(specs[i].type, x, bytes, count / specs[i].ne[0],
                                         specs[i].ne[0], &d), 0);
        if (i == poisoned)
            memcpy(bytes + 2 * specs[i].ne[0] * 4, &(float){NAN}, 4);
        assert_int_equal(sn_gguf_write_data(w, bytes, n_bytes, &d), 0);
        sn_free(x);
        sn_free(bytes);
    }
    assert_int_equal(sn_gguf_writer_close(&w, &d), 0);
}

static struct cli_quantize_cfg config(uint32_t type)
{
    return (struct cli_quantize_cfg){
        .in = in_path, .out = out_path, .type = type, .n_threads = 2,
    };
}

static size_t files_in_folder(void)
{
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    size_t n = 0;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* The types of the output's tensors, as one word each. */
static void check_types(const uint32_t *want)
{
    struct sn_gguf *g = NULL;
    struct sn_diag d;
    assert_int_equal(sn_gguf_open(out_path, &g, &d), 0);
    assert_int_equal(sn_gguf_n_tensors(g), N_MODEL);
    for (size_t i = 0; i < N_MODEL; i++) {
        const struct sn_gguf_tensor *t = sn_gguf_tensor(g, i);
        if (t->type != want[i])
            print_error("%s: %s\n", t->name, sn_type_info(t->type)->name);
        assert_string_equal(t->name, model[i].name);
        assert_int_equal(t->type, want[i]);
        assert_int_equal(t->ne[0], model[i].ne[0]);
    }
    sn_gguf_free(&g);
}

static void tensors_get_their_types(void **state)
{
    (void)state;
    struct sn_diag d;
    struct cli_quantize_report r;
    write_model(in_path, model, N_MODEL, SIZE_MAX, false);

    struct cli_quantize_cfg cfg = config(SN_Q4_K);
    assert_int_equal(cli_quantize(&cfg, &r, &d), 0);
    check_types((const uint32_t[N_MODEL]){
        SN_Q6_K, SN_F32, SN_F32, SN_F32, SN_Q4_K, SN_F32, SN_Q5_0, SN_F16, SN_F32, SN_Q4_K, SN_I32,
        SN_F32});
    assert_int_equal(r.n_fallbacks, 2);
    assert_int_equal(r.fallbacks[0].wanted, SN_Q4_K);
    assert_int_equal(r.fallbacks[0].type, SN_Q5_0);
    assert_int_equal(r.fallbacks[0].n_cols, 288);
    assert_int_equal(r.fallbacks[1].type, SN_F16);
    assert_true(r.file_after < r.file_before);
    assert_string_equal(r.groups[3].name, "attn_norm");
    assert_string_equal(r.groups[4].name, "attn_q");
    assert_int_equal(r.groups[4].n_tensors, 2);
    assert_int_equal(r.groups[4].n_elems, 256 * 28);
    assert_int_equal(r.groups[4].bytes_after, 28 * 144);
    const double relative = cli_quantize_relative(&r.groups[4]);
    assert_true(relative > 0.03 && relative < 0.08);
    assert_true(fabs(cli_quantize_rms(&r.groups[4]) / relative - sqrt(1.0 / 3)) < 0.02);
    assert_true(cli_quantize_rms(&r.groups[3]) == 0);
    cli_quantize_report_fini(&r);

    cfg.pure = true;
    cfg.rules = (const struct cli_quantize_rule[]){{"blk.0.attn_q.weight", SN_Q8_0},
                                                   {"*.attn_?.weight", SN_F32},
                                                   {"*ffn_gate_inp*", SN_Q5_1}};
    cfg.n_rules = 3;
    assert_int_equal(cli_quantize(&cfg, &r, &d), 0);
    check_types((const uint32_t[N_MODEL]){
        SN_Q4_K, SN_F32, SN_F32, SN_F32, SN_Q8_0, SN_F32, SN_Q5_0, SN_F16, SN_Q5_1, SN_F32, SN_I32,
        SN_F32});
    cli_quantize_report_fini(&r);
}

/* Metadata is carried over; the type's number is new. */
static void metadata_is_copied(void **state)
{
    (void)state;
    struct sn_diag d;
    struct cli_quantize_report r;
    struct sn_gguf *g = NULL;
    uint64_t v = 0;
    double base = 0;
    const struct cli_quantize_cfg cfg = config(SN_Q6_K);
    assert_int_equal(cli_quantize(&cfg, &r, &d), 0);
    cli_quantize_report_fini(&r);
    assert_int_equal(sn_gguf_open(out_path, &g, &d), 0);
    assert_int_equal(sn_gguf_n_values(g), 4);
    assert_int_equal(sn_gguf_get_u64(g, "general.file_type", 0, 100, &v, &d), 0);
    assert_int_equal(v, 18);
    assert_int_equal(sn_gguf_get_u64(g, "general.quantization_version", 0, 100, &v, &d), 0);
    assert_int_equal(v, 2);
    assert_int_equal(sn_gguf_get_f64(g, "llama.rope.freq_base", 0, 1e6, &base, &d), 0);
    assert_true(base == 10000);
    sn_gguf_free(&g);
}

/* The number of threads changes neither the file nor the report. */
static void threads_do_not_matter(void **state)
{
    (void)state;
    struct sn_diag d;
    struct cli_quantize_report r[2];
    char *bytes[2];
    size_t n[2];
    for (unsigned i = 0; i < 2; i++) {
        struct cli_quantize_cfg cfg = config(SN_Q5_K);
        cfg.n_threads = 1 + 3 * i;
        assert_int_equal(cli_quantize(&cfg, &r[i], &d), 0);
        assert_int_equal(sn_file_read(out_path, 1 << 24, &bytes[i], &n[i], &d), 0);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(bytes[0], bytes[1], n[0]);
    assert_true(r[0].total.sum_error2 == r[1].total.sum_error2);
    for (unsigned i = 0; i < 2; i++) {
        sn_free(bytes[i]);
        cli_quantize_report_fini(&r[i]);
    }
}

static void expect_refusal(const struct cli_quantize_cfg *cfg, int code, const char *word)
{
    struct cli_quantize_report r;
    struct sn_diag d;
    const size_t before = files_in_folder();
    const int rc = cli_quantize(cfg, &r, &d);
    if (rc != -code || !strstr(d.text, word))
        print_error("%d: %s\n", rc, d.text);
    assert_int_equal(rc, -code);
    assert_non_null(strstr(d.text, word));
    assert_int_equal(files_in_folder(), before);
    cli_quantize_report_fini(&r);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct sn_diag d;
    struct cli_quantize_report r;
    unlink(out_path);
    struct cli_quantize_cfg cfg = config(SN_Q4_K);

    cfg.out = in_path;
    expect_refusal(&cfg, SN_EINVAL, "is the input file");
    assert_int_equal(link(in_path, out_path), 0);
    cfg.out = out_path; /* the same file by another name */
    expect_refusal(&cfg, SN_EINVAL, "is the input file");
    unlink(out_path);

    cfg.rules = (const struct cli_quantize_rule[]){{"blk.7.*", SN_Q8_0}};
    cfg.n_rules = 1;
    expect_refusal(&cfg, SN_ENOENT, "blk.7.*");
    cfg.n_rules = 0;

    static const atomic_bool stopped = true;
    cfg.stop = &stopped;
    expect_refusal(&cfg, SN_ECANCELLED, "interrupted");
    cfg.stop = NULL;

    cfg.out = "/nonexistent/folder/out.gguf";
    expect_refusal(&cfg, SN_ENOENT, "/nonexistent/folder/out.gguf");
    cfg.out = out_path;
    cfg.in = "/nonexistent/in.gguf";
    expect_refusal(&cfg, SN_ENOENT, "/nonexistent/in.gguf");
    cfg.in = in_path;

    write_model(in_path, model, N_MODEL, 0, false);
    expect_refusal(&cfg, SN_EINVAL, "\"token_embd.weight\" row 2");
    write_model(in_path, model, N_MODEL, SIZE_MAX, true);
    expect_refusal(&cfg, SN_EUNSUPPORTED, "2 parts");

    static const struct spec quantized[] = {{"blk.0.attn_q.weight", SN_Q8_0, 2, {256, 16}},
                                            {"blk.0.attn_k.weight", SN_Q4_K, 2, {256, 16}}};
    write_model(in_path, quantized, 2, SIZE_MAX, false);
    expect_refusal(&cfg, SN_EINVAL, "--allow-requantize");
    cfg.allow_requantize = true;
    assert_int_equal(cli_quantize(&cfg, &r, &d), 0);
    assert_int_equal(r.total.n_changed, 1); /* what has the type already is copied */
    cli_quantize_report_fini(&r);
    unlink(out_path);

    static const struct spec exotic[] = {{"blk.0.attn_q.weight", SN_IQ2_XXS, 2, {256, 16}}};
    write_model(in_path, exotic, 1, SIZE_MAX, false);
    expect_refusal(&cfg, SN_EUNSUPPORTED, "IQ2_XXS");
}

/* Each allocation fails once; nothing leaks (with sanitizers) and no file is left. */
static void memory_may_run_out(void **state)
{
    (void)state;
    struct sn_diag d;
    struct cli_quantize_report r;
    write_model(in_path, model, N_MODEL, SIZE_MAX, false);
    unlink(out_path);
    const struct cli_quantize_cfg cfg = config(SN_Q4_K);
    int rc = -1;
    for (long n = 1; n < 2000 && rc != 0; n++) {
        sn_test_fail_alloc(n);
        rc = cli_quantize(&cfg, &r, &d);
        sn_test_fail_alloc(0);
        assert_true(rc == 0 || rc == -SN_ENOMEM);
        assert_true(rc == 0 || access(out_path, F_OK) != 0);
        assert_int_equal(files_in_folder(), rc == 0 ? 2 : 1);
        cli_quantize_report_fini(&r);
    }
    assert_int_equal(rc, 0);
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", "/tmp/sn-quantize-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(in_path, sizeof in_path, "%s/in.gguf", folder);
    snprintf(out_path, sizeof out_path, "%s/out.gguf", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(in_path);
    unlink(out_path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_get_their_types),
        cmocka_unit_test(metadata_is_copied),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
