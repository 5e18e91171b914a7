/* The third stage: of each model, answers that are written together. A step runs a chunk of each: the newest
 * token of those that write, a piece of the prompt of those that read. While somebody writes, little is read
 * in a step, so that nobody waits long for his next token. New jobs join between steps, when the cache has
 * room for all that they may become, prompt and answer: so no answer that was begun ever lacks it. */
#include "config.h"
#include "pipeline/desk_impl.h"

#include <string.h>

#include "base/mem.h"

enum { READ_BESIDE = 64, READ_ALONE = 512 }; /* tokens of prompts in a step, beside answers and alone */

struct desk_writing {
    struct desk_job **jobs;    /* (n), in the order in which they joined; room for n_together */
    struct sn_chunk *chunks;   /* (n_chunks) of the step */
    struct desk_job **of;      /* (n_chunks) whose they are */
    size_t n, n_chunks, n_pages; /* n_pages: what all of them may need */
    size_t memory_rows;        /* that the engine has room for */
    float *logits;             /* (n_together, n_vocab) */
    bool remembers;            /* one of them looks at the memory: there is one */
};

void desk_writing_free(struct desk_writing **wp)
{
    struct desk_writing *w = *wp;
    if (!w) return;
    sn_free(w->jobs);
    sn_free(w->chunks);
    sn_free(w->of);
    sn_free(w->logits);
    sn_free(w);
    *wp = NULL;
}

static int new_writing(struct sn_desk *k, struct desk_model *m, struct sn_diag *d)
{
    const size_t n = k->cfg.n_together;
    struct desk_writing *w = sn_calloc(1, sizeof *w);
    if (!w) return sn_fail(d, SN_ENOMEM, "no memory for answers");
    w->jobs = sn_calloc(n, sizeof(struct desk_job *));
    w->of = sn_calloc(n, sizeof(struct desk_job *));
    w->chunks = sn_calloc(n, sizeof *w->chunks);
    size_t n_logits;
    if (!sn_size_mul(n, sn_llm_n_vocab(m->llm), &n_logits))
        w->logits = sn_malloc_array(n_logits, sizeof(float));
    m->writing = w;
    if (w->jobs && w->of && w->chunks && w->logits) return 0;
    return sn_fail(d, SN_ENOMEM, "no memory for %zu answers", n);
}

/* --- the line of prompts --- */

void desk_put_ready(struct desk_job *j)
{
    struct sn_desk *k = j->k;
    pthread_mutex_lock(&k->lock);
    while (k->n_ready >= k->cfg.n_together && !k->ending && !atomic_load(&j->stop))
        pthread_cond_wait(&k->ready_room, &k->lock);
    j->waits = true;
    desk_line_put(&j->model->ready, j);
    k->n_ready++;
    pthread_cond_signal(&k->ready);
    pthread_mutex_unlock(&k->lock);
}

static bool is_stopped(const struct desk_job *j) { return atomic_load(&j->stop); }

/* The next job of a model: one that was cancelled, or the first, where there is room for it. NULL: none. */
static struct desk_job *take_ready(struct sn_desk *k, struct desk_model *m,
                                   bool (*has_room)(const struct desk_job *))
{
    pthread_mutex_lock(&k->lock);
    struct desk_job *j = desk_line_find(&m->ready, is_stopped);
    if (!j && m->ready.n && has_room(m->ready.first)) j = desk_line_take(&m->ready);
    if (j) {
        j->waits = false;
        k->n_ready--;
        pthread_cond_broadcast(&k->ready_room);
    }
    pthread_mutex_unlock(&k->lock);
    return j;
}

/* --- joining, leaving --- */

/* Tokens that it may come to hold; a page more where it writes into one that it shares. */
static size_t pages_of(const struct desk_job *j)
{
    const size_t n_ctx = sn_engine_n_ctx(j->model->engine);
    const size_t n = sn_min(j->prompt.n + j->job.options.max_tokens, n_ctx);
    return n / SN_KV_PAGE + 2;
}

static bool has_room(const struct desk_job *j)
{
    const struct desk_writing *w = j->model->writing;
    if (!j->model->decoding || !w) return true;
    return w->n < j->k->cfg.n_together && w->n_pages + pages_of(j) <= j->model->n_pages &&
           !(w->remembers && j->prompt.n_memory);
}

