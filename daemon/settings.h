#ifndef SN_DAEMON_SETTINGS_H
#define SN_DAEMON_SETTINGS_H
/* What sensoriumd was told: defaults, then the configuration file (INI), then the environment, then flags.
 * One table of settings (settings.c) has them all, with their ranges; man/sensoriumd.8 describes them. */

#include "base/diag.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct daemon_list {
    char **v;              /* (n) */
    size_t n, cap;
};
struct daemon_model {
    char *name, *file, *mmproj; /* mmproj NULL: looked for beside the file */
};

struct daemon_settings {
    /* [daemon] */
    char *data;            /* folder of journal and spool */
    struct daemon_list endpoints;
    char *http;            /* ADDRESS:PORT of metrics and health; NULL: off */
    char *socket;          /* "owner", "group", "all" */
    char *log_format;      /* "text", "json" */
    char *log_level;       /* "error", "warning", "info", "debug" */
    uint32_t drain_s;      /* what runs may go on so long after SIGTERM */
    bool once;             /* ends when the queue is empty */
    /* [queue] */
    uint32_t jobs_max, share_percent, deaths_max, backoff_ms, media_max, hang_s;
    uint64_t bytes_max, reserve_bytes, header_bytes, message_bytes;
    /* [security] */
    char *certificate, *clients;
    struct daemon_list roots;
    bool faults;
    /* [engine] */
    uint64_t memory_bytes, feature_bytes;
    char *feature_folder, *kv;
    uint32_t idle_s, together, context, threads, decoders;
    bool fast;
    /* [model NAME] */
    struct daemon_model *models;
    size_t n_models, cap_models;

    char *file;            /* that it was read from; NULL: none */
    bool check, help, version; /* what to do instead of serving */
    int worker_fd;         /* this is the worker, and that its link; else -1 */
};

/* Reads all of it. The text of an error names the file and line, the variable or the flag. */
int daemon_settings_read(int argc, char **argv, struct daemon_settings *out, struct sn_diag *d);
void daemon_settings_fini(struct daemon_settings *c);

void daemon_settings_help(void); /* to standard output */

#endif
