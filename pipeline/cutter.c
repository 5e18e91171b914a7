#include "config.h"
#include "pipeline/cutter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* The buffer begins at sample `begin` and holds up to a window; it always begins on a frame. */

enum {
    FRAME = 160,              /* samples: 10 ms */
    FRAMES = SN_WINDOW_SAMPLES / FRAME,
    SMOOTH = 5,               /* frames that energy is averaged over */
    LEAD = 20,                /* frames before speech that are kept */
    TAIL = 50,                /* and behind it, at the recording's end */
    PAUSE_MIN = 20,           /* frames of quiet that somebody may be interrupted in */
    PAUSE_FULL = 60,          /* longer ones are no better */
    CUT_FROM = 800,           /* no window ends before: short ones cost as much as long ones */
    SHORTEST = 10,            /* frames at the end in which nobody can say anything */
};
static const float silence_db = -70;    /* of full scale: below, it is silence whatever stands beside */
static const float steady_db = 3;       /* noise that varies by less has no speech in it */
static const float contrast_db = 6;     /* without so much, pauses cannot be told from speech */

struct sn_cutter {
    struct sn_sound_reader in;
    bool everything, ended, waits;
    uint64_t begin;
    float *pcm;               /* (SN_WINDOW_SAMPLES) */
    size_t n;
};

/* Levels of the sound at hand, in dB of full scale. */
struct levels {
    float db[FRAMES];         /* smoothed */
    size_t n;
    float quiet, loud;        /* what a tenth of the frames is below, and hardly any above */
};

void sn_window_fini(struct sn_window *w)
{
    sn_free(w->pcm);
    *w = (struct sn_window){0};
}

/* --- levels --- */

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The mean is taken out first: an offset is no sound. */
static void frame_energies(const float *pcm, size_t n, float *energy)
{
    for (size_t f = 0; f * FRAME < n; f++) {
        const size_t m = sn_min(FRAME, n - f * FRAME);
        double sum = 0, squares = 0;
        for (size_t i = 0; i < m; i++) {
            const double x = (double)pcm[f * FRAME + i];
            sum += x;
            squares += x * x;
        }
        energy[f] = (float)fmax((squares - sum * sum / (double)m) / (double)m, 0);
    }
}

static void measure(const float *pcm, size_t n, struct levels *l)
{
    float energy[FRAMES], sorted[FRAMES];
    l->n = (n + FRAME - 1) / FRAME;
    frame_energies(pcm, n, energy);
    for (size_t f = 0; f < l->n; f++) {
        const size_t from = f < SMOOTH / 2 ? 0 : f - SMOOTH / 2, to = sn_min(f + SMOOTH / 2 + 1, l->n);
        float sum = 0;
        for (size_t i = from; i < to; i++) sum += energy[i];
        l->db[f] = 10 * log10f(sum / (float)(to - from) + 1e-12f);
    }
    if (!l->n) return;
    memcpy(sorted, l->db, l->n * sizeof *sorted);
    qsort(sorted, l->n, sizeof *sorted, ascending);
    l->quiet = fmaxf(sorted[l->n / 10], silence_db);
    l->loud = sorted[l->n - 1 - l->n / 300];
}

static bool is_silent(const struct levels *l)
{
    return !l->n || l->loud < silence_db || l->loud - l->quiet < steady_db;
}

/* Below this is nobody; with less certainty, below that is a pause. */
static float nobody_db(const struct levels *l)
{
    return l->quiet + fmaxf(2, 0.1f * (l->loud - l->quiet));
}
static float pause_db(const struct levels *l) { return l->quiet + 0.3f * (l->loud - l->quiet); }

bool sn_sound_is_heard(const float *pcm, size_t n)
{
    struct levels l;
    measure(pcm, sn_min(n, SN_WINDOW_SAMPLES), &l);
    return l.n > SHORTEST && !is_silent(&l);
}

/* --- the buffer --- */

static int fill(struct sn_cutter *c, struct sn_diag *d)
{
    while (!c->ended && c->n < SN_WINDOW_SAMPLES) {
        size_t got = 0;
        const int rc = c->in.read(c->in.ctx, c->pcm + c->n, SN_WINDOW_SAMPLES - c->n, &got, d);
        if (rc < 0) return rc;
        c->ended = got == 0;
        c->n += got;
    }
    return 0;
}

static void drop(struct sn_cutter *c, size_t n)
{
    n = sn_min(n, c->n);
    memmove(c->pcm, c->pcm + n, (c->n - n) * sizeof *c->pcm);
    c->n -= n;
    c->begin += n;
}

