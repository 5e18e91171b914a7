#ifndef SN_DAEMON_SUPERVISOR_H
#define SN_DAEMON_SUPERVISOR_H
/* The worker process, from the daemon's side: started, given jobs, listened to, and started again when it
 * dies. All on the queue's thread. */

#include "daemon/settings.h"
#include "queue/front.h"
#include "queue/queue.h"

struct daemon_supervisor;

struct daemon_metrics;
/* Starts the worker and waits until it has looked at its models: an error is the worker's own text. The
 * settings are read during the call; `metrics` (may be NULL) are told of waits and stages. */
int daemon_supervisor_new(const struct daemon_settings *c, struct daemon_metrics *metrics,
                          struct daemon_supervisor **out, struct sn_diag *d);
/* Ends the worker, and with it what runs. */
void daemon_supervisor_free(struct daemon_supervisor **sp);

/* From now on jobs of this queue are done; the front's loop serves the worker. */
int daemon_supervisor_attach(struct daemon_supervisor *s, struct sn_queue *q, struct sn_front *f,
                             struct sn_diag *d);
/* To be called several times a second. */
void daemon_supervisor_tick(struct daemon_supervisor *s);

/* Nothing is given out any more. */
void daemon_supervisor_pause(struct daemon_supervisor *s);
size_t daemon_supervisor_n_running(const struct daemon_supervisor *s);
/* What runs goes back into the queue. */
void daemon_supervisor_release(struct daemon_supervisor *s);
/* Another worker, with these settings, takes over once what runs has ended. */
int daemon_supervisor_reconfigure(struct daemon_supervisor *s, const struct daemon_settings *c,
                                  struct sn_diag *d);

bool daemon_supervisor_model(const struct daemon_supervisor *s, size_t i, struct sn_front_model *out);

struct daemon_supervisor_stats {
    long pid;               /* 0: none just now */
    uint64_t n_starts, n_deaths;
    size_t n_running;
    const json_t *desk;     /* what the worker last said of itself; NULL: nothing yet */
};
void daemon_supervisor_stats(const struct daemon_supervisor *s, struct daemon_supervisor_stats *out);

#endif
