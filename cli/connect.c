#include "config.h"
#include "cli/connect.h"

#include "base/mem.h"
#include "cli/terminal.h"

/* A daemon that is being restarted is there again by then; one that is not there is told soon. */
enum { CONNECT_MS = 1500 };

void cli_add_connect(struct cli_parser *p, struct cli_connect_opts *o)
{
    const struct cli_option list[] = {
        {'e', "endpoint", CLI_STRING, &o->endpoint, "ADDRESS",
         "where sensoriumd is: ipc://PATH or tcp://HOST:PORT ($SENSORIUM_ENDPOINT)", 0, 0, NULL},
        {0, "cert", CLI_STRING, &o->certificate, "FILE",
         "this client's certificate, from 'sensorium keygen'", 0, 0, NULL},
        {0, "server-key", CLI_STRING, &o->server_key, "FILE",
         "the server's public key, goes with --cert", 0, 0, NULL},
    };
    for (size_t i = 0; i < SN_COUNT(list); i++)
        cli_add(p, list[i]);
}

int cli_check_connect(const struct cli_parser *p, const struct cli_connect_opts *o)
{
    if (!o->certificate != !o->server_key)
        return cli_usage(p, "--cert and --server-key go together");
    return CLI_GO;
}

int cli_connect(const struct cli_connect_opts *o, struct sn_client **out, struct sn_diag *d)
{
    cli_catch_interrupt();
    const struct sn_client_cfg cfg = {.endpoint = o->endpoint, .certificate = o->certificate,
                                      .server_key = o->server_key, .busy_ms = o->busy_ms,
                                      .stop = cli_interrupted};
    struct sn_client *c = NULL;
    int rc = sn_client_new(&cfg, &c, d);
    if (rc == 0)
        rc = sn_client_connect(c, CONNECT_MS, d);
    if (rc < 0) {
        sn_client_free(&c);
        return rc;
    }
    *out = c;
    return 0;
}
