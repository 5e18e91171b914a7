#ifndef SN_LLM_STOP_H
#define SN_LLM_STOP_H
/* Stop texts in a stream: what might be the beginning of one is held back. The outcome is the same
 * however the stream is cut. */

#include "base/diag.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>

struct sn_stop {
    char **texts;
    size_t n;
    struct sn_strbuf held; /* not yet certain */
};
/* -SN_EINVAL for an empty text or too many. */
int sn_stop_init(struct sn_stop *s, const char *const *texts, size_t n, struct sn_diag *d);
void sn_stop_fini(struct sn_stop *s);

/* Appends what became certain to *out. *hit: a stop text is complete (of several the one that
 * completes first, then the longest); it and all behind it are dropped. -SN_ENOMEM. */
int sn_stop_feed(struct sn_stop *s, const char *text, size_t n, struct sn_strbuf *out, bool *hit,
                 struct sn_diag *d);
/* The stream is over: what was held back is text after all. */
void sn_stop_flush(struct sn_stop *s, struct sn_strbuf *out);

#endif
