/* Each window goes through encoder and projector by itself, as if it were a recording of its own: that
 * is how Ultravox's processor treats what is longer than 30 s. The rows stand one after the other. */
#include "config.h"
#include "pipeline/hearing.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "encoders/mel.h"
#include "model/gguf.h"

/* What a model hears of a window that sound fills only in part. */
enum tail {
    TAIL_UNHEARD, /* silence that is encoded, and not handed on */
    TAIL_CUT,     /* nothing: the encoder runs on the frames that hold sound (Ultravox) */
    TAIL_HEARD,   /* silence, like everything else (Voxtral) */
};

static enum tail kind_tail(const char *kind)
{
    return !strcmp(kind, "ultravox") ? TAIL_CUT : !strcmp(kind, "voxtral") ? TAIL_HEARD : TAIL_UNHEARD;
}

struct sn_hearing {
    struct sn_device *dev;
    struct sn_pool *pool;
    struct sn_origin origin;
    struct sn_audio_tower *tower;
    struct sn_projector *projector;
    struct sn_mel *mel;
    enum tail tail;
};

/* --- what a recording becomes --- */

/* Rows of the encoder that hold sound: two frames are one, or four where pairs are pooled (and so a
 * window has less than half as many rows as frames). */
static size_t rows_of_frames(size_t window_rows, size_t n_frames)
{
    const size_t n = (n_frames + 1) / 2;
    return window_rows < SN_MEL_FRAMES / 2 ? n / 2 : n;
}

static size_t rows_heard(const struct sn_hearing *h, size_t n_frames)
{
    return rows_of_frames(sn_audio_tower_n_rows(h->tower), n_frames);
}

/* Of n samples; the second convolution takes frames by twos. */
static size_t frames_heard(enum tail tail, size_t n)
{
    const size_t n_frames = sn_mel_frames(n);
    return tail == TAIL_HEARD ? SN_MEL_FRAMES : tail == TAIL_CUT ? n_frames + n_frames % 2 : n_frames;
}

static int too_long(struct sn_diag *d)
{
    return sn_fail(d, SN_ELIMIT, "longer than %d minutes, the most that enters a prompt",
                   SN_HEARING_WINDOWS / 2);
}

int sn_hearing_plan(const struct sn_gguf *file, uint64_t n_samples, struct sn_hearing_plan *out,
                    struct sn_diag *d)
{
    uint32_t window_rows, stack;
    const char *kind;
    *out = (struct sn_hearing_plan){.seconds = (double)n_samples / SN_AUDIO_RATE};
    int rc = sn_audio_file_rows(file, &window_rows, d);
    if (rc == 0) rc = sn_projector_file_stack(file, &stack, &kind, d);
    if (rc < 0) return rc;
    if (n_samples > (uint64_t)SN_HEARING_WINDOWS * SN_MEL_SAMPLES) return too_long(d);
    for (uint64_t n = n_samples, m; n; n -= m) {
        m = sn_min(n, SN_MEL_SAMPLES);
        const size_t rows = rows_of_frames(window_rows, frames_heard(kind_tail(kind), m));
        out->n_windows += rows > 0;
        out->n_tokens += (rows + stack - 1) / stack;
    }
    return 0;
}

/* --- open, close --- */

static int check_shapes(const struct sn_hearing *h, const char *path, struct sn_diag *d)
{
    const uint32_t n_frames = sn_audio_tower_n_frames(h->tower);
    const uint32_t width = sn_audio_tower_width(h->tower);
    if (n_frames != SN_MEL_FRAMES)
        return sn_fail(d, SN_EUNSUPPORTED, "%s: windows of %u frames, not %d", path, n_frames,
                       SN_MEL_FRAMES);
    if (width != sn_projector_width_in(h->projector))
        return sn_fail(d, SN_EFORMAT, "%s: encoder rows of %u for a projector that takes %u", path, width,
                       sn_projector_width_in(h->projector));
    return 0;
}

int sn_hearing_open(struct sn_device *dev, const char *path, struct sn_pool *pool,
                    struct sn_hearing **out, struct sn_diag *d)
{
    struct sn_gguf *file = NULL;
    struct sn_hearing *h = sn_calloc(1, sizeof *h);
    if (!h) return sn_fail(d, SN_ENOMEM, "%s: no memory", path);
    h->dev = dev;
    h->pool = pool;
    int rc = sn_gguf_open(path, &file, d);
    if (rc == 0) rc = sn_origin_init(&h->origin, file, d);
    if (rc == 0) rc = sn_audio_tower_open(dev, file, &h->tower, d);
    if (rc == 0) rc = sn_projector_open(dev, file, SN_SENSE_HEARING, &h->projector, d);
    if (rc == 0) rc = check_shapes(h, path, d);
    if (rc == 0) rc = sn_mel_new(sn_audio_tower_n_mels(h->tower), &h->mel, d);
    sn_gguf_free(&file);
    if (rc < 0) {
        sn_hearing_free(&h);
        return rc;
    }
    h->tail = kind_tail(sn_projector_kind(h->projector));
    *out = h;
    return 0;
}

