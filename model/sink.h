#ifndef SN_MODEL_SINK_H
#define SN_MODEL_SINK_H
/* Where a download lands. Bytes go to PATH.part and are hashed as they come; they become PATH in
 * one rename, once digest and size are right. PATH.lock (flock, left in place) keeps two
 * processes from one PATH. A part that was left behind can be continued. */

#include "base/diag.h"
#include "base/hash.h"
#include "model/pull.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_sink {
    char *path, *part, *note_path;
    int fd, lock;
    struct sn_sha256 *hash; /* of the n_bytes that are there */
    uint64_t n_bytes;
};

/* Makes the folder, waits for the lock (asking `watch` meanwhile) and opens the part. What it
 * holds is counted and hashed only by sn_sink_resume(). */
int sn_sink_open(struct sn_sink *s, const char *path, const struct sn_pull_watch *watch,
                 struct sn_diag *d);
/* Hashes what the part holds already; n_bytes says how much. */
int sn_sink_resume(struct sn_sink *s, const struct sn_pull_watch *watch, struct sn_diag *d);
/* Empties the part. */
int sn_sink_reset(struct sn_sink *s, struct sn_diag *d);
int sn_sink_write(struct sn_sink *s, const void *bytes, size_t n, struct sn_diag *d);
/* Fails with -SN_EIO when the file system has less than n_bytes left. */
int sn_sink_need(const struct sn_sink *s, uint64_t n_bytes, struct sn_diag *d);

/* A text kept beside the part (where it came from, its version there), "" when there is none. */
int sn_sink_note(struct sn_sink *s, const char *note, struct sn_diag *d);
int sn_sink_read_note(const struct sn_sink *s, char *note, size_t size, struct sn_diag *d);

/* Writes the digest of what came to hex. A `want` (64 hex digits or NULL) that differs drops the
 * part: -SN_EHASH. A *.gguf that does not begin like one is -SN_EFORMAT. Then the part becomes
 * PATH. */
int sn_sink_commit(struct sn_sink *s, const char *want, char hex[65], struct sn_diag *d);
/* Releases the lock; an uncommitted part stays for the next time. Safe on {.fd = -1, .lock = -1}. */
void sn_sink_close(struct sn_sink *s);

#define SN_SINK_NONE ((struct sn_sink){.fd = -1, .lock = -1})

#endif
