#ifndef SN_CLI_SOUNDS_H
#define SN_CLI_SOUNDS_H
/* Sound files as a model that hears takes them. */

#include "base/strbuf.h"
#include "pipeline/hearing.h"

struct sn_sandbox;
struct sn_transcriber;

/* Decodes a file in the sandbox, which knows sounds, to log-mel windows. Errors name the file.
 * sn_listened_fini() ends *out. */
int cli_sound_listen(struct sn_sandbox *sandbox, struct sn_hearing *hearing, const char *path,
                     struct sn_listened *out, struct sn_diag *d);

/* How long a file is: it is decoded, nothing more. */
int cli_sound_count(struct sn_sandbox *sandbox, const char *path, uint64_t *n_samples, struct sn_diag *d);

/* A Whisper model, by name or file, for the sounds of a model that does not hear. */
int cli_transcriber_open(struct sn_device *dev, const char *model, struct sn_transcriber **out,
                         struct sn_diag *d);
/* Appends what is said in a file, as a line of a prompt: Transcript of talk.mp3: "..." */
int cli_sound_quote(struct sn_sandbox *sandbox, struct sn_transcriber *t, const char *path,
                    struct sn_strbuf *out, struct sn_diag *d);

#endif
