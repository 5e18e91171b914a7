/* The work of 'sensorium quantize'. The input stays mapped; tensors are done one after the other in
 * the order of the file, rows of one tensor in parallel. Each thread turns a row into floats, into
 * blocks, and back into floats, to know the error of what was written. Errors are summed per row
 * and then in the order of rows, so that a report does not depend on the number of threads. */
#include "cli/quantize.h"

#include "base/mem.h"
#include "base/pool.h"
#include "compute/type.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

/* --- one tensor --- */

struct row_sums {
    double error2, x2;
};

struct tensor_job {
    const struct cli_quantize_item *item;
    const atomic_bool *stop;
    size_t n_cols, row_bytes_in, row_bytes_out;
    uint8_t *out;
    struct row_sums *sums;  /* one per row */
    float *scratch;         /* two rows for every thread */
    atomic_bool failed;
    pthread_mutex_t lock;
    /* below: only with the lock held */
    int rc;
    struct sn_diag diag;
};

static int do_row(struct tensor_job *j, size_t row, float *x, float *y, struct sn_diag *d)
{
    const struct sn_gguf_tensor *t = j->item->tensor;
    uint8_t *out = j->out + row * j->row_bytes_out;
    if (j->stop && *j->stop)
        return sn_fail(d, SN_ECANCELLED, "interrupted");
    int rc = sn_dequantize(t->type, (const uint8_t *)t->data + row * j->row_bytes_in, x, j->n_cols,
                           d);
    if (rc == 0)
        rc = sn_quantize(j->item->type, x, out, 1, j->n_cols, d);
    if (rc == 0)
        rc = sn_dequantize(j->item->type, out, y, j->n_cols, d);
    if (rc < 0)
        return sn_diag_prefix(d, rc, "tensor \"%s\" row %zu", t->name, row);
    struct row_sums s = {0};
    for (size_t i = 0; i < j->n_cols; i++) {
        const double e = (double)y[i] - (double)x[i];
        s.error2 += e * e;
        s.x2 += (double)x[i] * (double)x[i];
    }
    j->sums[row] = s;
    return 0;
}

static void do_rows(void *ctx, size_t begin, size_t end, unsigned thread)
{
    struct tensor_job *j = ctx;
    float *x = j->scratch + 2 * j->n_cols * thread;
    for (size_t row = begin; row < end && !atomic_load(&j->failed); row++) {
        struct sn_diag d;
        const int rc = do_row(j, row, x, x + j->n_cols, &d);
        if (rc == 0)
            continue;
        pthread_mutex_lock(&j->lock);
        if (j->rc == 0) {
            j->rc = rc;
            j->diag = d;
        }
        pthread_mutex_unlock(&j->lock);
        atomic_store(&j->failed, true);
    }
}

static size_t bytes_of(uint32_t type, uint64_t n_elems)
{
    const struct sn_type_info *info = sn_type_info(type);
    return (size_t)(n_elems / info->block_elems * info->block_bytes);
}

static int convert(struct tensor_job *j, struct sn_pool *pool, size_t n_rows,
                   struct cli_quantize_item *item, struct sn_gguf_writer *w, struct sn_diag *d)
{
    if (!j->out || !j->sums || !j->scratch)
        return sn_fail(d, SN_ENOMEM, "tensor \"%s\": out of memory for %zu rows of %zu",
                       item->tensor->name, n_rows, j->n_cols);
    /* Pieces of some thousand elements: a thread's share of the overhead stays below a percent. */
    sn_pool_run(pool, n_rows, 1 + 16384 / (j->n_cols + 1), do_rows, j);
    if (j->rc < 0) {
        if (d)
            *d = j->diag;
        return j->rc;
    }
    for (size_t row = 0; row < n_rows; row++) {
        item->sum_error2 += j->sums[row].error2;
        item->sum_x2 += j->sums[row].x2;
    }
    return sn_gguf_write_data(w, j->out, n_rows * j->row_bytes_out, d);
}

static int do_tensor(const struct cli_quantize_cfg *cfg, struct sn_pool *pool,
                     struct cli_quantize_item *item, struct sn_gguf_writer *w, struct sn_diag *d)
{
    const struct sn_gguf_tensor *t = item->tensor;
    if (item->type == t->type || t->n_bytes == 0)
        return sn_gguf_write_data(w, t->data, t->n_bytes, d);
    const size_t n_rows = (size_t)(t->ne[1] * t->ne[2] * t->ne[3]), n_cols = (size_t)t->ne[0];
    struct tensor_job j = {
        .item = item, .stop = cfg->stop, .n_cols = n_cols,
        .row_bytes_in = bytes_of(t->type, n_cols), .row_bytes_out = bytes_of(item->type, n_cols),
    };
    pthread_mutex_init(&j.lock, NULL);
    j.out = sn_malloc_array(n_rows, j.row_bytes_out);
    j.sums = sn_malloc_array(n_rows, sizeof *j.sums);
    j.scratch = sn_malloc_array(2 * (size_t)sn_pool_threads(pool), n_cols * sizeof *j.scratch);
    const int rc = convert(&j, pool, n_rows, item, w, d);
    sn_free(j.out);
    sn_free(j.sums);
    sn_free(j.scratch);
    pthread_mutex_destroy(&j.lock);
    return rc;
}

