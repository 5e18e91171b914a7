#ifndef SN_TESTS_PIPELINE_DESK_HOST_H
#define SN_TESTS_PIPELINE_DESK_HOST_H
/* A desk and somebody who asks it: what it said of each job. */

#include "tests/test.h"
#include "tests/mm_golden.h"

#include <pthread.h>

#include "base/strbuf.h"
#include "pipeline/desk.h"

enum { HOST_JOBS = 512, HOST_MODELS = 8 };

struct host_job {
    bool done;
    struct sn_outcome o;        /* result, code and message are the host's copies */
    char code[64], message[600];
    struct sn_strbuf text;      /* as it came */
    size_t n_texts, n_calls_after;
    char stages[256];           /* their names, each once, in order */
    bool held;                  /* who tells of its text waits until it is not */
};
struct host {
    struct sn_desk *desk;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct host_job *jobs;      /* (HOST_JOBS) by token */
    bool loaded[HOST_MODELS];
    size_t n_loads, n_unloads;
};

/* Models are names of files in tests/reference/models without suffix. */
void host_open(struct host *h, const char *const *models, size_t n_models, const struct sn_desk_cfg *cfg);
void host_open_files(struct host *h, const struct sn_desk_model *models, size_t n_models,
                     const struct sn_desk_cfg *cfg);
void host_close(struct host *h);
/* While a job is held its answer, once begun, cannot end. */
void host_hold(struct host *h, uint64_t token, bool held);

/* Header as JSON text with ' for ". Media are paths; each is named in `media` of the header. */
int host_try(struct host *h, uint64_t token, const char *tenant, const char *header, const char *const *paths,
             size_t n_paths, bool estimate);
void host_submit(struct host *h, uint64_t token, const char *header);
void host_submit_media(struct host *h, uint64_t token, const char *tenant, const char *header,
                       const char *const *paths, size_t n_paths);
struct host_job *host_wait(struct host *h, uint64_t token);
/* Until something of it was heard. */
void host_await_text(struct host *h, uint64_t token);
/* Done, with this kind and code (NULL: none). */
struct host_job *host_expect(struct host *h, uint64_t token, enum sn_outcome_kind kind, const char *code);
const char *host_text(const struct host_job *j);
double host_number(const struct host_job *j, const char *object, const char *name);
/* Forgets all that was said. */
void host_reset(struct host *h);

#endif