void sn_hearing_free(struct sn_hearing **hp)
{
    struct sn_hearing *h = *hp;
    if (!h) return;
    sn_mel_free(&h->mel);
    sn_projector_free(&h->projector);
    sn_audio_tower_free(&h->tower);
    sn_origin_fini(&h->origin);
    sn_free(h);
    *hp = NULL;
}

void sn_hearing_set_digest(struct sn_hearing *h, const struct sn_digest *digest)
{
    h->origin.digest = *digest;
}
const struct sn_audio_tower *sn_hearing_tower(const struct sn_hearing *h) { return h->tower; }
const struct sn_projector *sn_hearing_projector(const struct sn_hearing *h) { return h->projector; }

void sn_listened_fini(struct sn_listened *l)
{
    sn_free(l->mel);
    *l = (struct sn_listened){0};
}

void sn_heard_fini(struct sn_heard *h)
{
    sn_features_fini(&h->encoded);
    if (!h->shared) sn_features_fini(&h->rows);
    sn_shared_rows_release(&h->shared);
    *h = (struct sn_heard){0};
}

/* --- listening --- */

/* Fills pcm (SN_MEL_SAMPLES), but for the last window. */
static int read_window(const struct sn_sound_reader *in, float *pcm, size_t *n, struct sn_diag *d)
{
    size_t got = 1;
    int rc = 0;
    for (*n = 0; *n < SN_MEL_SAMPLES && got && rc == 0; *n += rc == 0 ? got : 0)
        rc = in->read(in->ctx, pcm + *n, SN_MEL_SAMPLES - *n, &got, d);
    return rc;
}

static int add_window(const struct sn_hearing *h, const float *pcm, size_t n, size_t *cap,
                      struct sn_listened *out, struct sn_diag *d)
{
    const size_t n_mels = out->n_mels, size = n_mels * SN_MEL_FRAMES;
    const size_t n_heard = frames_heard(h->tail, n);
    if (out->n_windows == SN_HEARING_WINDOWS) return too_long(d);
    if (!sn_grow((void **)&out->mel, cap, (out->n_windows + 1) * size, sizeof *out->mel))
        return sn_fail(d, SN_ENOMEM, "%zu windows of sound", out->n_windows + 1);
    float *mel = out->mel + out->n_windows * size;
    const int rc = sn_mel_window(h->mel, pcm, n, SN_MEL_FRAMES, h->pool, mel, d);
    if (rc < 0) return rc;
    for (size_t i = 0; h->tail == TAIL_CUT && i < n_mels; i++)
        memset(mel + i * SN_MEL_FRAMES + n_heard, 0, (SN_MEL_FRAMES - n_heard) * sizeof *mel);
    out->n_heard[out->n_windows] = n_heard;
    out->n_windows += rows_heard(h, n_heard) > 0;
    return 0;
}

static int listen(const struct sn_hearing *h, const struct sn_sound_reader *in, float *pcm,
                  struct sn_listened *out, struct sn_diag *d)
{
    size_t n = SN_MEL_SAMPLES, cap = 0;
    int rc = 0;
    while (n == SN_MEL_SAMPLES && rc == 0) {
        rc = read_window(in, pcm, &n, d);
        if (rc == 0 && n) rc = add_window(h, pcm, n, &cap, out, d);
        out->n_samples += n;
    }
    if (rc == 0 && !out->n_windows)
        return sn_fail(d, SN_EINVAL, "%llu samples of sound: too short to be heard",
                       (unsigned long long)out->n_samples);
    return rc;
}

int sn_hearing_listen(struct sn_hearing *h, const struct sn_sound_reader *in, struct sn_listened *out,
                      struct sn_diag *d)
{
    const double begun = sn_clock_s();
    *out = (struct sn_listened){.n_mels = sn_mel_bins(h->mel)};
    float *pcm = sn_malloc_array(SN_MEL_SAMPLES, sizeof *pcm);
    const int rc = pcm ? listen(h, in, pcm, out, d) : sn_fail(d, SN_ENOMEM, "a window of sound");
    sn_free(pcm);
    out->listen_s = sn_clock_s() - begun;
    if (rc < 0) sn_listened_fini(out);
    return rc;
}

/* --- encoding --- */

static struct sn_views one_line(size_t n)
{
    return (struct sn_views){.overview_last = true, .whole = {(uint32_t)n, 1}};
}

int sn_hearing_rows(const struct sn_hearing *h, const struct sn_listened *l, size_t *n_rows,
                    struct sn_diag *d)
{
    *n_rows = 0;
    for (size_t i = 0; i < l->n_windows; i++) {
        const struct sn_views in = one_line(rows_heard(h, l->n_heard[i]));
        struct sn_views out;
        const int rc = sn_projector_views(h->projector, &in, &out, d);
        if (rc < 0) return rc;
        *n_rows += sn_views_rows(&out);
    }
    return 0;
}

