#ifndef SN_BASE_DIAG_H
#define SN_BASE_DIAG_H
/* Errors. A function that can fail returns 0 or a negative enum sn_err and writes one message,
 * once, where the facts are, into the struct sn_diag it was given; callers add context only. */

#include <stddef.h>

enum sn_err {
    SN_OK = 0,
    SN_EINVAL = 1,  /* the caller's argument is wrong */
    SN_ENOMEM,      /* memory ran out */
    SN_EIO,         /* the operating system refused a read, write, map, ... */
    SN_ENOENT,      /* no such file, model, tensor, key */
    SN_EFORMAT,     /* bytes that are not what they claim to be */
    SN_ELIMIT,      /* over a bound that we set */
    SN_EUNSUPPORTED,/* well-formed, but nothing here can do it */
    SN_EFULL,       /* a bounded container is full: try again later */
    SN_ENET,        /* the network or the server at its other end */
    SN_EHASH,       /* contents differ from the digest they should have */
    SN_ECANCELLED,  /* stopped on request */
    SN_ENODEV,      /* no such compute device */
};

struct sn_diag {
    enum sn_err code;
    char text[512]; /* one line, no trailing newline; "" while code is SN_OK */
};

void sn_diag_init(struct sn_diag *d);

/* Records code and text (printf form) and returns -code. `d` may be NULL. A text that does not
 * fit is cut at a UTF-8 boundary; control characters are replaced, so that hostile file contents
 * cannot drive a terminal. */
int sn_fail(struct sn_diag *d, enum sn_err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the text that is there and returns rc unchanged. */
int sn_diag_prefix(struct sn_diag *d, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A short fixed name of the code: "limit", "format", ... Never NULL. */
const char *sn_err_name(enum sn_err code);

#endif
