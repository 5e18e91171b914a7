#ifndef SN_PIPELINE_DESK_IMPL_H
#define SN_PIPELINE_DESK_IMPL_H
/* What the desk's files share. A job has one owner at a time: the thread that took it from a line, until it
 * puts it into the next one; only `stop` and the outcome of one that failed early are touched by others.
 *
 *     desk.c             its life; errands in, outcomes out
 *     desk_models.c      the table of models: loading, memory, unloading
 *     desk_media.c       first stage: media decoded and prepared, what it costs, estimates
 *     desk_encode.c      second stage: encoders, and fusion
 *     desk_decode.c      third stage: answers, many in one step
 *     desk_transcribe.c  recordings
 *     desk_chores.c      noop jobs, models that nobody uses
 *     desk_prompt.c      messages to a prompt
 *     desk_result.c      what becomes of a job, as JSON */

#include "base/clock.h"
#include "base/prompt.h"
#include "base/strbuf.h"
#include "fusion/fuse.h"
#include "llm/writer.h"
#include "media/source.h"
#include "pipeline/desk.h"
#include "pipeline/hearing.h"
#include "pipeline/sight.h"
#include "pipeline/transcribe.h"
#include "pipeline/watch.h"

#include <pthread.h>
#include <stdatomic.h>

struct desk_job;

/* Jobs one after the other; only with the desk's lock. All zero: none. */
struct desk_line {
    struct desk_job *first, *last;
    size_t n;
};
void desk_line_put(struct desk_line *l, struct desk_job *j);
struct desk_job *desk_line_take(struct desk_line *l); /* NULL: it is empty */
/* The first that `is` true for, taken out of the line. */
struct desk_job *desk_line_find(struct desk_line *l, bool (*is)(const struct desk_job *j));

/* How much there is between the stages, and recordings of a model that are open at a time. */
enum { DESK_ITEM_BYTES = 256 << 20, DESK_DECODERS_MAX = 64, DESK_LISTEN_TOGETHER = 4 };

/* --- models --- */

enum desk_model_state { DESK_UNLOADED, DESK_LOADING, DESK_LOADED };

struct desk_writing;
struct desk_model {
    /* never changes */
    char *name, *path, *mmproj; /* mmproj NULL: neither eyes nor ears */
    bool whisper, kinds[3];
    uint64_t file_bytes;
    /* only with the desk's lock */
    enum desk_model_state state;
    unsigned n_users;           /* jobs that hold it */
    double used_s;              /* when the last of them let go */
    uint64_t bytes;             /* that count; while it is not loaded: what it took the last time, or 0 */
    struct desk_line ready;     /* prompts, or recordings, that wait for its decoder */
    /* changes only while it is being loaded */
    struct sn_file_id ids[2];   /* that the digests are of */
    struct sn_digest digest, mmproj_digest;
    struct sn_llm *llm;
    struct sn_engine *engine;
    struct sn_prefix *prefix;
    struct sn_chat *chat;
    struct sn_sight *sight;     /* NULL: it does not see */
    struct sn_hearing *hearing;
    struct sn_transcriber *transcriber;
    size_t n_pages;             /* of the cache */
    /* the decoder's thread's, or the transcriber's */
    struct desk_writing *writing;
    bool decoding;              /* it holds the model */
    struct sn_transcription *transcription;
    struct desk_job *listened[DESK_LISTEN_TOGETHER]; /* (n_listened) whose recordings are in it */
    size_t n_listened;
};

/* --- jobs --- */

struct desk_medium {
    enum sn_medium_kind kind;
    char *path;
    struct sn_file_id file;
    struct sn_digest sha256;
    const char *name;           /* the job's, or NULL */
    char label[300];            /* what messages call it */
    bool has_track;             /* a video whose sound is heard as well */
    struct sn_image image;      /* decoded, where that is kept until it is prepared */
    struct sn_vision_pixels pixels;
    struct sn_seen seen;        /* of a picture */
    struct sn_listened listened;
    struct sn_heard heard;      /* of a recording, of a video's track */
    struct sn_watched watched;
    size_t n_tokens;            /* as planned */
    double broke_s;             /* where its sound broke off; < 0: it did not */
};

/* On its way from the first stage to the second: a medium that is prepared, or, with `i` = n_media, word
 * that all were. */
struct desk_item {
    struct desk_item *next;
    struct desk_job *job;
    size_t i, bytes;
};

struct desk_job {
    struct desk_job *next;            /* in a line */
    struct desk_job *newer, *older;   /* of all there are; only with lock */
    struct sn_desk *k;
    uint64_t token;
    struct sn_digest salt;            /* of its tenant */
    bool estimate;
    struct sn_job job;
    struct desk_medium *media;        /* (n_media) */
    size_t n_media;
    struct desk_item *items;          /* (n_media + 1) */
    struct desk_model *model;         /* held; NULL: none yet */
    bool begun;                       /* only with lock: it does not count as waiting any more */
    bool waits, encoding;             /* only with lock: it waits between stages; it is in the second */
    atomic_bool stop;                 /* cancelled */
    atomic_bool failed;               /* the next four are set, once, with lock */
    enum sn_outcome_kind kind;
    const char *code;
    char message[512];
    /* of the answer */
    struct sn_prompt prompt;
    struct sn_writer *writer;
    struct sn_strbuf text;
    const char *stage;                /* what was said last, with lock: NULL: nothing */
    uint64_t stage_done, stage_total;
    double told_s;                    /* when, with lock */
    enum sn_finish finish;
    size_t n_prompt, n_cached, n_tokens, n_pages;
    uint32_t n_frames;                /* of the video that is encoded */
    json_t *result;                   /* of an estimate */
    json_t *missing;                  /* names of parts; NULL: it is whole */
    uint64_t queue_ms;
    double taken_s, prefill_at_s, first_s, end_s, due_s;
    double decode_s, encode_s, prefill_s; /* busy */
    struct desk_recording *recording;
};

