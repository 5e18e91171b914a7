#ifndef SN_CLI_SOUNDS_H
#define SN_CLI_SOUNDS_H
/* Sound files as a model that hears takes them. */

#include "pipeline/hearing.h"

struct sn_sandbox;

/* Decodes a file in the sandbox, which knows sounds, to log-mel windows. Errors name the file.
 * sn_listened_fini() ends *out. */
int cli_sound_listen(struct sn_sandbox *sandbox, struct sn_hearing *hearing, const char *path,
                     struct sn_listened *out, struct sn_diag *d);

#endif