/* --- the file --- */

/* llama.cpp's numbers for "mostly this type", which some programs show. */
static uint32_t file_type(uint32_t type)
{
    static const uint8_t numbers[SN_TYPE_COUNT] = {
        [SN_F32] = 0,  [SN_F16] = 1,  [SN_BF16] = 32, [SN_Q4_0] = 2,  [SN_Q4_1] = 3,
        [SN_Q5_0] = 8, [SN_Q5_1] = 9, [SN_Q8_0] = 7,  [SN_Q4_K] = 14, [SN_Q5_K] = 16,
        [SN_Q6_K] = 18,
    };
    return numbers[type];
}

static int check_paths(const struct cli_quantize_cfg *cfg, struct sn_diag *d)
{
    struct stat in, out;
    if (stat(cfg->in, &in) == 0 && stat(cfg->out, &out) == 0 && in.st_dev == out.st_dev &&
        in.st_ino == out.st_ino)
        return sn_fail(d, SN_EINVAL, "%s: is the input file itself; name another output",
                       cfg->out);
    return 0;
}

static int write_head(const struct sn_gguf *g, const struct cli_quantize_cfg *cfg,
                      const struct cli_quantize_item *items, struct sn_gguf_writer *w,
                      struct sn_diag *d)
{
    int rc = 0;
    for (size_t i = 0; i < sn_gguf_n_values(g) && rc == 0; i++)
        rc = sn_gguf_put_copy(w, sn_gguf_value(g, i), d);
    if (rc == 0)
        rc = sn_gguf_put_u32(w, "general.file_type", file_type(cfg->type), d);
    if (rc == 0)
        rc = sn_gguf_put_u32(w, "general.quantization_version", 2, d);
    for (size_t i = 0; i < sn_gguf_n_tensors(g) && rc == 0; i++) {
        const struct sn_gguf_tensor *t = items[i].tensor;
        rc = sn_gguf_put_tensor(w, t->name, items[i].type, t->n_dims, t->ne, d);
    }
    return rc;
}

static int write_tensors(const struct cli_quantize_cfg *cfg, struct cli_quantize_item *items,
                         size_t n, struct sn_gguf_writer *w, struct sn_diag *d)
{
    struct sn_pool *pool = NULL;
    int rc = sn_pool_new(&(struct sn_pool_cfg){.n_threads = cfg->n_threads}, &pool, d);
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (cfg->stop && *cfg->stop)
            rc = sn_fail(d, SN_ECANCELLED, "interrupted");
        else if (cfg->progress)
            cfg->progress(cfg->progress_ctx, i, n, items[i].tensor->name);
        if (rc == 0)
            rc = do_tensor(cfg, pool, &items[i], w, d);
    }
    if (cfg->progress)
        cfg->progress(cfg->progress_ctx, n, n, NULL);
    sn_pool_free(&pool);
    return rc;
}

/* --- the report --- */

/* "blk.3.attn_q.weight" and "v.blk.3.attn_q.weight": "attn_q" and "v.attn_q". */
static void group_name(const char *tensor, char name[64])
{
    const char *blk = strstr(tensor, "blk.");
    const bool layered = blk && (blk == tensor || blk[-1] == '.');
    size_t n = 0;
    for (const char *c = tensor; *c && n < 63; c++) {
        if (layered && c == blk) {
            c += 4;
            c += strspn(c, "0123456789");
            if (!*c)
                break;
            if (*c == '.')
                continue;
        }
        name[n++] = *c;
    }
    name[n] = '\0';
    if (n > 7 && strcmp(name + n - 7, ".weight") == 0)
        name[n - 7] = '\0';
}

static struct cli_quantize_group *group_of(struct cli_quantize_report *r, const char *tensor)
{
    char name[64];
    group_name(tensor, name);
    for (size_t i = 0; i < r->n_groups; i++)
        if (strcmp(r->groups[i].name, name) == 0)
            return &r->groups[i];
    void *items = r->groups;
    if (!sn_grow(&items, &r->cap_groups, r->n_groups + 1, sizeof *r->groups))
        return NULL;
    r->groups = items;
    struct cli_quantize_group *g = &r->groups[r->n_groups++];
    *g = (struct cli_quantize_group){0};
    memcpy(g->name, name, sizeof name);
    return g;
}

