#ifndef SN_DAEMON_HTTP_H
#define SN_DAEMON_HTTP_H
/* GET /metrics, /healthz and /readyz; nothing else, and nothing of any job. */

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>

struct daemon_http;
/* address: "127.0.0.1:9464", "[::1]:9464"; port 0: any. A thread of its own answers. */
int daemon_http_new(const char *address, struct daemon_http **out, struct sn_diag *d);
void daemon_http_free(struct daemon_http **hp);
unsigned daemon_http_port(const struct daemon_http *h);

/* What is answered from now on. Not healthy: nothing was heard of the caller for ten seconds. */
void daemon_http_set(struct daemon_http *h, const char *metrics, size_t n, bool ready);

#endif