/* --- the desk --- */

struct sn_desk {
    struct sn_desk_cfg cfg;           /* without models; defaults filled in */
    struct sn_desk_host host;
    struct sn_device *device;
    struct sn_sandbox *sandbox;
    struct sn_feature_cache *cache;
    struct desk_model *models;
    size_t n_models;
    pthread_t threads[80];
    size_t n_threads;
    atomic_bool look_up;              /* the transcriber is to look who was cancelled */
    pthread_mutex_t telling;          /* held during calls of the host; taken before the lock */
    pthread_mutex_t lock;
    /* below: only with lock held */
    bool ending;
    struct desk_job *newest;          /* of all */
    struct desk_line incoming, chores;
    struct desk_item *first_item, *last_item;
    size_t item_bytes, n_ready, n_recordings;
    pthread_cond_t errands, items, item_room, ready, ready_room, recordings, chore, models_changed;
    struct desk_model *loader;        /* the one model that is being loaded */
    bool starved;                     /* it waits for memory that others use */
    struct sn_desk_stats stats;
};

/* desk.c */
enum desk_level { DESK_ERROR, DESK_WARNING, DESK_INFO, DESK_DEBUG };
void desk_log(struct sn_desk *k, enum desk_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void desk_stage(struct desk_job *j, const char *stage, uint64_t done, uint64_t total);
/* Says of all that wait between stages once more where they are: who is silent for long may hang. */
void desk_tell_of_waiting(struct sn_desk *k);
/* Text of the answer, whole characters: kept for the result, and told. */
void desk_say(struct desk_job *j, const char *text, size_t n);
/* The job begins: it no longer counts as waiting. With lock. */
void desk_begin(struct desk_job *j);
/* The first thing that is wrong counts. */
void desk_fail(struct desk_job *j, enum sn_outcome_kind kind, const char *code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* What a stage says of a medium, by its code; of a prompt, a step. */
void desk_fail_medium(struct desk_job *j, const struct desk_medium *m, const struct sn_diag *d);
void desk_fail_model(struct desk_job *j, const struct sn_diag *d);
/* Whether it failed or was cancelled; then it has an outcome. */
bool desk_is_over(struct desk_job *j);
void desk_miss(struct desk_job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Gives its outcome out and frees it. */
void desk_end(struct desk_job *j);

/* desk_models.c */
int desk_models_open(struct sn_desk *k, const struct sn_desk_cfg *cfg, struct sn_diag *d);
void desk_models_close(struct sn_desk *k);
/* Finds the job's model and waits until it is loaded; false: the job failed. */
bool desk_hold(struct desk_job *j);
void desk_release(struct sn_desk *k, struct desk_model *m); /* with lock */
/* A decoder holds a model, beside its jobs, while it has some: what it keeps of it outlives them. */
void desk_begin_with(struct sn_desk *k, struct desk_model *m);
void desk_be_done_with(struct sn_desk *k, struct desk_model *m);
/* Unloads models that were idle for long; returns when to ask again, in seconds from now. */
double desk_unload_idle(struct sn_desk *k);

/* desk_media.c, desk_encode.c, desk_decode.c, desk_transcribe.c, desk_chores.c: threads */
void *desk_media_main(void *desk);
void *desk_encode_main(void *desk);
void *desk_decode_main(void *desk);
void *desk_transcribe_main(void *desk);
void *desk_chores_main(void *desk);
void desk_put_item(struct desk_job *j, size_t i, size_t bytes);
/* To the decoder; waits for room. */
void desk_put_ready(struct desk_job *j);
void desk_put_recording(struct desk_job *j);
/* Its prompt, or why there is none. */
void desk_make_prompt(struct desk_job *j, bool planned);
int desk_source_open(const struct desk_medium *m, struct sn_source *out, struct sn_diag *d);
void desk_writing_free(struct desk_writing **wp);

/* desk_prompt.c: with `planned`, one without rows, to be counted. */
int desk_prompt(const struct desk_job *j, bool planned, struct sn_prompt *out, struct sn_diag *d);

/* desk_result.c */
json_t *desk_result(const struct desk_job *j);
json_t *desk_estimate(const struct desk_job *j, size_t n_prompt, const char *reason);
void desk_set(json_t *object, const char *name, json_t *value);

/* Recordings: what desk_transcribe.c keeps of one, and what its result says of it. */
struct desk_recording {
    struct desk_job *job;
    struct sn_transcribe_job run;
    struct sn_transcribe_cfg cfg;
    struct sn_source source;
    struct sn_sound *sound;
    uint64_t n_samples;
    bool opened, broken;
};
void desk_recording_free(struct desk_recording **rp);
json_t *desk_segments(const struct sn_transcript *t);

#endif
