#include "config.h"
#include "cli/sounds.h"

#include <string.h>

#include "media/sound.h"

static int read_sound(void *ctx, float *pcm, size_t max, size_t *got, struct sn_diag *d)
{
    return sn_sound_read(ctx, pcm, max, got, d);
}

int cli_sound_listen(struct sn_sandbox *sandbox, struct sn_hearing *hearing, const char *path,
                     struct sn_listened *out, struct sn_diag *d)
{
    struct sn_source source = {.fd = -1};
    struct sn_sound *sound = NULL;
    *out = (struct sn_listened){0};
    int rc = sn_source_open(path, &source, d);
    if (rc < 0)
        return rc;
    rc = sn_sound_open(sandbox, &source, &(struct sn_sound_cfg){0}, &sound, d);
    if (rc == 0)
        rc = sn_hearing_listen(hearing, &(struct sn_sound_reader){read_sound, sound}, out, d);
    if (rc < 0 && !strstr(d->text, path))
        rc = sn_diag_prefix(d, rc, "%s", path);
    sn_sound_close(&sound);
    sn_source_close(&source);
    return rc;
}
