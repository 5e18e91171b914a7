#ifndef SN_QUEUE_KEYS_H
#define SN_QUEUE_KEYS_H
/* CURVE certificates in CZMQ's form: NAME with the public key, NAME_secret with both. */

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>

enum { SN_KEY_TEXT = 41 };         /* Z85 and a NUL */
struct sn_keys {
    char public_key[SN_KEY_TEXT];
    char secret_key[SN_KEY_TEXT];  /* "" when the file has none */
};
/* `path` is NAME or NAME_secret. With want_secret the secret key has to be there (-SN_ENOENT), and nobody
 * but the file's owner may be able to read it (-SN_EINVAL). */
int sn_keys_load(const char *path, bool want_secret, struct sn_keys *out, struct sn_diag *d);
/* Overwrites them. */
void sn_keys_fini(struct sn_keys *k);

struct sn_keys_note {
    const char *name, *value;
};
/* Makes a pair, and writes `path` (mode 0644) and `path`_secret (0600), both with the notes, which are
 * CZMQ's metadata. -SN_EFULL when one of them is there already. */
int sn_keys_make(const char *path, const struct sn_keys_note *notes, size_t n_notes, struct sn_keys *out,
                 struct sn_diag *d);

#endif