static void put_rows(struct sn_features *to, size_t *at, const struct sn_features *from, size_t n)
{
    memcpy(to->x + *at * to->n_cols, from->x, n * to->n_cols * sizeof *to->x);
    *at += n;
}

/* at: rows that out->encoded and out->rows hold already. */
static int encode_window(struct sn_hearing *h, const struct sn_listened *l, size_t i, size_t at[2],
                         struct sn_heard *out, const atomic_bool *stop, struct sn_diag *d)
{
    const struct sn_audio_windows window = {l->mel + i * l->n_mels * SN_MEL_FRAMES, 1, &l->n_heard[i]};
    const size_t n = rows_heard(h, l->n_heard[i]);
    const struct sn_views in = one_line(n);
    struct sn_features encoded = {0}, rows = {0};
    struct sn_views views;
    const double begun = sn_clock_s();
    int rc = sn_audio_encode(h->tower, &window, &encoded, stop, d);
    const double done = sn_clock_s();
    if (rc == 0) {
        const struct sn_features heard = {encoded.x, n, encoded.n_cols};
        rc = sn_projector_run(h->projector, &heard, &in, &rows, &views, d);
    }
    if (rc == 0) {
        put_rows(&out->encoded, &at[0], &encoded, n);
        put_rows(&out->rows, &at[1], &rows, rows.n_rows);
    }
    out->encode_s += done - begun;
    out->project_s += sn_clock_s() - done;
    sn_features_fini(&encoded);
    sn_features_fini(&rows);
    return rc;
}

static int encode_windows(struct sn_hearing *h, const struct sn_listened *l, struct sn_heard *out,
                          const atomic_bool *stop, struct sn_diag *d)
{
    const size_t n_encoded = sn_views_rows(&out->encoded_views), n_rows = sn_views_rows(&out->views);
    size_t at[2] = {0};
    if (!sn_features_init(&out->encoded, n_encoded, sn_audio_tower_width(h->tower)) ||
        !sn_features_init(&out->rows, n_rows, sn_projector_width(h->projector)))
        return sn_fail(d, SN_ENOMEM, "rows of %zu windows of sound", l->n_windows);
    int rc = 0;
    for (size_t i = 0; i < l->n_windows && rc == 0; i++)
        rc = encode_window(h, l, i, at, out, stop, d);
    return rc;
}

/* As sight's. */
static int recall(struct sn_hearing *h, const struct sn_listened *l, const struct sn_recall **from,
                  struct sn_heard *out, struct sn_diag *d)
{
    struct sn_feature_maker by;
    if (*from && sn_recall_maker(*from, &h->origin, h->dev, &by, NULL) < 0) *from = NULL;
    if (!*from) return sn_recall_unique_key(&out->key, d);
    const int rc = sn_feature_key_sound(&by, l, &out->key, d);
    if (rc == 0)
        out->recalled = sn_recall_find(*from, &out->key, sn_views_rows(&out->views),
                                       sn_projector_width(h->projector), &out->rows, &out->shared);
    return rc;
}

int sn_hearing_encode(struct sn_hearing *h, const struct sn_listened *l, const struct sn_recall *from,
                      struct sn_heard *out, const atomic_bool *stop, struct sn_diag *d)
{
    size_t n_encoded = 0, n_rows;
    *out = (struct sn_heard){.n_windows = l->n_windows, .listen_s = l->listen_s,
                             .seconds = (double)l->n_samples / SN_AUDIO_RATE};
    for (size_t i = 0; i < l->n_windows; i++) n_encoded += rows_heard(h, l->n_heard[i]);
    int rc = sn_hearing_rows(h, l, &n_rows, d);
    if (rc == 0) {
        out->encoded_views = one_line(n_encoded);
        out->views = one_line(n_rows);
    }
    if (rc == 0) rc = recall(h, l, &from, out, d);
    if (rc == 0 && out->recalled == SN_RECALLED_NOT) {
        rc = encode_windows(h, l, out, stop, d);
        if (rc == 0 && from) sn_recall_keep(from, &out->key, &out->rows, &out->shared);
    }
    if (rc < 0) sn_heard_fini(out);
    return rc;
}

int sn_hearing_hear(struct sn_hearing *h, const struct sn_sound_reader *in, const struct sn_recall *from,
                    struct sn_heard *out, const atomic_bool *stop, struct sn_diag *d)
{
    struct sn_listened l;
    *out = (struct sn_heard){0};
    int rc = sn_hearing_listen(h, in, &l, d);
    if (rc == 0) rc = sn_hearing_encode(h, &l, from, out, stop, d);
    sn_listened_fini(&l);
    return rc;
}
