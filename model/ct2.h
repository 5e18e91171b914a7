#ifndef SN_MODEL_CT2_H
#define SN_MODEL_CT2_H
/* CTranslate2's model.bin, over bytes that outlive the object. Every count, length and shape is
 * checked against the bytes that are there; names are unique. Immutable once parsed. */

#include "base/diag.h"

#include <stddef.h>
#include <stdint.h>

enum { SN_CT2_DIMS = 8 };
enum sn_ct2_type { SN_CT2_F32, SN_CT2_I8, SN_CT2_I16, SN_CT2_I32, SN_CT2_F16, SN_CT2_BF16 };

struct sn_ct2_var {
    const char *name;          /* NUL-terminated, in the bytes */
    enum sn_ct2_type type;
    uint32_t n_dims;           /* 0: a scalar */
    uint64_t dims[SN_CT2_DIMS];/* the first is the slowest */
    const uint8_t *data;       /* n_bytes, as type and dims say; not aligned */
    size_t n_bytes;
};

struct sn_ct2;
int sn_ct2_parse(const char *name, const void *bytes, size_t n_bytes, struct sn_ct2 **out,
                 struct sn_diag *d);
void sn_ct2_free(struct sn_ct2 **cp);
const char *sn_ct2_name(const struct sn_ct2 *c);
const char *sn_ct2_spec(const struct sn_ct2 *c); /* "WhisperSpec", ... */
/* By name or by alias; NULL when there is none. */
const struct sn_ct2_var *sn_ct2_find(const struct sn_ct2 *c, const char *name);

#endif
