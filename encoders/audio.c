/* The pass of an audio tower, window by window: two convolutions, positions, pre-norm layers, a last
 * norm. A convolution over time is a product whose rows overlap in memory: with the frames one after
 * the other and a row of zeros at either end, the three frames that output t wants begin at row
 * t * stride. Within a layer rows are worked off in pieces, as in the vision tower; the keys and values
 * are one sequence of a cache of one layer, which every layer writes anew. */
#include "config.h"
#include "encoders/audio_impl.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { ROWS_PIECE = 1024, KERNEL = 3 };

struct pass {
    struct sn_audio_tower *t;
    struct sn_kv *kv;
    const int32_t **pages;         /* (n_positions) */
    int32_t *page_ids, *pos, *lo, *hi;
    float *frames;                 /* host: (n_frames + 2, n_mels) */
    float *mel;                    /* device memory, as all below: the same */
    float *wide;                   /* (n_frames + 2, n_embd): after the first convolution */
    float *h, *q;                  /* (n_positions, n_embd) */
    float *xn, *k, *v, *att;       /* (ROWS_PIECE, n_embd) */
    float *up;                     /* (ROWS_PIECE, n_ff) */
};

struct piece {
    size_t row0, n;
};

static struct sn_kv_rows rows_of(const struct pass *p, const struct piece *at)
{
    return (struct sn_kv_rows){.n_rows = at->n, .pages = p->pages + at->row0, .pos = p->pos + at->row0,
                               .lo = p->lo + at->row0, .hi = p->hi + at->row0};
}

/* --- layers --- */

static void norm(const struct pass *p, float *y, const float *x, const float *w, const float *b,
                 size_t n_rows)
{
    const size_t e = p->t->h.n_embd;
    sn_layernorm(p->t->dev, y, e, x, e, w, b, n_rows, e, p->t->h.eps);
}

static void queries_keys_values(const struct pass *p, const struct sn_audio_layer *w,
                                const struct piece *at)
{
    const size_t e = p->t->h.n_embd;
    norm(p, p->xn, p->h + at->row0 * e, w->ln1, w->ln1_bias, at->n);
    const struct sn_matmul qkv[] = {
        {.w = w->q.w, .y = p->q + at->row0 * e, .ldy = e, .bias = w->q.bias, .n_rows = at->n},
        {.w = w->k.w, .y = p->k, .ldy = e, .bias = w->k.bias, .n_rows = at->n},
        {.w = w->v.w, .y = p->v, .ldy = e, .bias = w->v.bias, .n_rows = at->n},
    };
    sn_matmul(p->t->dev, qkv, 3, p->xn, e, at->n, e);
    const struct sn_kv_rows rows = rows_of(p, at);
    sn_kv_append(p->t->dev, p->kv, 0, &rows, p->k, e, p->v, e);
}

static void attend(const struct pass *p, const struct sn_audio_layer *w, const struct piece *at)
{
    const struct sn_audio_hparams *h = &p->t->h;
    const struct sn_kv_rows rows = rows_of(p, at);
    const struct sn_attention a = {
        .kv = p->kv, .rows = &rows, .q = p->q + at->row0 * h->n_embd, .y = p->att,
        .n_heads = h->n_heads, .scale = 1.0f / sqrtf((float)(h->n_embd / h->n_heads)),
    };
    sn_attend(p->t->dev, &a);
    sn_linear_onto(p->t->dev, &w->o, p->h + at->row0 * h->n_embd, p->att, at->n);
}

static void mlp(const struct pass *p, const struct sn_audio_layer *w, const struct piece *at)
{
    float *const h = p->h + at->row0 * p->t->h.n_embd;
    norm(p, p->xn, h, w->ln2, w->ln2_bias, at->n);
    sn_linear_apply(p->t->dev, &w->up, p->up, p->xn, at->n);
    sn_activate(p->t->dev, SN_ACT_GELU_ERF, p->up, at->n * p->t->h.n_ff);
    sn_linear_onto(p->t->dev, &w->down, h, p->up, at->n);
}

static void run_layer(const struct pass *p, const struct sn_audio_layer *w)
{
    const size_t n_rows = p->t->h.n_positions;
    for (struct piece at = {0}; at.row0 < n_rows; at.row0 += at.n) {
        at.n = sn_min(ROWS_PIECE, n_rows - at.row0);
        queries_keys_values(p, w, &at);
    }
    for (struct piece at = {0}; at.row0 < n_rows; at.row0 += at.n) {
        at.n = sn_min(ROWS_PIECE, n_rows - at.row0);
        attend(p, w, &at);
        mlp(p, w, &at);
    }
}

/* --- before and after the layers --- */

