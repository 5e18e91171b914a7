#ifndef SN_DAEMON_METRICS_H
#define SN_DAEMON_METRICS_H
/* What the daemon counts, in Prometheus' text format. Labels are bounded: states, stages, never jobs,
 * tenants or prompts. */

#include "base/strbuf.h"
#include "daemon/supervisor.h"
#include "queue/front.h"
#include "queue/queue.h"

#include <jansson.h>

struct daemon_metrics;
int daemon_metrics_new(struct daemon_metrics **out, struct sn_diag *d);
void daemon_metrics_free(struct daemon_metrics **mp);

/* Seconds that a job waited, and how long it was in stages: microseconds in an array that the worker makes of
 * a result's timings. */
void daemon_metrics_waited(struct daemon_metrics *m, double seconds);
json_t *daemon_metrics_stages_of(const json_t *timings); /* NULL: there are none that took time */
void daemon_metrics_stages(struct daemon_metrics *m, const json_t *stages_us);

uint64_t daemon_resident_bytes(long pid); /* memory of a process; 0: there is none */

struct daemon_snapshot {
    struct sn_queue_stats queue;
    struct sn_front_stats front;
    struct daemon_supervisor_stats worker;
};
void daemon_metrics_render(const struct daemon_metrics *m, const struct daemon_snapshot *s,
                           struct sn_strbuf *out);

#endif