/* --- where to cut --- */

static size_t first_heard(const struct levels *l)
{
    const float nobody = nobody_db(l);
    size_t f = 0;
    while (f < l->n && l->db[f] < nobody) f++;
    return f;
}

static size_t last_heard(const struct levels *l)
{
    const float nobody = nobody_db(l);
    size_t f = l->n;
    while (f > 0 && l->db[f - 1] < nobody) f--;
    return f;
}

/* The frame in the middle of the best pause: long ones are good, and late ones, since a window costs the
 * same however little is in it. 0: nobody pauses. */
static size_t best_pause(const struct levels *l)
{
    const float pause = pause_db(l);
    float best = 0;
    size_t cut = 0;
    if (l->loud - l->quiet < contrast_db) return 0;
    for (size_t f = CUT_FROM, n; f < l->n; f += n + 1) {
        for (n = 0; f + n < l->n && l->db[f + n] < pause; n++) {}
        const float score = 0.5f * (float)sn_min(n, PAUSE_FULL) / PAUSE_FULL + (float)(f + n) / FRAMES;
        if (n >= PAUSE_MIN && score > best) {
            best = score;
            cut = f + n / 2;
        }
    }
    return cut;
}

static int give(struct sn_cutter *c, size_t n, bool open, struct sn_window *out, struct sn_diag *d)
{
    *out = (struct sn_window){.pcm = sn_malloc_array(n, sizeof *out->pcm), .n = n, .begin = c->begin,
                              .open = open};
    if (!out->pcm) return sn_fail(d, SN_ENOMEM, "transcribe: a window of %zu samples", n);
    memcpy(out->pcm, c->pcm, n * sizeof *out->pcm);
    c->waits = open;
    if (!open) drop(c, n);
    return 0;
}

/* What is at hand begins with speech; the last of it may end in silence. */
static int cut(struct sn_cutter *c, const struct levels *l, struct sn_window *out, struct sn_diag *d)
{
    if (c->ended) {
        const size_t n = c->everything ? c->n : sn_min((last_heard(l) + TAIL) * FRAME, c->n);
        const int rc = give(c, n, false, out, d);
        drop(c, c->n);
        return rc;
    }
    const size_t pause = best_pause(l);
    return give(c, pause ? pause * FRAME : c->n, !pause, out, d);
}

int sn_cutter_next(struct sn_cutter *c, struct sn_window *out, bool *got, struct sn_diag *d)
{
    struct levels l;
    *got = false;
    while (!c->waits) {
        const int rc = fill(c, d);
        if (rc < 0) return rc;
        if (c->n <= SHORTEST * FRAME) {
            drop(c, c->n);
            return 0;
        }
        measure(c->pcm, c->n, &l);
        const size_t first = c->everything ? 0 : is_silent(&l) ? l.n : first_heard(&l);
        if (first <= LEAD) {
            *got = true;
            return cut(c, &l, out, d);
        }
        /* somebody may begin with the very end of what is at hand */
        const size_t skip = first == l.n && c->ended ? c->n : (first - LEAD) * FRAME;
        drop(c, skip);
    }
    return 0;
}

bool sn_cutter_waits(const struct sn_cutter *c) { return c->waits; }

void sn_cutter_go_on(struct sn_cutter *c, size_t n)
{
    drop(c, sn_max(n / FRAME * FRAME, FRAME));
    c->waits = false;
}

bool sn_cutter_ended(const struct sn_cutter *c) { return c->ended && !c->n && !c->waits; }
uint64_t sn_cutter_position(const struct sn_cutter *c) { return c->begin; }
uint64_t sn_cutter_heard(const struct sn_cutter *c) { return c->begin + c->n; }

int sn_cutter_new(const struct sn_sound_reader *in, bool everything, struct sn_cutter **out,
                  struct sn_diag *d)
{
    struct sn_cutter *c = sn_calloc(1, sizeof *c);
    if (c) c->pcm = sn_malloc_array(SN_WINDOW_SAMPLES, sizeof *c->pcm);
    if (!c || !c->pcm) {
        sn_free(c);
        return sn_fail(d, SN_ENOMEM, "transcribe: no memory for half a minute of sound");
    }
    c->in = *in;
    c->everything = everything;
    *out = c;
    return 0;
}

void sn_cutter_free(struct sn_cutter **cp)
{
    if (!*cp) return;
    sn_free((*cp)->pcm);
    sn_free(*cp);
    *cp = NULL;
}
