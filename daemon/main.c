/* sensoriumd: the daemon, and, started by it, its worker. */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/service.h"
#include "daemon/settings.h"
#include "daemon/worker.h"

enum { DONE, FAILED, WRONG };

static int report(const struct sn_diag *d, int status)
{
    fprintf(stderr, "sensoriumd: %s\n", d->text);
    return status;
}

static int run(struct daemon_settings *c, int argc, char **argv, struct sn_diag *d)
{
    if (c->help) {
        daemon_settings_help();
    } else if (c->version) {
        printf("sensoriumd %s\n", PACKAGE_VERSION);
    } else if (c->check) {
        if (daemon_check(c, d) < 0)
            return report(d, WRONG);
        printf("%s: in order\n", c->file ? c->file : "settings");
    } else {
        daemon_log_open(strcmp(c->log_format, "json") == 0, daemon_log_level(c->log_level));
        if (daemon_serve(c, argc, argv, d) < 0)
            return report(d, FAILED);
    }
    return DONE;
}

int main(int argc, char **argv)
{
    struct daemon_settings c;
    struct sn_diag d;
    sn_diag_init(&d);
    int status;
    if (daemon_settings_read(argc, argv, &c, &d) < 0)
        status = report(&d, WRONG);
    else if (c.worker_fd >= 0)
        status = daemon_worker_main(c.worker_fd);
    else
        status = run(&c, argc, argv, &d);
    daemon_settings_fini(&c);
    return status;
}
