#ifndef SN_DAEMON_WORKER_H
#define SN_DAEMON_WORKER_H
/* The worker process: a desk at the other end of the daemon's link. Messages, by "do" and "is":
 *
 *     daemon: setup   the desk's configuration, as worker_setup() reads it
 *             run     token, tenant, estimate, queue_ms, media [{kind, path, file [device, inode, size,
 *                     modified, changed], sha256}]; the body is the job's header
 *             cancel  token
 *     worker: ready   slots, models [{name, tasks, kinds, loaded}]
 *             failed  the body says why; the process ends
 *             stage   token, stage, done, total
 *             text    token; the body is it
 *             done    token, outcome, code, message, stages_us; the body is the result
 *             loaded  model, loaded
 *             log     level; the body is the text
 *             stats   every second
 *
 * When the link ends the process ends at once: what it was doing is somebody else's by then. */

/* Runs until the link ends; the exit status. */
int daemon_worker_main(int fd);

#endif