/* y (n_rows, n_embd) = gelu(w * x + bias), output t from the rows of x from t * stride on. */
static void convolve(const struct pass *p, const struct sn_linear *w, float *y, const float *x,
                     size_t n_rows, size_t stride)
{
    const size_t n_in = w->n_in / KERNEL, e = w->n_out;
    for (size_t r = 0, n; r < n_rows; r += n) {
        n = sn_min(ROWS_PIECE, n_rows - r);
        const struct sn_matmul job = {.w = w->w, .y = y + r * e, .ldy = e, .bias = w->bias,
                                      .n_rows = n};
        sn_matmul(p->t->dev, &job, 1, x + r * stride * n_in, stride * n_in, n, w->n_in);
    }
    sn_activate(p->t->dev, SN_ACT_GELU_ERF, y, n_rows * e);
}

/* The rows of zeros at the ends of mel and wide are there since the pass began. */
static void embed(const struct pass *p, const float *mel)
{
    const struct sn_audio_hparams *h = &p->t->h;
    const size_t n_frames = 2 * (size_t)h->n_positions, e = h->n_embd, m = h->n_mels;
    for (size_t t = 0; t < n_frames; t++)
        for (size_t i = 0; i < m; i++) p->frames[(t + 1) * m + i] = mel[i * n_frames + t];
    sn_device_upload(p->t->dev, p->mel, p->frames, (n_frames + 2) * m * sizeof *p->mel);
    convolve(p, &p->t->w.conv1, p->wide + e, p->mel, n_frames, 1);
    convolve(p, &p->t->w.conv2, p->h, p->wide, h->n_positions, 2);
    sn_add(p->t->dev, p->h, p->t->w.positions, h->n_positions * e);
}

/* Rows 2i and 2i+1 to their mean, in row i. */
static void pool_pairs(const struct pass *p)
{
    const size_t e = p->t->h.n_embd, n = p->t->h.n_positions / 2;
    for (size_t i = 0; i < n; i++) {
        sn_add(p->t->dev, p->h + 2 * i * e, p->h + (2 * i + 1) * e, e);
        p->pos[i] = (int32_t)(2 * i);
    }
    sn_gather(p->t->dev, p->q, e, p->h, e, p->pos, n, e);
    sn_scale(p->t->dev, p->q, 0.5f, n * e);
}

static void hand_out(const struct pass *p, float *out)
{
    const struct sn_audio_weights *w = &p->t->w;
    const size_t n = sn_audio_tower_n_rows(p->t);
    if (p->t->h.pool) pool_pairs(p);
    norm(p, p->h, p->t->h.pool ? p->q : p->h, w->post, w->post_bias, n);
    sn_device_download(p->t->dev, out, p->h, n * p->t->h.n_embd * sizeof *out);
}

static int run_window(const struct pass *p, const float *mel, size_t n_heard, float *out,
                      const atomic_bool *stop, struct sn_diag *d)
{
    const struct sn_audio_hparams *h = &p->t->h;
    const size_t n_seen = sn_max(sn_min((n_heard + 1) / 2, h->n_positions), 1);
    for (size_t i = 0; i < h->n_positions; i++) {
        p->pos[i] = (int32_t)i;
        p->hi[i] = (int32_t)n_seen;
    }
    embed(p, mel);
    for (uint32_t il = 0; il < h->n_layers; il++) {
        if (stop && *stop) return sn_fail(d, SN_ECANCELLED, "audio: stopped at layer %u", il);
        sn_device_pass(p->t->dev);
        run_layer(p, &p->t->w.layers[il]);
    }
    hand_out(p, out);
    return 0;
}

/* --- a pass's memory --- */

static void free_pass(struct pass *p)
{
    float *const device[] = {p->mel, p->wide, p->h, p->q, p->xn, p->k, p->v, p->att, p->up};
    for (size_t i = 0; i < SN_COUNT(device); i++)
        if (device[i]) sn_device_release(p->t->dev, device[i]);
    if (p->kv) sn_kv_free(p->t->dev, p->kv);
    int32_t *const host[] = {p->page_ids, p->pos, p->lo, p->hi};
    for (size_t i = 0; i < SN_COUNT(host); i++) sn_free(host[i]);
    sn_free(p->pages);
    sn_free(p->frames);
}

static bool take_floats(struct pass *p, float **out, size_t n_rows, size_t n_cols)
{
    *out = sn_device_alloc(p->t->dev, n_rows * n_cols * sizeof **out);
    return *out != NULL;
}

static bool take_activations(struct pass *p)
{
    const struct sn_audio_hparams *h = &p->t->h;
    const size_t n = h->n_positions, n_frames = 2 * n, piece = sn_min(n, ROWS_PIECE), e = h->n_embd;
    p->frames = sn_calloc((n_frames + 2) * h->n_mels, sizeof *p->frames);
    return p->frames && take_floats(p, &p->mel, n_frames + 2, h->n_mels) &&
           take_floats(p, &p->wide, n_frames + 2, e) && take_floats(p, &p->h, n, e) &&
           take_floats(p, &p->q, n, e) && take_floats(p, &p->xn, piece, e) &&
           take_floats(p, &p->k, piece, e) && take_floats(p, &p->v, piece, e) &&
           take_floats(p, &p->att, piece, e) && take_floats(p, &p->up, piece, h->n_ff);
}

