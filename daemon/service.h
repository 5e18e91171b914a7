#ifndef SN_DAEMON_SERVICE_H
#define SN_DAEMON_SERVICE_H
/* The daemon's life: everything is opened, or nothing is; jobs are served; then it ends as it was asked
 * to. */

#include "daemon/settings.h"

/* argv is read again on SIGHUP. Returns when the daemon has ended; an error: it did not come up. */
int daemon_serve(struct daemon_settings *c, int argc, char **argv, struct sn_diag *d);
/* Whether it would come up, without listening: settings and models. */
int daemon_check(const struct daemon_settings *c, struct sn_diag *d);

#endif
