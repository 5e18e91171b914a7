#include "tests/test.h"
#include "tests/mm_golden.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

struct sn_device *mm_device;

int mm_setup(void **state)
{
    struct sn_diag d;
    (void)state;
    if (sn_device_open(&(struct sn_device_cfg){.n_threads = 2}, &mm_device, &d) < 0) fail_msg("%s", d.text);
    return 0;
}

int mm_teardown(void **state)
{
    (void)state;
    sn_device_close(&mm_device);
    return 0;
}

const char *const mm_families[] = {"llava", "idefics3", "qwen2vl", "qwen25vl", "gemma3v", "pixtral",
                                   "mistral3v", "idefics2", "mllama", NULL};
const char *const mm_video_families[] = {"qwen2vl-video", "qwen25vl-video", "idefics3-video", NULL};
const char *const mm_hearing_families[] = {"ultravox", "qwen2audio", "voxtral", NULL};

void mm_path(char *out, size_t size, const char *folder, const char *name)
{
    const char *top = getenv("srcdir");
    const int n = snprintf(out, size, "%s/tests/reference/%s/%s", top ? top : ".", folder, name);
    assert_true(n > 0 && (size_t)n < size);
}

static void golden_file(char *out, size_t size, const char *family, const char *name)
{
    char tail[256];
    snprintf(tail, sizeof tail, "%s%s%s", family ? family : "", family ? "/" : "", name);
    mm_path(out, size, "golden", tail);
}

bool mm_exists(const char *family)
{
    char path[512];
    golden_file(path, sizeof path, family, "prompt.json");
    return access(path, R_OK) == 0;
}

/* --- arrays --- */

static void read_shape(const char *header, struct mm_array *a)
{
    const char *p = strstr(header, "'shape': (");
    assert_non_null(p);
    p += strlen("'shape': (");
    a->n = 1;
    while (*p && *p != ')') {
        char *end;
        const unsigned long n = strtoul(p, &end, 10);
        if (end == p) break;
        assert_true(a->rank < 6);
        a->shape[a->rank++] = n;
        a->n *= n;
        p = end;
        while (*p == ',' || *p == ' ') p++;
    }
}

/* Elements of a kind that a letter and a size name, as floats. */
static float element(const unsigned char *p, char kind, size_t size)
{
    if (kind == 'f' && size == 4) {
        float x;
        memcpy(&x, p, sizeof x);
        return x;
    }
    if (kind == 'u' && size == 1) return p[0];
    int64_t v = 0;
    memcpy(&v, p, size);
    return size == 4 ? (float)(int32_t)v : (float)v;
}

bool mm_array_read(const char *family, const char *name, struct mm_array *out)
{
    char path[512], file[128], text[1024];
    unsigned char head[10];
    *out = (struct mm_array){0};
    snprintf(file, sizeof file, "%s.npy", name);
    golden_file(path, sizeof path, family, file);
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
    assert_memory_equal(head, "\x93NUMPY\x01", 7);
    const size_t n = (size_t)head[8] | (size_t)head[9] << 8;
    assert_true(n < sizeof text);
    assert_int_equal(fread(text, 1, n, f), n);
    text[n] = '\0';
    const char *descr = strstr(text, "'descr': '");
    assert_non_null(descr);
    descr += strlen("'descr': '");
    assert_true(descr[0] == '<' || descr[0] == '|');
    const size_t size = (size_t)(descr[2] - '0');
    assert_in_range(size, 1, 8);
    read_shape(text, out);
    unsigned char *raw = calloc(out->n + 1, size);
    out->v = calloc(out->n + 1, sizeof *out->v);
    assert_true(raw && out->v);
    assert_int_equal(fread(raw, size, out->n, f), out->n);
    for (size_t i = 0; i < out->n; i++) out->v[i] = element(raw + i * size, descr[1], size);
    free(raw);
    fclose(f);
    return true;
}

void mm_array_free(struct mm_array *a)
{
    free(a->v);
    *a = (struct mm_array){0};
}

/* --- prompt.json --- */

