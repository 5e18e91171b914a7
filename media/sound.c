/* Sound for the pipeline: decoded in a child of the sandbox, or in this process.
 *
 * A child sends chunks of PCM, each with what is known so far at its head; the first one is empty
 * and says that the file was opened, the last one is empty too. It is at most N_SLOTS chunks ahead
 * of the reader. It is believed nothing: what it sends is bounded and cleaned here again. */

#include "config.h"
#include "media/sound.h"

#include "media/sound_container.h"
#include "media/sound_decode.h"

#include "base/mem.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum {
    CHUNK_SAMPLES = 4 * SN_AUDIO_RATE,
    N_SLOTS = 2,
    CHILD_MEMORY_BYTES = 512 << 20, /* a day of AAC in MP4 has an index of 100 MiB */
};

struct head {
    struct sn_sound_info info;
};
_Static_assert(sizeof(struct head) <= SN_SANDBOX_HEAD_MAX, "a chunk's head is too long");

struct sn_sound {
    struct sn_sound_limits limits;
    struct sn_sound_info info;
    char *name;
    bool ended;
    struct sn_diag error;             /* once set, every read returns it */
    struct sn_sound_decoder *decoder; /* in this process */
    struct sn_sandbox_task *task;     /* or in a child: */
    size_t at, n;                     /* samples of its last chunk: read, in all */
};

/* --- in the child --- */

static int send_sound(struct sn_sandbox_job *j, struct sn_sound_decoder *s, struct sn_diag *d)
{
    size_t got;
    do {
        float *pcm = sn_sandbox_slot(j, d);
        if (!pcm)
            return -SN_ECANCELLED;
        int rc = sn_sound_decoder_read(s, pcm, CHUNK_SAMPLES, &got, d);
        if (rc < 0)
            return rc;
        const struct head head = {*sn_sound_decoder_info(s)};
        rc = sn_sandbox_emit(j, &head, sizeof head, got * sizeof *pcm, d);
        if (rc < 0)
            return rc;
    } while (got > 0);
    return 0;
}

static int run(struct sn_sandbox_job *j, struct sn_diag *d)
{
    struct sn_sound_cfg cfg = {0};
    assert(j->n_params == sizeof cfg.limits && j->slot_bytes == CHUNK_SAMPLES * sizeof(float));
    memcpy(&cfg.limits, j->params, sizeof cfg.limits);
    const struct sn_source in = {.bytes = j->in, .n_bytes = j->n_in, .fd = -1};
    struct sn_sound_decoder *s = NULL;
    int rc = sn_sound_decoder_open(&in, true, &cfg, &s, d);
    if (rc < 0)
        return rc;
    const struct head head = {*sn_sound_decoder_info(s)};
    rc = sn_sandbox_emit(j, &head, sizeof head, 0, d);
    if (rc == 0)
        rc = send_sound(j, s, d);
    sn_sound_decoder_close(&s);
    return rc;
}

const struct sn_sandbox_kind sn_sound_kind = {
    .name = "sound", .run = run, .prepare = sn_container_prepare};

/* --- the child's other end --- */

static void take_info(struct sn_sound *s, const struct sn_sandbox_chunk *chunk)
{
    struct head head;
    memcpy(&head, chunk->head, sizeof head);
    const uint64_t n_samples = s->info.n_samples;
    s->info = head.info;
    s->info.n_samples = n_samples;
    s->info.truncated = chunk->head[offsetof(struct head, info.truncated)] != 0;
    s->info.seconds = isfinite(head.info.seconds) ? fmax(head.info.seconds, 0) : 0;
    sn_container_clean_name(s->info.container);
    sn_container_clean_name(s->info.codec);
}

/* Takes the next chunk. An empty one, and none, is the end. */
static int next_chunk(struct sn_sound *s, struct sn_diag *d)
{
    struct sn_sandbox_chunk chunk;
    const int rc = sn_sandbox_next(s->task, &chunk, d);
    if (rc < 0)
        return rc;
    s->at = 0;
    s->n = rc > 0 ? chunk.n / sizeof(float) : 0;
    s->ended = s->n == 0;
    if (rc > 0)
        take_info(s, &chunk);
    return 0;
}

