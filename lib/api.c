#include "config.h"
#include "lib/api.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sensorium.h"

static int status_of(enum sn_err code)
{
    switch (code) {
    case SN_OK: return SENSORIUM_OK;
    case SN_EINVAL: return SENSORIUM_INVALID;
    case SN_ENOMEM: return SENSORIUM_NO_MEMORY;
    case SN_EIO: return SENSORIUM_IO;
    case SN_ENOENT: return SENSORIUM_NOT_FOUND;
    case SN_EFORMAT: return SENSORIUM_FORMAT;
    case SN_ELIMIT: return SENSORIUM_LIMIT;
    case SN_EUNSUPPORTED: return SENSORIUM_UNSUPPORTED;
    case SN_EFULL: return SENSORIUM_BUSY;
    case SN_ENET: return SENSORIUM_NETWORK;
    default: return SENSORIUM_OTHER;
    }
}

int sn_api_report(const struct sn_diag *d, char *error)
{
    if (error)
        snprintf(error, SENSORIUM_ERROR_MAX, "%s", d->text);
    return status_of(d->code);
}

int sn_api_take_options(void *to, size_t n, const void *from, struct sn_diag *d)
{
    size_t size;
    if (!from)
        return 0;
    memcpy(&size, from, sizeof size); /* the first field */
    if (size < sizeof size)
        return sn_fail(d, SN_EINVAL, "options: size is %zu: set it to sizeof", size);
    memcpy(to, from, sn_min(size, n));
    return 0;
}