/* Pictures that do not stand in the prompt: the engine keeps one memory, as large as any needed it. */
static int make_memory(struct desk_model *m, const struct sn_prompt *p, struct sn_diag *d)
{
    if (p->n_memory <= m->writing->memory_rows) return 0;
    const int rc = sn_memories_reserve(m->engine, 1, p->n_memory, d);
    m->writing->memory_rows = rc < 0 ? 0 : p->n_memory;
    return rc;
}

static struct sn_sampler_cfg sampling_of(const struct sn_job_options *o)
{
    return (struct sn_sampler_cfg){.temperature = o->temperature, .top_k = o->top_k, .top_p = o->top_p,
                                   .min_p = o->min_p, .repetition_penalty = o->repetition_penalty,
                                   .seed = o->seed, .stop = o->stop, .n_stop = o->n_stop,
                                   .max_tokens = o->max_tokens};
}

static int new_writer(struct desk_job *j, struct sn_diag *d)
{
    struct desk_model *m = j->model;
    const struct sn_sampler_cfg sampling = sampling_of(&j->job.options);
    const struct sn_writer_cfg cfg = {
        .llm = m->llm, .engine = m->engine, .prefix = m->prefix, .salt = &j->salt, .sampling = &sampling};
    int rc = m->writing ? 0 : new_writing(j->k, m, d);
    if (rc == 0) rc = make_memory(m, &j->prompt, d);
    if (rc == 0) rc = sn_writer_new(&cfg, &j->prompt, &j->writer, d);
    return rc;
}

static void join(struct desk_job *j)
{
    struct sn_diag d;
    sn_diag_init(&d);
    j->prefill_at_s = sn_clock_s();
    if (!desk_is_over(j) && new_writer(j, &d) < 0) desk_fail_model(j, &d);
    if (desk_is_over(j)) {
        sn_writer_free(&j->writer);
        desk_end(j);
        return;
    }
    struct desk_writing *w = j->model->writing;
    j->n_cached = sn_writer_n_cached(j->writer);
    j->n_pages = pages_of(j);
    w->n_pages += j->n_pages;
    w->remembers |= j->prompt.n_memory > 0;
    w->jobs[w->n++] = j;
    desk_stage(j, "prefill", j->n_cached, j->n_prompt);
}

static void leave(struct desk_writing *w, size_t i)
{
    struct desk_job *j = w->jobs[i];
    w->n_pages -= j->n_pages;
    w->remembers = w->remembers && !j->prompt.n_memory;
    w->n--;
    memmove(w->jobs + i, w->jobs + i + 1, (w->n - i) * sizeof(struct desk_job *));
    sn_writer_free(&j->writer);
    desk_end(j);
}

static void leave_all_that_are_over(struct desk_writing *w)
{
    for (size_t i = 0; i < w->n;) {
        const bool over = desk_is_over(w->jobs[i]) || w->jobs[i]->finish != SN_FINISH_NONE;
        if (over)
            leave(w, i);
        else
            i++;
    }
}

/* --- a step --- */

static void gather(struct desk_writing *w)
{
    size_t n_writing = 0;
    for (size_t i = 0; i < w->n; i++) n_writing += !sn_writer_is_reading(w->jobs[i]->writer);
    size_t left = n_writing ? READ_BESIDE : READ_ALONE;
    w->n_chunks = 0;
    for (size_t i = 0; i < w->n; i++) {
        const struct desk_job *j = w->jobs[i];
        const bool reads = sn_writer_is_reading(j->writer);
        if (reads && !left) continue;
        const struct sn_chunk c = sn_writer_chunk(j->writer, left);
        if (reads) left -= sn_min(c.n, left);
        w->of[w->n_chunks] = w->jobs[i];
        w->chunks[w->n_chunks++] = c;
    }
}

static void note_first(struct desk_job *j)
{
    j->first_s = sn_clock_s();
    j->prefill_s = j->first_s - j->prefill_at_s;
    desk_stage(j, "generate", 0, j->job.options.max_tokens);
}

/* What came of a job's chunk; whether it was a token. */
static bool take(struct desk_job *j, const struct sn_chunk *c, const float *logits)
{
    struct sn_generated token;
    struct sn_diag d;
    sn_diag_init(&d);
    const int rc = sn_writer_take(j->writer, c, logits, &token, &d);
    if (rc < 0) desk_fail_model(j, &d);
    if (rc != 1) return false;
    if (j->n_tokens++ == 0) note_first(j);
    if (token.n_text) desk_say(j, token.text, token.n_text);
    j->finish = token.finish;
    return true;
}

