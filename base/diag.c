#include "base/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sn_diag_init(struct sn_diag *d)
{
    d->code = SN_OK;
    d->text[0] = '\0';
}

/* Cuts back to the last whole UTF-8 character and replaces control bytes. */
static void tidy(char *s, size_t cap, size_t wanted)
{
    size_t n = strlen(s);
    if (wanted >= cap) {
        while (n > 0 && ((unsigned char)s[n - 1] & 0xC0) == 0x80)
            n--;
        if (n > 0 && (unsigned char)s[n - 1] >= 0xC0)
            n--;
        s[n] = '\0';
    }
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7F)
            s[i] = '?';
}

int sn_fail(struct sn_diag *d, enum sn_err code, const char *fmt, ...)
{
    if (d) {
        va_list ap;
        va_start(ap, fmt);
        const int n = vsnprintf(d->text, sizeof d->text, fmt, ap);
        va_end(ap);
        if (n < 0)
            d->text[0] = '\0';
        d->code = code;
        tidy(d->text, sizeof d->text, n < 0 ? 0 : (size_t)n);
    }
    return -(int)code;
}

int sn_diag_prefix(struct sn_diag *d, int rc, const char *fmt, ...)
{
    if (!d)
        return rc;
    char head[sizeof d->text], whole[2 * sizeof d->text + 3];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(head, sizeof head, fmt, ap);
    va_end(ap);
    if (n < 0)
        return rc;
    const int m = snprintf(whole, sizeof whole, "%s: %s", head, d->text);
    snprintf(d->text, sizeof d->text, "%.*s", (int)sizeof d->text - 1, whole);
    tidy(d->text, sizeof d->text, m < 0 ? 0 : (size_t)m);
    return rc;
}

const char *sn_err_name(enum sn_err code)
{
    static const char *const names[] = {
        [SN_OK] = "ok",           [SN_EINVAL] = "invalid",     [SN_ENOMEM] = "memory",
        [SN_EIO] = "io",          [SN_ENOENT] = "not-found",   [SN_EFORMAT] = "format",
        [SN_ELIMIT] = "limit",    [SN_EUNSUPPORTED] = "unsupported",
        [SN_EFULL] = "full",      [SN_ENET] = "network",       [SN_EHASH] = "hash",
        [SN_ECANCELLED] = "cancelled", [SN_ENODEV] = "no-device",
    };
    return (size_t)code < sizeof names / sizeof *names && names[code] ? names[code] : "unknown";
}
