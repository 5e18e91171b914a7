#ifndef SN_BASE_STRBUF_H
#define SN_BASE_STRBUF_H
/* A growing byte string. A failed append sets `failed` and drops everything from then on, so a
 * builder checks once, at the end. Zero-initialise ({0}) to start; sn_strbuf_fini() to end. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct sn_strbuf {
    char *data;     /* len bytes and a NUL; NULL while nothing was appended */
    size_t len, cap;
    size_t max;     /* most bytes it may hold; 0 = 1 GiB */
    bool failed;    /* out of memory, or over max */
};

void sn_strbuf_append(struct sn_strbuf *b, const void *bytes, size_t n);
void sn_strbuf_puts(struct sn_strbuf *b, const char *s);
void sn_strbuf_putc(struct sn_strbuf *b, char c);
void sn_strbuf_printf(struct sn_strbuf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The code point as UTF-8; U+FFFD for what is not a scalar value. */
void sn_strbuf_put_utf8(struct sn_strbuf *b, unsigned cp);
void sn_strbuf_clear(struct sn_strbuf *b); /* length 0, memory kept, failed reset */
/* Gives the bytes (NUL-terminated) away; NULL if an append had failed. Leaves the buffer empty. */
char *sn_strbuf_take(struct sn_strbuf *b);
void sn_strbuf_fini(struct sn_strbuf *b);

#endif
