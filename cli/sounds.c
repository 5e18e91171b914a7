#include "config.h"
#include "cli/sounds.h"

#include <string.h>

#include "base/mem.h"
#include "cli/terminal.h"
#include "media/sound.h"
#include "model/gguf.h"
#include "model/pull.h"
#include "model/whisper_file.h"
#include "pipeline/transcribe.h"

static int read_sound(void *ctx, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    return sn_sound_read(ctx, pcm, max, got, d);
}

/* A file being read. */
struct stream {
    struct sn_source source;
    struct sn_sound *sound;
};

static int open_stream(struct sn_sandbox *sandbox, const char *path, struct stream *s, struct sn_diag *d)
{
    *s = (struct stream){.source.fd = -1};
    int rc = sn_source_open(path, &s->source, d);
    if (rc < 0)
        return rc;
    rc = sn_sound_open(sandbox, &s->source, &(struct sn_sound_cfg){0}, &s->sound, d);
    if (rc < 0)
        sn_source_close(&s->source);
    return rc;
}

static void close_stream(struct stream *s)
{
    sn_sound_close(&s->sound);
    sn_source_close(&s->source);
}

int cli_sound_listen(struct sn_sandbox *sandbox, struct sn_hearing *hearing, const char *path,
                     struct sn_listened *out, struct sn_diag *d)
{
    struct stream s;
    *out = (struct sn_listened){0};
    int rc = open_stream(sandbox, path, &s, d);
    if (rc < 0)
        return rc;
    rc = sn_hearing_listen(hearing, &(struct sn_sound_reader){read_sound, s.sound}, out, d);
    if (rc < 0 && !strstr(d->text, path))
        rc = sn_diag_prefix(d, rc, "%s", path);
    close_stream(&s);
    return rc;
}

int cli_sound_count(struct sn_sandbox *sandbox, const char *path, uint64_t *n_samples, struct sn_diag *d)
{
    enum { PIECE = 1 << 16 };
    struct stream s;
    size_t got = 1;
    int rc = open_stream(sandbox, path, &s, d);
    if (rc < 0)
        return rc;
    float *pcm = sn_malloc_array(PIECE, sizeof *pcm);
    if (!pcm)
        rc = sn_fail(d, SN_ENOMEM, "%s: no memory for its sound", path);
    for (*n_samples = 0; rc == 0 && got; *n_samples += got)
        rc = sn_sound_read(s.sound, pcm, PIECE, &got, d);
    sn_free(pcm);
    close_stream(&s);
    return rc;
}

/* --- for models that do not hear --- */

int cli_transcriber_open(struct sn_device *dev, const char *model, struct sn_transcriber **out,
                         struct sn_diag *d)
{
    struct sn_gguf *file = NULL;
    char *path = NULL;
    int rc = sn_model_resolve(model, &path, d);
    if (rc == 0)
        rc = sn_whisper_file_open(path, &file, d);
    if (rc == 0)
        rc = sn_transcriber_new(dev, &file, 0, out, d);
    sn_free(path);
    return rc;
}

static int quote(const struct sn_transcript *t, const char *path, struct sn_strbuf *out, struct sn_diag *d)
{
    const char *slash = strrchr(path, '/');
    sn_strbuf_printf(out, "Transcript of %s: ", slash ? slash + 1 : path);
    for (size_t i = 0; i < t->n; i++)
        sn_strbuf_printf(out, "%s%s", i ? " " : "\"", t->segments[i].text);
    sn_strbuf_puts(out, t->n ? "\"\n\n" : "(no speech)\n\n");
    return out->failed ? sn_fail(d, SN_ENOMEM, "%s: no memory for its transcript", path) : 0;
}

int cli_sound_quote(struct sn_sandbox *sandbox, struct sn_transcriber *t, const char *path,
                    struct sn_strbuf *out, struct sn_diag *d)
{
    struct stream s;
    int rc = open_stream(sandbox, path, &s, d);
    if (rc < 0)
        return rc;
    struct sn_transcribe_job job = {.in = {read_sound, s.sound}};
    rc = sn_transcribe(t, &job, 1, &(struct sn_transcribe_cfg){0}, cli_interrupted, d);
    if (rc == 0 && job.rc < 0) {
        *d = job.diag;
        rc = job.rc;
    }
    if (rc == 0)
        rc = quote(&job.out, path, out, d);
    sn_transcript_fini(&job.out);
    close_stream(&s);
    return rc;
}