static void add_item(struct cli_quantize_group *g, const struct cli_quantize_item *item)
{
    const struct sn_gguf_tensor *t = item->tensor;
    const uint64_t n = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
    g->from |= UINT64_C(1) << t->type;
    g->to |= UINT64_C(1) << item->type;
    g->n_tensors++;
    g->n_changed += item->type != t->type;
    g->n_elems += n;
    g->n_elems_changed += item->type != t->type ? n : 0;
    g->bytes_before += t->n_bytes;
    g->bytes_after += bytes_of(item->type, n);
    g->sum_error2 += item->sum_error2;
    g->sum_x2 += item->sum_x2;
}

static bool add_fallback(struct cli_quantize_report *r, const struct cli_quantize_item *item)
{
    if (item->type == item->wanted)
        return true;
    const uint64_t n_cols = item->tensor->ne[0];
    for (size_t i = 0; i < r->n_fallbacks; i++) {
        struct cli_quantize_fallback *f = &r->fallbacks[i];
        if (f->wanted == item->wanted && f->type == item->type && f->n_cols == n_cols) {
            f->n_tensors++;
            return true;
        }
    }
    void *items = r->fallbacks;
    if (!sn_grow(&items, &r->cap_fallbacks, r->n_fallbacks + 1, sizeof *r->fallbacks))
        return false;
    r->fallbacks = items;
    r->fallbacks[r->n_fallbacks++] = (struct cli_quantize_fallback){
        .wanted = item->wanted, .type = item->type, .n_cols = n_cols, .n_tensors = 1,
    };
    return true;
}

static int fill_report(const struct cli_quantize_item *items, size_t n,
                       struct cli_quantize_report *r, struct sn_diag *d)
{
    for (size_t i = 0; i < n; i++) {
        struct cli_quantize_group *g = group_of(r, items[i].tensor->name);
        if (!g || !add_fallback(r, &items[i]))
            return sn_fail(d, SN_ENOMEM, "quantize: out of memory for the report");
        add_item(g, &items[i]);
        add_item(&r->total, &items[i]);
    }
    return 0;
}

void cli_quantize_report_fini(struct cli_quantize_report *r)
{
    sn_free(r->groups);
    sn_free(r->fallbacks);
    *r = (struct cli_quantize_report){0};
}

double cli_quantize_rms(const struct cli_quantize_group *g)
{
    return g->n_elems_changed ? sqrt(g->sum_error2 / (double)g->n_elems_changed) : 0;
}

double cli_quantize_relative(const struct cli_quantize_group *g)
{
    return g->sum_x2 > 0 ? sqrt(g->sum_error2 / g->sum_x2) : 0;
}

/* The report comes before the file is put in place, so that nothing can fail afterwards. */
static int write_file(const struct sn_gguf *g, const struct cli_quantize_cfg *cfg,
                      struct cli_quantize_item *items, struct cli_quantize_report *r,
                      struct sn_diag *d)
{
    const size_t n = sn_gguf_n_tensors(g);
    struct sn_gguf_writer *w = NULL;
    int rc = sn_gguf_writer_new(cfg->out, &w, d);
    if (rc == 0)
        rc = write_head(g, cfg, items, w, d);
    if (rc == 0)
        rc = write_tensors(cfg, items, n, w, d);
    if (rc == 0)
        rc = fill_report(items, n, r, d);
    if (rc == 0)
        return sn_gguf_writer_close(&w, d);
    sn_gguf_writer_abort(&w);
    return rc;
}

int cli_quantize(const struct cli_quantize_cfg *cfg, struct cli_quantize_report *r,
                 struct sn_diag *d)
{
    *r = (struct cli_quantize_report){0};
    struct sn_gguf *g = NULL;
    struct stat out;
    int rc = check_paths(cfg, d);
    if (rc == 0)
        rc = sn_gguf_open(cfg->in, &g, d);
    if (rc < 0)
        return rc;
    const size_t n = sn_gguf_n_tensors(g);
    struct cli_quantize_item *items = sn_calloc(n, sizeof *items);
    if (!items)
        rc = sn_fail(d, SN_ENOMEM, "%s: out of memory for %zu tensors", cfg->in, n);
    if (rc == 0)
        rc = cli_quantize_plan(g, cfg, items, d);
    if (rc == 0)
        rc = write_file(g, cfg, items, r, d);
    if (rc < 0)
        cli_quantize_report_fini(r);
    r->file_before = rc == 0 ? sn_gguf_size(g) : 0;
    if (rc == 0 && stat(cfg->out, &out) == 0)
        r->file_after = (uint64_t)out.st_size;
    sn_free(items);
    sn_gguf_free(&g);
    return rc;
}