static int read_child(struct sn_sound *s, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    while (*got < max && !s->ended) {
        const size_t n = sn_min(s->n - s->at, max - *got);
        int rc;
        if (n == 0)
            rc = next_chunk(s, d);
        else
            rc = sn_sandbox_copy(s->task, s->at * sizeof *pcm, pcm + *got, n * sizeof *pcm, d);
        if (rc < 0)
            return rc;
        s->at += n;
        *got += n;
    }
    return 0;
}

static int open_child(struct sn_sound *s, struct sn_sandbox *sandbox, const struct sn_source *in,
                      const struct sn_sound_cfg *cfg, struct sn_diag *d)
{
    const struct sn_sandbox_request request = {
        .kind = &sn_sound_kind,
        .source = in,
        .params = &s->limits,
        .n_params = sizeof s->limits,
        .slot_bytes = CHUNK_SAMPLES * sizeof(float),
        .n_slots = N_SLOTS,
        .memory_bytes = CHILD_MEMORY_BYTES,
        .time_ms = sn_container_child_ms(s->limits.work_seconds),
        .cancel = cfg->cancel,
    };
    const int rc = sn_sandbox_start(sandbox, &request, &s->task, d);
    if (rc < 0)
        return rc;
    const int opened = next_chunk(s, d);
    s->ended = false; /* the first chunk is always empty */
    return opened;
}

/* --- either way --- */

/* What the encoders can bear; recordings hardly ever hold anything else. */
static void make_finite(float *pcm, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float x = isnan(pcm[i]) ? 0.0f : pcm[i];
        pcm[i] = fminf(fmaxf(x, -SN_SOUND_PEAK), SN_SOUND_PEAK);
    }
}

static int read_decoder(struct sn_sound *s, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    const int rc = sn_sound_decoder_read(s->decoder, pcm, max, got, d);
    const uint64_t n_samples = s->info.n_samples;
    s->info = *sn_sound_decoder_info(s->decoder);
    s->info.n_samples = n_samples;
    return rc < 0 ? sn_diag_prefix(d, rc, "%s", s->name) : 0;
}

int sn_sound_read(struct sn_sound *s, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    assert(max > 0);
    *got = 0;
    if (s->error.code == SN_OK) {
        if (s->decoder)
            read_decoder(s, pcm, max, got, &s->error);
        else
            read_child(s, pcm, max, got, &s->error);
        make_finite(pcm, *got);
        s->info.n_samples += *got;
        if ((double)s->info.n_samples > s->limits.seconds * SN_AUDIO_RATE)
            sn_fail(&s->error, SN_ELIMIT, "%s: the sound is longer than the limit of %g s", s->name,
                    s->limits.seconds);
    }
    if (s->error.code == SN_OK || *got > 0)
        return 0;
    return sn_fail(d, s->error.code, "%s", s->error.text);
}

static int open_decoder(struct sn_sound *s, const struct sn_source *in,
                        const struct sn_sound_cfg *cfg, struct sn_diag *d)
{
    const int rc = sn_sound_decoder_open(in, false, cfg, &s->decoder, d);
    if (rc < 0)
        return sn_diag_prefix(d, rc, "%s", in->name);
    s->info = *sn_sound_decoder_info(s->decoder);
    return 0;
}

int sn_sound_open(struct sn_sandbox *sandbox, const struct sn_source *in,
                  const struct sn_sound_cfg *cfg, struct sn_sound **out, struct sn_diag *d)
{
    static const struct sn_sound_cfg defaults;
    if (!cfg)
        cfg = &defaults;
    struct sn_sound *s = sn_calloc(1, sizeof *s);
    if (s)
        s->name = sn_strdup(in->name);
    if (!s || !s->name) {
        sn_sound_close(&s);
        return sn_fail(d, SN_ENOMEM, "%s: out of memory", in->name);
    }
    sn_diag_init(&s->error);
    s->limits = sn_sound_limits(&cfg->limits);
    const int rc = sandbox ? open_child(s, sandbox, in, cfg, d) : open_decoder(s, in, cfg, d);
    if (rc < 0) {
        sn_sound_close(&s);
        return rc;
    }
    *out = s;
    return 0;
}

const struct sn_sound_info *sn_sound_info(const struct sn_sound *s) { return &s->info; }

void sn_sound_close(struct sn_sound **sp)
{
    struct sn_sound *s = *sp;
    if (!s)
        return;
    sn_sound_decoder_close(&s->decoder);
    sn_sandbox_end(&s->task);
    sn_free(s->name);
    sn_free(s);
    *sp = NULL;
}