static void copy_text(const json_t *j, const char *key, char *out, size_t size)
{
    const char *s = json_string_value(json_object_get(j, key));
    if (s) assert_true((size_t)snprintf(out, size, "%s", s) < size);
}

static size_t number(const json_t *j, const char *key)
{
    return (size_t)json_integer_value(json_object_get(j, key));
}

static void pair(const json_t *j, const char *key, size_t out[2])
{
    const json_t *a = json_object_get(j, key);
    for (size_t i = 0; i < 2; i++) out[i] = (size_t)json_integer_value(json_array_get(a, i));
}

static void read_times(const json_t *j, struct mm_medium *m)
{
    const json_t *times = json_object_get(j, "times");
    m->n_views = json_array_size(times);
    assert_true(m->n_views <= MM_VIEWS_MAX);
    for (size_t i = 0; i < m->n_views; i++) m->at[i] = json_number_value(json_array_get(times, i));
    m->seconds = json_number_value(json_object_get(j, "seconds"));
    m->step = json_number_value(json_object_get(j, "step"));
}

static void read_medium(const json_t *j, struct mm_medium *m)
{
    copy_text(j, "file", m->file, sizeof m->file);
    m->rows = (uint32_t)number(j, "rows");
    m->cols = (uint32_t)number(j, "cols");
    const json_t *grid = json_object_get(j, "grid");
    for (size_t i = 0; i < json_array_size(grid) && i < 2; i++)
        m->grid[i] = (uint32_t)json_integer_value(json_array_get(grid, i));
    m->aspect_id = (uint32_t)number(j, "aspect_id");
    pair(j, "encoder", m->encoder);
    pair(j, "projector", m->projector);
    read_times(j, m);
}

static void read_colours(const json_t *j, const char *key, float out[3])
{
    const json_t *a = json_object_get(json_object_get(j, "processor"), key);
    for (size_t i = 0; i < 3; i++) out[i] = (float)json_number_value(json_array_get(a, i));
}

/* Three rows: time, row, column. */
static void read_positions(const json_t *j, struct mm_golden *g)
{
    const json_t *rows[3];
    for (size_t i = 0; i < 3; i++) rows[i] = json_array_get(json_object_get(j, "positions"), i);
    g->has_positions = rows[0] != NULL;
    for (size_t i = 0; g->has_positions && i < g->n_tokens; i++)
        g->at[i] = (struct sn_position){(int32_t)json_integer_value(json_array_get(rows[0], i)),
                                        (int32_t)json_integer_value(json_array_get(rows[1], i)),
                                        (int32_t)json_integer_value(json_array_get(rows[2], i))};
}

