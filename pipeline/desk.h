#ifndef SN_PIPELINE_DESK_H
#define SN_PIPELINE_DESK_H
/* Where jobs are done: models that are loaded when a job wants them, and the stages as threads with bounded
 * queues between them, so that the next picture is decoded and encoded while the decoder writes about
 * this one:
 *
 *     errand > decode media > encode > fuse > decode tokens, many jobs in one step > outcome
 *
 * Knows nothing of sockets or journals; a job's text depends on nothing but the job. */

#include "base/diag.h"
#include "base/file.h"
#include "compute/device.h"
#include "queue/job.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sn_desk;

struct sn_desk_model {
    const char *name;            /* as jobs call it */
    const char *path;            /* GGUF of a language model or of Whisper */
    const char *mmproj;          /* its eyes and ears; NULL: as sn_tower_path() has it, if it is there */
};
struct sn_desk_cfg {
    const struct sn_desk_model *models; /* (n_models) copied */
    size_t n_models;
    uint64_t memory_bytes;       /* of weights, keys and values of all models; 0: 3/4 of the machine's */
    uint32_t idle_s;             /* a model that long unused is unloaded; 0: never */
    uint32_t n_together;         /* answers that are written at once; 0: 8 */
    size_t waiting_max;          /* errands taken and not begun; 0: 2 n_together */
    uint32_t n_ctx;              /* of one job; 0: the model's own, as far as memory goes */
    enum sn_kv_type kv_type;
    unsigned n_threads;          /* 0: one per core */
    unsigned n_decoders;         /* jobs whose media are decoded at a time, in processes; 0: 2 */
    bool fast;                   /* as struct sn_device_cfg */
    size_t feature_bytes;        /* rows of media kept in memory; 0: 256 MiB */
    const char *feature_folder;  /* NULL: none on disk */
    bool faults;                 /* SN_TASK_NOOP may crash, hang, fail */
};

/* Why an errand ended. */
enum sn_outcome_kind {
    SN_OUTCOME_DONE,
    SN_OUTCOME_PARTIAL,          /* what `missing` in the result names could not be had: media_broken */
    SN_OUTCOME_FAILED,           /* it would fail again */
    SN_OUTCOME_RETRY,            /* it might not */
    SN_OUTCOME_CANCELLED,
};
struct sn_outcome {
    enum sn_outcome_kind kind;
    json_t *result;              /* docs/protocol.md, 3.6: task, text, finish, segments, language, media,
                                  * usage, timings (but queue_ms), model, missing, error. Of an estimate:
                                  * what ESTIMATE answers, or NULL. Borrowed */
    const char *code, *message;  /* of all but DONE: section 8, "In results". No pointers, no library's
                                  * text; a medium is the job's `name` or "medium 3", never a path */
};

/* Called from the desk's threads, one call at a time for an errand; they must not wait long. */
struct sn_desk_host {
    void *ctx;
    void (*stage)(void *ctx, uint64_t token, const char *stage, uint64_t done, uint64_t total);
    void (*text)(void *ctx, uint64_t token, const char *text, size_t n); /* whole characters */
    void (*done)(void *ctx, uint64_t token, const struct sn_outcome *o); /* the last call for a token */
    void (*loaded)(void *ctx, size_t model, bool loaded);
    /* 0: an error, 1: a warning, 2: worth knowing. Never prompts, media or answers. NULL: nobody listens. */
    void (*log)(void *ctx, int level, const char *text);
};

/* Checks that every model's file is there and what it is (not more: they are loaded when wanted). To be
 * called before there are threads: it forks the processes that decode. */
int sn_desk_new(const struct sn_desk_cfg *cfg, const struct sn_desk_host *host, struct sn_desk **out,
                struct sn_diag *d);
/* Stops what runs (CANCELLED), ends the threads, unloads. */
void sn_desk_free(struct sn_desk **dp);

struct sn_desk_model_info {
    const char *name;
    bool tasks[SN_TASKS], kinds[3]; /* enum sn_medium_kind */
    bool loaded;
    uint64_t bytes;                 /* while loaded */
};
/* False past the last. Any thread. */
bool sn_desk_model(struct sn_desk *k, size_t i, struct sn_desk_model_info *out);

struct sn_errand_medium {
    enum sn_medium_kind kind;
    const char *path;
    struct sn_file_id file;      /* what it must still be (code media_changed); all-zero: not checked */
    struct sn_digest sha256;     /* of its bytes; all-zero: not known */
    const char *name;            /* NULL: none */
};
struct sn_errand {
    uint64_t token;
    const char *tenant;          /* salt of all caches */
    const json_t *header;        /* of the job; checked before, and again here. Copied */
    const struct sn_errand_medium *media; /* (n_media) copied */
    size_t n_media;
    bool estimate;
    uint64_t queue_ms;           /* how long it waited before; for the result */
};
/* Any thread. -SN_EFULL: waiting_max are waiting. What is wrong with the errand itself is an outcome. */
int sn_desk_submit(struct sn_desk *k, const struct sn_errand *e, struct sn_diag *d);
/* Its outcome will be CANCELLED, unless it ends otherwise just now: within a decode step, a tile. */
void sn_desk_cancel(struct sn_desk *k, uint64_t token);

struct sn_desk_stats {
    size_t n_waiting, n_running, n_loaded;
    uint64_t n_steps, n_step_rows, n_tokens; /* decode steps, sequences in them, tokens drawn */
    uint64_t model_bytes, feature_bytes;
    double decode_s, encode_s;       /* on media, of jobs that ended */
    double prefill_s, generate_s;    /* of the decoder */
};
void sn_desk_stats(struct sn_desk *k, struct sn_desk_stats *out);

#endif
