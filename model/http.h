#ifndef SN_MODEL_HTTP_H
#define SN_MODEL_HTTP_H
/* HTTP(S) for fetching models; libcurl stays in http.c. Redirects are followed (never from https
 * to http), failures that may pass are retried with growing pauses, proxies are taken from the
 * environment as curl does. A bearer token is not passed on to other hosts. */

#include "base/diag.h"
#include "base/strbuf.h"
#include "model/pull.h"
#include "model/sink.h"

#include <stdint.h>

struct sn_http_cfg {
    const char *bearer;  /* or NULL */
    unsigned retries, backoff_ms, stall_s; /* as in struct sn_pull_cfg, but 0 is 0 */
    struct sn_pull_watch watch;
};

/* The body of a small answer; -SN_ELIMIT over max_bytes. */
int sn_http_get(const char *url, const struct sn_http_cfg *cfg, size_t max_bytes,
                struct sn_strbuf *body, struct sn_diag *d);

/* Fetches into the sink, continuing what it holds if the server still has the same version (by
 * its ETag) or if `pinned` says that the digest will be checked anyway. size 0: not known; another
 * size at the server is -SN_EHASH. `linked` gets the SHA-256 that a model hub gave for the file
 * (X-Linked-ETag), or "". */
int sn_http_fetch(const char *url, const struct sn_http_cfg *cfg, uint64_t size, bool pinned,
                  struct sn_sink *sink, char linked[65], struct sn_diag *d);

/* Appends text so that it can stand in the path of a URL; '/' is kept. */
void sn_http_escape_path(struct sn_strbuf *b, const char *text);

#endif