static size_t read_ids(const json_t *j, const char *key, int32_t *out, size_t max)
{
    const json_t *list = json_object_get(j, key);
    const size_t n = json_array_size(list);
    assert_true(n <= max);
    for (size_t i = 0; i < n; i++) out[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return n;
}

static void read_lists(const json_t *j, struct mm_golden *g)
{
    g->n_tokens = read_ids(j, "tokens", g->tokens, MM_TOKENS_MAX);
    g->n_greedy = read_ids(j, "greedy", g->greedy, SN_COUNT(g->greedy));
    for (size_t i = 0; i < g->n_greedy; i++)
        g->gaps[i] = (float)json_number_value(json_array_get(json_object_get(j, "gaps"), i));
    const json_t *spans = json_object_get(j, "spans");
    g->n_spans = json_array_size(spans);
    assert_true(g->n_spans <= MM_SPANS_MAX);
    for (size_t i = 0; i < g->n_spans; i++) {
        const json_t *s = json_array_get(spans, i);
        g->spans[i] = (struct mm_span){number(s, "media"), number(s, "start"), number(s, "n"),
                                       number(s, "row")};
    }
}

static json_t *read_prompt(const char *family)
{
    char path[512];
    golden_file(path, sizeof path, family, "prompt.json");
    json_t *j = json_load_file(path, 0, NULL);
    if (!j) fail_msg("%s: no JSON", path);
    return j;
}

size_t mm_ids_read(const char *family, const char *key, int32_t *out, size_t max)
{
    json_t *j = read_prompt(family);
    const size_t n = read_ids(j, key, out, max);
    json_decref(j);
    return n;
}

struct mm_golden *mm_golden_read(const char *family)
{
    struct mm_golden *g = calloc(1, sizeof *g);
    assert_non_null(g);
    json_t *j = read_prompt(family);
    copy_text(j, "model", g->model, sizeof g->model);
    copy_text(j, "mmproj", g->mmproj, sizeof g->mmproj);
    copy_text(j, "text", g->text, sizeof g->text);
    const json_t *media = json_object_get(j, "media");
    g->n_media = json_array_size(media);
    assert_true(g->n_media <= MM_MEDIA_MAX);
    for (size_t i = 0; i < g->n_media; i++) read_medium(json_array_get(media, i), &g->media[i]);
    read_lists(j, g);
    read_positions(j, g);
    read_colours(j, "image_mean", g->mean);
    read_colours(j, "image_std", g->scale);
    g->last = number(j, "last");
    g->std = (float)json_number_value(json_object_get(j, "std"));
    g->tolerance = (float)json_number_value(json_object_get(j, "tolerance"));
    json_decref(j);
    return g;
}

void mm_golden_free(struct mm_golden *g) { free(g); }

const char *mm_tower(const struct mm_golden *g) { return g->mmproj[0] ? g->mmproj : g->model; }

/* Tiles of mllama are lines of rows, four of them whatever the picture. */
static struct sn_views tile_views(const struct mm_medium *m)
{
    return (struct sn_views){.rows = m->rows, .cols = m->cols, .tile = {(uint32_t)m->encoder[1] / 4, 1},
                             .absent = 4 - m->rows * m->cols};
}

/* Views of one picture are alike, so their grid follows from the rows' number and the pixels' shape. */
struct sn_views mm_views(const char *family, const struct mm_golden *g, size_t i)
{
    char name[32];
    struct mm_array pixels;
    const struct mm_medium *m = &g->media[i];
    if (m->n_views)
        return (struct sn_views){.rows = (uint32_t)m->n_views, .cols = 1, .tile = {m->grid[1], m->grid[0]}};
    if (m->aspect_id) return tile_views(m);
    snprintf(name, sizeof name, "pixels_%zu", i);
    if (!mm_array_read(family, name, &pixels)) /* a sound */
        return (struct sn_views){.whole = {(uint32_t)m->encoder[1], 1}, .overview_last = true};
    assert_int_equal(pixels.rank, 4);
    const size_t n_views = pixels.shape[0], per_view = m->encoder[1] / n_views;
    const double patch = sqrt((double)(pixels.shape[2] * pixels.shape[3]) / (double)per_view);
    struct sn_grid grid = {m->grid[1], m->grid[0]};
    if (!grid.w)
        grid = (struct sn_grid){(uint32_t)((double)pixels.shape[3] / patch + 0.5),
                                (uint32_t)((double)pixels.shape[2] / patch + 0.5)};
    mm_array_free(&pixels);
    assert_int_equal((size_t)grid.w * grid.h, per_view);
    return (struct sn_views){.rows = m->rows, .cols = m->cols, .tile = grid, .whole = grid,
                             .overview_last = n_views > (size_t)m->rows * m->cols};
}

bool mm_is_row(const struct mm_golden *g, size_t token)
{
    for (size_t i = 0; i < g->n_spans; i++)
        if (g->spans[i].start <= token && token < g->spans[i].start + g->spans[i].n) return true;
    return false;
}

double mm_cosine(const float *a, const float *b, size_t n_rows, size_t n_cols)
{
    double worst = 1;
    for (size_t r = 0; r < n_rows; r++) {
        double ab = 0, aa = 0, bb = 0;
        for (size_t i = r * n_cols; i < (r + 1) * n_cols; i++) {
            ab += (double)a[i] * (double)b[i];
            aa += (double)a[i] * (double)a[i];
            bb += (double)b[i] * (double)b[i];
        }
        const double c = ab / sqrt(aa * bb);
        if (!(c >= worst)) worst = c; /* NaN too */
    }
    return worst;
}