static bool take_rows(struct pass *p, size_t n_pages)
{
    const size_t n = p->t->h.n_positions;
    p->pages = sn_malloc_array(n, sizeof *p->pages);
    p->page_ids = sn_malloc_array(n_pages, sizeof *p->page_ids);
    p->pos = sn_calloc(n, sizeof *p->pos);
    p->lo = sn_calloc(n, sizeof *p->lo);
    p->hi = sn_calloc(n, sizeof *p->hi);
    if (!p->pages || !p->page_ids || !p->pos || !p->lo || !p->hi) return false;
    for (size_t i = 0; i < n_pages; i++) p->page_ids[i] = (int32_t)i;
    for (size_t i = 0; i < n; i++) p->pages[i] = p->page_ids;
    return true;
}

static int new_pass(struct sn_audio_tower *t, struct pass *p, struct sn_diag *d)
{
    const struct sn_audio_hparams *h = &t->h;
    const uint32_t head = h->n_embd / h->n_heads;
    const struct sn_kv_shape shape = {h->n_heads, head, head};
    const size_t n_pages = (h->n_positions + SN_KV_PAGE - 1) / SN_KV_PAGE;
    const size_t widest = sn_max(sn_max(h->n_ff, KERNEL * (size_t)h->n_embd), KERNEL * h->n_mels);
    *p = (struct pass){.t = t};
    int rc = 0;
    if (!take_rows(p, n_pages) || !take_activations(p))
        rc = sn_fail(d, SN_ENOMEM, "audio: a window of %u positions", h->n_positions);
    const enum sn_kv_type type = sn_kv_beside(t->dev, t->w.layers[0].q.w);
    if (rc == 0) rc = sn_kv_new(t->dev, type, &shape, 1, n_pages, &p->kv, d);
    if (rc == 0) rc = sn_device_reserve(t->dev, ROWS_PIECE, widest, d);
    if (rc < 0) free_pass(p);
    return rc;
}

int sn_audio_encode(struct sn_audio_tower *t, const struct sn_audio_windows *in,
                    struct sn_features *out, const atomic_bool *stop, struct sn_diag *d)
{
    const size_t n_frames = sn_audio_tower_n_frames(t), n_rows = sn_audio_tower_n_rows(t);
    struct pass p;
    if (!sn_features_init(out, in->n_windows * n_rows, t->h.n_embd))
        return sn_fail(d, SN_ENOMEM, "audio: %zu windows of %zu rows", in->n_windows, n_rows);
    int rc = new_pass(t, &p, d);
    if (rc < 0) {
        sn_features_fini(out);
        return rc;
    }
    sn_device_take(t->dev);
    for (size_t i = 0; i < in->n_windows && rc == 0; i++)
        rc = run_window(&p, in->mel + i * t->h.n_mels * n_frames,
                        in->n_heard ? in->n_heard[i] : n_frames, out->x + i * n_rows * t->h.n_embd,
                        stop, d);
    sn_device_give(t->dev);
    free_pass(&p);
    if (rc < 0) sn_features_fini(out);
    return rc;
}

/* --- open, close --- */

int sn_audio_tower_open(struct sn_device *dev, const struct sn_gguf *file,
                        struct sn_audio_tower **out, struct sn_diag *d)
{
    struct sn_audio_tower *t = sn_calloc(1, sizeof *t);
    if (!t) return sn_fail(d, SN_ENOMEM, "audio: no memory for a tower");
    t->dev = dev;
    int rc = sn_audio_hparams_read(file, &t->h, d);
    if (rc == 0) rc = sn_audio_weights_load(dev, file, &t->h, &t->w, d);
    if (rc < 0) {
        sn_audio_tower_free(&t);
        return rc;
    }
    *out = t;
    return 0;
}

int sn_audio_file_rows(const struct sn_gguf *file, uint32_t *n_rows, struct sn_diag *d)
{
    struct sn_audio_hparams h = {0};
    const int rc = sn_audio_hparams_read(file, &h, d);
    *n_rows = h.pool ? h.n_positions / 2 : h.n_positions;
    return rc;
}

void sn_audio_tower_free(struct sn_audio_tower **tp)
{
    struct sn_audio_tower *t = *tp;
    if (!t) return;
    sn_audio_weights_fini(t->dev, &t->h, &t->w);
    sn_free(t);
    *tp = NULL;
}

uint32_t sn_audio_tower_n_mels(const struct sn_audio_tower *t) { return t->h.n_mels; }
uint32_t sn_audio_tower_width(const struct sn_audio_tower *t) { return t->h.n_embd; }
uint32_t sn_audio_tower_n_frames(const struct sn_audio_tower *t) { return 2 * t->h.n_positions; }
uint32_t sn_audio_tower_n_rows(const struct sn_audio_tower *t)
{
    return t->h.pool ? t->h.n_positions / 2 : t->h.n_positions;
}
