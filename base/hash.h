#ifndef SN_BASE_HASH_H
#define SN_BASE_HASH_H
/* SHA-256, incremental; libcrypto's, which knows the CPU's own instructions. */

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

struct sn_sha256;
int sn_sha256_new(struct sn_sha256 **out, struct sn_diag *d);
int sn_sha256_update(struct sn_sha256 *h, const void *bytes, size_t n, struct sn_diag *d);
/* Writes 64 lower-case hex digits and a NUL. The object can only be freed afterwards. */
int sn_sha256_hex(struct sn_sha256 *h, char hex[65], struct sn_diag *d);
void sn_sha256_free(struct sn_sha256 **hp);

int sn_sha256_file(const char *path, char hex[65], struct sn_diag *d);

/* The version of the library that computes them. */
const char *sn_hash_library(void);

#endif