/* A step that fails changes nothing: each chunk is run by itself, and who fails then is to blame. */
static void run_apart(struct desk_model *m, struct desk_writing *w)
{
    for (size_t i = 0; i < w->n_chunks; i++) {
        struct sn_diag d;
        sn_diag_init(&d);
        if (sn_engine_step(m->engine, &w->chunks[i], 1, w->logits, NULL, &d) < 0)
            desk_fail_model(w->of[i], &d);
        else
            take(w->of[i], &w->chunks[i], w->logits);
    }
}

/* Readers, also those whose turn has not come: who is silent for long may hang. */
static void tell_of_reading(const struct desk_writing *w)
{
    const double now = sn_clock_s();
    for (size_t i = 0; i < w->n; i++) {
        struct desk_job *j = w->jobs[i];
        if (sn_writer_is_reading(j->writer) && now - j->told_s > 1)
            desk_stage(j, "prefill", sn_writer_n_read(j->writer), j->n_prompt);
    }
}

static void note_step(struct sn_desk *k, size_t n_chunks, size_t n_tokens, double prefill_s,
                      double generate_s)
{
    pthread_mutex_lock(&k->lock);
    k->stats.n_steps++;
    k->stats.n_step_rows += n_chunks;
    k->stats.n_tokens += n_tokens;
    k->stats.prefill_s += prefill_s;
    k->stats.generate_s += generate_s;
    pthread_mutex_unlock(&k->lock);
}

static void step(struct sn_desk *k, struct desk_model *m)
{
    struct desk_writing *w = m->writing;
    const double begun = sn_clock_s();
    const float *logits = w->logits;
    size_t n_tokens = 0, n_rows = 0, n_read = 0;
    struct sn_diag d;
    gather(w);
    if (sn_engine_step(m->engine, w->chunks, w->n_chunks, w->logits, NULL, &d) < 0) {
        desk_log(k, DESK_WARNING, "model %s: a step of %zu jobs: %s", m->name, w->n_chunks, d.text);
        run_apart(m, w);
        return;
    }
    for (size_t i = 0; i < w->n_chunks; i++) {
        const struct sn_chunk *c = &w->chunks[i];
        n_rows += c->n;
        n_read += sn_writer_is_reading(w->of[i]->writer) ? c->n : 0;
        n_tokens += take(w->of[i], c, logits);
        logits += c->n_logits * sn_llm_n_vocab(m->llm);
    }
    const double took = sn_clock_s() - begun, reading = took * (double)n_read / (double)n_rows;
    note_step(k, w->n_chunks, n_tokens, reading, took - reading);
}

/* --- the thread --- */

static void serve(struct sn_desk *k, struct desk_model *m)
{
    struct desk_job *j;
    while ((j = take_ready(k, m, has_room))) {
        if (!m->decoding) desk_begin_with(k, m);
        join(j);
    }
    if (!m->decoding) return;
    if (m->writing) {
        leave_all_that_are_over(m->writing);
        if (m->writing->n) step(k, m);
        tell_of_reading(m->writing);
        leave_all_that_are_over(m->writing);
        sn_device_pass(k->device);
    }
    if (!m->writing || !m->writing->n) desk_be_done_with(k, m);
}

/* A round of all models; whether one of them has more to do. */
static bool run_round(struct sn_desk *k)
{
    bool busy = false;
    for (size_t i = 0; i < k->n_models; i++) {
        if (k->models[i].whisper) continue;
        serve(k, &k->models[i]);
        busy |= k->models[i].decoding;
    }
    return busy;
}

static bool await_work(struct sn_desk *k)
{
    pthread_mutex_lock(&k->lock);
    while (!k->n_ready && !k->ending) pthread_cond_wait(&k->ready, &k->lock);
    const bool ending = k->ending;
    pthread_mutex_unlock(&k->lock);
    return !ending;
}

void *desk_decode_main(void *desk)
{
    struct sn_desk *k = desk;
    while (await_work(k)) {
        sn_device_take(k->device);
        while (run_round(k)) continue;
        sn_device_give(k->device);
    }
    return NULL;
}
