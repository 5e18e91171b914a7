#ifndef SN_BASE_HASH_H
#define SN_BASE_HASH_H
/* SHA-256, incremental; libcrypto's, which knows the CPU's own instructions. */

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What names things by their contents. All zero: nothing is known. */
enum { SN_DIGEST_BYTES = 32 };
struct sn_digest {
    uint8_t b[SN_DIGEST_BYTES];
};
bool sn_digest_equal(const struct sn_digest *a, const struct sn_digest *b);
bool sn_digest_known(const struct sn_digest *a);
void sn_digest_hex(const struct sn_digest *a, char hex[65]); /* lower case, and a NUL */
/* 64 digits, upper or lower case; false: that is not what it is. */
bool sn_digest_parse(const char *hex, struct sn_digest *out);

struct sn_sha256;
int sn_sha256_new(struct sn_sha256 **out, struct sn_diag *d);
int sn_sha256_update(struct sn_sha256 *h, const void *bytes, size_t n, struct sn_diag *d);
/* A named field of n bytes, with both lengths before it: no two lists of fields are the same bytes. */
int sn_sha256_field(struct sn_sha256 *h, const char *name, const void *bytes, size_t n,
                    struct sn_diag *d);
/* Either ends it: the object can only be freed afterwards. */
int sn_sha256_digest(struct sn_sha256 *h, struct sn_digest *out, struct sn_diag *d);
int sn_sha256_hex(struct sn_sha256 *h, char hex[65], struct sn_diag *d); /* as sn_digest_hex() */
void sn_sha256_free(struct sn_sha256 **hp);

int sn_sha256_file(const char *path, char hex[65], struct sn_diag *d);
int sn_sha256_bytes(const void *bytes, size_t n, struct sn_digest *out, struct sn_diag *d);

/* The version of the library that computes them. */
const char *sn_hash_library(void);

#endif
