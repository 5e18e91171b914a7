#ifndef SN_CLI_CAPTION_DAEMON_H
#define SN_CLI_CAPTION_DAEMON_H
/* A sensoriumd of our own: started as a child that ends when we do, whatever ends us. One thread. */

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>

struct caption_model {
    const char *name, *path;
    const char *mmproj;          /* NULL: none was named */
};
struct caption_daemon_cfg {
    const char *data;            /* folder of its own; made if need be */
    const char *const *roots;    /* (n_roots) that it may read media below */
    size_t n_roots;
    const struct caption_model *models; /* (n_models) */
    size_t n_models;
};

struct caption_daemon;

/* Starts `sensoriumd` ($SENSORIUMD, else the one beside this program, else the one in the path). It is not
 * ready yet. *cfg and what it points to must outlive the daemon. */
int caption_daemon_start(const struct caption_daemon_cfg *cfg, struct caption_daemon **out,
                         struct sn_diag *d);
const char *caption_daemon_endpoint(const struct caption_daemon *k);
/* 0: it runs; else it ended, and *d has how, and the last line that it wrote. */
int caption_daemon_check(struct caption_daemon *k, struct sn_diag *d);
/* The same daemon again, after that. */
int caption_daemon_restart(struct caption_daemon *k, struct sn_diag *d);
/* SIGTERM, and SIGKILL when it takes too long. `forget`: its folder is not needed any more. */
void caption_daemon_stop(struct caption_daemon **kp, bool forget);

#endif
