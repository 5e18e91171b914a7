#ifndef SN_CLI_CONNECT_H
#define SN_CLI_CONNECT_H
/* How commands reach sensoriumd: the options --endpoint, --cert and --server-key. */

#include "cli/options.h"
#include "queue/client.h"

struct cli_connect_opts {
    const char *endpoint;        /* NULL: the default (queue/endpoint.h) */
    const char *certificate, *server_key;
    uint32_t busy_ms;            /* see struct sn_client_cfg */
};
void cli_add_connect(struct cli_parser *p, struct cli_connect_opts *o);
/* CLI_GO, or a usage error. */
int cli_check_connect(const struct cli_parser *p, const struct cli_connect_opts *o);

/* A client with a connection, that Ctrl-C stops (cli_catch_interrupt() is called). -SN_ENET within seconds
 * when no daemon is there. sn_client_free() ends *out. */
int cli_connect(const struct cli_connect_opts *o, struct sn_client **out, struct sn_diag *d);

#endif
